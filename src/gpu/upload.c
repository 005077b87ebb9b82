/* upload.c: see upload.h. The thread takes pieces in order; each goes through the next buffer of the ring, once the
 * copy that used it before has arrived. */
#include "gpu/upload.h"

#include "base/size.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RING = 3, BUFFER_BYTES = 8 << 20 };

typedef struct piece {
    const uint8_t *host;
    uintptr_t device;
    size_t n_bytes;
} piece;

struct b2_upload {
    b2_gpu *gpu;
    void *stream;
    uint8_t *buffers[RING];
    void *events[RING];       /* the copy out of buffer i has arrived */
    uintptr_t ends[RING];     /* up to which address that is; 0: none under way */
    size_t next;              /* buffer */
    atomic_uintptr_t begin;   /* the first address added; 0: none */
    atomic_uintptr_t arrived; /* everything below is in place */

    pthread_t thread;
    bool has_thread, has_lock;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    piece *pieces;
    size_t n_pieces, capacity, n_taken;
    uintptr_t queued; /* everything below has its copy on the stream; the last one signals events[last] */
    size_t last;
    bool stops, is_idle;
    blip2_error error;
};

static blip2_status fail(b2_upload *u, int code, blip2_error *err) {
    return b2_driver_fail(&u->gpu->cu, code, "weights on their way to the GPU", err);
}

/* ---- the thread ------------------------------------------------------------------------------------------------ */

static blip2_status wait_for_buffer(b2_upload *u, size_t i, blip2_error *err) {
    if (u->ends[i] == 0) return BLIP2_OK;
    B2_TRY(b2_gpu_wait_event(u->gpu, u->events[i], "weights on their way to the GPU", err));
    atomic_store(&u->arrived, u->ends[i]);
    u->ends[i] = 0;
    return BLIP2_OK;
}

static blip2_status copy_part(b2_upload *u, const uint8_t *host, uintptr_t device, size_t n, blip2_error *err) {
    const b2_driver *cu = &u->gpu->cu;
    const size_t i = u->next;
    B2_TRY(wait_for_buffer(u, i, err));
    memcpy(u->buffers[i], host, n);
    int code = cu->cuMemcpyHtoDAsync_v2(device, u->buffers[i], n, u->stream);
    pthread_mutex_lock(&u->lock);
    if (code == B2_CU_OK) code = cu->cuEventRecord(u->events[i], u->stream);
    if (code == B2_CU_OK) {
        u->queued = u->ends[i] = device + n;
        u->last = i;
        u->next = (i + 1) % RING;
    }
    pthread_cond_broadcast(&u->changed);
    pthread_mutex_unlock(&u->lock);
    return code == B2_CU_OK ? BLIP2_OK : fail(u, code, err);
}

static blip2_status copy_piece(b2_upload *u, const piece *p, blip2_error *err) {
    for (size_t at = 0; at < p->n_bytes; at += BUFFER_BYTES)
        B2_TRY(copy_part(u, p->host + at, p->device + at, b2_min(p->n_bytes - at, BUFFER_BYTES), err));
    return BLIP2_OK;
}

/* No more pieces for now: what is under way arrives, oldest first. */
static blip2_status finish_all(b2_upload *u, blip2_error *err) {
    for (size_t k = 0; k < RING; k++) B2_TRY(wait_for_buffer(u, (u->next + k) % RING, err));
    return BLIP2_OK;
}

/* The next piece; false when there is none, or the thread shall stop. */
static bool take_piece(b2_upload *u, piece *p) {
    const bool is_there = !u->stops && u->n_taken < u->n_pieces;
    if (is_there) *p = u->pieces[u->n_taken++];
    return is_there;
}

static void *upload_main(void *argument) {
    b2_upload *u = argument;
    blip2_error err = {0};
    int code = u->gpu->cu.cuCtxSetCurrent(u->gpu->context);
    blip2_status status = code == B2_CU_OK ? BLIP2_OK : fail(u, code, &err);
    pthread_mutex_lock(&u->lock);
    while (status == BLIP2_OK && !u->stops) {
        piece p;
        if (take_piece(u, &p)) {
            pthread_mutex_unlock(&u->lock);
            status = copy_piece(u, &p, &err);
            pthread_mutex_lock(&u->lock);
            continue;
        }
        pthread_mutex_unlock(&u->lock);
        status = finish_all(u, &err);
        pthread_mutex_lock(&u->lock);
        u->is_idle = status == BLIP2_OK && u->n_taken == u->n_pieces;
        pthread_cond_broadcast(&u->changed);
        while (u->is_idle && !u->stops) pthread_cond_wait(&u->changed, &u->lock);
    }
    if (status != BLIP2_OK) u->error = err;
    u->is_idle = true;
    pthread_cond_broadcast(&u->changed);
    pthread_mutex_unlock(&u->lock);
    return NULL;
}

/* ---- for the others -------------------------------------------------------------------------------------------- */

