/* driver.c: see driver.h. */
#include "gpu/driver.h"

#include <dlfcn.h>
#include <string.h>

/* A pointer to data becomes one to a function: POSIX promises that it may, C does not. */
static bool look_up(void *library, const char *name, void *function, blip2_error *err) {
    void *symbol = dlsym(library, name);
    memcpy(function, &symbol, sizeof symbol);
    if (symbol == NULL) b2_fail(err, BLIP2_DEVICE, "the NVIDIA driver is too old: libcuda.so.1 lacks %s", name);
    return symbol != NULL;
}

static bool look_up_all(b2_driver *d, blip2_error *err) {
#define B2_CU(name, arguments)                                                                                         \
    if (!look_up(d->library, #name, &d->name, err)) return false;
#include "gpu/driver.def"
#undef B2_CU
    return true;
}

blip2_status b2_driver_open(b2_driver *d, blip2_error *err) {
    *d = (b2_driver){.library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL)};
    if (d->library == NULL) return b2_fail(err, BLIP2_DEVICE, "no NVIDIA driver: libcuda.so.1 was not found");
    if (look_up_all(d, err)) return BLIP2_OK;
    b2_driver_close(d);
    return BLIP2_DEVICE;
}

void b2_driver_close(b2_driver *d) {
    if (d->library != NULL) dlclose(d->library);
    *d = (b2_driver){0};
}

blip2_status b2_driver_fail(const b2_driver *d, int code, const char *what, blip2_error *err) {
    const char *text = NULL;
    if (d->cuGetErrorString(code, &text) != B2_CU_OK || text == NULL) text = "unknown error";
    return b2_fail(err, code == B2_CU_NO_MEMORY ? BLIP2_MEMORY : BLIP2_DEVICE, "%s: %s (%d)", what, text, code);
}
