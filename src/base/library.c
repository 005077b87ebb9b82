/* library.c: see library.h. The loader counts how often a library is asked for: it is our only memory of it. */
#include "base/library.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

static blip2_status fail(const char *who, blip2_error *err) {
    const char *why = dlerror();
    const bool is_memory = errno == ENOMEM;
    return b2_fail(err, is_memory ? BLIP2_MEMORY : BLIP2_UNSUPPORTED, "%s: needs a library that cannot be loaded: %s",
                   who, why != NULL ? why : "no reason is given");
}

blip2_status b2_library_load(const char *who, const char *file, const char *const *names, size_t n_names, void *calls,
                             blip2_error *err) {
    errno = 0;
    void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) return fail(who, err);
    for (size_t i = 0; i < n_names; i++) {
        void *symbol = dlsym(library, names[i]);
        if (symbol == NULL) return fail(who, err);
        /* a pointer to data becomes one to a function: POSIX promises that it may, C does not */
        memcpy((char *)calls + i * sizeof symbol, &symbol, sizeof symbol);
    }
    return BLIP2_OK;
}
