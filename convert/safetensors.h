/* safetensors.h: reads *.safetensors: u64 length, JSON header {name: {dtype, shape, data_offsets}}, then the bytes. */
#ifndef B2_SAFETENSORS_H
#define B2_SAFETENSORS_H

#include "convert/flat_file.h"
#include "convert/stored_tensor.h"

/* The format allows headers of 100 MB; that of a BLIP-2 has 150 KB. Parsed JSON takes many times its text. */
enum { B2_SAFETENSORS_HEADER_MAX_BYTES = 16 << 20 };

/* Appends the file's tensors to list, their shard still 0, their offset_bytes counted from the start of the file.
 * Every range is checked: inside the file, of the size that type and shape demand, not overlapping another.
 * Errors: BLIP2_IO, BLIP2_FORMAT, BLIP2_LIMIT, BLIP2_MEMORY. On failure nothing is left open. */
blip2_status b2_safetensors_open(const char *path, b2_flat_file *file, b2_tensor_list *list, blip2_error *err);

/* The parser alone: header[header_len] stands for bytes 8.. of a file of file_bytes bytes. */
blip2_status b2_safetensors_parse(const char *path, const char *header, size_t header_len, uint64_t file_bytes,
                                  b2_tensor_list *list, blip2_error *err);

#endif
