/* home.h: the inside of a home on a GPU: memory, waiting, launching. The verbs are in verbs*.c. */
#ifndef B2_GPU_HOME_H
#define B2_GPU_HOME_H

#include "gpu/args.h"
#include "gpu/device.h"
#include "kernels/verbs.h"

/* Small lists from the host (slots, ids, rows): so many go along with one launch. */
enum { B2_GPU_LIST_LEN = 16384 };

typedef struct b2_gpu_home {
    b2_ops ops; /* first: the head that every home begins with */
    b2_gpu *gpu;
    void *stream, *event;
    uint8_t *staging; /* pinned; what lies below staged_bytes may still be read or written by the stream */
    size_t staged_bytes;
    int64_t waited_ns;
    uintptr_t own;  /* device memory of the home itself: lists, then a b2_choice */
    b2_slot *slots; /* host copy of the slots that are in the list area, n_slots of them; 0: something else is there */
    size_t n_slots;

    /* scratch, placed by plan */
    b2_ops_limits limits;
    int8_t *plane_hi, *plane_lo;
    float *plane_scale, *keys, *spare;

    /* what the last launch of choose said: greedy decoding asks twice about the same row */
    b2_choice choice;
    const float *chosen; /* NULL: nothing, or the row may have changed since */
    size_t chosen_len;
} b2_gpu_home;

static inline b2_gpu_home *b2_gpu_home_of(b2_ops *ops) { return (b2_gpu_home *)(void *)ops; }

/* ---- memory (home.c) ---- */
void b2_gpu_free_home(b2_ops *ops);
blip2_status b2_gpu_reserve(b2_ops *ops, b2_arena *arena, blip2_error *err);
void b2_gpu_release(b2_ops *ops, b2_arena *arena);
const void *b2_gpu_upload(b2_ops *ops, const void *host, size_t n_bytes, b2_arena *arena);
void b2_gpu_send(b2_ops *ops, const float *host, size_t n, float *x);
void b2_gpu_fetch(b2_ops *ops, const float *x, size_t n, float *host);

/* Room in the staging buffer for up to n_bytes (at most B2_GPU_STAGING_BYTES), 64-byte aligned; waits for the stream
 * when it is full. NULL: the home has failed. */
enum { B2_GPU_STAGING_BYTES = 4 << 20 };
void *b2_gpu_stage(b2_gpu_home *home, size_t n_bytes);

/* Copies staged bytes to the device. */
void b2_gpu_send_staged(b2_gpu_home *home, const void *staged, size_t n_bytes, uintptr_t to);

/* Copies n_bytes <= B2_GPU_STAGING_BYTES to the host and waits; false: the home has failed. */
bool b2_gpu_fetch_bytes(b2_gpu_home *home, uintptr_t from, size_t n_bytes, void *host);

/* n items of 4 bytes to the list area, n <= B2_GPU_LIST_LEN; their address there, NULL: the home has failed. */
const void *b2_gpu_send_list(b2_gpu_home *home, const void *items, size_t n_bytes);

/* ---- launching (home.c) ---- */
/* Weights below `end` will be read by what is launched next. */
void b2_gpu_need(b2_gpu_home *home, const void *end);

typedef struct b2_grid {
    size_t x, y, z;
} b2_grid;

/* Queues a kernel; args is its struct of args.h. */
void b2_gpu_launch(b2_gpu_home *home, b2_kernel kernel, b2_grid grid, size_t shared_bytes, const void *args);

/* The home has failed with this code of the driver. */
void b2_gpu_home_fail(b2_gpu_home *home, int code, const char *what);

/* The table that verbs.c fills. */
const b2_verbs *b2_gpu_table(void);

#endif
