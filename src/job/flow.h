/* flow.h: pictures whose number only their end tells: the lines of a pipe, the samples of tar files. What a list's
 * plan decides beforehand (done already, has its sidecar) is decided here for each as it comes. */
#ifndef B2_FLOW_H
#define B2_FLOW_H

#include "job/plan.h"
#include "lists/path_stream.h"
#include "lists/tar_source.h"

typedef struct b2_flow {
    b2_source source; /* first: what next() is given */
    b2_path_stream paths;
    b2_tar_source tars;
    b2_source *inner; /* of the two the one that is read */
    const b2_inputs *inputs;
    const b2_job_options *options;
    const b2_plan *plan;
    size_t n_seen, n_before, n_skipped; /* of all so far; done by a run before; those that have their sidecar */
} b2_flow;

/* Is the job of these options a stream? */
static inline bool b2_flow_is_wanted(const b2_job_options *o) { return o->is_pipe || o->n_tars > 0; }

/* Can a job that was stopped go on? What a pipe has brought cannot be read again. */
bool b2_flow_is_named(const b2_job_options *options);

/* All that it is given outlives the stream, which does not move. */
void b2_flow_open(b2_flow *flow, const b2_inputs *inputs, const b2_job_options *options, const b2_plan *plan);
/* At its end, or where the job stopped after n_done pictures of this run: how many the job has, in the plan, and in
 * *n_done without those that were passed over. */
void b2_flow_count(const b2_flow *flow, b2_plan *plan, size_t *n_done);
void b2_flow_close(b2_flow *flow);

#endif
