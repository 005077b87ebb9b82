/* gguf_writer.h: writes a model file (quant/FORMAT.md) as a stream: keys, list of tensors, then their bytes in order.
 *
 *   b2_gguf_writer_create(path, &writer, err)
 *   b2_gguf_writer_put_...(writer, key, value)         any number, in any order
 *   b2_gguf_writer_declare_tensor(writer, ...)         all of them, in file order
 *   b2_gguf_writer_begin(writer, err)                  checks the space on the disk
 *   b2_gguf_writer_write(writer, bytes, n, err)        each tensor's bytes, in pieces of any size
 *   b2_gguf_writer_finish(writer, err)                 or b2_gguf_writer_abandon(writer)
 *
 * The file grows under a temporary name in the same folder and gets its own name only when every byte is on the disk;
 * its header is the last thing written, so that a half file does not even begin with GGUF's magic.
 *
 * Keys of the container itself (architecture, alignment, format version, activation planes, hashes) are the writer's
 * own business. */
#ifndef B2_GGUF_WRITER_H
#define B2_GGUF_WRITER_H

#include "base/status.h"
#include "base/text.h"
#include "quant/dtype.h"
#include "quant/hparams.h"

typedef struct b2_gguf_writer b2_gguf_writer;

/* Creates the temporary file of a model of this architecture. Errors: BLIP2_IO, BLIP2_MEMORY. */
blip2_status b2_gguf_writer_create(const char *path, b2_arch arch, b2_gguf_writer **out, blip2_error *err);

/* What put and declare find wrong (no memory, a name too long) is kept, and begin returns it. Keys and values are
 * copied. Keys must not repeat. */
void b2_gguf_writer_put_u32(b2_gguf_writer *w, const char *key, uint32_t value);
void b2_gguf_writer_put_u64(b2_gguf_writer *w, const char *key, uint64_t value);
void b2_gguf_writer_put_f32(b2_gguf_writer *w, const char *key, float value);
void b2_gguf_writer_put_bool(b2_gguf_writer *w, const char *key, bool value);
void b2_gguf_writer_put_string(b2_gguf_writer *w, const char *key, const char *value);
void b2_gguf_writer_put_array_u8(b2_gguf_writer *w, const char *key, const uint8_t *values, size_t n);
void b2_gguf_writer_put_array_i32(b2_gguf_writer *w, const char *key, const int32_t *values, size_t n);
void b2_gguf_writer_put_array_u64(b2_gguf_writer *w, const char *key, const uint64_t *values, size_t n);
void b2_gguf_writer_put_array_f32(b2_gguf_writer *w, const char *key, const float *values, size_t n);
void b2_gguf_writer_put_array_strings(b2_gguf_writer *w, const char *key, const b2_text *values, size_t n);

/* The numbers and methods of all parts that the architecture has. */
void b2_hparams_put(b2_gguf_writer *w, const b2_hparams *h);

/* ne: dimensions, fastest first. planes: activation planes of an I8 matrix, 0 for any other tensor. */
void b2_gguf_writer_declare_tensor(b2_gguf_writer *w, const char *name, b2_dtype dtype, uint32_t n_dims,
                                   const uint64_t *ne, uint8_t planes);

/* Lays the file out. Errors: what put and declare kept; BLIP2_IO when the disk has less space than the file needs. */
blip2_status b2_gguf_writer_begin(b2_gguf_writer *w, blip2_error *err);

/* The size of the whole file, known after begin. */
uint64_t b2_gguf_writer_file_bytes(const b2_gguf_writer *w);

/* The next n bytes of the data. A piece may not reach beyond the end of its tensor (BLIP2_ARGUMENT). */
blip2_status b2_gguf_writer_write(b2_gguf_writer *w, const void *bytes, size_t n, blip2_error *err);

/* Writes hashes and header, syncs, renames, syncs the folder. Frees the writer, whatever the outcome; on failure the
 * temporary file is gone and what stood under `path` before is untouched. */
blip2_status b2_gguf_writer_finish(b2_gguf_writer *w, blip2_error *err);

/* Closes and removes the temporary file and frees the writer; NULL is fine. */
void b2_gguf_writer_abandon(b2_gguf_writer *w);

/* For a signal handler: unlink() of this name leaves nothing behind. Valid until finish or abandon. */
const char *b2_gguf_writer_temp_path(const b2_gguf_writer *w);

#endif
