/* isa_select.c: which set of kernels serves this build on this CPU. */
#include "kernels/isa.h"

#include "base/cpu.h"
#include "kernels/isa_sets.h"

#include <stdio.h>
#include <string.h>

typedef struct isa_set {
    const char *name;
    unsigned needs; /* b2_cpu_feature bits */
    void (*fill)(b2_isa *isa);
    bool (*permit)(void); /* to be asked before the first use; NULL: no permission needed */
} isa_set;

/* Fastest first. */
static const isa_set sets[] = {
#if defined(__x86_64__)
    {"amx", B2_CPU_AMX | B2_CPU_AVX512VNNI, b2_isa_fill_amx, b2_cpu_permit_amx},
    {"avx512vnni", B2_CPU_AVX512VNNI, b2_isa_fill_avx512vnni, NULL},
    {"avxvnni", B2_CPU_AVXVNNI, b2_isa_fill_avxvnni, NULL},
    {"avx2", B2_CPU_AVX2, b2_isa_fill_avx2, NULL},
    {"sse41", B2_CPU_SSE41, b2_isa_fill_sse41, NULL},
#elif defined(__aarch64__)
    {"i8mm", B2_CPU_I8MM | B2_CPU_DOTPROD, b2_isa_fill_i8mm, NULL},
    {"dotprod", B2_CPU_DOTPROD, b2_isa_fill_dotprod, NULL},
    {"neon", B2_CPU_NEON, b2_isa_fill_neon, NULL},
#endif
    {"scalar", 0, b2_isa_fill_scalar, NULL},
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
        if (sets[i].needs == 0 && have_blas && n++ < capacity) names[n - 1] = "blas";
        if (is_runnable(&sets[i]) && n++ < capacity) names[n - 1] = sets[i].name;
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

/* The set to fill from; NULL where there is none of this name, or *refused. name NULL: the first that runs, a refusal
 * passed over. For blas: the first whose other functions need no permission. */
static const isa_set *find_set(const char *name, bool *refused) {
    const bool wants_blas = name != NULL && strcmp(name, "blas") == 0;
    for (size_t i = 0; i < N_SETS; i++) {
        const isa_set *set = &sets[i];
        if (!is_runnable(set) || (wants_blas && (!have_blas || set->permit != NULL))) continue;
        if (name != NULL && !wants_blas && strcmp(set->name, name) != 0) continue;
        if (set->permit == NULL || set->permit()) return set;
        *refused = name != NULL;
        if (*refused) return NULL;
    }
    return NULL;
}

blip2_status b2_isa_select(const char *name, b2_isa *isa, blip2_error *err) {
    const char *first = "";
    bool refused = false;
    if (name == NULL && b2_isa_list(&first, 1) > 0 && strcmp(first, "blas") == 0) name = first;
    const isa_set *set = find_set(name, &refused);
    if (refused)
        return b2_fail(err, BLIP2_ARGUMENT,
                       "instruction set '%s': the system does not let this process use it (arch_prctl refused; too "
                       "small a signal stack is one reason); without a name the next fastest is taken",
                       name);
    if (set == NULL) return fail_unknown(name, err);
    memset(isa, 0, sizeof *isa);
    set->fill(isa);
    const bool wants_blas = name != NULL && strcmp(name, "blas") == 0;
    if (!have_blas || (!wants_blas && set->needs == 0)) return BLIP2_OK; /* scalar is scalar in everything */
    const b2_isa own = *isa;
    b2_isa_fill_blas(isa);
    if (!wants_blas) { /* BLAS serves the f32 products only */
        isa->name = own.name;
        isa->gemm_i8 = own.gemm_i8;
    }
    return BLIP2_OK;
}
