/* test_ops.c: each verb against a plain formulation in double, and the promise that threads and batch change
 * nothing. */
#include "kernels/ops.h"

#include "kernels/cpu/cpu_home.h"
#include "quant/half.h"
#include "quant/panel.h"
#include "tests/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static float *random_floats(size_t n, uint64_t seed) {
    float *x = malloc(n * sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++) x[i] = next_unit(&seed);
    return x;
}

typedef struct bench {
    b2_ops *ops;
    b2_arena arena;
} bench;

static void open_bench(bench *b, const char *isa, int n_threads) {
    const b2_ops_limits limits = {.max_linear_values = 1 << 20,
                                  .max_items = 4,
                                  .max_inputs = 1024,
                                  .has_f16 = true,
                                  .max_keys = 512,
                                  .max_head_len = 96};
    *b = (bench){0};
    assert_int_equal(b2_cpu_home_create(isa, n_threads, &b->ops, NULL), BLIP2_OK);
    b2_ops_plan(b->ops, &limits, &b->arena);
    assert_int_equal(b2_ops_reserve(b->ops, &b->arena, NULL), BLIP2_OK);
    b2_ops_plan(b->ops, &limits, &b->arena);
}

static void close_bench(bench *b) {
    b2_ops_release(b->ops, &b->arena);
    b2_ops_free(b->ops);
}

/* A matrix in one of the three forms; memory is the caller's to free. */
static b2_matrix make_matrix(b2_dtype dtype, size_t n_out, size_t n_in, size_t panel, const float *w, const float *bias,
                             void **values, void **scales) {
    b2_matrix m = {.dtype = dtype, .n_out = n_out, .n_in = n_in, .n_in_padded = n_in, .planes = 2, .bias = bias};
    *values = *scales = NULL;
    if (dtype == B2_DTYPE_I8) {
        const b2_panel_shape shape = b2_panel_shape_make(n_out, n_in, panel);
        *values = malloc(b2_panel_values_bytes(&shape));
        *scales = malloc(b2_panel_scales_bytes(&shape));
        const size_t n_groups = shape.n_in_padded / shape.group;
        for (size_t p = 0; p < b2_panel_count(&shape); p++) {
            const size_t first = p * panel, n_rows = n_out - first < panel ? n_out - first : panel;
            assert_true(b2_panel_quantise(&shape, w + first * n_in, n_rows, NULL,
                                          (int8_t *)*values + first * shape.n_in_padded,
                                          (uint16_t *)*scales + first * n_groups));
        }
        m.n_in_padded = shape.n_in_padded;
        m.panel = panel;
        m.group = shape.group;
        m.values = *values;
        m.scales = *scales;
    } else if (dtype == B2_DTYPE_F16) {
        *values = malloc(n_out * n_in * 2);
        assert_true(b2_f32_to_f16_row(w, n_out * n_in, *values));
        m.values = *values;
    } else {
        m.values = w;
    }
    return m;
}

static double weight_of(const b2_matrix *m, const float *w, size_t n, size_t k) {
    if (m->dtype == B2_DTYPE_F16) return (double)b2_f16_to_f32(((const uint16_t *)m->values)[n * m->n_in + k]);
    if (m->dtype == B2_DTYPE_F32) return (double)w[n * m->n_in + k];
    const b2_panel_shape shape = b2_panel_shape_make(m->n_out, m->n_in, m->panel);
    return (double)((const int8_t *)m->values)[b2_panel_value_idx(&shape, n, k)] *
           (double)b2_bf16_to_f32(m->scales[b2_panel_scale_idx(&shape, n, k)]);
}

static double gelu_double(double x) { return 0.5 * x * (1.0 + erf(x / sqrt(2.0))); }

static double finish_double(double p, b2_epilogue epilogue, double before) {
    switch (epilogue) {
    case B2_EPILOGUE_ADD: return before + p;
    case B2_EPILOGUE_RELU: return p > 0 ? p : 0;
    case B2_EPILOGUE_GELU: return gelu_double(p);
    default: return p;
    }
}

