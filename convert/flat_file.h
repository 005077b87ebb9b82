/* flat_file.h: a file whose tensors lie in it as they are, read with pread, never mapped: a map of 15 GB would count
 * as our memory. */
#ifndef B2_FLAT_FILE_H
#define B2_FLAT_FILE_H

#include "base/status.h"

#include <stdint.h>

typedef struct b2_flat_file {
    char *path;
    int fd;
    uint64_t n_bytes; /* when it was opened */
} b2_flat_file;

/* Errors: BLIP2_IO, BLIP2_MEMORY. On failure nothing is left open. */
blip2_status b2_flat_file_open(const char *path, b2_flat_file *file, blip2_error *err);
void b2_flat_file_close(b2_flat_file *file);

/* n_bytes from offset_bytes of the file. Any number of threads at a time. Errors: BLIP2_IO. */
blip2_status b2_flat_file_read(const b2_flat_file *file, uint64_t offset_bytes, size_t n_bytes, void *out,
                               blip2_error *err);

#endif
