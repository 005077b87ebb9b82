/* openblas.c: measured: Debian 12's OpenBLAS 0.3.21 takes CPUs that are younger than itself for Prescott (SSE3 kernels,
 * 16 instead of 96 GFLOP/s a core). It reads OPENBLAS_CORETYPE once, while the program is being loaded: hence the
 * second execution. A value that the user has set is left alone if this CPU can run it; one inherited from another
 * machine (a cluster's environment) would end in SIGILL at the first product, so it is taken back. */
#include "console/openblas.h"

#include "base/cpu.h"
#include "console/environment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <unistd.h>

#ifdef B2_HAVE_BLAS
char *openblas_get_corename(void) __attribute__((weak)); /* weak: any other CBLAS has no such function */
#endif

const char *b2_openblas_core(void) {
#ifdef B2_HAVE_BLAS
    if (openblas_get_corename != NULL) return openblas_get_corename();
#endif
    return NULL;
}

/* What the kernels of a core need beyond SSE4.1: names of OpenBLAS 0.3. */
static unsigned core_needs(const char *core) {
    static const struct {
        const char *name;
        unsigned needs;
    } cores[] = {{"Haswell", B2_CPU_AVX2},
                 {"Zen", B2_CPU_AVX2},
                 {"Excavator", B2_CPU_AVX2},
                 {"SkylakeX", B2_CPU_AVX512},
                 {"Cooperlake", B2_CPU_AVX512},
                 {"SapphireRapids", B2_CPU_AVX512},
                 {"Sandybridge", B2_CPU_AVX},
                 {"Bulldozer", B2_CPU_AVX | B2_CPU_FMA},
                 {"Piledriver", B2_CPU_AVX | B2_CPU_FMA},
                 {"Steamroller", B2_CPU_AVX | B2_CPU_FMA}};
    for (size_t i = 0; i < sizeof cores / sizeof cores[0]; i++)
        if (strcasecmp(core, cores[i].name) == 0) return cores[i].needs;
    return 0;
}

b2_openblas_advice b2_openblas_advise(const char *core, bool is_set, unsigned features) {
    const unsigned needs = core_needs(core);
    if (is_set) return (features & needs) == needs ? B2_OPENBLAS_KEEP : B2_OPENBLAS_UNSET;
    if ((features & B2_CPU_AVX2) == 0 || (needs & (B2_CPU_AVX2 | B2_CPU_AVX512)) != 0) return B2_OPENBLAS_KEEP;
    return (features & B2_CPU_AVX512VNNI) != 0 ? B2_OPENBLAS_SKYLAKEX : B2_OPENBLAS_HASWELL;
}

static bool is_limited(int resource) {
    struct rlimit limit;
    return getrlimit((__rlimit_resource_t)resource, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
}

#if defined(B2_HAVE_BLAS) && defined(__GLIBC__) && !defined(B2_SANITIZED)
/* Before OpenBLAS's own constructor, which ends the program (SIGINT to itself) where it cannot start its threads. No
 * sanitizer is ready by then: such builds go without. */
static void leave_threads_out_early(int argc, char **argv, char **envp) {
    static const char name[] = "OPENBLAS_NUM_THREADS=";
    enum { MOST_VARIABLES = 4096 };
    char one[] = "OPENBLAS_NUM_THREADS=1", *variables[MOST_VARIABLES + 2];
    size_t n = 0, n_kept = 0;
    (void)argc;
    if (!is_limited(RLIMIT_AS) && !is_limited(RLIMIT_DATA)) return;
    for (; envp[n] != NULL && n < MOST_VARIABLES; n++) {
        if (n_kept == n && strcmp(envp[n], one) == 0) return; /* the first is the one that counts */
        if (strncmp(envp[n], name, sizeof name - 1) != 0) variables[n_kept++] = envp[n];
    }
    if (envp[n] != NULL) return;
    variables[n_kept] = one;
    variables[n_kept + 1] = NULL;
    execve("/proc/self/exe", argv, variables);
}
__attribute__((section(".preinit_array"), used)) static void (*const early)(int, char **,
                                                                            char **) = leave_threads_out_early;
#endif

void b2_openblas_leave_threads_out(char **argv) {
    const char *n_threads = b2_environment_text("OPENBLAS_NUM_THREADS");
    if (b2_openblas_core() == NULL || (n_threads != NULL && strcmp(n_threads, "1") == 0)) return;
    if (!is_limited(RLIMIT_AS) && !is_limited(RLIMIT_DATA)) return;
    setenv("OPENBLAS_NUM_THREADS", "1", 1);
    execv("/proc/self/exe", argv);
}

void b2_openblas_correct_core(char **argv) {
    const char *core = b2_openblas_core();
    if (core == NULL) return;
    const bool is_set = b2_environment_text("OPENBLAS_CORETYPE") != NULL;
    switch (b2_openblas_advise(core, is_set, b2_cpu_features())) {
    case B2_OPENBLAS_KEEP: return;
    case B2_OPENBLAS_UNSET: unsetenv("OPENBLAS_CORETYPE"); break;
    case B2_OPENBLAS_HASWELL: setenv("OPENBLAS_CORETYPE", "Haswell", 1); break;
    case B2_OPENBLAS_SKYLAKEX: setenv("OPENBLAS_CORETYPE", "SkylakeX", 1); break;
    }
    execv("/proc/self/exe", argv); /* where this fails the program goes on, only slower */
}