static blip2_status fill_upload(b2_upload *u, blip2_error *err) {
    const b2_driver *cu = &u->gpu->cu;
    if (pthread_mutex_init(&u->lock, NULL) != 0 || pthread_cond_init(&u->changed, NULL) != 0)
        return b2_fail(err, BLIP2_MEMORY, "no memory for the upload");
    u->has_lock = true;
    int code = cu->cuStreamCreate(&u->stream, 1);
    for (size_t i = 0; i < RING && code == B2_CU_OK; i++) {
        void *buffer = NULL;
        code = cu->cuMemHostAlloc(&buffer, BUFFER_BYTES, 1);
        u->buffers[i] = buffer;
        if (code == B2_CU_OK) code = cu->cuEventCreate(&u->events[i], 2);
    }
    if (code != B2_CU_OK) return b2_driver_fail(cu, code, "pinned memory for the upload", err);
    u->has_thread = pthread_create(&u->thread, NULL, upload_main, u) == 0;
    return u->has_thread ? BLIP2_OK : b2_fail(err, BLIP2_MEMORY, "no thread for the upload");
}

blip2_status b2_upload_create(b2_gpu *gpu, b2_upload **out, blip2_error *err) {
    *out = NULL;
    b2_upload *u = calloc(1, sizeof *u);
    if (u == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for the upload");
    u->gpu = gpu;
    const blip2_status status = fill_upload(u, err);
    if (status == BLIP2_OK) *out = u;
    else b2_upload_free(u);
    return status;
}

void b2_upload_free(b2_upload *u) {
    if (u == NULL) return;
    const b2_driver *cu = &u->gpu->cu;
    if (u->has_thread && u->gpu->process == getpid()) {
        pthread_mutex_lock(&u->lock);
        u->stops = true;
        pthread_cond_broadcast(&u->changed);
        pthread_mutex_unlock(&u->lock);
        pthread_join(u->thread, NULL);
    }
    const bool can_free = u->gpu->process == getpid() && !atomic_load(&u->gpu->is_silent);
    if (can_free && u->stream != NULL) cu->cuStreamDestroy_v2(u->stream); /* what is under way still reads the ring */
    for (size_t i = 0; i < RING && can_free; i++) {
        if (u->events[i] != NULL) cu->cuEventDestroy_v2(u->events[i]);
        if (u->buffers[i] != NULL) cu->cuMemFreeHost(u->buffers[i]);
    }
    if (u->has_lock && u->gpu->process == getpid()) { /* in a child the thread that waits here is gone: for ever */
        pthread_mutex_destroy(&u->lock);
        pthread_cond_destroy(&u->changed);
    }
    free(u->pieces);
    free(u);
}

blip2_status b2_upload_add(b2_upload *u, const void *host, uintptr_t device, size_t n_bytes, blip2_error *err) {
    pthread_mutex_lock(&u->lock);
    blip2_status status = u->error.status; /* has it failed already, then its thread has ended */
    if (status == BLIP2_OK && u->n_pieces == u->capacity) {
        const size_t capacity = u->capacity == 0 ? 1024 : 2 * u->capacity;
        piece *pieces = realloc(u->pieces, capacity * sizeof *pieces);
        if (pieces != NULL) {
            u->pieces = pieces;
            u->capacity = capacity;
        }
    }
    if (status != BLIP2_OK) b2_fail(err, status, "%s", u->error.message);
    else if (u->n_pieces == u->capacity) status = b2_fail(err, BLIP2_MEMORY, "no memory for the list of weights");
    else {
        u->pieces[u->n_pieces++] = (piece){.host = host, .device = device, .n_bytes = n_bytes};
        if (atomic_load(&u->begin) == 0) {
            u->queued = device;
            atomic_store(&u->arrived, device);
            atomic_store(&u->begin, device);
        }
        u->is_idle = false;
        pthread_cond_broadcast(&u->changed);
    }
    pthread_mutex_unlock(&u->lock);
    return status;
}

blip2_status b2_upload_need(b2_upload *u, void *stream, uintptr_t end, blip2_error *err) {
    const uintptr_t begin = atomic_load(&u->begin);
    if (begin == 0 || end <= begin || end <= atomic_load(&u->arrived)) return BLIP2_OK;
    blip2_status status = BLIP2_OK;
    pthread_mutex_lock(&u->lock);
    const piece *last = u->n_pieces > 0 ? &u->pieces[u->n_pieces - 1] : NULL;
    const bool is_ours = last != NULL && end <= last->device + last->n_bytes;
    while (is_ours && u->queued < end && !u->is_idle && u->error.status == BLIP2_OK)
        pthread_cond_wait(&u->changed, &u->lock);
    if (u->error.status != BLIP2_OK) status = b2_fail(err, u->error.status, "%s", u->error.message);
    else if (is_ours && end > atomic_load(&u->arrived)) {
        const int code = u->gpu->cu.cuStreamWaitEvent(stream, u->events[u->last], 0);
        if (code != B2_CU_OK) status = fail(u, code, err);
    }
    pthread_mutex_unlock(&u->lock);
    return status;
}

void b2_upload_forget(b2_upload *u, uintptr_t begin, uintptr_t end) {
    const uintptr_t first = atomic_load(&u->begin);
    if (first < begin || first >= end) return;
    pthread_mutex_lock(&u->lock);
    u->n_pieces = u->n_taken; /* the rest is not wanted any more */
    while (!u->is_idle) pthread_cond_wait(&u->changed, &u->lock);
    u->n_pieces = u->n_taken = 0;
    u->queued = 0;
    atomic_store(&u->begin, 0);
    atomic_store(&u->arrived, 0);
    pthread_mutex_unlock(&u->lock);
}
