/* worker.h: one session of a job. Several share the model's map, the reader, the queue and the sink; none of them knows
 * the list. */
#ifndef B2_WORKER_H
#define B2_WORKER_H

#include "console/gpu_wish.h"
#include "job/reader.h"
#include "job/sink.h"

/* What all workers of a job share. */
typedef struct b2_work {
    const b2_spec *spec;
    bool tells_hints; /* says what of a picture's information is lost */
    const char *isa;  /* NULL: the fastest */
    b2_gpu_wish gpu;
    const blip2_answers *answers; /* NULL: answers are written freely */
    b2_gpu_notice *notice;        /* what was said about the device */
    blip2_model *model;
    b2_reader *reader;
    b2_queue *queue;
    b2_sink *sink;
} b2_work;

typedef struct b2_worker b2_worker;

/* Makes the session and all memory of a batch; work outlives the worker. Errors: BLIP2_ARGUMENT (what the user wants is
 * more than the model can do), BLIP2_MEMORY. */
blip2_status b2_worker_create(const b2_work *work, int n_threads, b2_worker **out, blip2_error *err);
/* Takes pictures until none is left or the job stops. */
void b2_worker_run(b2_worker *worker);
const blip2_session *b2_worker_session(const b2_worker *worker);
void b2_worker_free(b2_worker *worker);

/* The options of each worker's session, for a batch of so many pictures. Errors: BLIP2_ARGUMENT (a prompt is not
 * UTF-8). */
blip2_status b2_worker_session_options(const b2_work *work, size_t batch, int n_threads, blip2_session_options *options,
                                       blip2_error *err);

#endif