static void check_linear(b2_dtype dtype, size_t n_out, size_t n_in, size_t panel, size_t n_groups, size_t rows,
                         b2_epilogue epilogue, const char *isa) {
    float *w = random_floats(n_out * n_in, n_out * 31 + n_in), *bias = random_floats(n_out, 5);
    float *x = random_floats(n_groups * rows * n_in, 7);
    void *values, *scales;
    const b2_matrix m = make_matrix(dtype, n_out, n_in, panel, w, bias, &values, &scales);
    const size_t n_all = n_groups * rows * n_out;
    float *before = random_floats(n_all, 9), *out = malloc(n_all * sizeof *out), *other = malloc(n_all * sizeof *other);
    bench b;
    open_bench(&b, isa, 1);
    memcpy(out, before, n_all * sizeof *out);
    b2_ops_linear(b.ops, &m, x, n_groups, rows, epilogue, out);
    close_bench(&b);

    const double tolerance = dtype == B2_DTYPE_I8 ? 3e-4 : 2e-6; /* 15-bit activations; f32 rounding */
    for (size_t r = 0; r < n_groups * rows; r++)
        for (size_t n = 0; n < n_out; n++) {
            double p = (double)bias[n];
            for (size_t k = 0; k < n_in; k++) p += weight_of(&m, w, n, k) * (double)x[r * n_in + k];
            const double want = finish_double(p, epilogue, (double)before[r * n_out + n]);
            assert_true(fabs((double)out[r * n_out + n] - want) <= tolerance * sqrt((double)n_in));
        }
    const int threads[] = {2, 3, 7};
    for (size_t t = 0; t < 3; t++) {
        open_bench(&b, isa, threads[t]);
        memcpy(other, before, n_all * sizeof *other);
        b2_ops_linear(b.ops, &m, x, n_groups, rows, epilogue, other);
        assert_memory_equal(other, out, n_all * sizeof *out);
        for (size_t g = 0; g < n_groups; g++) { /* each group alone: the batch must not matter */
            memcpy(other, before + g * rows * n_out, rows * n_out * sizeof *other);
            b2_ops_linear(b.ops, &m, x + g * rows * n_in, 1, rows, epilogue, other);
            assert_memory_equal(other, out + g * rows * n_out, rows * n_out * sizeof *out);
        }
        close_bench(&b);
    }
    free(w), free(bias), free(x), free(values), free(scales), free(before), free(out), free(other);
}

static void test_linear(void **state) {
    (void)state;
    const char *names[16];
    const size_t n_isa = b2_isa_list(names, 16);
    for (size_t i = 0; i < n_isa; i++) {
        check_linear(B2_DTYPE_I8, 37, 130, 16, 2, 35, B2_EPILOGUE_STORE, names[i]);
        check_linear(B2_DTYPE_I8, 128, 256, 64, 1, 1, B2_EPILOGUE_RELU, names[i]);
        check_linear(B2_DTYPE_I8, 70, 588, 16, 3, 2, B2_EPILOGUE_GELU, names[i]);
        check_linear(B2_DTYPE_F32, 70, 53, 0, 2, 35, B2_EPILOGUE_ADD, names[i]);
        check_linear(B2_DTYPE_F32, 70, 53, 0, 3, 1, B2_EPILOGUE_ADD, names[i]);
        check_linear(B2_DTYPE_F16, 70, 53, 0, 2, 33, B2_EPILOGUE_GELU, names[i]);
        check_linear(B2_DTYPE_F16, 20, 53, 0, 2, 1, B2_EPILOGUE_RELU, names[i]);
    }
}

static void test_layernorm(void **state) {
    (void)state;
    for (size_t n = 1; n < 70; n += 4) {
        float *x = random_floats(3 * n, n), *gamma = random_floats(n, 2), *beta = random_floats(n, 3), y[3 * 70];
        const b2_norm norm = {.gamma = gamma, .beta = beta, .n = n, .eps = 1e-5f};
        bench b;
        open_bench(&b, NULL, 2);
        b2_ops_layernorm(b.ops, &norm, x, 3, y);
        for (size_t r = 0; r < 3; r++) {
            double mean = 0, var = 0;
            for (size_t i = 0; i < n; i++) mean += (double)x[r * n + i] / (double)n;
            for (size_t i = 0; i < n; i++)
                var += ((double)x[r * n + i] - mean) * ((double)x[r * n + i] - mean) / (double)n;
            for (size_t i = 0; i < n; i++) {
                const double want =
                    ((double)x[r * n + i] - mean) / sqrt(var + 1e-5) * (double)gamma[i] + (double)beta[i];
                assert_true(fabs((double)y[r * n + i] - want) < 2e-5);
            }
        }
        close_bench(&b);
        free(x), free(gamma), free(beta);
    }
}

