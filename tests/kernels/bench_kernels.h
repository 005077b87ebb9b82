/* bench_kernels.h: how fast the verbs of blip2-opt-2.7b run beside what the machine can do in the same seconds.
 *
 * Products: whole b2_ops_linear calls (quantising and epilogue included) on weights that come from memory: copies
 * beyond any cache take turns. Each line quotes the probe measured right before it; its last column is the product
 * alone. */
#ifndef B2_TESTS_BENCH_KERNELS_H
#define B2_TESTS_BENCH_KERNELS_H

#include "base/clock.h"
#include "base/cpu.h"
#include "kernels/cpu/cpu_verbs.h"
#include "kernels/cpu/cpu_home.h"
#include "kernels/ops.h"
#include "kernels/probe.h"
#include "tests/kernels/guarded.h"

#include <pthread.h>
#include <stdatomic.h>

enum { BENCH_POOL_BYTES = 512 << 20, BENCH_MAX_REPEATS = 31 };

typedef struct product {
    const char *phase, *name;
    size_t n_rows, n_in, n_out, panel;
    int planes;
    b2_epilogue epilogue;
    size_t count;     /* of this product in the phase */
    int live_percent; /* of the inputs that are not zero */
} product;

static const product products[] = {
    {"vit", "qkv", 257, 1408, 4224, 16, 1, B2_EPILOGUE_STORE, 39, 100},
    {"vit", "out", 257, 1408, 1408, 16, 1, B2_EPILOGUE_ADD, 39, 100},
    {"vit", "up", 257, 1408, 6144, 16, 1, B2_EPILOGUE_GELU, 39, 100},
    {"vit", "down", 257, 6144, 1408, 16, 1, B2_EPILOGUE_ADD, 39, 100},
    {"qformer", "32 rows", 32, 768, 768, 16, 2, B2_EPILOGUE_STORE, 60, 100},
    {"qformer", "cross k, v", 257, 1408, 768, 16, 2, B2_EPILOGUE_STORE, 12, 100},
    {"qformer", "up", 32, 768, 3072, 16, 2, B2_EPILOGUE_GELU, 12, 100},
    {"qformer", "down", 32, 3072, 768, 16, 2, B2_EPILOGUE_ADD, 12, 100},
    {"prefill", "qkv", 33, 2560, 7680, 16, 2, B2_EPILOGUE_STORE, 32, 100},
    {"prefill", "out", 33, 2560, 2560, 16, 2, B2_EPILOGUE_ADD, 32, 100},
    {"prefill", "up", 33, 2560, 10240, 16, 2, B2_EPILOGUE_RELU, 32, 100},
    {"prefill", "down", 33, 10240, 2560, 64, 2, B2_EPILOGUE_ADD, 32, 100},
    {"decode", "qkv", 1, 2560, 7680, 16, 2, B2_EPILOGUE_STORE, 32, 100},
    {"decode", "out", 1, 2560, 2560, 16, 2, B2_EPILOGUE_ADD, 32, 100},
    {"decode", "up", 1, 2560, 10240, 16, 2, B2_EPILOGUE_RELU, 32, 100},
    {"decode", "down", 1, 10240, 2560, 64, 2, B2_EPILOGUE_ADD, 32, 100},
    {"decode", "head", 1, 2560, 50304, 16, 2, B2_EPILOGUE_STORE, 1, 100},
    {"sparse", "down, 5 % live", 1, 10240, 2560, 64, 2, B2_EPILOGUE_ADD, 32, 5},
    {"sparse", "down, 20 % live", 1, 10240, 2560, 64, 2, B2_EPILOGUE_ADD, 32, 20},
    {"decode8", "qkv", 8, 2560, 7680, 16, 2, B2_EPILOGUE_STORE, 32, 100},
    {"decode8", "out", 8, 2560, 2560, 16, 2, B2_EPILOGUE_ADD, 32, 100},
    {"decode8", "up", 8, 2560, 10240, 16, 2, B2_EPILOGUE_RELU, 32, 100},
    {"decode8", "down", 8, 10240, 2560, 64, 2, B2_EPILOGUE_ADD, 32, 100},
    {"decode8", "head", 8, 2560, 50304, 16, 2, B2_EPILOGUE_STORE, 1, 100},
};
enum { N_PRODUCTS = sizeof products / sizeof products[0] };

