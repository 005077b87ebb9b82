/* probe.c: loops of one instruction on registers, and of loads, timed: what
 * this machine can do at best. A loop's instructions do not wait for each
 * other; there are 12 of them in flight, enough to hide their latency. */
#include "kernels/probe.h"

#include "base/clock.h"
#include "base/cpu.h"

#include <stdbool.h>
#include <string.h>

typedef struct probe_loop {
    void (*run)(uint64_t n_turns);
    double ops_per_turn;
} probe_loop;

typedef struct probe_set {
    const char *isa_name;
    unsigned needs; /* b2_cpu_feature bits */
    probe_loop dot, fma;
} probe_set;

#if defined(__x86_64__)

#define CLOBBER                                                                                                        \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",         \
        "xmm13", "xmm14", "xmm15"
#define TWELVE(op, r)                                                                                                  \
    op " %%" r "12,%%" r "13,%%" r "0\n" op " %%" r "12,%%" r "13,%%" r "1\n" op " %%" r "12,%%" r "13,%%" r "2\n" op  \
       " %%" r "12,%%" r "13,%%" r "3\n" op " %%" r "12,%%" r "13,%%" r "4\n" op " %%" r "12,%%" r "13,%%" r "5\n" op  \
       " %%" r "12,%%" r "13,%%" r "6\n" op " %%" r "12,%%" r "13,%%" r "7\n" op " %%" r "12,%%" r "13,%%" r "8\n" op  \
       " %%" r "12,%%" r "13,%%" r "9\n" op " %%" r "12,%%" r "13,%%" r "10\n" op " %%" r "12,%%" r "13,%%" r "11\n"
/* The product goes to a register of its own, then into the sum. */
#define MULTIPLY_ADD(t, c) "vpmaddwd %%ymm12,%%ymm13,%%ymm" #t "\nvpaddd %%ymm" #t ",%%ymm" #c ",%%ymm" #c "\n"
#define LOOP(name, body)                                                                                               \
    static void name(uint64_t n_turns) {                                                                               \
        __asm__ volatile("vzeroall\n1:\n" body "dec %0\njnz 1b\nvzeroupper\n" : "+r"(n_turns) : : "cc", CLOBBER);      \
    }

/* The same without AVX: two operands, so that a product begins with a copy. */
#define CLEAR(r) "pxor %%xmm" #r ",%%xmm" #r "\n"
#define LOOP_SSE(name, body)                                                                                           \
    static void name(uint64_t n_turns) {                                                                               \
        __asm__ volatile(CLEAR(0) CLEAR(1) CLEAR(2) CLEAR(3) CLEAR(4) CLEAR(5) CLEAR(12) CLEAR(13) "1:\n" body         \
                                                                                                   "dec %0\njnz 1b\n"  \
                         : "+r"(n_turns)                                                                               \
                         :                                                                                             \
                         : "cc", CLOBBER);                                                                             \
    }
#define SSE(move, multiply, add, t, c)                                                                                 \
    move " %%xmm12,%%xmm" #t "\n" multiply " %%xmm13,%%xmm" #t "\n" add " %%xmm" #t ",%%xmm" #c "\n"
#define SIX_SSE(...)                                                                                                   \
    SSE(__VA_ARGS__, 6, 0)                                                                                             \
    SSE(__VA_ARGS__, 7, 1) SSE(__VA_ARGS__, 8, 2) SSE(__VA_ARGS__, 9, 3) SSE(__VA_ARGS__, 10, 4) SSE(__VA_ARGS__, 11, 5)

