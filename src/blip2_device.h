/* blip2_device.h: the device that the sessions of a model share: one copy of the weights that live there. */
#ifndef B2_BLIP2_DEVICE_H
#define B2_BLIP2_DEVICE_H

#include "gpu/gpu.h"
#include "model/workspace.h"

typedef struct b2_device b2_device;

/* NULL: no memory. */
b2_device *b2_device_create(void);
void b2_device_free(b2_device *device);

/* What a session wants of it. */
typedef struct b2_device_wish {
    int layers; /* of b2_home's line; negative: as many as fit */
    int index, timeout_s;
} b2_device_wish;

/* What it got: a home with its workspace, the weights as spread over both homes, and a sentence why there are fewer
 * layers than wanted, "" if there are as many. */
typedef struct b2_device_share {
    b2_ops *ops; /* NULL: nothing */
    b2_workspace workspace;
    const b2_weights *weights;
    b2_gpu_info gpu;
    size_t weight_bytes, session_bytes;
    char reason[BLIP2_ERROR_BYTES];
} b2_device_share;

/* The first session opens the device and decides how many layers go there, by sizes alone, before anything is reserved:
 * weights, and the session's own memory. Later ones use what is there. On failure nothing is held.
 * Errors: DEVICE, MEMORY, UNSUPPORTED. */
blip2_status b2_device_join(b2_device *device, const b2_weights *file, const b2_device_wish *wish,
                            const b2_capacity *capacity, b2_device_share *share, blip2_error *err);

/* Gives the share back; the last session to leave closes the device. failure: NULL, or why the device is not to be used
 * by this model any more. */
void b2_device_leave(b2_device *device, b2_device_share *share, const blip2_error *failure);

/* What b2_device_join would do, in *share (weights NULL, nothing reserved) and *n_layers. */
blip2_status b2_device_measure(b2_device *device, const b2_weights *file, const b2_device_wish *wish,
                               const b2_capacity *capacity, b2_device_share *share, uint32_t *n_layers,
                               blip2_error *err);

#endif
