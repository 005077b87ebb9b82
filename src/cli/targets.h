/* targets.h: what a job is about to write must not be what it reads: a slip of the keyboard would cost a picture. */
#ifndef B2_TARGETS_H
#define B2_TARGETS_H

#include "cli/job.h"

/* Looks at the output and the report before any work. A table may be its own output (--csv A --format csv -o A).
 * Errors: BLIP2_ARGUMENT (a picture, the list, a model, the same file twice), BLIP2_IO (a folder; cannot be written). */
blip2_status b2_targets_check(const b2_inputs *inputs, const b2_job_options *options, blip2_error *err);

/* Is this file the list itself? */
bool b2_targets_is_list(const b2_inputs *inputs, const char *path);

#endif
