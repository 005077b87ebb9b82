/* open.c: opening a device: everything that can be refused is refused here, in one sentence. */
#include "gpu/ptx.h"
#include "gpu/upload.h"

#include <stdlib.h>
#include <unistd.h>

enum { ATTRIBUTE_MAJOR = 75, ATTRIBUTE_MINOR = 76, OLDEST_DRIVER = 10020, OLDEST_CAPABILITY = 61 };

#define TRY_CU(gpu, call, what)                                                                                        \
    do {                                                                                                               \
        const int code = (gpu)->cu.call;                                                                               \
        if (code != B2_CU_OK) return b2_driver_fail(&(gpu)->cu, code, what, err);                                      \
    } while (0)

static blip2_status choose_device(b2_gpu *gpu, int index, blip2_error *err) {
    int n = 0, major = 0, minor = 0;
    TRY_CU(gpu, cuInit(0), "the NVIDIA driver does not start");
    TRY_CU(gpu, cuDriverGetVersion(&gpu->info.driver), "the driver's version");
    if (gpu->info.driver < OLDEST_DRIVER)
        return b2_fail(err, BLIP2_DEVICE,
                       "the NVIDIA driver is too old: expected one for CUDA 10.2 or newer, got %d.%d",
                       gpu->info.driver / 1000, gpu->info.driver % 1000 / 10);
    TRY_CU(gpu, cuDeviceGetCount(&n), "the number of devices");
    if (index >= n)
        return b2_fail(err, BLIP2_DEVICE, "GPU %d does not exist: there %s %d", index, n == 1 ? "is" : "are", n);
    TRY_CU(gpu, cuDeviceGet(&gpu->device, index), "the device");
    TRY_CU(gpu, cuDeviceGetName(gpu->info.name, (int)sizeof gpu->info.name, gpu->device), "the device's name");
    TRY_CU(gpu, cuDeviceGetAttribute(&major, ATTRIBUTE_MAJOR, gpu->device), "the device's compute capability");
    TRY_CU(gpu, cuDeviceGetAttribute(&minor, ATTRIBUTE_MINOR, gpu->device), "the device's compute capability");
    gpu->info.capability = 10 * major + minor;
    if (gpu->info.capability < OLDEST_CAPABILITY)
        return b2_fail(err, BLIP2_DEVICE, "%s is too old: expected compute capability 6.1 or newer, got %d.%d",
                       gpu->info.name, major, minor);
    return BLIP2_OK;
}

static blip2_status load_kernels(b2_gpu *gpu, blip2_error *err) {
    static const char *const names[] = {
#define B2_KERNEL(name, threads) #name,
#include "gpu/kernels.def"
#undef B2_KERNEL
    };
    const char *text = b2_ptx_find(gpu->info.capability);
    if (text == NULL || text[0] == '\0')
        return b2_fail(err, BLIP2_UNSUPPORTED, "this build has no kernels for GPUs (made without clang)");
    TRY_CU(gpu, cuModuleLoadDataEx(&gpu->module, text, 0, NULL, NULL), "the driver refuses the kernels");
    for (size_t i = 0; i < B2_KERNELS; i++)
        TRY_CU(gpu, cuModuleGetFunction(&gpu->functions[i], gpu->module, names[i]), names[i]);
    return BLIP2_OK;
}

static blip2_status open_device(b2_gpu *gpu, int index, blip2_error *err) {
    B2_TRY(b2_driver_open(&gpu->cu, err));
    B2_TRY(choose_device(gpu, index, err));
    TRY_CU(gpu, cuDevicePrimaryCtxRetain(&gpu->context, gpu->device), "the device's context");
    TRY_CU(gpu, cuCtxSetCurrent(gpu->context), "the device's context");
    B2_TRY(load_kernels(gpu, err));
    TRY_CU(gpu, cuMemGetInfo_v2(&gpu->info.free_bytes, &gpu->info.total_bytes), "the device's memory");
    return b2_upload_create(gpu, &gpu->upload, err);
}

blip2_status b2_gpu_open(int index, int timeout_s, b2_gpu **out, blip2_error *err) {
    *out = NULL;
    b2_gpu *gpu = calloc(1, sizeof *gpu);
    if (gpu == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for the GPU's tables");
    gpu->timeout_s = timeout_s;
    gpu->process = getpid();
    const blip2_status status = open_device(gpu, index, err);
    if (status == BLIP2_OK) *out = gpu;
    else b2_gpu_close(gpu);
    return status;
}

void b2_gpu_close(b2_gpu *gpu) {
    if (gpu == NULL) return;
    b2_upload_free(gpu->upload);
    const bool is_ours = gpu->process == getpid() && !atomic_load(&gpu->is_silent);
    if (is_ours && gpu->module != NULL) gpu->cu.cuModuleUnload(gpu->module);
    if (is_ours && gpu->context != NULL) gpu->cu.cuDevicePrimaryCtxRelease_v2(gpu->device);
    if (is_ours) b2_driver_close(&gpu->cu);
    free(gpu);
}
