/* openblas.c: measured: Debian 12's OpenBLAS 0.3.21 takes CPUs that are younger than itself for Prescott (SSE3 kernels,
 * 16 instead of 96 GFLOP/s a core). It reads OPENBLAS_CORETYPE once, while the program is being loaded: hence the second
 * execution. A value that the user has set is left alone. */
#include "cli/openblas.h"

#include "base/cpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static bool is_without_avx2(const char *core) {
    static const char *const old[] = {"Prescott", "Core2", "Penryn", "Dunnington", "Nehalem", "Atom", "Athlon", "Opteron", "Opteron_SSE3",
                                      "Barcelona", "Bobcat", "Nano", "Northwood", "Katmai", "Coppermine", "Banias", "Sandybridge",
                                      "Bulldozer", "Piledriver", "Steamroller", "Generic"};
    for (size_t i = 0; i < sizeof old / sizeof old[0]; i++)
        if (strcmp(core, old[i]) == 0) return true;
    return false;
}

void b2_openblas_correct_core(char **argv) {
    const char *core = b2_openblas_core();
    const unsigned features = b2_cpu_features();
    if (core == NULL || getenv("OPENBLAS_CORETYPE") != NULL || !is_without_avx2(core) || (features & B2_CPU_AVX2) == 0) return;
    setenv("OPENBLAS_CORETYPE", (features & B2_CPU_AVX512VNNI) != 0 ? "SkylakeX" : "Haswell", 1);
    execv("/proc/self/exe", argv); /* where this fails the program goes on, only slower */
}
