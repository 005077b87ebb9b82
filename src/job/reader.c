/* reader.c: a ring of slots between threads that read and threads that take. Slot i % n_slots holds the i-th
 * picture, from the moment a reader begins with it until it is taken. Two locks: `turn` for the source, which may
 * wait for a pipe and is called by one thread at a time; `lock` for the slots, which nobody holds while he waits for
 * a disk. */
#include "job/reader.h"

#include "base/clock.h"
#include "base/file.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_READERS = 64, POLL_MS = 200, PATIENCE_MS = 2000 };

typedef enum slot_state { SLOT_FREE, SLOT_READING, SLOT_READY } slot_state;

typedef struct slot {
    slot_state state;
    b2_picture picture;
} slot;

struct b2_reader {
    const blip2_model *model;
    b2_source *source;
    blip2_image_options options;
    bool (*is_stopping_job)(void *context);
    void *context;
    pthread_t threads[MAX_READERS];
    int n_threads, n_running; /* started; of them those that have not returned */
    pthread_mutex_t turn, lock;
    pthread_cond_t changed;
    size_t n_slots, next; /* next: the first that no reader has begun with */
    bool is_stopping, has_ended;
    blip2_error end; /* why the source has no further picture */
    int64_t waited_ns;
    slot slots[];
};

/* The pixels of an item; what the picture keeps of it is taken out. */
static void decode(const b2_reader *r, b2_item *item, b2_picture *out) {
    *out = (b2_picture){.index = item->index,
                        .name = item->name,
                        .error = item->error,
                        .sample = item->sample,
                        .is_skipped = item->is_skipped};
    item->name = item->sample = NULL;
    if (item->error.status != BLIP2_OK || item->is_skipped) return;
    const char *name = strcmp(out->name, "-") == 0 ? "stdin" : out->name;
    if (item->path != NULL) blip2_image_load(r->model, item->path, &r->options, &out->image, &out->error);
    else blip2_image_load_memory(r->model, item->bytes, item->n_bytes, name, &r->options, &out->image, &out->error);
}

/* Waits for a free slot for the next picture; false when the reader stops. */
static bool find_slot(b2_reader *r, size_t *i) {
    pthread_mutex_lock(&r->lock);
    while (!r->is_stopping && !r->has_ended && r->slots[r->next % r->n_slots].state != SLOT_FREE)
        pthread_cond_wait(&r->changed, &r->lock);
    *i = r->next;
    const bool goes_on = !r->is_stopping && !r->has_ended;
    pthread_mutex_unlock(&r->lock);
    return goes_on;
}

/* Takes the next item of the source, in its order: called by one thread at a time. */
static bool begin_next(b2_reader *r, size_t *i, b2_item *item) {
    bool has_item = false;
    if (!find_slot(r, i)) return false;
    blip2_error err = {.status = BLIP2_OK};
    const blip2_status status = r->source->next(r->source, item, &has_item, &err);
    has_item &= status == BLIP2_OK;
    pthread_mutex_lock(&r->lock);
    if (has_item) {
        r->slots[*i % r->n_slots] = (slot){.state = SLOT_READING};
        r->next++;
    } else {
        r->has_ended = true;
        r->end = err;
    }
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
    return has_item;
}

static void *run(void *context) {
    b2_reader *r = context;
    for (;;) {
        size_t i;
        b2_item item;
        pthread_mutex_lock(&r->turn);
        const bool has_item = begin_next(r, &i, &item);
        pthread_mutex_unlock(&r->turn);
        if (!has_item) break;
        slot *s = &r->slots[i % r->n_slots];
        decode(r, &item, &s->picture); /* nobody else looks at a slot that is being read */
        b2_item_free(&item);
        pthread_mutex_lock(&r->lock);
        s->state = SLOT_READY;
        pthread_cond_broadcast(&r->changed);
        pthread_mutex_unlock(&r->lock);
    }
    pthread_mutex_lock(&r->lock);
    r->n_running--;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

static bool start_thread(b2_reader *r) {
    pthread_mutex_lock(&r->lock);
    const bool started = pthread_create(&r->threads[r->n_threads], NULL, run, r) == 0;
    r->n_threads += started;
    r->n_running += started;
    pthread_mutex_unlock(&r->lock);
    return started;
}

b2_reader *b2_reader_start(const blip2_model *model, b2_source *source, const b2_reader_options *options) {
    b2_reader *r = calloc(1, sizeof *r + options->n_ahead * sizeof r->slots[0]);
    if (r == NULL) return NULL;
    r->model = model;
    r->source = source;
    r->n_slots = options->n_ahead;
    r->options = options->images;
    r->is_stopping_job = options->is_stopping;
    r->context = options->context;
    pthread_mutex_init(&r->turn, NULL);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    const int n_threads = options->n_threads < MAX_READERS ? options->n_threads : MAX_READERS;
    while (r->n_threads < n_threads && start_thread(r)) continue;
    if (r->n_threads > 0) return r; /* fewer threads than wanted are enough */
    b2_reader_stop(r);
    return NULL;
}

/* Waits for a change, but not longer than `ms`. The lock is held. */
static void wait_a_while(b2_reader *r, int64_t ms) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    const int64_t ns = until.tv_nsec + ms * 1000000;
    until.tv_sec += (time_t)(ns / 1000000000);
    until.tv_nsec = (long)(ns % 1000000000);
    pthread_cond_timedwait(&r->changed, &r->lock, &until);
}

