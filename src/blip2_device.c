/* blip2_device.c: opening the device once, and how many layers fit. */
#include "blip2_device.h"

#include "base/size.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct b2_device {
    pthread_mutex_t lock;
    blip2_error lost; /* it failed while in use: nobody tries again */
    size_t n_users;

    /* while there are users: */
    b2_gpu *gpu;
    b2_ops *ops; /* the home of the weights */
    b2_arena arena;
    b2_weights weights;
    size_t weight_bytes;
    char reason[BLIP2_ERROR_BYTES];
};

b2_device *b2_device_create(void) {
    b2_device *d = calloc(1, sizeof *d);
    if (d != NULL && pthread_mutex_init(&d->lock, NULL) == 0) return d;
    free(d);
    return NULL;
}

void b2_device_free(b2_device *d) {
    if (d == NULL) return;
    pthread_mutex_destroy(&d->lock);
    free(d);
}

/* ---- how many layers ------------------------------------------------------------------------------------------- */

/* Bytes that the weights of n layers and one session need there. */
static blip2_status measure(const b2_weights *file, uint32_t n, const b2_capacity *capacity, b2_ops *ops,
                            size_t *weight_bytes, size_t *session_bytes, blip2_error *err) {
    b2_weights shape = *file; /* the views are not looked at */
    shape.n_away = n;
    *session_bytes = b2_workspace_measure(&shape, capacity, B2_HOME_DEVICE, ops).total;
    return b2_weights_measure(file, n, ops, weight_bytes, err);
}

/* The most layers, at most n, that fit into room. More layers never need less. */
static blip2_status find_fit(const b2_weights *file, uint32_t n, const b2_capacity *capacity, b2_ops *ops, size_t room,
                             uint32_t *fit, blip2_error *err) {
    uint32_t low = 0, high = n;
    while (low < high) {
        const uint32_t middle = high - (high - low) / 2;
        size_t weight_bytes, session_bytes;
        B2_TRY(measure(file, middle, capacity, ops, &weight_bytes, &session_bytes, err));
        if (weight_bytes <= room && session_bytes <= room - weight_bytes) low = middle;
        else high = middle - 1;
    }
    *fit = low;
    return BLIP2_OK;
}

static uint32_t wanted_layers(const b2_weights *file, const b2_device_wish *wish) {
    const uint32_t all = b2_home_line_len(file);
    return wish->layers >= 0 && (uint32_t)wish->layers < all ? (uint32_t)wish->layers : all;
}

/* Says why fewer layers are there than were wanted. */
static void explain(char *reason, uint32_t n, uint32_t wanted, const b2_gpu_info *info, size_t room) {
    reason[0] = '\0';
    if (n < wanted)
        snprintf(reason, BLIP2_ERROR_BYTES, "%u of %u layers fit into %s (%zu MiB usable)", n, wanted, info->name,
                 room >> 20);
}

/* ---- opening and closing --------------------------------------------------------------------------------------- */

static void close_device(b2_device *d) {
    b2_gpu_close(d->gpu);
    d->gpu = NULL;
    d->ops = NULL;
}

static void close_weights(b2_device *d) {
    if (d->ops != NULL) b2_ops_release(d->ops, &d->arena);
    b2_ops_free(d->ops);
    d->ops = NULL;
    b2_weights_free(&d->weights);
}

static blip2_status check_wish(const b2_device *d, const b2_weights *file, blip2_error *err) {
    if (d->lost.status != BLIP2_OK) return b2_fail(err, d->lost.status, "%s", d->lost.message);
    if (file->dtype != B2_DTYPE_I8)
        return b2_fail(err, BLIP2_UNSUPPORTED, "the GPU computes int8 files only, this one is %s",
                       b2_dtype_name(file->dtype));
    return BLIP2_OK;
}

/* Weights and the first session's workspace, n layers of them. */
static blip2_status place(b2_device *d, const b2_weights *file, uint32_t n, const b2_capacity *capacity,
                          b2_device_share *share, blip2_error *err) {
    B2_TRY(b2_weights_place(file, n, d->ops, &d->arena, &d->weights, err));
    blip2_status status = b2_ops_status(d->ops, err); /* an upload that failed at once */
    if (status == BLIP2_OK)
        status = b2_workspace_create(&d->weights, capacity, B2_HOME_DEVICE, share->ops, &share->workspace, err);
    if (status == BLIP2_OK) return BLIP2_OK;
    b2_ops_release(d->ops, &d->arena);
    b2_weights_free(&d->weights);
    return status;
}

