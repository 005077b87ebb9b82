/* mapfile.h: a whole file as read-only memory. All processes that map one file share its pages. */
#ifndef B2_MAPFILE_H
#define B2_MAPFILE_H

#include "base/status.h"

typedef struct b2_mapfile {
    const uint8_t *data; /* NULL for an empty file */
    size_t size_bytes;
} b2_mapfile;

/* Maps path. Errors: BLIP2_IO (cannot open, not a regular file), BLIP2_MEMORY. On failure *map is zeroed. */
blip2_status b2_mapfile_open(const char *path, b2_mapfile *map, blip2_error *err);
void b2_mapfile_close(b2_mapfile *map);

/* Brings the range into memory before it returns; false where the system has no call for that (the
 * pages are then only announced) or it fails. */
bool b2_mapfile_populate(const b2_mapfile *map, size_t offset, size_t length_bytes);

/* Keeps the range in memory, from the moment on that its pages come in, until it is unmapped or the program ends.
 * Errors: BLIP2_LIMIT (the system permits less), BLIP2_MEMORY. */
blip2_status b2_mapfile_lock(const void *data, size_t size_bytes, blip2_error *err);

#endif