/* out[head_len] of one query over n visible keys, in double */
static void attend_double(const float *q, const float *k, const float *v, size_t stride, size_t n, size_t head_len,
                          double *out) {
    double max = -INFINITY, sum = 0, s[512];
    for (size_t j = 0; j < n; j++) {
        s[j] = 0;
        for (size_t d = 0; d < head_len; d++) s[j] += (double)q[d] * (double)k[j * stride + d];
        s[j] /= sqrt((double)head_len);
        max = s[j] > max ? s[j] : max;
    }
    for (size_t j = 0; j < n; j++) sum += s[j] = exp(s[j] - max);
    for (size_t d = 0; d < head_len; d++) {
        out[d] = 0;
        for (size_t j = 0; j < n; j++) out[d] += s[j] / sum * (double)v[j * stride + d];
    }
}

static void test_attention(void **state) {
    (void)state;
    const struct {
        size_t n_batch, n_heads, head_len, n_tokens;
    } cases[] = {{1, 2, 88, 257}, {2, 3, 7, 19}, {3, 1, 64, 32}, {1, 4, 16, 1}};
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        const size_t heads = cases[c].n_heads, head_len = cases[c].head_len, t = cases[c].n_tokens;
        const size_t width = heads * head_len, row = 3 * width, n_all = cases[c].n_batch * t * width;
        float *qkv = random_floats(cases[c].n_batch * t * row, c + 1), *out = malloc(n_all * sizeof *out);
        float *first = malloc(n_all * sizeof *first);
        for (int n_threads = 1; n_threads <= 7; n_threads += 3) {
            bench b;
            open_bench(&b, NULL, n_threads);
            const b2_head_rows q = {qkv, t * row, row}, k = {qkv + width, t * row, row},
                               v = {qkv + 2 * width, t * row, row};
            b2_ops_attend(b.ops, cases[c].n_batch, heads, head_len, q, t, k, v, t, out);
            close_bench(&b);
            if (n_threads == 1) memcpy(first, out, n_all * sizeof *out);
            assert_memory_equal(out, first, n_all * sizeof *out);
        }
        for (size_t i = 0; i < cases[c].n_batch * t; i++)
            for (size_t h = 0; h < heads; h++) {
                double want[96];
                const float *base = qkv + i / t * t * row + h * head_len;
                attend_double(base + i % t * row, base + width, base + 2 * width, row, t, head_len, want);
                for (size_t d = 0; d < head_len; d++)
                    assert_true(fabs((double)out[i * width + h * head_len + d] - want[d]) < 3e-6);
            }
        free(qkv), free(out), free(first);
    }
}

/* A prompt at once, or position by position, or two sequences in exchanged slots: the same bytes. */
static void test_cached_attention(void **state) {
    (void)state;
    enum { HEADS = 3, LEN = 20, WIDTH = HEADS * LEN, T = 21, CAPACITY = 32, ROW = 3 * WIDTH };
    float *qkv = random_floats(2 * T * ROW, 11), keys[2 * WIDTH * CAPACITY], values[2 * WIDTH * CAPACITY];
    float whole[2 * T * WIDTH], step[WIDTH], swapped[2 * T * WIDTH];
    memset(keys, 0, sizeof keys), memset(values, 0, sizeof values);
    const b2_block_cache cache = {keys, values, CAPACITY, HEADS, LEN};
    bench b;
    open_bench(&b, NULL, 3);
    const size_t slots[2] = {0, 1}, exchanged[2] = {1, 0}, none[2] = {0, 0};
    b2_ops_attend_cached(b.ops, &cache, qkv, &(b2_cache_places){.n = 2, .slots = slots, .n_past = none}, T, whole);
    b2_ops_attend_cached(b.ops, &cache, qkv, &(b2_cache_places){.n = 2, .slots = exchanged, .n_past = none}, T,
                         swapped);
    assert_memory_equal(whole, swapped, sizeof whole);
    for (size_t s = 0; s < 2; s++)
        for (size_t t = 0; t < T; t++) {
            b2_ops_attend_cached(b.ops, &cache, qkv + (s * T + t) * ROW,
                                 &(b2_cache_places){.n = 1, .slots = &s, .n_past = &t}, 1, step);
            assert_memory_equal(step, whole + (s * T + t) * WIDTH, sizeof step);
            for (size_t h = 0; h < HEADS; h++) {
                double want[LEN];
                const float *base = qkv + s * T * ROW + h * LEN;
                attend_double(base + t * ROW, base + WIDTH, base + 2 * WIDTH, ROW, t + 1, LEN, want);
                for (size_t d = 0; d < LEN; d++) assert_true(fabs((double)step[h * LEN + d] - want[d]) < 3e-6);
            }
        }
    close_bench(&b);
    free(qkv);
}

