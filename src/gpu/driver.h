/* driver.h: NVIDIA's driver library, looked up when somebody wants a GPU and not before: nothing of CUDA is needed to
 * build, link or start this program. */
#ifndef B2_GPU_DRIVER_H
#define B2_GPU_DRIVER_H

#include "base/status.h"

/* Codes that we tell apart. */
enum { B2_CU_OK = 0, B2_CU_NO_MEMORY = 2, B2_CU_NOT_READY = 600 };

typedef struct b2_driver {
    void *library;
#define B2_CU(name, arguments) int(*name) arguments;
#include "gpu/driver.def"
#undef B2_CU
} b2_driver;

/* Finds libcuda.so.1 and every function of driver.def. Errors: DEVICE. */
blip2_status b2_driver_open(b2_driver *driver, blip2_error *err);
void b2_driver_close(b2_driver *driver);

/* The sentence for a call that returned code: "what: the driver's words (code)". Returns MEMORY or DEVICE. */
blip2_status b2_driver_fail(const b2_driver *driver, int code, const char *what, blip2_error *err);

#endif
