/* checkkernels.c: every kernel of every instruction set that this CPU runs, against the plain C definition, to the bit.
 *
 *   checkkernels                           checks; one TAP line for each kernel and set
 *   checkkernels --seed N                  the same with other numbers (a failure prints its seed)
 *   checkkernels --bench [ISA [THREADS [PHASE]]]   speed beside the machine's limits, measured in the same run */
#include "kernels/isa.h"
#include "tests/kernels/bench_kernels.h"
#include "tests/kernels/guarded.h"

static const uint64_t default_seed = 20240611;

/* One kernel of one set under test. `what` describes the case for the message of a failure. */
typedef struct check {
    const b2_isa *want, *isa;
    guard_pool pool;
    uint64_t seed;
    size_t n_cases, n_failed;
    char what[192];
} check;

static void fail(check *c, const char *which, size_t at) {
    if (c->n_failed++ < 5) printf("# %s: %s: %s differs at %zu\n", c->isa->name, c->what, which, at);
}

static void expect_floats(check *c, const char *which, const float *got, const float *want, size_t n) {
    size_t at;
    if (!same_floats(got, want, n, &at)) {
        fail(c, which, at);
        if (c->n_failed <= 5) printf("#   got %a, expected %a\n", (double)got[at], (double)want[at]);
    }
}

static void expect_bytes(check *c, const char *which, const void *got, const void *want, size_t n) {
    const uint8_t *a = got, *b = want;
    size_t at = 0;
    while (at < n && a[at] == b[at]) at++;
    if (at < n) fail(c, which, at);
}

static void end_case(check *c) {
    if (!guard_release(&c->pool)) fail(c, "memory in front of a block", 0);
    c->n_cases++;
}

static float *floats(check *c, size_t n, kind k) {
    float *x = guard_alloc(&c->pool, n * sizeof *x);
    fill_floats(x, n, k, &c->seed);
    return x;
}

static void *bytes(check *c, size_t n) { return guard_alloc(&c->pool, n); }

/* ---- int8 products --------------------------------------------------------------------------------------------- */

typedef enum fill { FILL_RANDOM, FILL_MAX, FILL_MIN, FILL_SPARSE, FILL_ZERO, N_FILLS } fill;

static const char *const fill_names[N_FILLS] = {"random", "all 127", "all -127", "sparse", "zero"};

