/* device.h: the inside of b2_gpu, for the files of this room. */
#ifndef B2_GPU_DEVICE_H
#define B2_GPU_DEVICE_H

#include "gpu/driver.h"
#include "gpu/gpu.h"

#include <stdatomic.h>
#include <sys/types.h>

typedef enum b2_kernel {
#define B2_KERNEL(name, threads) B2_KERNEL_##name,
#include "gpu/kernels.def"
#undef B2_KERNEL
    B2_KERNELS
} b2_kernel;

typedef struct b2_upload b2_upload;

struct b2_gpu {
    b2_driver cu;
    b2_gpu_info info;
    int device, timeout_s;
    void *context, *module;
    void *functions[B2_KERNELS];
    pid_t process;         /* that opened it */
    atomic_bool is_silent; /* it does not answer any more: nothing of it can be given back without waiting for ever */
    b2_upload *upload;     /* weights on their way */
};

/* Waits until the event has come, timeout_s seconds at most. Errors: DEVICE. */
blip2_status b2_gpu_wait_event(b2_gpu *gpu, void *event, const char *what, blip2_error *err);

#endif
