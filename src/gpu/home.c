/* home.c: a home on a GPU: its stream and memory, copies in both directions, launching.
 *
 * Nothing waits but fetches and a full staging buffer. Copies go through pinned memory, since only there the driver
 * copies without waiting itself; room in it is handed out from the bottom up until the next wait empties it. */
#include "gpu/home.h"

#include "base/clock.h"
#include "base/size.h"
#include "gpu/upload.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LIST_BYTES = B2_GPU_LIST_LEN * (int)sizeof(b2_slot), OWN_BYTES = LIST_BYTES + (int)sizeof(b2_choice) };

void b2_gpu_home_fail(b2_gpu_home *home, int code, const char *what) {
    blip2_error err;
    const blip2_status status = b2_driver_fail(&home->gpu->cu, code, what, &err);
    b2_ops_fail(&home->ops, status == BLIP2_MEMORY ? BLIP2_DEVICE : status, err.message);
}

static bool has_failed(const b2_gpu_home *home) { return home->ops.error.status != BLIP2_OK; }

/* The first failing call stays the home's failure; after it nothing is called. */
static bool check(b2_gpu_home *home, int code, const char *what) {
    if (code != B2_CU_OK) b2_gpu_home_fail(home, code, what);
    return code == B2_CU_OK;
}

/* ---- the home -------------------------------------------------------------------------------------------------- */

static blip2_status fill_home(b2_gpu_home *home, blip2_error *err) {
    b2_gpu *gpu = home->gpu;
    const b2_driver *cu = &gpu->cu;
    void *staging = NULL;
    int code = cu->cuCtxSetCurrent(gpu->context);
    if (code == B2_CU_OK) code = cu->cuStreamCreate(&home->stream, 1);                  /* waits for no other stream */
    if (code == B2_CU_OK) code = cu->cuEventCreate(&home->event, 2);                    /* without a clock */
    if (code == B2_CU_OK) code = cu->cuMemHostAlloc(&staging, B2_GPU_STAGING_BYTES, 1); /* pinned for every context */
    home->staging = staging;
    if (code == B2_CU_OK) code = cu->cuMemAlloc_v2(&home->own, OWN_BYTES);
    if (code != B2_CU_OK) return b2_driver_fail(cu, code, "a stream of the GPU", err);
    home->slots = malloc(B2_GPU_LIST_LEN * sizeof *home->slots);
    return home->slots != NULL ? BLIP2_OK : b2_fail(err, BLIP2_MEMORY, "no memory for the GPU's lists");
}

