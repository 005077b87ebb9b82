/* plan.h: which pictures of a list are still to be done, and the journal that says so. */
#ifndef B2_PLAN_H
#define B2_PLAN_H

#include "job/journal.h"
#include "job/options.h"
#include "job/state.h"
#include "lists/source.h"

/* What is left of a job that ends early. */
typedef enum b2_keeps {
    B2_KEEPS_NOTHING, /* sidecars apart */
    B2_KEEPS_STREAM,  /* records go to stdout, a pipe or a device as they come; a journal is kept for a report only */
    B2_KEEPS_JOURNAL, /* OUT.part, of which the output (or the report) is built */
    B2_KEEPS_SHARD    /* OUT.iiii-of-nnnn.part, which becomes the shard's file */
} b2_keeps;

typedef enum b2_start {
    B2_START_BEGUN,
    B2_START_CONTINUED, /* the journal was there before */
    B2_START_FINISHED   /* the output is there already: nothing to do */
} b2_start;

typedef struct b2_plan {
    b2_keeps keeps;
    b2_start start;
    bool keeps_hidden; /* a journal of 0.1.0 goes on as it began: transparent pixels show what they hide */
    size_t *todo;      /* indexes of the list, ascending; from malloc */
    size_t n_todo;
    size_t n_mine;    /* the shard's pictures, done or not */
    size_t n_skipped; /* those that had a sidecar already; */
    bool was_noted;   /* an earlier run has noted all of them */
    char *final_path; /* what appears when all is done: the output, or the shard's file; NULL: none */
    char *part_path;  /* the journal's; NULL: none is kept */
    char *state_path; /* of the finished output's state; NULL: none is kept */
    b2_state earlier; /* of the output that is there, where its rows are taken over */
    size_t n_failed;  /* of a job that is finished */
    json_t *lists;    /* [[absolute path, first picture], ...], for the header; NULL: none */
    b2_journal journal;
    b2_record_location *places; /* [n_places]; NULL without a journal */
    size_t n_places;            /* pictures of the list; of a stream those that a journal may have */
} b2_plan;

/* The names of the files that a job keeps, before any is opened: keeps, final_path, part_path. b2_plan_free() comes
 * after in either case. Errors: BLIP2_ARGUMENT (a report on a pipe, with nothing to keep its records), BLIP2_IO,
 * BLIP2_MEMORY. */
blip2_status b2_plan_name(const b2_job_options *options, b2_plan *plan, blip2_error *err);

/* With its names known: opens or creates the journal and finds out what is to be done. source: of the whole list;
 * style: of the output. Errors: BLIP2_ARGUMENT (a journal or an output of another job, rows that would be lost),
 * BLIP2_IO, BLIP2_FORMAT, BLIP2_MEMORY. */
blip2_status b2_plan_make(const b2_inputs *inputs, const b2_source *source, const b2_job_options *options,
                          const b2_style *style, uint64_t model_hash, b2_plan *plan, blip2_error *err);
/* Room for n records of the journal, none noted yet. BLIP2_MEMORY. */
blip2_status b2_plan_make_places(b2_plan *plan, size_t n, blip2_error *err);
/* Whether the record of picture i is there already, and is not one to be done again. */
bool b2_plan_is_done(const b2_plan *plan, const b2_job_options *options, size_t i);
/* A picture that has its sidecar is done, whoever wrote it. A job that is continued noted those when it began, unless
 * it was killed while it did: what has one since has it from the run that was killed, between the sidecar and the
 * journal, and is done again. i: the number of the picture among inputs, or of the list that it comes from. */
bool b2_plan_has_sidecar(const b2_plan *plan, const b2_job_options *options, const b2_inputs *inputs, size_t i,
                         const char *name);
/* A job that begins and fails before its first picture leaves no journal. */
void b2_plan_undo(b2_plan *plan);
void b2_plan_free(b2_plan *plan);

#endif