typedef struct bench_state {
    b2_ops *ops;
    b2_cpu *cpu; /* the same, seen from inside */
    b2_arena arena;
    uint8_t *pool; /* weights, more than any cache holds */
    uint16_t
        *scales; /* theirs, one for each 128: ordinary numbers, since denormal products would slow some CPUs down */
    size_t pool_at;
    float *x, *out;
    uint64_t checksum;
} bench_state;

static int compare_doubles(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, int n) {
    qsort(v, (size_t)n, sizeof *v, compare_doubles);
    return v[n / 2];
}

/* How long a line takes from one core to another: 40 to 80 ns within a chip, 200 between two. Two vCPUs may be either,
 * and change places within a second. */
typedef struct ping_pong {
    _Alignas(128) atomic_int turn;
} ping_pong;
enum { PING_PONGS = 20000 };

static void *answer(void *context) {
    ping_pong *p = context;
    for (int i = 0; i < PING_PONGS; i++) {
        while (atomic_load(&p->turn) != 2 * i + 1) continue;
        atomic_store(&p->turn, 2 * i + 2);
    }
    return NULL;
}

/* 0 where no second thread can be had. */
static double core_to_core_ns(void) {
    ping_pong p = {.turn = 0};
    pthread_t other;
    if (b2_cpu_physical_cores() < 2 || pthread_create(&other, NULL, answer, &p) != 0) return 0.0;
    const int64_t start_ns = b2_clock_ns();
    for (int i = 0; i < PING_PONGS; i++) {
        atomic_store(&p.turn, 2 * i + 1);
        while (atomic_load(&p.turn) != 2 * i + 2) continue;
    }
    const int64_t ns = b2_clock_ns() - start_ns;
    pthread_join(other, NULL);
    return (double)ns / (2.0 * PING_PONGS);
}

/* The next stretch of the pool, far from those used lately. */
static const uint8_t *next_stretch(bench_state *s, size_t n_bytes) {
    if (s->pool_at + n_bytes > BENCH_POOL_BYTES) s->pool_at = 0;
    const uint8_t *stretch = s->pool + s->pool_at;
    s->pool_at += (n_bytes + 4095) / 4096 * 4096;
    return stretch;
}

/* alone: without quantising and epilogue, which are no products */
static void bench_product(bench_state *s, const product *p, bool alone, double *seconds, double *probe) {
    const size_t n_values = p->n_in * p->n_out;
    uint64_t seed = 1;
    for (size_t i = 0; i < p->n_rows * p->n_in; i++)
        s->x[i] = (int)(next_bits(&seed) % 100) < p->live_percent ? next_unit(&seed) : 0.0f;
    const double ops = 2.0 * (double)n_values * (double)p->n_rows;
    int n_calls = (int)(5e9 / ops) + 1, n_repeats = 9;
    if (n_calls > 12) n_calls = 12;
    double times[BENCH_MAX_REPEATS], probes[BENCH_MAX_REPEATS];
    for (int r = 0; r < n_repeats; r++) {
        probes[r] = b2_probe_dot_gops(s->cpu->team, s->cpu->isa.name);
        const int64_t start_ns = b2_clock_ns();
        for (int i = 0; i < n_calls; i++) {
            const uint8_t *values = next_stretch(s, n_values);
            const b2_matrix w = {.dtype = B2_DTYPE_I8,
                                 .n_out = p->n_out,
                                 .n_in = p->n_in,
                                 .n_in_padded = p->n_in,
                                 .panel = p->panel,
                                 .group = 128,
                                 .planes = p->planes,
                                 .values = values,
                                 .scales = s->scales + (values - s->pool) / 128};
            if (alone) b2_cpu_multiply(s->cpu, &w, p->n_rows, B2_EPILOGUE_STORE, s->out);
            else b2_ops_linear(s->ops, &w, s->x, 1, p->n_rows, p->epilogue, s->out);
        }
        times[r] = (double)(b2_clock_ns() - start_ns) * 1e-9 / n_calls;
    }
    *seconds = median(times, n_repeats);
    *probe = median(probes, n_repeats);
}

