/* target.h: what the name of an output leads to, found out before anything is opened or replaced. */
#ifndef B2_TARGET_H
#define B2_TARGET_H

#include "base/status.h"

#include <stdbool.h>
#include <sys/stat.h>

typedef enum b2_target_kind {
    B2_TARGET_FILE,      /* a regular file, a folder, or nothing yet: a rename may put a file there */
    B2_TARGET_STREAM,    /* a pipe or a device: opened, and written as lines come */
    B2_TARGET_DESCRIPTOR /* one that this process has open: "-", /dev/stdout, /dev/fd/N, and links to these */
} b2_target_kind;

typedef struct b2_target {
    b2_target_kind kind;
    char *path; /* the name at the end of all links, from malloc */
    int fd;     /* of a descriptor; else -1 */
    bool exists;
    struct stat st; /* of what the name leads to, where it exists */
} b2_target;

/* b2_target_free() comes after; on failure there is nothing to free, and it does no harm.
 * Errors: BLIP2_IO (links in a circle), BLIP2_MEMORY. */
blip2_status b2_target_find(const char *name, b2_target *target, blip2_error *err);
void b2_target_free(b2_target *target);

/* Would two outputs meet in one file, pipe or descriptor, whatever links or ".." lead there? */
bool b2_target_is_same(const b2_target *a, const b2_target *b);

#endif
