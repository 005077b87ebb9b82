/* plan.h: which pictures of a list are still to be done, and the journal that says so. */
#ifndef B2_PLAN_H
#define B2_PLAN_H

#include "cli/job.h"

typedef struct b2_plan {
    size_t *todo; /* indexes of the list, ascending; from malloc */
    size_t n_todo, n_mine, n_skipped; /* n_mine: the shard's pictures, done or not; n_skipped: those with a sidecar already */
    char *final_path;      /* what appears when all is done: the output, or the shard's file; NULL: stdout */
    char *part_path;       /* the journal; NULL: none is kept */
    bool is_shard, streams; /* streams: records go to stdout (or a pipe) as they come */
    bool is_continued, is_new; /* the journal was there before; or this run has begun it */
    bool is_finished;      /* a job resumed that has its output already */
    b2_journal journal;
    b2_place *places;      /* [n of the list]; NULL without a journal */
} b2_plan;

/* Opens or creates the journal and finds out what is to be done. Says what goes wrong; returns the exit code. */
int b2_plan_make(const b2_inputs *inputs, const b2_job_options *options, uint64_t model_hash, b2_plan *plan);
void b2_plan_free(b2_plan *plan);

#endif