/* phase NULL: all */
static void bench_products(bench_state *s, const char *phase) {
    printf("%-8s %-16s %5s %6s %6s  %9s %9s %7s  %8s %7s  %9s\n", "phase", "product", "rows", "n_in", "n_out", "ms",
           "GOP/s", "probe", "GB/s", "memory", "alone ms");
    double total = 0.0, ops_total = 0.0, ceiling = 0.0, bytes_total = 0.0, alone_total = 0.0, alone_ceiling = 0.0;
    for (size_t i = 0; i < N_PRODUCTS; i++) {
        const product *p = &products[i];
        double seconds, probe, alone, alone_probe;
        if (phase != NULL && strcmp(phase, p->phase) != 0) continue;
        const double gbs = b2_probe_read_gbs(s->cpu->team, s->pool, BENCH_POOL_BYTES, &s->checksum);
        bench_product(s, p, false, &seconds, &probe);
        bench_product(s, p, true, &alone, &alone_probe);
        const double values = (double)p->n_in * (double)p->n_out, n = (double)p->count;
        const double ops = 2.0 * values * (double)p->n_rows * p->planes, n_bytes = values * (1.0 + 2.0 / 128);
        printf("%-8s %-16s %5zu %6zu %6zu  %9.3f %9.0f %6.0f%%  %8.1f %6.0f%%  %9.3f\n", p->phase, p->name, p->n_rows,
               p->n_in, p->n_out, seconds * 1e3, ops / seconds * 1e-9,
               probe > 0 ? 100 * ops / seconds * 1e-9 / probe : 0.0, n_bytes / seconds * 1e-9,
               100 * n_bytes / seconds * 1e-9 / gbs, alone * 1e3);
        alone_total += alone * n, alone_ceiling += ops * n / (alone_probe > 0 ? alone_probe : 1.0) * 1e-9;
        total += seconds * n, ops_total += ops * n, bytes_total += n_bytes * n;
        ceiling += ops * n / (probe > 0 ? probe : 1.0) * 1e-9;
        if (i + 1 == N_PRODUCTS || strcmp(products[i + 1].phase, p->phase) != 0) {
            printf("%-8s %-16s %25.1f ms %9.0f %6.0f%%  %8.1f          (probe %.0f GOP/s, reading %.1f GB/s)\n",
                   p->phase, "all", total * 1e3, ops_total / total * 1e-9, 100 * ceiling / total,
                   bytes_total / total * 1e-9, probe, gbs);
            printf("%-8s %-16s %25.1f ms %16.0f%%\n", p->phase, "products alone", alone_total * 1e3,
                   100 * alone_ceiling / alone_total);
            total = ops_total = ceiling = bytes_total = alone_total = alone_ceiling = 0.0;
        }
        fflush(stdout);
    }
}

/* Times fn(s) and prints milliseconds for `count` of them, and GFLOP/s where flops says how many one does. */
static void bench_verb(bench_state *s, const char *name, void (*fn)(bench_state *s), double count, double flops,
                       double n_bytes) {
    double times[BENCH_MAX_REPEATS];
    for (int r = 0; r < BENCH_MAX_REPEATS; r++) {
        const int64_t start_ns = b2_clock_ns();
        fn(s);
        times[r] = (double)(b2_clock_ns() - start_ns) * 1e-9;
    }
    const double seconds = median(times, BENCH_MAX_REPEATS);
    const double fma = b2_probe_fma_gflops(s->cpu->team, s->cpu->isa.name);
    printf("%-44s x%-4.0f %9.3f ms", name, count, seconds * count * 1e3);
    if (flops > 0)
        printf("  %8.1f GFLOP/s, %.0f %% of f32 fma (%.0f)", flops / seconds * 1e-9,
               fma > 0 ? 100 * flops / seconds * 1e-9 / fma : 0.0, fma);
    if (n_bytes > 0) printf("  %8.1f GB/s", n_bytes / seconds * 1e-9);
    printf("\n");
}