LOOP_SSE(dot_sse41, SIX_SSE("movdqa", "pmaddwd", "paddd"))
LOOP_SSE(fma_sse41, SIX_SSE("movaps", "mulps", "addps"))
LOOP(fma_ymm, TWELVE("vfmadd231ps", "ymm"))
LOOP(fma_zmm, TWELVE("vfmadd231ps", "zmm"))
LOOP(dot_ymm, TWELVE("%{vex%} vpdpbusd", "ymm"))
LOOP(dot_zmm, TWELVE("vpdpbusd", "zmm"))
LOOP(dot_avx2, MULTIPLY_ADD(6, 0) MULTIPLY_ADD(7, 1) MULTIPLY_ADD(8, 2) MULTIPLY_ADD(9, 3) MULTIPLY_ADD(10, 4)
                   MULTIPLY_ADD(11, 5) MULTIPLY_ADD(6, 0) MULTIPLY_ADD(7, 1) MULTIPLY_ADD(8, 2) MULTIPLY_ADD(9, 3)
                       MULTIPLY_ADD(10, 4) MULTIPLY_ADD(11, 5))

/* Six tiles of sums, all of 16 rows x 64 bytes. */
static void dot_amx(uint64_t n_turns) {
    static const uint8_t config[64] = {1,         0,         [16] = 64, [18] = 64, [20] = 64, [22] = 64,
                                       [24] = 64, [26] = 64, [28] = 64, [30] = 64, [48] = 16, 16,
                                       16,        16,        16,        16,        16,        16};
    __asm__ volatile("ldtilecfg %1\n1:\n"
                     "tdpbssd %%tmm7,%%tmm6,%%tmm0\ntdpbssd %%tmm7,%%tmm6,%%tmm1\ntdpbssd %%tmm7,%%tmm6,%%tmm2\n"
                     "tdpbssd %%tmm7,%%tmm6,%%tmm3\ntdpbssd %%tmm7,%%tmm6,%%tmm4\ntdpbssd %%tmm7,%%tmm6,%%tmm5\n"
                     "dec %0\njnz 1b\ntilerelease\n"
                     : "+r"(n_turns)
                     : "m"(config)
                     : "cc");
}

static const probe_set sets[] = {
    {"amx", B2_CPU_AMX, {dot_amx, 6 * 2 * 16 * 16 * 64}, {fma_zmm, 12 * 32}},
    {"avx512vnni", B2_CPU_AVX512VNNI, {dot_zmm, 12 * 128}, {fma_zmm, 12 * 32}},
    {"avxvnni", B2_CPU_AVXVNNI, {dot_ymm, 12 * 64}, {fma_ymm, 12 * 16}},
    {"avx2", B2_CPU_AVX2, {dot_avx2, 12 * 32}, {fma_ymm, 12 * 16}},
    {"sse41", B2_CPU_SSE41, {dot_sse41, 6 * 16}, {fma_sse41, 6 * 8}},
};

#elif defined(__aarch64__)

#define CLOBBER "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "cc"
#define TWELVE(op, t, s)                                                                                               \
    op " v0." t ",v12." s ",v13." s "\n" op " v1." t ",v12." s ",v13." s "\n" op " v2." t ",v12." s ",v13." s "\n" op  \
       " v3." t ",v12." s ",v13." s "\n" op " v4." t ",v12." s ",v13." s "\n" op " v5." t ",v12." s ",v13." s "\n" op  \
       " v6." t ",v12." s ",v13." s "\n" op " v7." t ",v12." s ",v13." s "\n" op " v8." t ",v12." s ",v13." s "\n" op  \
       " v9." t ",v12." s ",v13." s "\n" op " v10." t ",v12." s ",v13." s "\n" op " v11." t ",v12." s ",v13." s "\n"
#define LOOP(name, body)                                                                                               \
    static void name(uint64_t n_turns) {                                                                               \
        __asm__ volatile(".arch armv8.6-a+i8mm\n1:\n" body "subs %0,%0,#1\nb.ne 1b\n" : "+r"(n_turns) : : CLOBBER);    \
    }

LOOP(fma_neon, TWELVE("fmla", "4s", "4s"))
LOOP(dot_neon, TWELVE("smlal", "4s", "4h"))
LOOP(dot_sdot, TWELVE("sdot", "4s", "16b"))
LOOP(dot_smmla, TWELVE("smmla", "4s", "16b"))

