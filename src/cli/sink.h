/* sink.h: where the workers hand in their batches. It takes them in the order of the list, whoever is first. */
#ifndef B2_SINK_H
#define B2_SINK_H

#include "cli/output.h"
#include "cli/plan.h"
#include "cli/progress.h"

#include <pthread.h>

typedef struct b2_sink {
    const b2_inputs *inputs;
    const b2_job_options *options;
    b2_plan *plan;
    const b2_style *style;
    b2_output stream;     /* of a plan that streams */
    b2_progress progress;
    int64_t deadline_ns;  /* 0: none */
    size_t next_batch;    /* the first that no worker has taken */
    size_t n_batches, batch;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t turn;          /* the batch that may be handed in now */
    size_t n_done, n_failed; /* pictures of this run */
    bool is_stopping;     /* a write failed, or somebody asked for an end */
    blip2_error error;    /* why; status OK: nothing failed */
} b2_sink;

/* plan, style and options outlive the sink. Errors: BLIP2_IO. */
blip2_status b2_sink_open(b2_sink *sink, const b2_inputs *inputs, const b2_job_options *options, b2_plan *plan, const b2_style *style, size_t batch,
                          blip2_error *err);
/* The next batch to do: plan->todo[*first .. *first + *n); false when there is none or the job stops. */
bool b2_sink_next(b2_sink *sink, size_t *batch, size_t *first, size_t *n);
/* Waits for its turn, then writes the records. False when the job stops: then nothing of this batch is kept. */
bool b2_sink_take(b2_sink *sink, size_t batch, b2_record *records, size_t n);
/* Ends the job: no further batch is taken. */
void b2_sink_stop(b2_sink *sink, const blip2_error *why);
/* Asked by sessions between layers and tokens: a signal, the deadline, or a failed write. context: the sink. */
bool b2_sink_is_stopping(void *context);
void b2_sink_close(b2_sink *sink);

#endif
