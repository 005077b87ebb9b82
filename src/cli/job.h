/* job.h: a list of pictures in, one record for each out, in the order of the list. */
#ifndef B2_JOB_H
#define B2_JOB_H

#include "cli/inputs.h"
#include "cli/record.h"

typedef struct b2_job_options {
    const char *model_path;      /* NULL: looked for */
    const char *output_path;     /* NULL: stdout */
    const char *isa;             /* NULL: the fastest */
    int n_threads;               /* 0: chosen */
    size_t batch;                /* pictures that share the reading of the weights; 0: 1 for one picture, 8 for more */
    size_t n_new_tokens;
    const char *prompt;          /* of every picture; NULL: none */
    const char **questions;      /* asked about every picture, after one look at it */
    size_t n_questions;
    b2_format format;
    bool has_format;             /* false: text, and one picture's text without its path */
    bool apply_exif, wants_tokens, wants_timings, is_quiet, is_verbose;
} b2_job_options;

/* Says what goes wrong and returns the exit code of the program. */
int b2_job_run(const b2_inputs *inputs, const b2_job_options *options);

#endif