static const probe_set sets[] = {
    {"i8mm", B2_CPU_I8MM, {dot_smmla, 12 * 64}, {fma_neon, 12 * 8}},
    {"dotprod", B2_CPU_DOTPROD, {dot_sdot, 12 * 32}, {fma_neon, 12 * 8}},
    {"neon", B2_CPU_NEON, {dot_neon, 12 * 8}, {fma_neon, 12 * 8}},
};

#else

static const probe_set sets[] = {{"", 0, {NULL, 0}, {NULL, 0}}};

#endif

enum { UNITS_PER_THREAD = 8, TURNS_PER_UNIT = 50000, ROUNDS = 3 };

static void run_loop(void *context, size_t unit, int thread) {
    (void)unit, (void)thread;
    const probe_loop *loop = context;
    loop->run(TURNS_PER_UNIT);
}

/* The best of a few rounds of a millisecond or two: a probe is a ceiling. */
static double measure_loop(b2_team *team, probe_loop loop) {
    const size_t n_units = (size_t)b2_team_threads(team) * UNITS_PER_THREAD;
    double best = 0.0;
    for (int round = 0; round < ROUNDS && loop.run != NULL; round++) {
        const int64_t start_ns = b2_clock_ns();
        b2_parallel_for(team, n_units, run_loop, &loop);
        const double ns = (double)(b2_clock_ns() - start_ns);
        const double gops = (double)n_units * TURNS_PER_UNIT * loop.ops_per_turn / ns;
        best = gops > best ? gops : best;
    }
    return best;
}

/* The set's own loops; for blas the widest f32 fma that the CPU has; NULL for
 * sets without a probe. */
static const probe_set *find_set(const char *isa_name) {
    const bool is_blas = strcmp(isa_name, "blas") == 0;
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        const bool runnable = (b2_cpu_features() & sets[i].needs) == sets[i].needs && sets[i].needs != 0;
        if (runnable && (is_blas || strcmp(isa_name, sets[i].isa_name) == 0)) return &sets[i];
    }
    return NULL;
}

double b2_probe_dot_gops(b2_team *team, const char *isa_name) {
    const probe_set *set = find_set(isa_name);
    if (set == NULL) return 0.0;
    return measure_loop(team, strcmp(isa_name, "blas") == 0 ? set->fma : set->dot);
}

double b2_probe_fma_gflops(b2_team *team, const char *isa_name) {
    const probe_set *set = find_set(isa_name);
    return set == NULL ? 0.0 : measure_loop(team, set->fma);
}

/* ---- memory
 * ---------------------------------------------------------------------------------------------------
 */

enum { READ_UNIT_BYTES = 1 << 20, READ_LANES = 16 };

typedef struct read_job {
    const uint64_t *words;
    size_t n_words;
    uint64_t sums[B2_MAX_THREADS][8]; /* a line for each thread */
} read_job;

static void read_unit(void *context, size_t unit, int thread) {
    read_job *job = context;
    const size_t per_unit = READ_UNIT_BYTES / sizeof *job->words, first = unit * per_unit;
    const size_t end = job->n_words - first < per_unit ? job->n_words : first + per_unit;
    uint64_t lanes[READ_LANES] = {0};
    for (size_t i = first; i + READ_LANES <= end; i += READ_LANES)
        for (size_t j = 0; j < READ_LANES; j++) lanes[j] ^= job->words[i + j];
    for (size_t j = 0; j < READ_LANES; j++) job->sums[thread][0] ^= lanes[j];
}

double b2_probe_read_gbs(b2_team *team, const void *memory, size_t n_bytes, uint64_t *checksum) {
    read_job job = {.words = memory, .n_words = n_bytes / sizeof *job.words};
    const size_t n_units = (n_bytes + READ_UNIT_BYTES - 1) / READ_UNIT_BYTES;
    const int64_t start_ns = b2_clock_ns();
    b2_parallel_for(team, n_units, read_unit, &job);
    const double ns = (double)(b2_clock_ns() - start_ns);
    for (size_t i = 0; i < B2_MAX_THREADS; i++) *checksum ^= job.sums[i][0];
    return (double)n_bytes / ns;
}