/* By sizes first; if memory is refused all the same (others took it meanwhile, or it lies in pieces), with fewer. */
static blip2_status place_first(b2_device *d, const b2_weights *file, const b2_device_wish *wish,
                                const b2_capacity *capacity, b2_device_share *share, blip2_error *err) {
    const uint32_t wanted = wanted_layers(file, wish);
    const size_t room = b2_gpu_room(d->gpu);
    uint32_t n;
    B2_TRY(b2_gpu_home_create(d->gpu, &d->ops, err));
    B2_TRY(find_fit(file, wanted, capacity, share->ops, room, &n, err));
    blip2_status status =
        b2_fail(err, BLIP2_MEMORY, "no layer fits into %s (%zu MiB usable)", share->gpu.name, room >> 20);
    for (; n > 0; n -= n < 8 ? 1 : n / 8) {
        status = place(d, file, n, capacity, share, err);
        if (status != BLIP2_MEMORY) break;
    }
    if (status != BLIP2_OK) return status;
    size_t session_bytes;
    explain(d->reason, n, wanted, &share->gpu, room);
    return measure(file, n, capacity, d->ops, &d->weight_bytes, &session_bytes, err);
}

static blip2_status join_locked(b2_device *d, const b2_weights *file, const b2_device_wish *wish,
                                const b2_capacity *capacity, b2_device_share *share, blip2_error *err) {
    B2_TRY(check_wish(d, file, err));
    if (d->n_users == 0) B2_TRY(b2_gpu_open(wish->index, wish->timeout_s, &d->gpu, err));
    b2_gpu_describe(d->gpu, &share->gpu);
    B2_TRY(b2_gpu_home_create(d->gpu, &share->ops, err));
    if (d->n_users == 0) B2_TRY(place_first(d, file, wish, capacity, share, err));
    else B2_TRY(b2_workspace_create(&d->weights, capacity, B2_HOME_DEVICE, share->ops, &share->workspace, err));
    share->session_bytes = share->workspace.arena.capacity_bytes;
    share->weight_bytes = d->weight_bytes;
    share->weights = &d->weights;
    snprintf(share->reason, sizeof share->reason, "%s", d->reason);
    return BLIP2_OK;
}

/* What the share holds, and what nobody uses any more. */
static void drop_locked(b2_device *d, b2_device_share *share) {
    b2_workspace_free(&share->workspace);
    b2_ops_free(share->ops);
    *share = (b2_device_share){0};
    if (d->n_users > 0) return;
    close_weights(d);
    close_device(d);
}

blip2_status b2_device_join(b2_device *d, const b2_weights *file, const b2_device_wish *wish,
                            const b2_capacity *capacity, b2_device_share *share, blip2_error *err) {
    *share = (b2_device_share){0};
    pthread_mutex_lock(&d->lock);
    const blip2_status status = join_locked(d, file, wish, capacity, share, err);
    if (status == BLIP2_OK) d->n_users++;
    else drop_locked(d, share);
    pthread_mutex_unlock(&d->lock);
    return status;
}

void b2_device_leave(b2_device *d, b2_device_share *share, const blip2_error *failure) {
    if (share->ops == NULL) return;
    pthread_mutex_lock(&d->lock);
    if (failure != NULL && d->lost.status == BLIP2_OK) d->lost = *failure;
    d->n_users--;
    drop_locked(d, share);
    pthread_mutex_unlock(&d->lock);
}

blip2_status b2_device_measure(b2_device *d, const b2_weights *file, const b2_device_wish *wish,
                               const b2_capacity *capacity, b2_device_share *share, uint32_t *n_layers,
                               blip2_error *err) {
    b2_gpu *gpu = NULL;
    b2_ops *ops = NULL;
    const uint32_t wanted = wanted_layers(file, wish);
    *share = (b2_device_share){0};
    *n_layers = 0;
    B2_TRY(check_wish(d, file, err));
    B2_TRY(b2_gpu_open(wish->index, wish->timeout_s, &gpu, err));
    b2_gpu_describe(gpu, &share->gpu);
    blip2_status status = b2_gpu_home_create(gpu, &ops, err);
    const size_t room = b2_gpu_room(gpu);
    if (status == BLIP2_OK) status = find_fit(file, wanted, capacity, ops, room, n_layers, err);
    if (status == BLIP2_OK)
        status = measure(file, *n_layers, capacity, ops, &share->weight_bytes, &share->session_bytes, err);
    explain(share->reason, *n_layers, wanted, &share->gpu, room);
    b2_ops_free(ops);
    b2_gpu_close(gpu);
    return status;
}
