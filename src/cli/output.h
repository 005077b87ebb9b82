/* output.h: where records go: stdout, or a file that appears under its name only when it is whole. Until then it is
 * OUT.part beside it, written record by record. */
#ifndef B2_OUTPUT_H
#define B2_OUTPUT_H

#include "base/status.h"

#include <stdio.h>

typedef struct b2_output {
    FILE *file;
    const char *path; /* NULL: stdout */
    char *part_path;
} b2_output;

/* Errors: BLIP2_IO. */
blip2_status b2_output_open(b2_output *output, const char *path, blip2_error *err);
/* Synced and renamed: the file is there. */
blip2_status b2_output_commit(b2_output *output, blip2_error *err);
/* Keeps OUT.part, if it holds anything, and closes it; true when it was kept. */
bool b2_output_abandon(b2_output *output);
/* The sentence for a stream that failed just now (errno tells why). */
blip2_status b2_output_fail(const b2_output *output, blip2_error *err);

#endif
