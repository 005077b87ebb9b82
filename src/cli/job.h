/* job.h: a list of pictures in, one record for each out, in the order of the list.
 *
 *   spec     what decides the bytes of a record; written into the journal, so that a job is continued as it was begun
 *   targets  nothing that is read is written over
 *   plan     which pictures are to be done: the shard's, less those that the journal has
 *   reader   decodes ahead, on threads of its own
 *   worker   one session; takes batches, sees, says, hands its records in
 *   sink     takes the batches in order: sidecars, journal or stdout, progress
 *   finish   the journal becomes the output and the report */
#ifndef B2_JOB_H
#define B2_JOB_H

#include "cli/inputs.h"
#include "cli/journal.h"
#include "cli/record.h"
#include "cli/shard.h"
#include "cli/sidecar.h"

enum { B2_MAX_ASKS = 64, B2_MAX_WORD_FILES = 8 };

/* What decides the bytes of the records. */
typedef struct b2_spec {
    b2_format format;
    bool has_format; /* false: text, and one picture's text without its path */
    b2_ask asks[B2_MAX_ASKS];
    size_t n_asks;
    size_t n_new_tokens;
    bool apply_exif, wants_tokens, wants_timings, wants_thumbnails;
    const char *match_lists;                  /* of --match; NULL */
    const char *word_files[B2_MAX_WORD_FILES];
    size_t n_word_files;
    b2_match_mode match_mode;
} b2_spec;

/* As the "options" of a journal's header; NULL without memory. */
json_t *b2_spec_to_json(const b2_spec *spec);
/* The spec of a header; its strings live as long as the JSON. False when something is missing. */
bool b2_spec_from_json(const json_t *options, b2_spec *spec);
/* Loads the word lists that it names. */
blip2_status b2_spec_load_words(const b2_spec *spec, b2_words *words, blip2_error *err);

typedef struct b2_job_options {
    b2_spec spec;
    const char *model_path;   /* NULL: looked for */
    const char *output_path;  /* NULL: stdout */
    const char *report_path;  /* NULL: none */
    const char *isa;          /* NULL: the fastest */
    int n_threads;            /* 0: chosen */
    size_t n_workers;         /* sessions that share the threads; 0: chosen */
    size_t batch;             /* pictures that share the reading of the weights; 0: 1 for one picture, 8 for more */
    b2_shard shard;
    b2_sidecar_options sidecar;
    double time_limit_seconds; /* 0: none */
    bool is_resumed, retries_failed, is_quiet, is_verbose;
} b2_job_options;

/* Says what goes wrong and returns the exit code of the program. */
int b2_job_run(const b2_inputs *inputs, const b2_job_options *options);

/* ---- finish.c, which merge shares ---- */

typedef struct b2_shelf {
    b2_journal *journals;
    size_t n_journals;
    b2_place *places; /* [n]: where record i lies */
    size_t n;
} b2_shelf;

/* Writes the output (path NULL: stdout): whole or not at all. Records that nobody has are left out. */
blip2_status b2_write_output(const b2_shelf *shelf, const b2_style *style, const char *path, blip2_error *err);
/* Writes the HTML page. */
blip2_status b2_write_report(const b2_shelf *shelf, const b2_style *style, const char *path, blip2_error *err);

#endif
