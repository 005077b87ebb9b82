/* options.h: what the user wants of a job: the spec, and what changes only how it is run. */
#ifndef B2_OPTIONS_H
#define B2_OPTIONS_H

#include "console/gpu_wish.h"
#include "job/shard.h"
#include "job/sidecar.h"
#include "job/spec.h"
#include "lists/line_list.h"

typedef struct b2_job_options {
    b2_spec spec;
    const char *model_path;   /* NULL: looked for */
    const char *output_path;  /* NULL: stdout */
    const char *report_path;  /* NULL: none */
    const char *isa;          /* NULL: the fastest */
    const char *answers_path; /* NULL: answers are written freely */
    b2_line_list answers;     /* those of the file; spec.answers is their hash */
    b2_gpu_wish gpu;
    int n_threads;    /* 0: chosen */
    size_t n_workers; /* sessions that share the threads; 0: chosen */
    size_t batch;     /* pictures that share the reading of the weights; 0: chosen (sizes.h) */
    b2_shard shard;
    b2_sidecar_options sidecar;
    const char **tars;         /* [n_tars] archives that the pictures come from, "-": stdin; NULL: other inputs */
    size_t n_tars, max_bytes;  /* max_bytes: of a member */
    bool is_pipe, is_nul;      /* the pictures are the lines of stdin, one by one; they end with NUL */
    double time_limit_seconds; /* 0: none */
    bool locks_model;          /* keeps the model file in memory where the system permits it */
    bool is_resumed, retries_failed, is_quiet, is_verbose;
    bool keeps_no_state; /* no OUT.blip2 beside the finished output */
} b2_job_options;

#endif
