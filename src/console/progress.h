/* progress.h: a bar on stderr when it is a terminal; otherwise a line now and then; nothing when quiet. */
#ifndef B2_PROGRESS_H
#define B2_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct b2_progress {
    const char *unit; /* "pictures", or NULL: bytes */
    uint64_t total, done, failed;
    int64_t start_ns, last_ns;
    bool quiet, is_terminal, is_drawn;
} b2_progress;

/* total 0: not known; then there is a count and no bar. */
void b2_progress_start(b2_progress *progress, const char *unit, uint64_t total, bool quiet);
void b2_progress_update(b2_progress *progress, uint64_t done, uint64_t failed);
/* Wipes the bar, so that what comes next stands on a clean line. */
void b2_progress_clear(b2_progress *progress);
double b2_progress_seconds(const b2_progress *progress);

#endif
