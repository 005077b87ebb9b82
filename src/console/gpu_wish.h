/* gpu_wish.h: what the user wants of a GPU, from options and environment, and what is said about it. */
#ifndef B2_GPU_WISH_H
#define B2_GPU_WISH_H

#include "blip2.h"

#include <stdatomic.h>

/* As the options give it; all zero: nothing was said. */
typedef struct b2_gpu_wish {
    const char *layers; /* "N" or "auto"; NULL: BLIP2_GPU_LAYERS, else none */
    int device, timeout_s;
} b2_gpu_wish;

/* Into session options. False, with a sentence: the number of layers is none. */
bool b2_gpu_wish_apply(const b2_gpu_wish *wish, blip2_session_options *options, blip2_error *err);

/* One line: the device, its memory, and what runs where. */
enum { B2_GPU_LINE_BYTES = 512 };
void b2_gpu_write_line(const blip2_device *device, const blip2_model_info *info, char line[B2_GPU_LINE_BYTES]);

/* What has been said about a device that the sessions of a job share: that fewer layers fit, that none is there. */
typedef struct b2_gpu_notice {
    atomic_bool fewer, none;
} b2_gpu_notice;

/* Says why the session has fewer layers on the device than were wanted, if so and if nobody has. */
void b2_gpu_say_reason(b2_gpu_notice *notice, const blip2_session *session);

#endif