blip2_status b2_gpu_home_create(b2_gpu *gpu, b2_ops **ops, blip2_error *err) {
    *ops = NULL;
    b2_gpu_home *home = calloc(1, sizeof *home);
    if (home == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for the GPU's tables");
    home->ops.verbs = b2_gpu_table();
    home->gpu = gpu;
    const blip2_status status = fill_home(home, err);
    if (status == BLIP2_OK) *ops = &home->ops;
    else b2_gpu_free_home(&home->ops);
    return status;
}

/* A silent device would let us wait for ever, and another process's context is not ours: then nothing is given back. */
static bool can_give_back(const b2_gpu *gpu) { return gpu->process == getpid() && !atomic_load(&gpu->is_silent); }

void b2_gpu_free_home(b2_ops *ops) {
    b2_gpu_home *home = b2_gpu_home_of(ops);
    const b2_driver *cu = &home->gpu->cu;
    if (can_give_back(home->gpu) && cu->cuCtxSetCurrent(home->gpu->context) == B2_CU_OK) {
        if (home->stream != NULL) cu->cuStreamDestroy_v2(home->stream);
        if (home->event != NULL) cu->cuEventDestroy_v2(home->event);
        if (home->staging != NULL) cu->cuMemFreeHost(home->staging);
        if (home->own != 0) cu->cuMemFree_v2(home->own);
    }
    free(home->slots);
    free(home);
}

void b2_gpu_home_enter(b2_ops *ops) {
    b2_gpu_home *home = b2_gpu_home_of(ops);
    if (has_failed(home)) return;
    if (home->gpu->process != getpid()) {
        b2_ops_fail(ops, BLIP2_DEVICE,
                    "the GPU was opened before this process was forked: open the model after a fork");
        return;
    }
    check(home, home->gpu->cu.cuCtxSetCurrent(home->gpu->context), "the device's context");
}

/* Waits for everything queued; the staging buffer is empty then. */
static bool finish_queue(b2_gpu_home *home) {
    blip2_error err;
    const int64_t start = b2_clock_ns();
    if (!check(home, home->gpu->cu.cuEventRecord(home->event, home->stream), "the GPU's queue")) return false;
    const blip2_status status = b2_gpu_wait_event(home->gpu, home->event, "work on the GPU", &err);
    if (status != BLIP2_OK) b2_ops_fail(&home->ops, BLIP2_DEVICE, err.message);
    home->staged_bytes = 0;
    home->waited_ns += b2_clock_ns() - start;
    return status == BLIP2_OK;
}

int64_t b2_gpu_home_waited(const b2_ops *ops) { return ((const b2_gpu_home *)(const void *)ops)->waited_ns; }

/* ---- memory ---------------------------------------------------------------------------------------------------- */

blip2_status b2_gpu_reserve(b2_ops *ops, b2_arena *arena, blip2_error *err) {
    b2_gpu_home *home = b2_gpu_home_of(ops);
    const b2_driver *cu = &home->gpu->cu;
    uintptr_t memory = 0;
    if (arena->overflow) return b2_fail(err, BLIP2_LIMIT, "the memory needed does not fit the GPU's address space");
    const size_t n_bytes = b2_max(arena->used_bytes, B2_ARENA_ALIGN_BYTES);
    int code = cu->cuMemAlloc_v2(&memory, n_bytes);
    if (code == B2_CU_OK) code = cu->cuMemsetD8Async(memory, 0, n_bytes, home->stream);
    arena->base = (uint8_t *)memory;
    arena->capacity_bytes = n_bytes;
    arena->used_bytes = 0;
    /* Other streams are about to write there: the zeros must not come after them. */
    if (code == B2_CU_OK && finish_queue(home)) return BLIP2_OK;
    b2_gpu_release(ops, arena);
    if (code != B2_CU_OK) return b2_driver_fail(cu, code, "memory of the GPU", err);
    return b2_fail(err, home->ops.error.status, "%s", home->ops.error.message);
}

void b2_gpu_release(b2_ops *ops, b2_arena *arena) {
    b2_gpu *gpu = b2_gpu_home_of(ops)->gpu;
    const uintptr_t begin = (uintptr_t)arena->base;
    if (begin != 0 && gpu->process == getpid()) b2_upload_forget(gpu->upload, begin, begin + arena->capacity_bytes);
    if (arena->base != NULL && can_give_back(gpu) && gpu->cu.cuCtxSetCurrent(gpu->context) == B2_CU_OK)
        gpu->cu.cuMemFree_v2(begin); /* waits for what still uses it */
    *arena = (b2_arena){0};
}

const void *b2_gpu_upload(b2_ops *ops, const void *host, size_t n_bytes, b2_arena *arena) {
    void *place = b2_arena_take(arena, n_bytes, 1);
    blip2_error err;
    if (place != NULL) {
        const blip2_status status =
            b2_upload_add(b2_gpu_home_of(ops)->gpu->upload, host, (uintptr_t)place, n_bytes, &err);
        if (status != BLIP2_OK) b2_ops_fail(ops, BLIP2_DEVICE, err.message);
    }
    return place;
}

/* ---- copies ---------------------------------------------------------------------------------------------------- */

void *b2_gpu_stage(b2_gpu_home *home, size_t n_bytes) {
    const size_t wanted = b2_round_up(n_bytes, B2_ARENA_ALIGN_BYTES);
    if (has_failed(home)) return NULL;
    if (home->staged_bytes + wanted > B2_GPU_STAGING_BYTES && !finish_queue(home)) return NULL;
    void *place = home->staging + home->staged_bytes;
    home->staged_bytes += wanted;
    return place;
}

void b2_gpu_send_staged(b2_gpu_home *home, const void *staged, size_t n_bytes, uintptr_t to) {
    home->chosen = NULL;
    check(home, home->gpu->cu.cuMemcpyHtoDAsync_v2(to, staged, n_bytes, home->stream), "a copy to the GPU");
}

static void send_bytes(b2_gpu_home *home, const void *host, size_t n_bytes, uintptr_t to) {
    for (size_t at = 0; at < n_bytes && !has_failed(home); at += B2_GPU_STAGING_BYTES / 2) {
        const size_t part = b2_min(n_bytes - at, B2_GPU_STAGING_BYTES / 2);
        void *staged = b2_gpu_stage(home, part);
        if (staged == NULL) return;
        memcpy(staged, (const uint8_t *)host + at, part);
        b2_gpu_send_staged(home, staged, part, to + at);
    }
}

void b2_gpu_send(b2_ops *ops, const float *host, size_t n, float *x) {
    send_bytes(b2_gpu_home_of(ops), host, n * sizeof *x, (uintptr_t)x);
}

bool b2_gpu_fetch_bytes(b2_gpu_home *home, uintptr_t from, size_t n_bytes, void *host) {
    const void *staged = b2_gpu_stage(home, n_bytes);
    if (staged == NULL) return false;
    const int code = home->gpu->cu.cuMemcpyDtoHAsync_v2((void *)(uintptr_t)staged, from, n_bytes, home->stream);
    if (!check(home, code, "a copy from the GPU") || !finish_queue(home)) return false;
    memcpy(host, staged, n_bytes);
    return true;
}

void b2_gpu_fetch(b2_ops *ops, const float *x, size_t n, float *host) {
    b2_gpu_home *home = b2_gpu_home_of(ops);
    const size_t most = B2_GPU_STAGING_BYTES / sizeof *x;
    for (size_t at = 0; at < n; at += most) {
        const size_t part = b2_min(n - at, most);
        if (!b2_gpu_fetch_bytes(home, (uintptr_t)(x + at), part * sizeof *x, host + at)) return;
    }
}

const void *b2_gpu_send_list(b2_gpu_home *home, const void *items, size_t n_bytes) {
    home->n_slots = 0;
    send_bytes(home, items, n_bytes, home->own);
    return has_failed(home) ? NULL : (const void *)home->own;
}

/* ---- launching ------------------------------------------------------------------------------------------------- */

void b2_gpu_need(b2_gpu_home *home, const void *end) {
    blip2_error err;
    if (has_failed(home)) return;
    if (b2_upload_need(home->gpu->upload, home->stream, (uintptr_t)end, &err) != BLIP2_OK)
        b2_ops_fail(&home->ops, BLIP2_DEVICE, err.message);
}

void b2_gpu_launch(b2_gpu_home *home, b2_kernel kernel, b2_grid grid, size_t shared_bytes, const void *args) {
    static const struct {
        const char *name;
        unsigned threads;
    } kernels[] = {
#define B2_KERNEL(name, threads) {#name, threads},
#include "gpu/kernels.def"
#undef B2_KERNEL
    };
    void *list[] = {(void *)(uintptr_t)args};
    home->chosen = NULL;
    if (has_failed(home) || grid.x == 0 || grid.y == 0 || grid.z == 0) return;
    const int code =
        home->gpu->cu.cuLaunchKernel(home->gpu->functions[kernel], (unsigned)grid.x, (unsigned)grid.y, (unsigned)grid.z,
                                     kernels[kernel].threads, 1, 1, (unsigned)shared_bytes, home->stream, list, NULL);
    check(home, code, kernels[kernel].name);
}