static void test_rows_and_logits(void **state) {
    (void)state;
    float *w = random_floats(40 * 130, 3), rows[4 * 130], log_softmax[100];
    void *values, *scales;
    bench b;
    open_bench(&b, NULL, 1);
    const b2_dtype dtypes[] = {B2_DTYPE_I8, B2_DTYPE_F16, B2_DTYPE_F32};
    for (size_t t = 0; t < 3; t++) {
        const b2_matrix m = make_matrix(dtypes[t], 40, 130, 16, w, NULL, &values, &scales);
        const int32_t ids[] = {0, 39, 13, 13};
        b2_ops_gather_rows(b.ops, &m, ids, 4, rows);
        for (size_t i = 0; i < 4; i++)
            for (size_t k = 0; k < 130; k++)
                assert_true((double)rows[i * 130 + k] == weight_of(&m, w, (size_t)ids[i], k));
        free(values), free(scales);
    }
    size_t best;
    w[20] = w[33] = 2.0f;
    assert_true(b2_ops_argmax(b.ops, w, 100, &best));
    assert_int_equal(best, 20); /* the lowest on a tie */
    double sum = 0;
    for (size_t i = 0; i < 100; i++) sum += exp((double)w[i]);
    assert_true(fabs((double)b2_ops_log_probability(b.ops, w, 100, 7) - ((double)w[7] - log(sum))) < 2e-6);
    assert_true(b2_ops_max(b.ops, w, 100) == 2.0f);
    b2_ops_log_softmax(b.ops, w, 100, log_softmax);
    for (size_t i = 0; i < 100; i++) assert_true(log_softmax[i] == b2_ops_log_probability(b.ops, w, 100, i));
    w[50] = NAN;
    assert_true(isnan(b2_ops_max(b.ops, w, 100)));
    assert_false(b2_ops_argmax(b.ops, w, 100, &best));
    for (float x = 1.0f; x < 1e6f; x *= 1.0137f)
        assert_true(fabs((double)b2_log_f32(x) - log((double)x)) < 1e-6 * (1 + log((double)x)));
    close_bench(&b);
    free(w);
}

static void test_copies_and_sums(void **state) {
    (void)state;
    enum { N = 5, WIDTH = 7 };
    float *x = random_floats(N * WIDTH, 1), *table = random_floats(9 * WIDTH, 2), y[N * WIDTH], host[N * WIDTH];
    const size_t rows[N] = {8, 0, 3, 3, 1};
    bench b;
    open_bench(&b, NULL, 2);
    b2_ops_copy_rows(b.ops, x + WIDTH, 0, N, WIDTH, y); /* one row, again and again */
    for (size_t r = 0; r < N; r++) assert_memory_equal(y + r * WIDTH, x + WIDTH, WIDTH * sizeof *y);
    b2_ops_copy_rows(b.ops, table, 2 * WIDTH, 4, WIDTH, y); /* every second row */
    for (size_t r = 0; r < 4; r++) assert_memory_equal(y + r * WIDTH, table + 2 * r * WIDTH, WIDTH * sizeof *y);
    for (int chosen = 0; chosen < 2; chosen++) {
        b2_ops_add_rows(b.ops, x, table, chosen ? rows : NULL, N, WIDTH, y);
        for (size_t i = 0; i < N * WIDTH; i++)
            assert_true(y[i] == x[i] + table[(chosen ? rows[i / WIDTH] : i / WIDTH) * WIDTH + i % WIDTH]);
    }
    b2_ops_fetch(b.ops, x, N * WIDTH, host);
    assert_memory_equal(host, x, sizeof host);
    b2_ops_add_rows(b.ops, x, table, rows, N, WIDTH, x); /* in place */
    assert_memory_equal(x, y, sizeof y);
    close_bench(&b);
    free(x), free(table);
}

