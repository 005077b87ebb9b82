/* sink.h: where the workers hand in their records, in any order. It writes them in the order of the list, and keeps
 * those that come before their turn: as many as the queue's window. */
#ifndef B2_SINK_H
#define B2_SINK_H

#include "console/open_model.h"
#include "console/output.h"
#include "console/progress.h"
#include "job/plan.h"
#include "job/queue.h"

typedef struct b2_sink {
    const b2_inputs *inputs;
    const b2_job_options *options;
    b2_plan *plan;
    const b2_style *style;
    b2_queue *queue;
    b2_output stream; /* of a plan that streams */
    b2_progress progress;
    pthread_mutex_t lock;
    b2_page_watch pages;     /* from the first picture on that the model has seen */
    size_t turn;             /* the picture to be written next */
    b2_record *early;        /* [queue->window] picture i at i % window */
    bool *is_early;          /* [queue->window] it is there */
    size_t n_done, n_failed; /* pictures of this run */
    bool has_swept;          /* what a killed job left of its last sidecar */
    char *first_reason;      /* why the first of them failed, from malloc, if that was not said; NULL */
} b2_sink;

/* All that it is given outlives the sink. Errors: BLIP2_IO, BLIP2_MEMORY. In either case b2_sink_close() comes
 * after. */
blip2_status b2_sink_open(b2_sink *sink, const b2_inputs *inputs, const b2_job_options *options, b2_plan *plan,
                          const b2_style *style, b2_queue *queue, blip2_error *err);
/* The record of picture `number` of those to do, whose content it takes over. Writes it and those that waited for it,
 * also when the job stops meanwhile; then false. Where a record cannot be written nothing more is. */
bool b2_sink_take(b2_sink *sink, size_t number, b2_record *record);
void b2_sink_close(b2_sink *sink);

#endif
