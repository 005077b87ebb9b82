/* tensor_source.h: the weights of a checkpoint, in whichever files they lie: one list, one way to read.
 *
 * Looked for in this order, as transformers does; the first that is there counts:
 *   model.safetensors | model.safetensors.index.json | pytorch_model.bin | pytorch_model.bin.index.json
 * (Salesforce's repositories still carry .bin files with the vocabulary of 2023 beside newer safetensors.) */
#ifndef B2_TENSOR_SOURCE_H
#define B2_TENSOR_SOURCE_H

#include "convert/stored_tensor.h"

typedef struct b2_tensor_source b2_tensor_source;

/* Opens every file and checks that each tensor of the index is where it says. Errors: BLIP2_IO (a file is missing),
 * BLIP2_FORMAT, BLIP2_UNSUPPORTED, BLIP2_LIMIT, BLIP2_MEMORY. */
blip2_status b2_tensor_source_open(const char *folder, b2_tensor_source **out, blip2_error *err);
void b2_tensor_source_close(b2_tensor_source *source);

/* Adds one more file, whatever it is called: safetensors, or *.bin. Its tensors get `prefix` in place of `strip`,
 * however often that stands before their names. Takes path. Pointers to tensors that were given out before are of no
 * use any more. Errors: as those of open; BLIP2_FORMAT when a name occurs twice. */
blip2_status b2_tensor_source_add(b2_tensor_source *source, char *path, const char *strip, const char *prefix,
                                  blip2_error *err);

/* All tensors, sorted by name. They live as long as the source. */
size_t b2_tensor_source_count(const b2_tensor_source *source);
const b2_stored_tensor *b2_tensor_source_get(const b2_tensor_source *source, size_t i);
const b2_stored_tensor *b2_tensor_source_find(const b2_tensor_source *source, const char *name);

/* The file that holds a tensor, for sentences; of NULL, the file or index that should list it. */
const char *b2_tensor_source_file(const b2_tensor_source *source, const b2_stored_tensor *tensor);

/* n elements of a tensor without refusal, from element `first` on, as they are stored: 4 bytes each (F32), 2 (F16,
 * BF16) or 1 (I8). One thread at a time. Errors: BLIP2_IO. */
blip2_status b2_tensor_source_read(b2_tensor_source *source, const b2_stored_tensor *tensor, uint64_t first, size_t n,
                                   void *out, blip2_error *err);

/* The same, widened to f32. */
blip2_status b2_tensor_source_read_f32(b2_tensor_source *source, const b2_stored_tensor *tensor, uint64_t first,
                                       size_t n, float *out, blip2_error *err);

/* Whether two tensors of one shape hold the same numbers. Errors: BLIP2_IO, BLIP2_MEMORY. */
blip2_status b2_tensor_source_compare(b2_tensor_source *source, const b2_stored_tensor *a, const b2_stored_tensor *b,
                                      bool *equal, blip2_error *err);

/* Stored elements -> f32. */
void b2_stored_widen(b2_dtype dtype, const void *stored, size_t n, float *out);

#endif