/* A picture of 5 x 5 pixels and patches of 2: four patches, the last row and column left out. */
static void test_patches(void **state) {
    (void)state;
    enum { SIZE = 5, P = 2, SIDE = 2 };
    float pixels[3 * SIZE * SIZE], patches[SIDE * SIDE * 3 * P * P], *at = patches;
    for (size_t i = 0; i < 3 * SIZE * SIZE; i++) pixels[i] = (float)i;
    bench b;
    open_bench(&b, NULL, 1);
    b2_ops_cut_patches(b.ops, pixels, SIZE, P, patches);
    for (size_t patch = 0; patch < SIDE * SIDE; patch++)
        for (size_t channel = 0; channel < 3; channel++)
            for (size_t i = 0; i < P * P; i++) {
                const size_t y = patch / SIDE * P + i / P, x = patch % SIDE * P + i % P;
                assert_true(*at++ == (float)((channel * SIZE + y) * SIZE + x));
            }
    close_bench(&b);
}

/* Slots of a cache, copied and exchanged through the spare one: a step from the new slot gives the same bytes. */
static void test_slots_move(void **state) {
    (void)state;
    enum { HEADS = 3, LEN = 20, WIDTH = HEADS * LEN, T = 21, CAPACITY = 32, ROW = 3 * WIDTH, SLOTS = 3 };
    float *qkv = random_floats((2 * T + 2) * ROW, 12), keys[SLOTS * WIDTH * CAPACITY], values[SLOTS * WIDTH * CAPACITY];
    float prompts[2 * T * WIDTH], want[2 * WIDTH], got[2 * WIDTH];
    memset(keys, 0, sizeof keys), memset(values, 0, sizeof values);
    const b2_block_cache cache = {keys, values, CAPACITY, HEADS, LEN};
    bench b;
    open_bench(&b, NULL, 2);
    const size_t slots[2] = {0, 1}, none[2] = {0, 0}, full[2] = {T, T};
    b2_ops_attend_cached(b.ops, &cache, qkv, &(b2_cache_places){.n = 2, .slots = slots, .n_past = none}, T, prompts);
    b2_ops_attend_cached(b.ops, &cache, qkv + 2 * T * ROW, &(b2_cache_places){.n = 2, .slots = slots, .n_past = full},
                         1, want);

    const b2_slot_move exchange[] = {{0, B2_SPARE_SLOT}, {1, 0}, {B2_SPARE_SLOT, 1}, {1, 2}};
    const size_t exchanged[2] = {1, 0}, copied[2] = {2, 0};
    b2_ops_move_slots(b.ops, &cache, exchange, 4, T);
    b2_ops_attend_cached(b.ops, &cache, qkv + 2 * T * ROW,
                         &(b2_cache_places){.n = 2, .slots = exchanged, .n_past = full}, 1, got);
    assert_memory_equal(got, want, sizeof got);
    b2_ops_attend_cached(b.ops, &cache, qkv + 2 * T * ROW, &(b2_cache_places){.n = 2, .slots = copied, .n_past = full},
                         1, got);
    assert_memory_equal(got, want, sizeof got);
    b2_ops_attend_cached(b.ops, &cache, qkv + 2 * T * ROW, &(b2_cache_places){.n = 2, .slots = slots, .n_past = full},
                         1, got);
    assert_memory_not_equal(got, want, sizeof got);
    close_bench(&b);
    free(qkv);
}

/* Positions that lie in several slots: the same bytes as in one slot, for any cut; and of several rows at once. */
static void test_positions_from_several_slots(void **state) {
    (void)state;
    enum { HEADS = 3, LEN = 20, WIDTH = HEADS * LEN, T = 21, CAPACITY = 32, ROW = 3 * WIDTH, SLOTS = 4, NEW = 3 };
    float *qkv = random_floats((T + NEW) * ROW, 13), keys[SLOTS * WIDTH * CAPACITY], values[SLOTS * WIDTH * CAPACITY];
    float prompt[T * WIDTH], want[NEW * WIDTH], got[NEW * WIDTH];
    uint32_t sources[CAPACITY] = {0};
    memset(keys, 0, sizeof keys), memset(values, 0, sizeof values);
    const b2_block_cache cache = {keys, values, CAPACITY, HEADS, LEN};
    bench b;
    open_bench(&b, NULL, 2);
    const size_t none = 0, full = T;
    for (size_t slot = 0; slot < SLOTS; slot++) /* the first three hold the same, the last one nothing */
        if (slot < 3)
            b2_ops_attend_cached(b.ops, &cache, qkv, &(b2_cache_places){.n = 1, .slots = &slot, .n_past = &none}, T,
                                 prompt);
    const size_t own = 1, empty = 3;
    b2_ops_attend_cached(b.ops, &cache, qkv + T * ROW, &(b2_cache_places){1, &own, &full, NULL, 0}, NEW, want);
    for (size_t step = 1; step <= T; step++) {
        for (size_t p = 0; p < T; p++) sources[p] = (uint32_t)(p / step % 3);
        memset(got, 0, sizeof got);
        b2_ops_attend_cached(b.ops, &cache, qkv + T * ROW, &(b2_cache_places){1, &empty, &full, sources, CAPACITY}, NEW,
                             got);
        assert_memory_equal(got, want, sizeof got);
    }
    sources[5] = 3; /* where nothing is */
    b2_ops_attend_cached(b.ops, &cache, qkv + T * ROW, &(b2_cache_places){1, &empty, &full, sources, CAPACITY}, NEW,
                         got);
    assert_memory_not_equal(got, want, sizeof got);
    close_bench(&b);
    free(qkv);
}

