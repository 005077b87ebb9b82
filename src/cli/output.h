/* output.h: where lines go: stdout, a pipe or device, or a file that appears under its name only when it is whole; until then
 * it is OUT.new beside it. */
#ifndef B2_OUTPUT_H
#define B2_OUTPUT_H

#include "base/status.h"

#include <stdio.h>

typedef struct b2_output {
    FILE *file;
    const char *path; /* NULL: stdout */
    char *new_path;   /* NULL: written in place */
} b2_output;

/* Errors: BLIP2_IO. */
blip2_status b2_output_open(b2_output *output, const char *path, blip2_error *err);
/* Synced and renamed: the file is there. */
blip2_status b2_output_commit(b2_output *output, blip2_error *err);
/* Removes what was written of a file. */
void b2_output_abandon(b2_output *output);
/* The sentence for a stream that failed just now (errno tells why). */
blip2_status b2_output_fail(const b2_output *output, blip2_error *err);

#endif
