/* queue.c: pictures are handed out in order, one at a time: the turn is held while one is taken, the lock for a few
 * instructions. */
#include "job/queue.h"

#include "base/clock.h"
#include "console/signals.h"

#include <time.h>

enum { POLL_MS = 200 }; /* signals and the time limit wake nobody */

void b2_queue_init(b2_queue *q, size_t n_items, size_t batch_size, size_t window, double time_limit_seconds) {
    *q = (b2_queue){
        .n_items = n_items, .batch_size = batch_size, .window = window, .is_stream = n_items == B2_LENGTH_UNKNOWN};
    if (time_limit_seconds > 0) q->deadline_ns = b2_clock_ns() + (int64_t)(time_limit_seconds * 1e9);
    pthread_mutex_init(&q->lock, NULL);
    pthread_mutex_init(&q->turn, NULL);
    pthread_cond_init(&q->changed, NULL);
}

bool b2_queue_was_stopped(b2_queue *q) {
    pthread_mutex_lock(&q->lock);
    const bool was_stopped = q->was_stopped;
    pthread_mutex_unlock(&q->lock);
    return was_stopped;
}

bool b2_queue_is_stopping(void *context) {
    b2_queue *q = context;
    const bool is_late = q->deadline_ns != 0 && b2_clock_ns() > q->deadline_ns;
    return is_late || b2_signals_pending(NULL) || b2_queue_was_stopped(q);
}

void b2_queue_stop(b2_queue *q, const blip2_error *why) {
    pthread_mutex_lock(&q->lock);
    if (!q->was_stopped && why != NULL) q->why = *why;
    q->was_stopped = true;
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->lock);
}

/* The lock is held. */
static void wait_a_while(b2_queue *q) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    const int64_t ns = until.tv_nsec + (int64_t)POLL_MS * 1000000;
    until.tv_sec += (time_t)(ns / 1000000000);
    until.tv_nsec = (long)(ns % 1000000000);
    pthread_cond_timedwait(&q->changed, &q->lock, &until);
}

static bool is_within_window(const b2_queue *q) { return q->next - q->n_written < q->window; }

/* The turn is held. */
static bool find_next(b2_queue *q, bool waits) {
    bool goes_on = !b2_queue_is_stopping(q);
    pthread_mutex_lock(&q->lock);
    while (goes_on && waits && q->next < q->n_items && !is_within_window(q)) {
        wait_a_while(q);
        pthread_mutex_unlock(&q->lock);
        goes_on = !b2_queue_is_stopping(q);
        pthread_mutex_lock(&q->lock);
    }
    const bool has_next = goes_on && q->next < q->n_items && is_within_window(q);
    pthread_mutex_unlock(&q->lock);
    return has_next;
}

bool b2_queue_enter(b2_queue *q, bool waits, size_t *number) {
    if (waits) pthread_mutex_lock(&q->turn);
    else if (pthread_mutex_trylock(&q->turn) != 0) return false;
    const bool has_next = find_next(q, waits);
    *number = q->next; /* changes only in a turn */
    if (!has_next) pthread_mutex_unlock(&q->turn);
    return has_next;
}

void b2_queue_leave(b2_queue *q, bool has_taken, bool has_ended) {
    pthread_mutex_lock(&q->lock);
    q->next += has_taken;
    if (has_ended) q->n_items = q->next;
    pthread_mutex_unlock(&q->lock);
    pthread_mutex_unlock(&q->turn);
}

void b2_queue_wrote(b2_queue *q, size_t n_written) {
    pthread_mutex_lock(&q->lock);
    q->n_written = n_written;
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->lock);
}

void b2_queue_free(b2_queue *q) {
    pthread_cond_destroy(&q->changed);
    pthread_mutex_destroy(&q->turn);
    pthread_mutex_destroy(&q->lock);
}
