/* safetensors.h: reads *.safetensors: u64 length, JSON header {name: {dtype, shape, data_offsets}}, then the bytes.
 *
 * The file is read with pread, never mapped: a map of 15 GB would count as our memory. */
#ifndef B2_SAFETENSORS_H
#define B2_SAFETENSORS_H

#include "convert/stored_tensor.h"

/* The format allows headers of 100 MB; that of a BLIP-2 has 150 KB. Parsed JSON takes many times its text. */
enum { B2_SAFETENSORS_HEADER_MAX_BYTES = 16 << 20 };

typedef struct b2_safetensors {
    char *path;
    int fd;
} b2_safetensors;

/* Appends the file's tensors to list, their shard still 0, their offset_bytes counted from the start of the file.
 * Every range is checked: inside the file, of the size that type and shape demand, not overlapping another.
 * Errors: BLIP2_IO, BLIP2_FORMAT, BLIP2_LIMIT, BLIP2_MEMORY. On failure nothing is left open. */
blip2_status b2_safetensors_open(const char *path, b2_safetensors *file, b2_tensor_list *list, blip2_error *err);
void b2_safetensors_close(b2_safetensors *file);

/* n_bytes from offset_bytes of the file. Any number of threads at a time. */
blip2_status b2_safetensors_read(const b2_safetensors *file, uint64_t offset_bytes, size_t n_bytes, void *out,
                                 blip2_error *err);

/* The parser alone: header[header_len] stands for bytes 8.. of a file of file_bytes bytes. */
blip2_status b2_safetensors_parse(const char *path, const char *header, size_t header_len, uint64_t file_bytes,
                                  b2_tensor_list *list, blip2_error *err);

#endif
