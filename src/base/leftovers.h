/* leftovers.h: what programs that were killed left of their unfinished files (file.h: PATH.partial-PID-N). */
#ifndef B2_LEFTOVERS_H
#define B2_LEFTOVERS_H

#include <stdbool.h>
#include <stdint.h>

/* Removes each unfinished file of a path that nobody holds a lock on and whose process is gone; where a process has
 * that number (it may be another program's by now) the file stays. found is told of both kinds: the file's name, its
 * size, and whether it was removed; files that are being written are passed over in silence. Call it before
 * b2_replacement_open. */
void b2_leftovers_sweep(const char *path,
                        void (*found)(void *context, const char *name, uint64_t n_bytes, bool is_removed),
                        void *context);

#endif