/* Sequences side by side that see some of the same positions: the bytes that each gets alone. */
static void test_sequences_that_share_positions(void **state) {
    (void)state;
    enum {
        HEADS = 3,
        LEN = 20,
        WIDTH = HEADS * LEN,
        T = 21,
        CAPACITY = 32,
        ROW = 3 * WIDTH,
        SLOTS = 8,
        NEW = 2,
        N = 6
    };
    static const size_t shared[N] = {T, 10, T, 10, 0, T}; /* so many positions in slot 0, the others in slot 1 */
    static const size_t n_past[N] = {T, T, T, T - 2, T, T}, slots[N] = {2, 3, 4, 5, 6, 0}; /* the last: all its own */
    float *qkv = random_floats((2 * T + N * NEW) * ROW, 17);
    static float keys[SLOTS * WIDTH * CAPACITY], values[SLOTS * WIDTH * CAPACITY];
    float prompt[T * WIDTH], alone[N * NEW * WIDTH], together[N * NEW * WIDTH];
    uint32_t sources[N * CAPACITY] = {0};
    const float *new_rows = qkv + 2 * T * ROW;
    const b2_block_cache cache = {keys, values, CAPACITY, HEADS, LEN};
    const size_t none = 0;
    for (size_t i = 0; i < N; i++)
        for (size_t p = 0; p < T; p++) sources[i * CAPACITY + p] = p >= shared[i];
    for (int n_threads = 1; n_threads <= 7; n_threads += 3) {
        bench b;
        open_bench(&b, NULL, n_threads);
        for (size_t slot = 0; slot < 2; slot++)
            b2_ops_attend_cached(b.ops, &cache, qkv + slot * T * ROW,
                                 &(b2_cache_places){.n = 1, .slots = &slot, .n_past = &none}, T, prompt);
        for (size_t i = 0; i < N; i++)
            b2_ops_attend_cached(b.ops, &cache, new_rows + i * NEW * ROW,
                                 &(b2_cache_places){1, &slots[i], &n_past[i], sources + i * CAPACITY, CAPACITY}, NEW,
                                 alone + i * NEW * WIDTH);
        memset(together, 0, sizeof together);
        b2_ops_attend_cached(b.ops, &cache, new_rows, &(b2_cache_places){N, slots, n_past, sources, CAPACITY}, NEW,
                             together);
        assert_memory_equal(together, alone, sizeof together);
        close_bench(&b);
    }
    free(qkv);
}

static void test_unknown_isa_lists_those_there_are(void **state) {
    (void)state;
    b2_isa isa;
    blip2_error err;
    assert_int_equal(b2_isa_select("sse9", &isa, &err), BLIP2_ARGUMENT);
    assert_non_null(strstr(err.message, "sse9"));
    assert_non_null(strstr(err.message, "scalar"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear),
        cmocka_unit_test(test_layernorm),
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_cached_attention),
        cmocka_unit_test(test_rows_and_logits),
        cmocka_unit_test(test_copies_and_sums),
        cmocka_unit_test(test_patches),
        cmocka_unit_test(test_slots_move),
        cmocka_unit_test(test_positions_from_several_slots),
        cmocka_unit_test(test_sequences_that_share_positions),
        cmocka_unit_test(test_unknown_isa_lists_those_there_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
