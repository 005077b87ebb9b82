/* device.c: what an open device can be asked, and waiting for it. Opening is in open.c. */
#include "gpu/device.h"

#include "base/clock.h"
#include "base/size.h"

#include <sched.h>
#include <time.h>

void b2_gpu_describe(const b2_gpu *gpu, b2_gpu_info *info) { *info = gpu->info; }

size_t b2_gpu_room(b2_gpu *gpu) {
    const size_t least = (size_t)256 << 20;
    size_t n_free = 0, n_all = 0;
    if (gpu->cu.cuCtxSetCurrent(gpu->context) != B2_CU_OK || gpu->cu.cuMemGetInfo_v2(&n_free, &n_all) != B2_CU_OK)
        return 0;
    const size_t kept = b2_min(n_all / 4, b2_max(least, n_all / 20));
    return n_free > kept ? n_free - kept : 0;
}

/* At first without sleeping: most waits are shorter than a sleep. */
blip2_status b2_gpu_wait_event(b2_gpu *gpu, void *event, const char *what, blip2_error *err) {
    const int64_t start = b2_clock_ns(), second = 1000000000;
    for (;;) {
        const int code = gpu->cu.cuEventQuery(event);
        if (code == B2_CU_OK) return BLIP2_OK;
        if (code != B2_CU_NOT_READY) return b2_driver_fail(&gpu->cu, code, what, err);
        const int64_t waited = b2_clock_ns() - start;
        if (waited > gpu->timeout_s * second) {
            atomic_store(&gpu->is_silent, true);
            return b2_fail(err, BLIP2_DEVICE, "%s: no answer for %d s", what, gpu->timeout_s);
        }
        const struct timespec nap = {.tv_nsec = waited < second / 10 ? 20000 : 1000000};
        if (waited < second / 500) sched_yield();
        else nanosleep(&nap, NULL);
    }
}