/* Polls for an end of the job while waiting: a picture may never arrive. deadline_ns 0: there is none. False: the job
 * stops, there is no picture, or none has come in time. */
static bool wait_for_picture(b2_reader *r, size_t i, const slot *s, int64_t deadline_ns) {
    bool goes_on = deadline_ns != B2_READER_NOW;
    while (goes_on && (r->next <= i ? !r->has_ended : s->state != SLOT_READY)) {
        const int64_t left_ns = deadline_ns - b2_clock_ns(), left_ms = left_ns / 1000000 + 1;
        const bool has_deadline = deadline_ns != 0 && r->next <= i;
        if (has_deadline && left_ns <= 0) break;
        wait_a_while(r, has_deadline && left_ms < POLL_MS ? left_ms : POLL_MS);
        goes_on = r->is_stopping_job == NULL || !r->is_stopping_job(r->context);
    }
    return r->next > i && s->state == SLOT_READY;
}

/* Why the i-th picture does not exist. The lock is held. */
static blip2_status explain_end(const b2_reader *r, size_t i, blip2_error *err) {
    if (!r->has_ended || r->next > i) return b2_fail(err, BLIP2_CANCELLED, "stopped while waiting for a picture");
    *err = r->end;
    return r->end.status;
}

/* Has the source come to its end before picture i? The lock is held. */
static bool ends_before(const b2_reader *r, size_t i) {
    return r->has_ended && r->next <= i && r->end.status == BLIP2_OK;
}

/* Is it a failure that picture i is not there? The lock is held. */
static bool is_failure(const b2_reader *r, size_t i, int64_t deadline_ns) {
    if (r->has_ended && r->next <= i) return !ends_before(r, i);
    return deadline_ns == 0 || (deadline_ns != B2_READER_NOW && r->next > i);
}

blip2_status b2_reader_take_by(b2_reader *r, size_t i, int64_t deadline_ns, b2_picture *picture, bool *has_picture,
                               blip2_error *err) {
    slot *s = &r->slots[i % r->n_slots];
    const int64_t start = b2_clock_ns();
    blip2_status status = BLIP2_OK;
    *picture = (b2_picture){0};
    pthread_mutex_lock(&r->lock);
    *has_picture = wait_for_picture(r, i, s, deadline_ns);
    if (*has_picture) {
        *picture = s->picture;
        *s = (slot){.state = SLOT_FREE};
        if (i > 0) r->waited_ns += b2_clock_ns() - start;
        pthread_cond_broadcast(&r->changed);
    } else if (is_failure(r, i, deadline_ns)) {
        status = explain_end(r, i, err);
    }
    pthread_mutex_unlock(&r->lock);
    return status;
}

blip2_status b2_reader_take(b2_reader *r, size_t i, b2_picture *picture, blip2_error *err) {
    bool has_picture;
    B2_TRY(b2_reader_take_by(r, i, 0, picture, &has_picture, err));
    return has_picture ? BLIP2_OK : b2_fail(err, BLIP2_LIMIT, "the list ended after %zu pictures", r->next);
}

int64_t b2_reader_waited_ns(const b2_reader *r) { return r->waited_ns; }

bool b2_reader_stop(b2_reader *r) {
    if (r == NULL) return true;
    const int64_t deadline = b2_clock_ns() + (int64_t)PATIENCE_MS * 1000000;
    pthread_mutex_lock(&r->lock);
    r->is_stopping = true;
    pthread_cond_broadcast(&r->changed);
    while (r->n_running > 0 && b2_clock_ns() < deadline) wait_a_while(r, POLL_MS);
    const bool has_ended = r->n_running == 0;
    pthread_mutex_unlock(&r->lock);
    if (!has_ended) return false;
    for (int k = 0; k < r->n_threads; k++) pthread_join(r->threads[k], NULL);
    for (size_t i = 0; i < r->n_slots; i++) {
        blip2_image_free(&r->slots[i].picture.image);
        free(r->slots[i].picture.name);
        free(r->slots[i].picture.sample);
    }
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    pthread_mutex_destroy(&r->turn);
    free(r);
    return true;
}
