/* upload.h: weights from the mapped file to the device, by a thread of its own, while the device works already.
 *
 *   map --memcpy--> ring of pinned buffers --copies on a second stream--> device, in the order of execution
 *
 * A verb that reads weights says up to which address it needs them; its stream waits for those, not for the rest. */
#ifndef B2_GPU_UPLOAD_H
#define B2_GPU_UPLOAD_H

#include "gpu/device.h"

/* Errors: DEVICE, MEMORY. */
blip2_status b2_upload_create(b2_gpu *gpu, b2_upload **upload, blip2_error *err);
void b2_upload_free(b2_upload *upload);

/* Queues n_bytes at host (readable until the upload is freed) for `device`; addresses must rise from call to call.
 * Errors: MEMORY. */
blip2_status b2_upload_add(b2_upload *upload, const void *host, uintptr_t device, size_t n_bytes, blip2_error *err);

/* What is computed on `stream` from now on finds all weights below `end` in place; other addresses than those added do
 * no harm. Errors: those of the upload, when it has failed. */
blip2_status b2_upload_need(b2_upload *upload, void *stream, uintptr_t end, blip2_error *err);

/* The memory [begin, end) is about to be released: what was added for it is forgotten, once no copy is on its way. */
void b2_upload_forget(b2_upload *upload, uintptr_t begin, uintptr_t end);

#endif
