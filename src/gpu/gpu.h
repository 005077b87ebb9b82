/* gpu.h: a CUDA device as a home (kernels/verbs.h): the same numbers to the bit, in its own memory.
 *
 *   b2_gpu        an opened device: driver, context, kernels, the thread that uploads weights; shared by all homes
 *   b2_ops        one home for the weights, and one for each session: a stream, scratch, pinned memory
 *
 * Everything that can be refused is refused while opening and creating. After that a home may still fail
 * (b2_ops_status): memory, a lost device, a device that does not answer. */
#ifndef B2_GPU_H
#define B2_GPU_H

#include "kernels/tensor.h"

typedef struct b2_gpu b2_gpu;

typedef struct b2_gpu_info {
    char name[64];
    int capability;                 /* 75 is 7.5 */
    int driver;                     /* 12040 is 12.4: the newest CUDA that the driver knows */
    size_t total_bytes, free_bytes; /* free: when it was opened */
} b2_gpu_info;

/* Opens device number `device`. timeout_s: how long it may be silent before it counts as lost. One sentence says why
 * not. Errors: DEVICE, MEMORY. */
blip2_status b2_gpu_open(int device, int timeout_s, b2_gpu **gpu, blip2_error *err);
/* After all its homes. NULL is fine. */
void b2_gpu_close(b2_gpu *gpu);

void b2_gpu_describe(const b2_gpu *gpu, b2_gpu_info *info);

/* Bytes that may be taken now: what is free, less max(256 MiB, 5 % of all) for the screen and for others; on cards of
 * less than 1 GiB a quarter stays free. 0 when the device does not say. */
size_t b2_gpu_room(b2_gpu *gpu);

/* A home on it. Errors: DEVICE, MEMORY. */
blip2_status b2_gpu_home_create(b2_gpu *gpu, b2_ops **ops, blip2_error *err);

/* To be called on the thread that will use the home, before it does. The home fails when this is another process than
 * the one that opened the device: a fork does not inherit it. */
void b2_gpu_home_enter(b2_ops *ops);

/* Nanoseconds that its users have waited for it so far. */
int64_t b2_gpu_home_waited(const b2_ops *ops);

#endif
