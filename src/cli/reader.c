/* reader.c: a ring of slots between one thread that reads and one that takes. Slot i % n_slots holds picture i. */
#include "cli/reader.h"

#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STDIN_MAX_BYTES = 1 << 30 };

typedef struct slot {
    blip2_image *image;
    blip2_error error;
} slot;

struct b2_reader {
    const blip2_model *model;
    const b2_inputs *inputs;
    blip2_image_options options;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t n_slots, n_read, n_taken; /* n_taken <= n_read <= n_taken + n_slots */
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
    const char *path = r->inputs->paths[i];
    *out = (slot){0};
    if (strcmp(path, "-") == 0 && r->inputs->has_stdin_picture) {
        load_stdin(r, &out->image, &out->error);
        return;
    }
    if (path[0] == '\0') {
        b2_fail(&out->error, BLIP2_ARGUMENT, "the path is empty");
        return;
    }
    char *resolved = b2_inputs_resolve(path);
    if (resolved == NULL) b2_fail(&out->error, BLIP2_MEMORY, "%s: no memory", path);
    else blip2_image_load(r->model, resolved, &r->options, &out->image, &out->error);
    free(resolved);
}

static void *run(void *context) {
    b2_reader *r = context;
    for (size_t i = 0; i < r->inputs->n; i++) {
        pthread_mutex_lock(&r->lock);
        while (!r->is_stopping && r->n_read - r->n_taken == r->n_slots) pthread_cond_wait(&r->changed, &r->lock);
        const bool is_stopping = r->is_stopping;
        pthread_mutex_unlock(&r->lock);
        if (is_stopping) break;
        read_one(r, i, &r->slots[i % r->n_slots]); /* nobody else looks at this slot before n_read says so */
        pthread_mutex_lock(&r->lock);
        r->n_read++;
        pthread_cond_broadcast(&r->changed);
        pthread_mutex_unlock(&r->lock);
    }
    return NULL;
}

b2_reader *b2_reader_start(const blip2_model *model, const b2_inputs *inputs, bool apply_exif, size_t n_ahead) {
    b2_reader *r = calloc(1, sizeof *r + n_ahead * sizeof r->slots[0]);
    if (r == NULL) return NULL;
    r->model = model;
    r->inputs = inputs;
    r->n_slots = n_ahead;
    blip2_image_options_default(&r->options);
    r->options.apply_exif = apply_exif;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    if (pthread_create(&r->thread, NULL, run, r) == 0) return r;
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    free(r);
    return NULL;
}

blip2_status b2_reader_take(b2_reader *r, size_t i, blip2_image **image, blip2_error *err) {
    const int64_t start = b2_clock_ns();
    pthread_mutex_lock(&r->lock);
    while (r->n_read <= i) pthread_cond_wait(&r->changed, &r->lock);
    const slot taken = r->slots[i % r->n_slots];
    r->slots[i % r->n_slots].image = NULL;
    r->n_taken = i + 1;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
    if (i > 0) r->waited_ns += b2_clock_ns() - start;
    *image = taken.image;
    if (taken.image != NULL) return BLIP2_OK;
    if (err != NULL) *err = taken.error;
    return taken.error.status;
}

int64_t b2_reader_waited_ns(const b2_reader *r) { return r->waited_ns; }

void b2_reader_stop(b2_reader *r) {
    if (r == NULL) return;
    pthread_mutex_lock(&r->lock);
    r->is_stopping = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
    pthread_join(r->thread, NULL);
    for (size_t i = r->n_taken; i < r->n_read; i++) blip2_image_free(&r->slots[i % r->n_slots].image);
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    free(r);
}
