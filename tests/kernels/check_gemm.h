/* check_gemm.h: int8 products of any shape, fill and scale, to the bit. */
#ifndef B2_TESTS_CHECK_GEMM_H
#define B2_TESTS_CHECK_GEMM_H

#include "tests/kernels/check.h"

/* What a row of integers may be made of. */
typedef enum fill { FILL_RANDOM, FILL_MAX, FILL_MIN, FILL_SPARSE, FILL_ZERO, N_FILLS } fill;

static const char *const fill_names[N_FILLS] = {"random", "all 127", "all -127", "sparse", "zero"};

static inline void fill_integers(int8_t *q, size_t n, fill f, uint64_t *seed) {
    for (size_t i = 0; i < n; i++) {
        const int r = (int)(next_bits(seed) % 255) - 127;
        q[i] = (int8_t)(f == FILL_MAX ? 127 : f == FILL_MIN ? -127 : f == FILL_RANDOM ? r : 0);
        if (f == FILL_SPARSE && next_bits(seed) % 19 == 3) q[i] = (int8_t)r;
    }
}

typedef struct gemm_case {
    size_t n_rows, k, panel, n_panels, group;
    int planes;
    fill a, w;
    kind scales;
} gemm_case;

/* Integers, scales and sums of n_rows rows as quantising leaves them. */
static inline b2_quantised_rows gemm_rows(check *c, const gemm_case *g) {
    const size_t n_groups = g->k / g->group, n = g->n_rows * g->k;
    int8_t *hi = bytes(c, n), *lo = g->planes == 2 ? bytes(c, n) : NULL;
    int32_t *sum = bytes(c, g->n_rows * n_groups * sizeof *sum);
    fill_integers(hi, n, g->a, &c->seed);
    if (lo != NULL) fill_integers(lo, n, g->a, &c->seed);
    for (size_t m = 0; m < g->n_rows; m++)
        for (size_t k = 0; k < g->k; k++) {
            int32_t *s = &sum[m * n_groups + k / g->group];
            const int t = lo == NULL ? hi[m * g->k + k] : 128 * hi[m * g->k + k] + lo[m * g->k + k];
            *s = k % g->group == 0 ? t : *s + t;
        }
    return (b2_quantised_rows){.hi = hi,
                               .lo = lo,
                               .scale = floats(c, g->n_rows * n_groups, g->scales),
                               .sum = sum,
                               .n_rows = g->n_rows,
                               .stride = g->k};
}

static inline b2_weight_panels gemm_panels(check *c, const gemm_case *g) {
    const size_t n_out = g->panel * g->n_panels, n_scales = n_out * (g->k / g->group);
    int8_t *w = bytes(c, n_out * g->k);
    uint16_t *d = bytes(c, n_scales * sizeof *d);
    fill_integers(w, n_out * g->k, g->w, &c->seed);
    for (size_t i = 0; i < n_scales; i++)
        d[i] = next_below(&c->seed, 9) == 0 ? 0 : (uint16_t)(0x3C00 + next_below(&c->seed, 0x200));
    return (b2_weight_panels){.values = w, .scales = d, .panel = g->panel, .group = g->group, .n_panels = g->n_panels};
}

/* Fewer outputs than the panels hold, a bias or none, every epilogue, rows of out further apart than they are long. */
static inline void check_gemm_case(check *c, const gemm_case *g) {
    snprintf(c->what, sizeof c->what, "gemm_i8 rows %zu K %zu panel %zu x %zu planes %d group %zu a %s w %s scales %s",
             g->n_rows, g->k, g->panel, g->n_panels, g->planes, g->group, fill_names[g->a], fill_names[g->w],
             kind_names[g->scales]);
    const b2_quantised_rows rows = gemm_rows(c, g);
    b2_weight_panels panels = gemm_panels(c, g);
    const b2_weight_panels next = panels;
    if (next_below(&c->seed, 2)) panels.next = &next;
    const size_t n = g->panel * g->n_panels - next_below(&c->seed, g->panel), stride = n + next_below(&c->seed, 40);
    const size_t y_bytes = g->n_rows * B2_GEMM_STRIP * sizeof(float), n_result = (g->n_rows - 1) * stride + n;
    float *result[2] = {floats(c, n_result, KIND_PLAIN), bytes(c, n_result * sizeof(float))};
    memcpy(result[1], result[0], n_result * sizeof(float));
    b2_gemm_out out = {.stride = stride,
                       .bias = next_below(&c->seed, 3) == 0 ? NULL : floats(c, n, KIND_PLAIN),
                       .n = n,
                       .epilogue = (b2_epilogue)next_below(&c->seed, 4),
                       .finish = c->want->finish_row};
    float *y = bytes(c, y_bytes);
    void *scratch = bytes(c, B2_GEMM_SCRATCH_BYTES);
    for (int i = 0; i < 2; i++) {
        memset(y, 0xFF, y_bytes), memset(scratch, 0x7F, B2_GEMM_SCRATCH_BYTES); /* what is left there must not matter */
        out.out = result[i];
        (i == 0 ? c->want : c->isa)->gemm_i8(&rows, &panels, &out, y, scratch);
    }
    expect_floats(c, "out", result[1], result[0], n_result);
    end_case(c);
}