enum { VIT_HEADS = 16, VIT_HEAD = 88, VIT_WIDTH = 1408, TOKENS = 257, TOKENS_LARGE = 677 };

static void attend_tokens(bench_state *s, size_t n_tokens) {
    const size_t row = 3 * VIT_WIDTH;
    const b2_head_rows q = {s->x, 0, row}, k = {s->x + VIT_WIDTH, 0, row}, v = {s->x + 2 * VIT_WIDTH, 0, row};
    b2_ops_attend(s->ops, 1, VIT_HEADS, VIT_HEAD, q, n_tokens, k, v, n_tokens, s->out);
}
static void attend_vit(bench_state *s) { attend_tokens(s, TOKENS); }
static void attend_vit_large(bench_state *s) { attend_tokens(s, TOKENS_LARGE); }
static void attend_cross(bench_state *s) {
    const b2_head_rows q = {s->x, 0, 768}, k = {s->x + 100000, 0, 768}, v = {s->x + 400000, 0, 768};
    b2_ops_attend(s->ops, 1, 12, 64, q, 32, k, v, TOKENS, s->out);
}
static void attend_cached(bench_state *s, size_t n_past, size_t rows) {
    const b2_block_cache cache = {s->x + 2000000, s->x + 2500000, 64, 32, 80};
    const size_t slot = 0;
    b2_ops_attend_cached(s->ops, &cache, s->x, &(b2_cache_places){.n = 1, .slots = &slot, .n_past = &n_past}, rows,
                         s->out);
}
static void attend_prefill(bench_state *s) { attend_cached(s, 0, 33); }
static void attend_step(bench_state *s) { attend_cached(s, 43, 1); }
static void norm_vit(bench_state *s) {
    const b2_norm norm = {s->x + 3000000, s->x + 3100000, VIT_WIDTH, 1e-6f};
    b2_ops_layernorm(s->ops, &norm, s->x, TOKENS, s->out);
}
static void quantise_rows(bench_state *s, size_t n, int8_t *lo) {
    for (size_t r = 0; r < TOKENS; r++)
        s->cpu->isa.quantise_row(s->x + r * n, n, n, 128, s->cpu->plane_hi + r * n, lo,
                                 s->cpu->plane_scale + r * (n / 128), s->cpu->plane_sum + r * (n / 128));
}
static void quantise_one_plane(bench_state *s) { quantise_rows(s, 6144, NULL); }
static void quantise_two_planes(bench_state *s) { quantise_rows(s, 6144, s->cpu->plane_lo); }
static void finish_gelu(bench_state *s) {
    for (size_t i = 0; i < (size_t)TOKENS * 6144; i += 64)
        s->cpu->isa.finish_row(s->x + i, s->x, 64, B2_EPILOGUE_GELU, s->out + i);
}
static void finish_add(bench_state *s) {
    for (size_t i = 0; i < (size_t)TOKENS * 6144; i += 64)
        s->cpu->isa.finish_row(s->x + i, s->x, 64, B2_EPILOGUE_ADD, s->out + i);
}
static void logits(bench_state *s) { s->out[0] = b2_ops_log_probability(s->ops, s->x, 50304, 7); }
static void dot_f16_rows(bench_state *s) {
    for (size_t r = 0; r < 512; r++)
        s->out[r] = s->cpu->isa.dot_f16((const uint16_t *)(const void *)s->pool + r * 2560, s->x, 2560);
}

