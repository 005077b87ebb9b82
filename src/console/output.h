/* output.h: where lines go: stdout, a pipe or device, or a file that appears under its name only when it is whole;
 * until then it has another name beside it (base/file.h). */
#ifndef B2_OUTPUT_H
#define B2_OUTPUT_H

#include "base/file.h"

/* What a job keeps beside a finished output, OUT.blip2, and how such a file begins (job/state.h). */
#define B2_STATE_ENDING ".blip2"
#define B2_STATE_START "{\"blip2_state\":"

typedef struct b2_output {
    FILE *file;
    const char *path;           /* NULL: stdout */
    b2_replacement replacement; /* its file is NULL where lines are written in place */
} b2_output;

/* path NULL or "-": stdout; /dev/stdout, /dev/fd/N and links to them: that descriptor. Errors: BLIP2_IO,
 * BLIP2_NO_SPACE, BLIP2_MEMORY. */
blip2_status b2_output_open(b2_output *output, const char *path, blip2_error *err);
/* Synced and renamed: the file is there. The state of one that was there before is removed first: it would say of the
 * new one what is not so. */
blip2_status b2_output_commit(b2_output *output, blip2_error *err);
/* Removes the state of an output, for good through a power cut; somebody's file of that name, or a link, stays.
 * Errors: BLIP2_IO, BLIP2_MEMORY. */
blip2_status b2_output_forget(const char *output_path, blip2_error *err);
/* Removes what was written of a file. */
void b2_output_abandon(b2_output *output);
/* The sentence for a stream that failed just now (errno tells why). */
blip2_status b2_output_fail(const b2_output *output, blip2_error *err);

#endif
