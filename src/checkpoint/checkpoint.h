/* checkpoint.h: a converted model file, mapped and checked: its numbers, its strings, its tensors. */
#ifndef B2_CHECKPOINT_H
#define B2_CHECKPOINT_H

#include "base/mapfile.h"
#include "checkpoint/gguf_reader.h"
#include "quant/hparams.h"

typedef struct b2_checkpoint b2_checkpoint;

/* Maps the file and checks everything that its header says: structure, architecture, format version, header hash, that
 * every number of parts.def is there and sane, that the tokenizer's lists have their lengths. Touches only the
 * header's pages: instant, whatever the file's size. Which tensors a model needs is the binder's business
 * (model/weights.h). On failure *out is NULL.
 * Errors: IO, FORMAT, OTHER_VERSION, CHECKSUM, UNSUPPORTED, LIMIT, MEMORY. */
blip2_status b2_checkpoint_open(const char *path, b2_checkpoint **out, blip2_error *err);

/* The same of bytes in memory, which must outlive the checkpoint. */
blip2_status b2_checkpoint_parse(const uint8_t *data, size_t size_bytes, b2_checkpoint **out, blip2_error *err);

/* NULL is fine. */
void b2_checkpoint_close(b2_checkpoint *checkpoint);

const b2_hparams *b2_checkpoint_hparams(const b2_checkpoint *checkpoint);
const b2_mapfile *b2_checkpoint_map(const b2_checkpoint *checkpoint);

/* Tensors in file order, and by name (NULL when absent). */
size_t b2_checkpoint_n_tensors(const b2_checkpoint *checkpoint);
const b2_tensor *b2_checkpoint_tensor(const b2_checkpoint *checkpoint, size_t i);
const b2_tensor *b2_checkpoint_find(const b2_checkpoint *checkpoint, const char *name);

/* Values by key; NULL when the key is absent or of another type. They live as long as the checkpoint. */
const b2_text *b2_checkpoint_strings(const b2_checkpoint *checkpoint, const char *key, size_t *n);
const int32_t *b2_checkpoint_i32s(const b2_checkpoint *checkpoint, const char *key, size_t *n);
const char *b2_checkpoint_string(const b2_checkpoint *checkpoint, const char *key); /* NUL-terminated */

/* The header's hash as stored: it covers every tensor's hash, so equal values mean equal files. */
uint64_t b2_checkpoint_content_hash(const b2_checkpoint *checkpoint);

/* Reads the whole file: each tensor's hash, and that padding is zero. progress may be NULL; it is called after each
 * tensor. Errors: CHECKSUM, naming the first tensor that differs; FORMAT (an int8 matrix holds -128). */
blip2_status b2_checkpoint_verify(const b2_checkpoint *checkpoint, blip2_progress_fn *progress, void *context,
                                  blip2_error *err);

#endif
