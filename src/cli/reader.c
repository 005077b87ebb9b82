/* reader.c: a ring of slots between threads that read and threads that take. Slot i % n_slots holds picture todo[i], from the
 * moment a reader begins with it until it is taken. */
#include "cli/reader.h"

#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { STDIN_MAX_BYTES = 1 << 30, MAX_READERS = 64, LOOK_UP_MS = 200, PATIENCE_MS = 2000 };

typedef enum slot_state { SLOT_FREE, SLOT_READING, SLOT_READY } slot_state;

typedef struct slot {
    slot_state state;
    blip2_image *image;
    blip2_error error;
} slot;

struct b2_reader {
    const blip2_model *model;
    const b2_inputs *inputs;
    const size_t *todo;
    size_t n_todo;
    blip2_image_options options;
    bool (*is_stopping_job)(void *context);
    void *context;
    pthread_t threads[MAX_READERS];
    int n_threads, n_running; /* started; of them those that have not returned */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t n_slots, next; /* next: the first that no reader has begun with */
    bool is_stopping;
    int64_t waited_ns;
    slot slots[];
};

static blip2_status load_stdin(const b2_reader *r, blip2_image **image, blip2_error *err) {
    size_t capacity = 1 << 16, n = 0, got;
    uint8_t *bytes = malloc(capacity);
    while (bytes != NULL && (got = fread(bytes + n, 1, capacity - n, stdin)) > 0) {
        n += got;
        if (n < capacity) continue;
        uint8_t *larger = capacity < STDIN_MAX_BYTES ? realloc(bytes, capacity *= 2) : NULL;
        if (larger == NULL) free(bytes);
        bytes = larger;
    }
    if (bytes == NULL) return b2_fail(err, BLIP2_MEMORY, "stdin: no memory for a picture of more than %zu bytes", n);
    const blip2_status status = blip2_image_load_memory(r->model, bytes, n, "stdin", &r->options, image, err);
    free(bytes);
    return status;
}

static void read_one(const b2_reader *r, size_t i, slot *out) {
    const char *path = r->inputs->paths[r->todo[i]];
    if (strcmp(path, "-") == 0 && r->inputs->has_stdin_picture) {
        load_stdin(r, &out->image, &out->error);
        return;
    }
    if (path[0] == '\0') {
        b2_fail(&out->error, BLIP2_ARGUMENT, "picture %zu of the list has an empty path", r->todo[i] + 1);
        return;
    }
    char *resolved = b2_inputs_resolve(r->inputs, path);
    if (resolved == NULL) b2_fail(&out->error, BLIP2_MEMORY, "%s: no memory", path);
    else blip2_image_load(r->model, resolved, &r->options, &out->image, &out->error);
    free(resolved);
}

/* Waits for a free slot for the next picture; false when there is no next. Called and returns with the lock held. */
static bool begin_next(b2_reader *r, size_t *i) {
    for (;;) {
        if (r->is_stopping || r->next == r->n_todo) return false;
        slot *s = &r->slots[r->next % r->n_slots];
        if (s->state == SLOT_FREE) {
            *s = (slot){.state = SLOT_READING};
            *i = r->next++;
            return true;
        }
        pthread_cond_wait(&r->changed, &r->lock);
    }
}

static void *run(void *context) {
    b2_reader *r = context;
    size_t i;
    pthread_mutex_lock(&r->lock);
    while (begin_next(r, &i)) {
        pthread_mutex_unlock(&r->lock);
        read_one(r, i, &r->slots[i % r->n_slots]); /* nobody else looks at a slot that is being read */
        pthread_mutex_lock(&r->lock);
        r->slots[i % r->n_slots].state = SLOT_READY;
        pthread_cond_broadcast(&r->changed);
    }
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

b2_reader *b2_reader_start(const blip2_model *model, const b2_inputs *inputs, const size_t *todo, size_t n_todo, const b2_reader_options *options) {
    b2_reader *r = calloc(1, sizeof *r + options->n_ahead * sizeof r->slots[0]);
    if (r == NULL) return NULL;
    r->model = model;
    r->inputs = inputs;
    r->todo = todo;
    r->n_todo = n_todo;
    r->n_slots = options->n_ahead;
    blip2_image_options_default(&r->options);
    r->options.apply_exif = options->apply_exif;
    r->options.thumbnail_side = options->thumbnail_side;
    r->is_stopping_job = options->is_stopping;
    r->context = options->context;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    const int n_threads = options->n_threads < MAX_READERS ? options->n_threads : MAX_READERS;
    while (r->n_threads < n_threads && start_thread(r)) continue;
    if (r->n_threads > 0) return r; /* fewer threads than asked for read as well */
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

/* A signal may find a picture that never comes: who waits looks up now and then. False when the job stops. */
static bool wait_for_picture(b2_reader *r, size_t i, const slot *s) {
    bool goes_on = true;
    while (goes_on && (r->next <= i || s->state != SLOT_READY)) {
        wait_a_while(r, LOOK_UP_MS);
        goes_on = r->is_stopping_job == NULL || !r->is_stopping_job(r->context);
    }
    return r->next > i && s->state == SLOT_READY;
}

blip2_status b2_reader_take(b2_reader *r, size_t i, blip2_image **image, blip2_error *err) {
    slot *s = &r->slots[i % r->n_slots];
    const int64_t start = b2_clock_ns();
    *image = NULL;
    pthread_mutex_lock(&r->lock);
    if (!wait_for_picture(r, i, s)) {
        pthread_mutex_unlock(&r->lock);
        return b2_fail(err, BLIP2_CANCELLED, "stopped while waiting for a picture");
    }
    const slot taken = *s;
    s->state = SLOT_FREE;
    s->image = NULL;
    if (i > 0) r->waited_ns += b2_clock_ns() - start;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
    *image = taken.image;
    if (taken.image != NULL) return BLIP2_OK;
    if (err != NULL) *err = taken.error;
    return taken.error.status;
}

int64_t b2_reader_waited_ns(const b2_reader *r) { return r->waited_ns; }

bool b2_reader_stop(b2_reader *r) {
    if (r == NULL) return true;
    const int64_t deadline = b2_clock_ns() + (int64_t)PATIENCE_MS * 1000000;
    pthread_mutex_lock(&r->lock);
    r->is_stopping = true;
    pthread_cond_broadcast(&r->changed);
    while (r->n_running > 0 && b2_clock_ns() < deadline) wait_a_while(r, LOOK_UP_MS);
    const bool has_ended = r->n_running == 0;
    pthread_mutex_unlock(&r->lock);
    if (!has_ended) return false;
    for (int k = 0; k < r->n_threads; k++) pthread_join(r->threads[k], NULL);
    for (size_t i = 0; i < r->n_slots; i++) blip2_image_free(&r->slots[i].image);
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    free(r);
    return true;
}
