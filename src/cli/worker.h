/* worker.h: one session of a job. Several share the model's map, the reader and the sink. */
#ifndef B2_WORKER_H
#define B2_WORKER_H

#include "cli/plan.h"
#include "cli/reader.h"
#include "cli/sink.h"

/* What all workers of a job share. */
typedef struct b2_work {
    const b2_inputs *inputs;
    const b2_job_options *options;
    const b2_plan *plan;
    blip2_model *model;
    b2_reader *reader;
    b2_sink *sink;
    size_t batch; /* pictures at a time */
} b2_work;

typedef struct b2_worker b2_worker;

/* Makes the session and all memory of a batch. Says what goes wrong; returns the exit code. */
int b2_worker_create(const b2_work *work, int n_threads, b2_worker **out);
/* Takes batches until none is left or the job stops. */
void b2_worker_run(b2_worker *worker);
const blip2_session *b2_worker_session(const b2_worker *worker);
void b2_worker_free(b2_worker *worker);

/* The options of each worker's session; false (said) when a prompt is not UTF-8. */
bool b2_worker_session_options(const b2_work *work, int n_threads, blip2_session_options *options);

#endif
