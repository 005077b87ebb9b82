/* queue.h: the pictures of a job that are still to be done, for any number of workers, and the one place that says
 * whether the job goes on: a signal, the time limit, or a failure of any worker ends it.
 *
 * Pictures are handed out one by one, in their order, and handed in as their texts end, in any order. The sink writes
 * them in the order of the list, and keeps those that came early; so that these stay few, nobody gets a picture that is
 * `window` or more ahead of the first that is not written. */
#ifndef B2_QUEUE_H
#define B2_QUEUE_H

#include "lists/source.h"

#include <pthread.h>

typedef struct b2_queue {
    size_t n_items; /* B2_LENGTH_UNKNOWN: of a stream, until it has ended */
    size_t batch_size, window;
    bool is_stream;
    int64_t deadline_ns;  /* 0: none */
    pthread_mutex_t turn; /* held by who takes a picture: of a stream only then shows whether there is one */
    pthread_mutex_t lock; /* of the rest */
    pthread_cond_t changed;
    size_t next;      /* the first picture that nobody has taken */
    size_t n_written; /* all before this one are */
    bool was_stopped;
    blip2_error why; /* status OK: nothing failed */
} b2_queue;

/* The time limit (0: none) begins here. window: at least 1. */
void b2_queue_init(b2_queue *queue, size_t n_items, size_t batch_size, size_t window, double time_limit_seconds);
/* True: picture *number is the caller's to take, who says at once in b2_queue_leave() how it went; until then nobody
 * else gets one. False: none is left, the job stops, or (never when the caller waits) none can be had now. */
bool b2_queue_enter(b2_queue *queue, bool waits, size_t *number);
void b2_queue_leave(b2_queue *queue, bool has_taken, bool has_ended);
/* The sink's word that pictures before n_written are written. */
void b2_queue_wrote(b2_queue *queue, size_t n_written);
/* Ends the job: no further picture is taken. why NULL: nothing failed. The first reason is kept. */
void b2_queue_stop(b2_queue *queue, const blip2_error *why);
/* Sessions look here between layers and tokens. context: the queue. */
bool b2_queue_is_stopping(void *context);
/* Has b2_queue_stop() been called? What a worker has finished is still kept, unless a batch before it was given up. */
bool b2_queue_was_stopped(b2_queue *queue);
void b2_queue_free(b2_queue *queue);

#endif