static void bench_verbs(bench_state *s) {
    uint64_t seed = 2;
    fill_floats(s->x, 4000000, KIND_PLAIN, &seed);
    const double vit_flops = 4.0 * TOKENS * TOKENS * VIT_WIDTH,
                 large_flops = 4.0 * TOKENS_LARGE * TOKENS_LARGE * VIT_WIDTH;
    const double row_bytes = 4.0 * TOKENS * 6144;
    printf("\nall threads\n");
    bench_verb(s, "attention, 257 tokens, 16 heads of 88", attend_vit, 39, vit_flops, 0);
    bench_verb(s, "attention, 677 tokens, 16 heads of 88", attend_vit_large, 39, large_flops, 0);
    bench_verb(s, "attention, 32 queries x 257, 12 heads of 64", attend_cross, 6, 4.0 * 32 * TOKENS * 768, 0);
    bench_verb(s, "attention, 33 new positions, 32 heads of 80", attend_prefill, 32, 4.0 * 33 * 17 * 2560, 0);
    bench_verb(s, "attention, position 44, 32 heads of 80", attend_step, 32, 4.0 * 44 * 2560, 0);
    bench_verb(s, "layernorm, 257 x 1408", norm_vit, 79, 0, 8.0 * TOKENS * VIT_WIDTH);
    printf("one thread\n");
    bench_verb(s, "quantise one plane, 257 x 6144", quantise_one_plane, 39, 0, row_bytes);
    bench_verb(s, "quantise two planes, 257 x 6144", quantise_two_planes, 39, 0, row_bytes);
    bench_verb(s, "gelu, 257 x 6144", finish_gelu, 39, 0, row_bytes);
    bench_verb(s, "bias and residual, 257 x 6144", finish_add, 39, 0, row_bytes);
    bench_verb(s, "log-softmax of 50304", logits, 1, 0, 4.0 * 50304);
    bench_verb(s, "f16 dot products, 512 x 2560", dot_f16_rows, 1, 0, 2.0 * 512 * 2560);
}

static int bench_kernels(const char *isa_name, int n_threads, const char *phase) {
    bench_state s = {.pool = malloc(BENCH_POOL_BYTES),
                     .scales = malloc(BENCH_POOL_BYTES / 64),
                     .x = malloc((size_t)4 << 22),
                     .out = malloc((size_t)4 << 22)};
    blip2_error err;
    if (s.pool == NULL || s.scales == NULL || s.x == NULL || s.out == NULL) return 1;
    const int team_threads = n_threads > 0 ? n_threads : b2_cpu_physical_cores();
    if (b2_cpu_home_create(isa_name, team_threads, &s.ops, &err) != BLIP2_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 2;
    }
    s.cpu = b2_cpu_of(s.ops);
    for (size_t i = 0; i < BENCH_POOL_BYTES; i++) s.pool[i] = (uint8_t)((i * 2654435761u) >> 13 & 0x3F);
    for (size_t i = 0; i < BENCH_POOL_BYTES / 128; i++) s.scales[i] = (uint16_t)(0x3A00 + i * 40503u % 512);
    const b2_ops_limits limits = {.max_linear_values = TOKENS * 6144, .max_keys = TOKENS_LARGE, .max_head_len = 96};
    b2_ops_plan(s.ops, &limits, &s.arena);
    if (b2_ops_reserve(s.ops, &s.arena, NULL) != BLIP2_OK) return 1;
    b2_ops_plan(s.ops, &limits, &s.arena);
    b2_team *one = b2_team_create(1);
    printf("%s, %d threads; one thread: dot %.0f GOP/s, fma %.0f GFLOP/s; all: dot %.0f, fma %.0f\n", s.cpu->isa.name,
           b2_team_threads(s.cpu->team), b2_probe_dot_gops(one, s.cpu->isa.name),
           b2_probe_fma_gflops(one, s.cpu->isa.name), b2_probe_dot_gops(s.cpu->team, s.cpu->isa.name),
           b2_probe_fma_gflops(s.cpu->team, s.cpu->isa.name));
    printf("core to core: %.0f ns (within a chip 40 to 80, between two about 200)\n", core_to_core_ns());
    const bool only_verbs = phase != NULL && strcmp(phase, "verbs") == 0;
    if (!only_verbs) bench_products(&s, phase);
    if (phase == NULL || only_verbs) bench_verbs(&s);
    b2_team_free(one);
    b2_ops_release(s.ops, &s.arena);
    b2_ops_free(s.ops);
    free(s.pool), free(s.scales), free(s.x), free(s.out);
    return 0;
}

#endif
