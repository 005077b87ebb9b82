#include "kernels/isa.h"

#include "base/cpu.h"
#include "kernels/isa_sets.h"

#include <stdio.h>
#include <string.h>

typedef struct isa_set {
    const char *name;
    unsigned needs; /* b2_cpu_feature bits */
    void (*fill)(b2_isa *isa);
} isa_set;

/* Fastest first. */
static const isa_set sets[] = {
#if defined(__x86_64__)
    {"avx512vnni", B2_CPU_AVX512VNNI, b2_isa_fill_avx512vnni},
    {"avxvnni", B2_CPU_AVXVNNI, b2_isa_fill_avxvnni},
    {"avx2", B2_CPU_AVX2, b2_isa_fill_avx2},
#elif defined(__aarch64__)
    {"dotprod", B2_CPU_DOTPROD, b2_isa_fill_dotprod},
    {"neon", B2_CPU_NEON, b2_isa_fill_neon},
#endif
    {"scalar", 0, b2_isa_fill_scalar},
};
enum { N_SETS = sizeof sets / sizeof sets[0] };

#ifdef B2_HAVE_BLAS
static const bool have_blas = true;
#else
static const bool have_blas = false;
static void b2_isa_fill_blas(b2_isa *isa) { (void)isa; }
#endif

static bool is_runnable(const isa_set *set) { return (b2_cpu_features() & set->needs) == set->needs; }

/* Where no set has int8 instructions, BLAS comes before scalar. */
size_t b2_isa_list(const char **names, size_t capacity) {
    size_t n = 0;
    for (size_t i = 0; i < N_SETS; i++) {
        if (sets[i].needs == 0 && have_blas && n < capacity) names[n++] = "blas";
        if (is_runnable(&sets[i]) && n < capacity) names[n++] = sets[i].name;
    }
    return n;
}

static blip2_status fail_unknown(const char *name, blip2_error *err) {
    const char *names[N_SETS + 1];
    char list[128] = "";
    const size_t n = b2_isa_list(names, N_SETS + 1);
    for (size_t i = 0, len = 0; i < n && len < sizeof list; i++)
        len += (size_t)snprintf(list + len, sizeof list - len, "%s%s", i > 0 ? ", " : "", names[i]);
    return b2_fail(err, BLIP2_ARGUMENT, "instruction set '%s': this build on this CPU has %s", name, list);
}

blip2_status b2_isa_select(const char *name, b2_isa *isa, blip2_error *err) {
    const char *names[N_SETS + 1];
    const size_t n = b2_isa_list(names, N_SETS + 1);
    if (name == NULL) name = names[0];
    bool known = false;
    for (size_t i = 0; i < n; i++) known |= strcmp(names[i], name) == 0;
    if (!known) return fail_unknown(name, err);

    const bool wants_blas = strcmp(name, "blas") == 0;
    for (size_t i = 0; i < N_SETS; i++)
        if (wants_blas ? is_runnable(&sets[i]) : strcmp(sets[i].name, name) == 0) {
            memset(isa, 0, sizeof *isa);
            sets[i].fill(isa);
            break;
        }
    if (have_blas && strcmp(name, "scalar") != 0) {
        const b2_isa own = *isa;
        b2_isa_fill_blas(isa);
        if (!wants_blas) { /* BLAS serves the f32 products only */
            isa->name = own.name;
            isa->gemm_i8 = own.gemm_i8;
        }
    }
    return BLIP2_OK;
}