/* Every number of rows, both counts of planes. */
static inline void check_gemm_row_counts(check *c) {
    static const size_t depths[] = {128, 256, 384, 640, 768, 1408, 2560};
    gemm_case g = {.group = 128, .w = FILL_RANDOM, .scales = KIND_PLAIN};
    for (g.n_rows = 1; g.n_rows <= B2_GEMM_ROWS; g.n_rows += g.n_rows < 40 ? 1 : 29)
        for (g.planes = 1; g.planes <= 2; g.planes++) {
            g.k = depths[next_below(&c->seed, g.n_rows < 40 ? 7 : 3)];
            g.panel = next_below(&c->seed, 2) ? 16 : 64;
            g.n_panels = g.panel == 64 ? 1 : 1 + next_below(&c->seed, 4);
            g.a = (fill)next_below(&c->seed, N_FILLS);
            check_gemm_case(c, &g);
        }
}

/* Extreme integers on both sides, scales of every kind; rows from first_rows on. */
static inline void check_gemm_fills(check *c, size_t first_rows) {
    static const kind scales[] = {KIND_PLAIN, KIND_ZERO, KIND_NAN, KIND_DENORMAL, KIND_INFINITE, KIND_HUGE};
    for (int a = 0; a < N_FILLS; a++)
        for (int w = 0; w < N_FILLS; w++)
            for (int i = 0; i < 24; i++) {
                const gemm_case g = {.n_rows = first_rows + next_below(&c->seed, 9),
                                     .k = 128 * (1 + next_below(&c->seed, 5)),
                                     .panel = i % 2 ? 64 : 16,
                                     .n_panels = i % 2 ? 1 : 4,
                                     .group = 128,
                                     .planes = 1 + i / 2 % 2,
                                     .a = (fill)a,
                                     .w = (fill)w,
                                     .scales = scales[i / 4]};
                check_gemm_case(c, &g);
            }
}

/* The shapes of blip2-opt-2.7b. */
static inline void check_gemm_real(check *c) {
    static const struct {
        size_t n_rows, k, panel;
        int planes;
    } real[] = {
        {257, 1408, 16, 1}, {257, 6144, 16, 1}, {33, 2560, 16, 2}, {33, 10240, 64, 2}, {1, 2560, 16, 2},
        {1, 10240, 64, 2},  {2, 10240, 64, 2},  {8, 10240, 64, 2}, {16, 2560, 16, 2},  {272, 1408, 16, 2},
    };
    for (size_t i = 0; i < sizeof real / sizeof real[0]; i++)
        for (int f = 0; f < 2; f++) {
            const gemm_case g = {.n_rows = real[i].n_rows,
                                 .k = real[i].k,
                                 .panel = real[i].panel,
                                 .group = 128,
                                 .n_panels = 64 / real[i].panel,
                                 .planes = real[i].planes,
                                 .a = f ? FILL_SPARSE : FILL_RANDOM,
                                 .w = FILL_RANDOM,
                                 .scales = KIND_PLAIN};
            check_gemm_case(c, &g);
        }
}

/* Other groups than 128 are allowed. */
static inline void check_gemm_groups(check *c) {
    static const size_t groups[] = {4, 8, 16, 32, 48, 64, 96, 100, 128};
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++)
        for (size_t j = 0; j < 12; j++) {
            const gemm_case g = {.n_rows = 1 + 6 * (j / 2),
                                 .k = groups[i] * (1 + next_below(&c->seed, 4)),
                                 .panel = j % 2 ? 64 : 16,
                                 .n_panels = j % 2 ? 1 : 1 + next_below(&c->seed, 4),
                                 .group = groups[i],
                                 .planes = 1 + (int)next_below(&c->seed, 2),
                                 .scales = KIND_PLAIN};
            check_gemm_case(c, &g);
        }
}

/* Rows longer than a kernel's scratch. */
static inline void check_gemm_long_rows(check *c) {
    for (size_t n_rows = 1; n_rows <= 4; n_rows++) {
        const gemm_case g = {.n_rows = n_rows,
                             .k = 128 * 300,
                             .panel = n_rows % 2 ? 16 : 64,
                             .n_panels = 1,
                             .group = 128,
                             .planes = 2,
                             .a = FILL_SPARSE,
                             .scales = KIND_PLAIN};
        check_gemm_case(c, &g);
    }
}

static inline void check_gemm_i8(check *c) {
    check_gemm_row_counts(c);
    check_gemm_fills(c, 1);
    check_gemm_real(c);
    check_gemm_groups(c);
    check_gemm_long_rows(c);
}

#endif
