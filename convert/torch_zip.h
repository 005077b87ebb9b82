/* torch_zip.h: reads pytorch_model*.bin: a zip archive of data.pkl (what there is) and data/<key> (the bytes).
 *
 * libzip knows zip and zip64; pickle.h reads the list. Storages that are read from first to last, as
 * the converter reads them, have their checksums verified on the way. One thread at a time. */
#ifndef B2_TORCH_ZIP_H
#define B2_TORCH_ZIP_H

#include "convert/stored_tensor.h"

typedef struct b2_torch_zip b2_torch_zip;

/* Appends the file's tensors to list, their shard still 0, entry the storage's, offset_bytes counted inside it.
 * Errors: BLIP2_IO, BLIP2_FORMAT, BLIP2_CHECKSUM, BLIP2_UNSUPPORTED (would have to execute something; the format before
 * PyTorch 1.6), BLIP2_LIMIT, BLIP2_MEMORY. */
blip2_status b2_torch_zip_open(const char *path, b2_torch_zip **out, b2_tensor_list *list, blip2_error *err);
void b2_torch_zip_close(b2_torch_zip *file);

/* n_bytes from offset_bytes of an entry. Fastest when each read goes on where the last one ended.
 * Errors: BLIP2_IO, BLIP2_CHECKSUM (at the entry's end). */
blip2_status b2_torch_zip_read(b2_torch_zip *file, uint64_t entry, uint64_t offset_bytes, size_t n_bytes, void *out,
                               blip2_error *err);

#endif