static void fill_integers(int8_t *q, size_t n, fill f, uint64_t *seed) {
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

static void check_gemm_case(check *c, const gemm_case *g) {
    snprintf(c->what, sizeof c->what, "gemm_i8 rows %zu K %zu panel %zu x %zu planes %d group %zu a %s w %s scales %s",
             g->n_rows, g->k, g->panel, g->n_panels, g->planes, g->group, fill_names[g->a], fill_names[g->w],
             kind_names[g->scales]);
    const size_t n_groups = g->k / g->group, n_a = g->n_rows * g->k, n_out = g->panel * g->n_panels;
    int8_t *hi = bytes(c, n_a), *lo = g->planes == 2 ? bytes(c, n_a) : NULL, *w = bytes(c, n_out * g->k);
    fill_integers(hi, n_a, g->a, &c->seed);
    if (lo != NULL) fill_integers(lo, n_a, g->a, &c->seed);
    fill_integers(w, n_out * g->k, g->w, &c->seed);
    float *scale = floats(c, g->n_rows * n_groups, g->scales);
    uint16_t *d = bytes(c, n_out * n_groups * sizeof *d);
    for (size_t i = 0; i < n_out * n_groups; i++)
        d[i] = next_below(&c->seed, 9) == 0 ? 0 : (uint16_t)(0x3C00 + next_below(&c->seed, 0x200));
    int32_t *sum = bytes(c, g->n_rows * n_groups * sizeof *sum);
    for (size_t m = 0; m < g->n_rows; m++)
        for (size_t k = 0; k < g->k; k++) {
            int32_t *s = &sum[m * n_groups + k / g->group];
            const int t = lo == NULL ? hi[m * g->k + k] : 128 * hi[m * g->k + k] + lo[m * g->k + k];
            *s = k % g->group == 0 ? t : *s + t;
        }
    const b2_quantised_rows rows = {
        .hi = hi, .lo = lo, .scale = scale, .sum = sum, .n_rows = g->n_rows, .stride = g->k};
    b2_weight_panels panels = {
        .values = w, .scales = d, .panel = g->panel, .group = g->group, .n_panels = g->n_panels};
    const b2_weight_panels next = panels;
    if (next_below(&c->seed, 2)) panels.next = &next;
    /* fewer outputs than the panels hold, a bias or none, every epilogue; rows of out further apart than they are long */
    const size_t n = n_out - next_below(&c->seed, g->panel), stride = n + next_below(&c->seed, 40);
    const size_t y_bytes = g->n_rows * B2_GEMM_STRIP * sizeof(float), n_result = (g->n_rows - 1) * stride + n;
    float *result[2] = {floats(c, n_result, KIND_PLAIN), bytes(c, n_result * sizeof(float))};
    memcpy(result[1], result[0], n_result * sizeof(float));
    b2_gemm_out out = {.stride = stride, .bias = next_below(&c->seed, 3) == 0 ? NULL : floats(c, n, KIND_PLAIN), .n = n,
                       .epilogue = (b2_epilogue)next_below(&c->seed, 4), .finish = c->want->finish_row};
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

static void check_gemm_i8(check *c) {
    static const kind scales[] = {KIND_PLAIN, KIND_ZERO, KIND_NAN, KIND_DENORMAL, KIND_INFINITE, KIND_HUGE};
    static const size_t depths[] = {128, 256, 384, 640, 768, 1408, 2560};
    gemm_case g = {.group = 128};
    for (g.n_rows = 1; g.n_rows <= B2_GEMM_ROWS; g.n_rows += g.n_rows < 40 ? 1 : 29)
        for (g.planes = 1; g.planes <= 2; g.planes++) {
            g.k = depths[next_below(&c->seed, g.n_rows < 40 ? 7 : 3)];
            g.panel = next_below(&c->seed, 2) ? 16 : 64;
            g.n_panels = g.panel == 64 ? 1 : 1 + next_below(&c->seed, 4);
            g.a = (fill)next_below(&c->seed, N_FILLS), g.w = FILL_RANDOM, g.scales = KIND_PLAIN;
            check_gemm_case(c, &g);
        }
    for (int a = 0; a < N_FILLS; a++)
        for (int w = 0; w < N_FILLS; w++)
            for (int i = 0; i < 24; i++) {
                g = (gemm_case){.n_rows = 1 + next_below(&c->seed, 9), .k = 128 * (1 + next_below(&c->seed, 5)),
                                .panel = i % 2 ? 64 : 16, .n_panels = i % 2 ? 1 : 4, .group = 128,
                                .planes = 1 + i / 2 % 2, .a = (fill)a, .w = (fill)w, .scales = scales[i / 4]};
                check_gemm_case(c, &g);
            }
    static const struct { size_t n_rows, k, panel; int planes; } real[] = {
        {257, 1408, 16, 1}, {257, 6144, 16, 1}, {33, 2560, 16, 2},  {33, 10240, 64, 2}, {1, 2560, 16, 2},
        {1, 10240, 64, 2},  {2, 10240, 64, 2},  {8, 10240, 64, 2}, {16, 2560, 16, 2},  {272, 1408, 16, 2},
    };
    for (size_t i = 0; i < sizeof real / sizeof real[0]; i++)
        for (int f = 0; f < 2; f++) {
            g = (gemm_case){.n_rows = real[i].n_rows, .k = real[i].k, .panel = real[i].panel, .group = 128,
                            .n_panels = 64 / real[i].panel, .planes = real[i].planes,
                            .a = f ? FILL_SPARSE : FILL_RANDOM, .w = FILL_RANDOM, .scales = KIND_PLAIN};
            check_gemm_case(c, &g);
        }
    static const size_t groups[] = {4, 8, 16, 32, 48, 64, 96, 100, 128}; /* other groups than 128 are allowed */
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++)
        for (size_t j = 0; j < 12; j++) {
            g = (gemm_case){.n_rows = 1 + 6 * (j / 2), .k = groups[i] * (1 + next_below(&c->seed, 4)), .panel = j % 2 ? 64 : 16,
                            .n_panels = j % 2 ? 1 : 1 + next_below(&c->seed, 4), .group = groups[i],
                            .planes = 1 + (int)next_below(&c->seed, 2), .scales = KIND_PLAIN};
            check_gemm_case(c, &g);
        }
    for (size_t n_rows = 1; n_rows <= 4; n_rows++) { /* rows longer than a kernel's scratch */
        g = (gemm_case){.n_rows = n_rows, .k = 128 * 300, .panel = n_rows % 2 ? 16 : 64, .n_panels = 1, .group = 128,
                        .planes = 2, .a = FILL_SPARSE, .scales = KIND_PLAIN};
        check_gemm_case(c, &g);
    }
}

/* ---- rows ------------------------------------------------------------------------------------------------------- */

static void check_quantise_row(check *c) {
    for (int k = 0; k < N_KINDS; k++)
        for (size_t n = 1; n <= 1500; n += n < 300 ? 1 : 119)
            for (int planes = 1; planes <= 2; planes++) {
                snprintf(c->what, sizeof c->what, "quantise_row n %zu planes %d %s", n, planes, kind_names[k]);
                const size_t group = n % 7 == 3 ? 64 : 128, extra = n % 5 == 1 ? group : 0;
                const size_t padded = (n + group - 1) / group * group + extra, n_groups = padded / group;
                const float *x = floats(c, n, (kind)k);
                int8_t *hi[2], *lo[2];
                float *scale[2];
                int32_t *sum[2];
                for (int i = 0; i < 2; i++) {
                    hi[i] = bytes(c, padded);
                    lo[i] = planes == 2 ? bytes(c, padded) : NULL;
                    scale[i] = bytes(c, n_groups * sizeof(float));
                    sum[i] = bytes(c, n_groups * sizeof(int32_t));
                    const b2_isa *isa = i == 0 ? c->want : c->isa;
                    isa->quantise_row(x, n, padded, group, hi[i], lo[i], scale[i], sum[i]);
                }
                expect_bytes(c, "hi", hi[1], hi[0], padded);
                if (planes == 2) expect_bytes(c, "lo", lo[1], lo[0], padded);
                expect_floats(c, "scale", scale[1], scale[0], n_groups);
                expect_bytes(c, "sum", sum[1], sum[0], n_groups * sizeof(int32_t));
                end_case(c);
            }
}

static void check_layernorm_row(check *c) {
    for (int k = 0; k < N_KINDS; k++)
        for (size_t n = 1; n <= 2560; n += n < 70 ? 1 : n < 1408 ? 223 : 1152) {
            snprintf(c->what, sizeof c->what, "layernorm_row n %zu %s", n, kind_names[k]);
            const float *x = floats(c, n, (kind)k), *gamma = floats(c, n, KIND_LOUD), *beta = floats(c, n, KIND_PLAIN);
            float *want = floats(c, n, KIND_ZERO), *got = floats(c, n, KIND_ZERO);
            c->want->layernorm_row(x, n, gamma, beta, 1e-5f, want);
            c->isa->layernorm_row(x, n, gamma, beta, 1e-5f, got);
            expect_floats(c, "y", got, want, n);
            memcpy(got, x, n * sizeof *got);
            c->isa->layernorm_row(got, n, gamma, beta, 1e-5f, got);
            expect_floats(c, "y in place", got, want, n);
            end_case(c);
        }
}

static void check_finish_row(check *c) {
    for (int k = 0; k < N_KINDS; k++)
        for (int epilogue = B2_EPILOGUE_STORE; epilogue <= B2_EPILOGUE_GELU; epilogue++)
            for (size_t n = 1; n <= 130; n += n < 68 ? 1 : 31)
                for (int with_bias = 0; with_bias < 2; with_bias++) {
                    snprintf(c->what, sizeof c->what, "finish_row n %zu epilogue %d bias %d %s", n, epilogue,
                             with_bias, kind_names[k]);
                    const float *y = floats(c, n, (kind)k), *bias = with_bias ? floats(c, n, KIND_PLAIN) : NULL;
                    float *want = floats(c, n, KIND_PLAIN), *got = bytes(c, n * sizeof *got);
                    memcpy(got, want, n * sizeof *got);
                    c->want->finish_row(y, bias, n, (b2_epilogue)epilogue, want);
                    c->isa->finish_row(y, bias, n, (b2_epilogue)epilogue, got);
                    expect_floats(c, "out", got, want, n);
                    end_case(c);
                }
}

/* exp and GELU at one number in 997 of all that exist */
static void check_functions(check *c) {
    enum { N = 1 << 16 };
    float *x = malloc(N * sizeof *x), *want = malloc(N * sizeof *want), *got = malloc(N * sizeof *got);
    if (x == NULL || want == NULL || got == NULL) abort();
    uint64_t bits = 0;
    while (bits <= UINT32_MAX) {
        snprintf(c->what, sizeof c->what, "exp and gelu from bits %08x", (unsigned)bits);
        for (size_t i = 0; i < N; i++, bits += 997) x[i] = from_bits((uint32_t)(bits > UINT32_MAX ? 0 : bits));
        c->want->finish_row(x, NULL, N, B2_EPILOGUE_GELU, want);
        c->isa->finish_row(x, NULL, N, B2_EPILOGUE_GELU, got);
        expect_floats(c, "gelu", got, want, N);
        for (size_t i = 0; i < N; i += 7) { /* one to seven lanes of one number each: exp itself, seven added */
            const size_t n = N - i < 7 ? N - i : 7;
            want[i] = c->want->sum_exp(x + i, n, 0.0f);
            got[i] = c->isa->sum_exp(x + i, n, 0.0f);
            expect_floats(c, "sum of exp", got + i, want + i, 1);
        }
        c->n_cases++;
    }
    free(x), free(want), free(got);
}

static void check_reductions(check *c) {
    for (int k = 0; k < N_KINDS; k++)
        for (size_t n = 1; n <= 900; n += n < 100 ? 1 : 173) {
            snprintf(c->what, sizeof c->what, "reductions n %zu %s", n, kind_names[k]);
            const float *x = floats(c, n, (kind)k), *b = floats(c, n, KIND_LOUD);
            uint16_t *half = bytes(c, n * sizeof *half);
            for (size_t i = 0; i < n; i++) half[i] = (uint16_t)next_bits(&c->seed);
            const float shift = c->want->max(x, n);
            const float want[] = {shift, c->want->sum_exp(x, n, shift), c->want->dot_f32(x, b, n),
                                  c->want->dot_f16(half, b, n)};
            const float got[] = {c->isa->max(x, n), c->isa->sum_exp(x, n, shift), c->isa->dot_f32(x, b, n),
                                 c->isa->dot_f16(half, b, n)};
            static const char *const names[] = {"max", "sum_exp", "dot_f32", "dot_f16"};
            for (int i = 0; i < 4; i++) /* max: zeros of both signs are one number */
                if (i > 0 || got[0] != want[0]) expect_floats(c, names[i], got + i, want + i, 1);
            float *wide[2] = {bytes(c, n * sizeof(float)), bytes(c, n * sizeof(float))};
            c->want->widen_f16(half, wide[0], n);
            c->isa->widen_f16(half, wide[1], n);
            expect_floats(c, "widen_f16", wide[1], wide[0], n);
            end_case(c);
        }
}

static void check_gather_row(check *c) {
    for (size_t n = 1; n <= 700; n += n < 40 ? 1 : 53) {
        const size_t group = 128, k = (n + group - 1) / group * group, panel = n % 2 ? 16 : 64, n_panels = 3;
        int8_t *values = bytes(c, n_panels * panel * k);
        uint16_t *scales = bytes(c, n_panels * panel * (k / group) * sizeof *scales);
        fill_integers(values, n_panels * panel * k, FILL_RANDOM, &c->seed);
        for (size_t i = 0; i < n_panels * panel * (k / group); i++)
            scales[i] = (uint16_t)(next_bits(&c->seed) & 0x7FFF);
        const b2_weight_panels w = {
            .values = values, .scales = scales, .panel = panel, .group = group, .n_panels = n_panels};
        float *want = floats(c, n, KIND_ZERO), *got = floats(c, n, KIND_ZERO);
        const size_t row = next_below(&c->seed, n_panels * panel);
        snprintf(c->what, sizeof c->what, "gather_row n %zu panel %zu row %zu", n, panel, row);
        c->want->gather_row(&w, k, row, want, n);
        c->isa->gather_row(&w, k, row, got, n);
        expect_floats(c, "out", got, want, n);
        end_case(c);
    }
}

/* The f32 product of a set may be BLAS: near the definition, not equal to it. */
static void check_gemm_f32(check *c) {
    for (size_t rows = 1; rows <= 33; rows += 4)
        for (size_t n_in = 1; n_in <= 200; n_in += 39) {
            snprintf(c->what, sizeof c->what, "gemm_f32 rows %zu n_in %zu", rows, n_in);
            const size_t n_out = 1 + next_below(&c->seed, 64);
            const float *a = floats(c, rows * n_in, KIND_PLAIN), *w = floats(c, n_out * n_in, KIND_PLAIN);
            float *want = floats(c, rows * n_out, KIND_ZERO), *got = floats(c, rows * n_out, KIND_ZERO);
            c->want->gemm_f32(a, n_in, rows, w, n_in, n_out, want, n_out);
            c->isa->gemm_f32(a, n_in, rows, w, n_in, n_out, got, n_out);
            for (size_t i = 0; i < rows * n_out; i++)
                if (!(fabsf(got[i] - want[i]) < 1e-4f)) fail(c, "out", i);
            end_case(c);
        }
}

/* ---- attention ----------------------------------------------------------------------------------------------------- */

typedef struct attend_case {
    size_t n_queries, n_keys, n_visible_first, head_len;
    kind queries, keys, values;
} attend_case;

static void check_attend_case(check *c, const attend_case *t) {
    snprintf(c->what, sizeof c->what, "attend %zu queries %zu keys (%zu visible first) head %zu q %s k %s v %s",
             t->n_queries, t->n_keys, t->n_visible_first, t->head_len, kind_names[t->queries], kind_names[t->keys],
             kind_names[t->values]);
    const size_t key_stride = (t->n_keys + 15) / 16 * 16 + 16 * next_below(&c->seed, 3);
    const size_t q_stride = t->head_len + next_below(&c->seed, 40), value_stride = t->head_len + next_below(&c->seed, 9);
    const size_t out_stride = t->head_len + next_below(&c->seed, 5);
    const float *q = floats(c, (t->n_queries - 1) * q_stride + t->head_len, t->queries);
    const float *v = floats(c, (t->n_keys - 1) * value_stride + t->head_len, t->values);
    float *k = guard_alloc(&c->pool, t->head_len * key_stride * sizeof *k);
    fill_floats(k, t->head_len * key_stride, t->keys, &c->seed);
    for (size_t d = 0; d < t->head_len; d++) /* what lies behind the keys is nobody's business */
        for (size_t j = t->n_keys; j < key_stride; j++) k[d * key_stride + j] = NAN;
    const size_t n_out = (t->n_queries - 1) * out_stride + t->head_len;
    float *want = floats(c, n_out, KIND_ZERO), *got = bytes(c, n_out * sizeof *got);
    memcpy(got, want, n_out * sizeof *got);
    b2_attention a = {
        .queries = q, .keys = k, .values = v, .out = want, .q_stride = q_stride, .key_stride = key_stride,
        .value_stride = value_stride, .out_stride = out_stride, .n_queries = t->n_queries, .n_keys = t->n_keys,
        .n_visible_first = t->n_visible_first, .head_len = t->head_len,
        .query_scale = t->n_visible_first < t->n_keys ? 0.1118034f : 1.0f,
        .score_scale = t->n_visible_first < t->n_keys ? 1.0f : 0.1066f,
        .scores = bytes(c, B2_ATTENTION_ROWS * key_stride * sizeof(float)),
        .query = bytes(c, B2_ATTENTION_ROWS * t->head_len * sizeof(float)),
    };
    c->want->attend(&a);
    a.out = got;
    c->isa->attend(&a);
    expect_floats(c, "out", got, want, n_out);
    end_case(c);
}

static void check_attend(check *c) {
    static const attend_case real[] = {
        {257, 257, 257, 88, KIND_PLAIN, KIND_PLAIN, KIND_PLAIN}, {677, 677, 677, 88, KIND_LOUD, KIND_LOUD, KIND_PLAIN},
        {32, 257, 257, 64, KIND_LOUD, KIND_PLAIN, KIND_LOUD},    {32, 32, 32, 64, KIND_PLAIN, KIND_PLAIN, KIND_PLAIN},
        {33, 33, 1, 80, KIND_LOUD, KIND_LOUD, KIND_LOUD},        {1, 53, 53, 80, KIND_LOUD, KIND_LOUD, KIND_LOUD},
        {40, 71, 32, 80, KIND_LOUD, KIND_LOUD, KIND_LOUD},       {1, 1, 1, 80, KIND_PLAIN, KIND_PLAIN, KIND_PLAIN},
    };
    for (size_t i = 0; i < sizeof real / sizeof real[0]; i++) check_attend_case(c, &real[i]);
    for (int i = 0; i < 1500; i++) {
        attend_case t = {.n_queries = 1 + next_below(&c->seed, 40), .n_keys = 1 + next_below(&c->seed, 120),
                         .head_len = 1 + next_below(&c->seed, 130)};
        t.n_visible_first = t.n_keys;
        if (i % 2) { /* causal */
            t.n_keys = t.n_queries + next_below(&c->seed, 50);
            t.n_visible_first = t.n_keys - t.n_queries + 1;
        }
        t.queries = i % 3 ? KIND_LOUD : (kind)next_below(&c->seed, N_KINDS);
        t.keys = i % 5 ? KIND_PLAIN : (kind)next_below(&c->seed, N_KINDS);
        t.values = i % 7 ? KIND_LOUD : (kind)next_below(&c->seed, N_KINDS);
        check_attend_case(c, &t);
    }
}

/* -------------------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    void (*run)(check *c);
} checks[] = {
    {"gemm_i8", check_gemm_i8},           {"quantise_row", check_quantise_row}, {"layernorm_row", check_layernorm_row},
    {"finish_row", check_finish_row},     {"functions", check_functions},       {"reductions", check_reductions},
    {"gather_row", check_gather_row},     {"gemm_f32", check_gemm_f32},         {"attend", check_attend},
};
enum { N_CHECKS = sizeof checks / sizeof checks[0] };

static int check_all(uint64_t seed) {
    const char *names[16];
    const size_t n_sets = b2_isa_list(names, 16);
    b2_isa scalar, isa;
    if (b2_isa_select("scalar", &scalar, NULL) != BLIP2_OK) return 1;
    printf("1..%zu\n", n_sets * N_CHECKS);
    size_t n_failed = 0, line = 0;
    for (size_t s = 0; s < n_sets; s++)
        for (size_t i = 0; i < N_CHECKS; i++) {
            if (b2_isa_select(names[s], &isa, NULL) != BLIP2_OK) return 1;
            check c = {.want = &scalar, .isa = &isa, .seed = seed + i};
            if (strcmp(names[s], "scalar") != 0) checks[i].run(&c);
            n_failed += c.n_failed > 0;
            if (c.n_failed > 0) printf("# %zu of %zu cases differ; --seed %llu\n", c.n_failed, c.n_cases,
                                       (unsigned long long)seed);
            printf("%s %zu - %s %s\n", c.n_failed == 0 ? "ok" : "not ok", ++line, names[s], checks[i].name);
            fflush(stdout);
        }
    return n_failed > 0;
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--bench") == 0)
        return bench_kernels(argc > 2 ? argv[2] : NULL, argc > 3 ? atoi(argv[3]) : 0, argc > 4 ? argv[4] : NULL);
    return check_all(argc > 2 && strcmp(argv[1], "--seed") == 0 ? strtoull(argv[2], NULL, 0) : default_seed);
}
