/* checkkernels.c: every kernel of every instruction set that this CPU runs, against the plain C definition, to the bit.
 *
 *   checkkernels                           checks; one TAP line for each kernel and set
 *   checkkernels --seed N                  the same with other numbers (a failure prints its seed)
 *   checkkernels --bench [ISA [THREADS [PHASE]]]   speed beside the machine's limits, measured in the same run */
#include "kernels/isa.h"
#include "tests/kernels/bench_kernels.h"
#include "tests/kernels/check_gemm.h"

static const uint64_t default_seed = 20240611;

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
                    snprintf(c->what, sizeof c->what, "finish_row n %zu epilogue %d bias %d %s", n, epilogue, with_bias,
                             kind_names[k]);
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

/* fma where rounding twice would be wrong: c plus just less (or more) than half of its last place, from (1 + 2^-23)
 * (1 - 2^-23) = 1 - 2^-46, at every exponent. One fma of a dot product of 17, which leaves the other lanes +0. */
static void check_fma(check *c) {
    float a[17] = {0}, b[17] = {0};
    for (int i = 0; i < 200000; i++, c->n_cases++) {
        const uint32_t bits = (uint32_t)next_bits(&c->seed), signs = (uint32_t)next_bits(&c->seed);
        const int any = (int)(bits >> 23 & 0xFF), exponent = any > 253 ? 0 : i % 7 == 0 ? any % 4 : any;
        const int half_place = (exponent > 0 ? exponent : 1) - 127 - 24, half = half_place / 2; /* maybe below f32's */
        a[0] = from_bits((bits & 0x807FFFFFu) | (uint32_t)exponent << 23), b[0] = 1.0f;
        a[16] = ldexpf((i % 3 == 0 ? 1.0f : 1.0f + 0x1p-23f) * (signs & 1 ? 1.0f : -1.0f), half);
        b[16] = ldexpf(i % 3 == 2 ? 1.0f : 1.0f - 0x1p-23f, half_place - half);
        const float want = c->want->dot_f32(a, b, 17), got = c->isa->dot_f32(a, b, 17);
        snprintf(c->what, sizeof c->what, "fma of %a, %a and %a", (double)a[16], (double)b[16], (double)a[0]);
        expect_floats(c, "sum", &got, &want, 1);
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

/* ---- attention ------------------------------------------------------------------------------------------------- */

typedef struct attend_case {
    size_t n_queries, n_keys, n_visible_first, head_len;
    kind queries, keys, values;
} attend_case;

static void check_attend_case(check *c, const attend_case *t) {
    snprintf(c->what, sizeof c->what, "attend %zu queries %zu keys (%zu visible first) head %zu q %s k %s v %s",
             t->n_queries, t->n_keys, t->n_visible_first, t->head_len, kind_names[t->queries], kind_names[t->keys],
             kind_names[t->values]);
    const size_t key_stride = (t->n_keys + 15) / 16 * 16 + 16 * next_below(&c->seed, 3);
    const size_t q_stride = t->head_len + next_below(&c->seed, 40),
                 value_stride = t->head_len + next_below(&c->seed, 9);
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
        .queries = q,
        .keys = k,
        .values = v,
        .out = want,
        .q_stride = q_stride,
        .key_stride = key_stride,
        .value_stride = value_stride,
        .out_stride = out_stride,
        .n_queries = t->n_queries,
        .n_keys = t->n_keys,
        .n_visible_first = t->n_visible_first,
        .head_len = t->head_len,
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
        attend_case t = {.n_queries = 1 + next_below(&c->seed, 40),
                         .n_keys = 1 + next_below(&c->seed, 120),
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

/* ---- the list ---------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    void (*run)(check *c);
} checks[] = {
    {"gemm_i8", check_gemm_i8},
    {"quantise_row", check_quantise_row},
    {"layernorm_row", check_layernorm_row},
    {"finish_row", check_finish_row},
    {"functions", check_functions},
    {"reductions", check_reductions},
    {"fma", check_fma},
    {"gather_row", check_gather_row},
    {"gemm_f32", check_gemm_f32},
    {"attend", check_attend},
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
            if (c.n_failed > 0)
                printf("# %zu of %zu cases differ; --seed %llu\n", c.n_failed, c.n_cases, (unsigned long long)seed);
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
