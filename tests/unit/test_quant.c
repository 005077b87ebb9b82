/* test_quant.c: the contract room: number formats, groups, panels, the list of tensors. */
#include "quant/fidelity.h"
#include "quant/half.h"
#include "quant/panel.h"
#include "quant/tensors.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- f16 and bf16, every code ------------------------------------------------------------------------------- */

/* The value of a finite non-negative f16, straight from IEEE 754. */
static double f16_value(uint32_t code) {
    const int exponent = (int)(code >> 10), mantissa = (int)(code & 0x3FF);
    return exponent == 0 ? ldexp(mantissa, -24) : ldexp(1024 + mantissa, exponent - 25);
}

static void test_f16_to_f32(void **state) {
    (void)state;
    for (uint32_t code = 0; code < 0x10000; code++) {
        const float x = b2_f16_to_f32((uint16_t)code);
        const uint32_t magnitude = code & 0x7FFF;
        assert_int_equal(b2_f32_bits(x) >> 31, code >> 15);
        if (magnitude > 0x7C00) assert_true(isnan(x));
        else if (magnitude == 0x7C00) assert_true(isinf(x));
        else assert_true((double)fabsf(x) == f16_value(magnitude));
    }
}

static void test_f16_there_and_back(void **state) {
    (void)state;
    for (uint32_t code = 0; code < 0x10000; code++) {
        uint16_t back;
        const bool finite = b2_f32_to_f16(b2_f16_to_f32((uint16_t)code), &back);
        assert_int_equal(finite, (code & 0x7C00) != 0x7C00);
        if ((code & 0x7FFF) > 0x7C00) assert_true((back & 0x7FFF) > 0x7C00);
        else assert_int_equal(back, code);
    }
}

/* Between neighbours: the middle goes to the even one, anything beside the middle to the nearer. 65536 takes the place
 * of a next code after the largest. */
static void test_f32_to_f16_rounds(void **state) {
    (void)state;
    for (uint32_t code = 0; code < 0x7C00; code++) {
        const double low = f16_value(code), high = code == 0x7BFF ? 65536.0 : f16_value(code + 1);
        const float middle = (float)((low + high) / 2);
        const float points[3] = {nextafterf(middle, 0.0f), middle, nextafterf(middle, INFINITY)};
        const uint32_t expected[3] = {code, code + (code & 1), code + 1};
        for (int i = 0; i < 3; i++)
            for (int sign = 0; sign < 2; sign++) {
                uint16_t got;
                const bool finite = b2_f32_to_f16(sign ? -points[i] : points[i], &got);
                assert_int_equal(got, expected[i] | (uint32_t)sign << 15);
                assert_int_equal(finite, expected[i] < 0x7C00);
            }
    }
    uint16_t got;
    assert_true(b2_f32_to_f16(0x1p-149f, &got));
    assert_int_equal(got, 0);
    assert_false(b2_f32_to_f16(-3.4e38f, &got));
    assert_int_equal(got, 0xFC00);
    assert_false(b2_f32_to_f16(NAN, &got));
}

static void test_bf16(void **state) {
    (void)state;
    for (uint32_t code = 0; code < 0x10000; code++)
        assert_int_equal(b2_f32_bits(b2_bf16_to_f32((uint16_t)code)), code << 16);
    for (uint32_t code = 0; code < 0x7F7F; code++) { /* up: what is exact stays; anything more is the next */
        assert_int_equal(b2_f32_to_bf16_up(b2_f32_from_bits(code << 16)), code);
        assert_int_equal(b2_f32_to_bf16_up(b2_f32_from_bits((code << 16) + 1)), code + 1);
        assert_int_equal(b2_f32_to_bf16_up(b2_f32_from_bits((code << 16) + 0xFFFF)), code + 1);
    }
}

static void test_rows(void **state) {
    (void)state;
    float x[37], back[37];
    uint16_t h[37];
    for (int i = 0; i < 37; i++) x[i] = (float)(i - 18) * 0.25f;
    assert_true(b2_f32_to_f16_row(x, 37, h));
    b2_f16_to_f32_row(h, 37, back);
    assert_memory_equal(x, back, sizeof x);
    x[36] = 70000.0f;
    assert_false(b2_f32_to_f16_row(x, 37, h));
    for (int i = 0; i < 37; i++) h[i] = (uint16_t)(0x3F80 + i);
    b2_bf16_to_f32_row(h, 37, back);
    for (int i = 0; i < 37; i++) assert_int_equal(b2_f32_bits(back[i]), (uint32_t)(0x3F80 + i) << 16);
}

/* ---- groups ------------------------------------------------------------------------------------------------------ */

/* FORMAT.md's sentence again, in double precision and without tricks. The quotient of two f32 in double, rounded to
 * f32, is the f32 quotient (53 >= 2 * 24 + 2 bits). */
static void quantise_slowly(const float *w, int *q, double *scale) {
    double max = 0;
    for (int k = 0; k < 128; k++) max = fmax(max, fabs((double)w[k]));
    *scale = 0;
    if (max >= ldexp(1.0, -100)) {
        int exponent;
        const double step = (double)(float)(max / 127.0);
        frexp(step, &exponent); /* step = 0.1xxx * 2^exponent: eight bits of it stay */
        *scale = ldexp(ceil(ldexp(step, 8 - exponent)), exponent - 8);
    }
    for (int k = 0; k < 128; k++) {
        const double value = *scale == 0 ? 0 : rint((double)(float)((double)w[k] / *scale));
        q[k] = (int)fmin(127, fmax(-127, value));
    }
}

static void check_group(const float *w) {
    int8_t q[128];
    uint16_t scale;
    int expected_q[128];
    double expected_scale;
    float back[128];
    assert_true(b2_group_quantise(w, NULL, q, &scale));
    quantise_slowly(w, expected_q, &expected_scale);
    assert_true((double)b2_bf16_to_f32(scale) == expected_scale);
    b2_group_dequantise(q, scale, back);
    for (int k = 0; k < 128; k++) {
        assert_int_equal(q[k], expected_q[k]);
        assert_true((double)back[k] == (double)(float)(expected_q[k] * expected_scale));
        if (expected_scale > 0) /* never more than half a step away, a hair for the two roundings */
            assert_true(fabs((double)back[k] - (double)w[k]) <= expected_scale * (0.5 + 1e-4));
    }
}

static uint32_t next_random(uint32_t *seed) { return *seed = *seed * 1664525u + 1013904223u; }

static float random_f32(uint32_t *seed) { return (float)((double)next_random(seed) / 2147483648.0 - 1.0); }

static void test_group_hostile(void **state) {
    (void)state;
    const float sizes[] = {0.0f,  0x1p-149f, 0x1.fffffep-127f, 0x1.fffffep-101f, 0x1p-100f, 0x1.000002p-100f, 0x1p-60f,
                           1e-8f, 1.0f,      127.0f,           65504.0f,         0x1p100f,  0x1.fffffep127f};
    uint32_t seed = 1;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int variant = 0; variant < 6; variant++) {
            float w[128] = {0};
            for (int k = 0; k < 128; k++) {
                if (variant == 0) w[k] = sizes[s];                              /* all the same */
                if (variant == 1) w[k] = k % 2 ? -sizes[s] : 0.0f;              /* negative and zero */
                if (variant == 2) w[k] = sizes[s] * random_f32(&seed);          /* noise */
                if (variant == 3) w[k] = sizes[s] * 1e-6f * random_f32(&seed);  /* nothing beside one outlier */
                if (variant == 4) w[k] = sizes[s] * ((float)(k - 64) / 127.0f); /* integers */
                if (variant == 5) w[k] = k % 3 ? 0x1p-149f : -0.0f;             /* subnormals beside one outlier */
            }
            if (variant >= 3) w[100] = -sizes[s];
            check_group(w);
        }
}

/* Scale exactly 1/64, so that every (n + 0.5) * scale is a tie. */
static void test_group_ties(void **state) {
    (void)state;
    float w[128];
    int8_t q[128];
    uint16_t scale;
    for (int k = 0; k < 127; k++) w[k] = ((float)(k - 63) + 0.5f) / 64.0f;
    w[127] = 127.0f / 64.0f;
    check_group(w);
    assert_true(b2_group_quantise(w, NULL, q, &scale));
    assert_true(b2_bf16_to_f32(scale) == 1.0f / 64.0f);
    for (int k = 0; k < 127; k++) assert_int_equal(q[k] % 2, 0);
}

static void test_group_random(void **state) {
    (void)state;
    uint32_t seed = 7;
    for (int round = 0; round < 20000; round++) {
        float w[128];
        const float size = ldexpf(1.0f, (int)(next_random(&seed) >> 24) - 128);
        for (int k = 0; k < 128; k++) w[k] = size * random_f32(&seed);
        check_group(w);
    }
}

/* Outlier weights: the scale is the best of the BF16 numbers allowed, found here the slow way; outlier weights come out
 * nearer. */
static void test_group_outliers(void **state) {
    (void)state;
    uint32_t seed = 11;
    double plain_error = 0, outlier_error = 0;
    for (int round = 0; round < 2000; round++) {
        float w[128], outliers[128] = {0};
        int8_t q[128], plain_q[128];
        uint16_t scale, plain;
        const int n_outliers = 1 + (int)(next_random(&seed) >> 31);
        for (int k = 0; k < 128; k++) w[k] = random_f32(&seed);
        for (int i = 0; i < n_outliers; i++)
            outliers[next_random(&seed) >> 25] = 100.0f + 3000.0f * fabsf(random_f32(&seed));
        assert_true(b2_group_quantise(w, NULL, plain_q, &plain));
        assert_true(b2_group_quantise(w, outliers, q, &scale));
        float max = 0;
        for (int k = 0; k < 128; k++) max = fmaxf(max, fabsf(w[k]));
        double best = INFINITY, best_scale = 0;
        for (uint32_t bits = plain; bits < 0x7F80; bits++) {
            const double s = (double)b2_bf16_to_f32((uint16_t)bits);
            if (s > (double)(1.25f * (max / 127.0f)) && bits > plain) break;
            double cost = 0;
            int n_quiet = 0;
            for (int k = 0; k < 128; k++) {
                const double e = (double)w[k] - s * rint((double)(w[k] / (float)s));
                if (outliers[k] > 0) cost += (double)outliers[k] * e * e;
                else n_quiet++;
            }
            cost += s * s / 12 * n_quiet;
            if (cost < best) best = cost, best_scale = s;
        }
        assert_true((double)b2_bf16_to_f32(scale) == best_scale);
        for (int k = 0; k < 128; k++) {
            if (outliers[k] == 0) continue;
            plain_error += pow((double)w[k] - plain_q[k] * (double)b2_bf16_to_f32(plain), 2);
            outlier_error += pow((double)w[k] - q[k] * (double)b2_bf16_to_f32(scale), 2);
        }
    }
    print_message("outlier weights: error %.1f times smaller\n", sqrt(plain_error / outlier_error));
    assert_true(outlier_error < 0.1 * plain_error);
}

static void test_group_not_finite(void **state) {
    (void)state;
    const float bad[] = {INFINITY, -INFINITY, NAN, -NAN};
    for (int i = 0; i < 4; i++) {
        float w[128];
        int8_t q[128], zero[128] = {0};
        uint16_t scale = 1;
        for (int k = 0; k < 128; k++) w[k] = 1.0f;
        w[i * 42] = bad[i];
        assert_false(b2_group_quantise(w, NULL, q, &scale));
        assert_memory_equal(q, zero, sizeof q);
        assert_int_equal(scale, 0);
    }
}

/* ---- panels ------------------------------------------------------------------------------------------------------ */

static void check_panels(size_t n_out, size_t n_in, size_t panel) {
    const b2_panel_shape shape = b2_panel_shape_make(n_out, n_in, panel);
    const size_t value_bytes = b2_panel_values_bytes(&shape), scale_bytes = b2_panel_scales_bytes(&shape);
    float *w = malloc(n_out * n_in * sizeof *w), *row = malloc(n_in * sizeof *row);
    int8_t *values = malloc(value_bytes);
    uint16_t *scales = malloc(scale_bytes);
    assert_true(w != NULL && row != NULL && values != NULL && scales != NULL);
    memset(values, 0x55, value_bytes);
    memset(scales, 0x55, scale_bytes);
    uint32_t seed = (uint32_t)(n_out + n_in);
    for (size_t i = 0; i < n_out * n_in; i++) w[i] = random_f32(&seed);
    for (size_t first = 0; first < n_out; first += panel) {
        const size_t n_rows = n_out - first < panel ? n_out - first : panel;
        assert_true(b2_panel_quantise(&shape, w + first * n_in, n_rows, NULL, values + first * shape.n_in_padded,
                                      scales + first * (shape.n_in_padded / shape.group)));
    }
    for (size_t n = 0; n < shape.n_out_padded; n++)
        for (size_t k = 0; k < shape.n_in_padded; k += 128) {
            float group[128] = {0};
            int8_t q[128];
            uint16_t scale;
            for (size_t i = 0; i < 128; i++)
                if (n < n_out && k + i < n_in) group[i] = w[n * n_in + k + i];
            b2_group_quantise(group, NULL, q, &scale);
            /* the layout in FORMAT.md's words: [N/P][K/4][P][4] and [N/P][K/G][P] */
            const size_t k4 = shape.n_in_padded / 4, kg = shape.n_in_padded / 128;
            assert_int_equal(scales[(n / panel * kg + k / 128) * panel + n % panel], scale);
            for (size_t i = 0; i < 128; i++)
                assert_int_equal(values[((n / panel * k4 + (k + i) / 4) * panel + n % panel) * 4 + (k + i) % 4], q[i]);
        }
    for (size_t n = 0; n < n_out; n++) {
        b2_panel_dequantise_row(&shape, values, scales, n, row);
        for (size_t k = 0; k < n_in; k++) assert_true(fabsf(row[k] - w[n * n_in + k]) <= 0.5001f * 1.01f / 127.0f);
    }
    w[n_out * n_in - 1] = NAN;
    const size_t last = (n_out - 1) / panel * panel;
    assert_false(b2_panel_quantise(&shape, w + last * n_in, n_out - last, NULL, values, scales));
    free(w);
    free(row);
    free(values);
    free(scales);
}

static void test_panels(void **state) {
    (void)state;
    check_panels(1, 1, 16);
    check_panels(16, 128, 16);
    check_panels(37, 200, 16);
    check_panels(33, 588, 16);
    check_panels(65, 127, 64);
    check_panels(128, 256, 64);
    const b2_panel_shape huge = {.n_out_padded = SIZE_MAX / 2, .n_in_padded = 256, .panel = 16, .group = 128};
    assert_true(b2_panel_values_bytes(&huge) == SIZE_MAX);
    assert_true(b2_panel_scales_bytes(&huge) == SIZE_MAX);
}

static void test_fidelity(void **state) {
    (void)state;
    const float original[4] = {3, -4, 0, 0}, stored[4] = {3, -4, 0, 0.5f}, zeros[4] = {0};
    b2_fidelity f = {0}, g = {0}, h = {0};
    b2_fidelity_add(&f, original, original, 4);
    assert_true(b2_fidelity_relative_rmse(&f) == 0 && b2_fidelity_relative_max(&f) == 0);
    b2_fidelity_add(&g, original, stored, 4);
    assert_true(b2_fidelity_relative_rmse(&g) == 0.1 && b2_fidelity_relative_max(&g) == 0.125);
    b2_fidelity_merge(&g, &f);
    assert_int_equal(g.n, 8);
    assert_true(fabs(b2_fidelity_relative_rmse(&g) - 0.1 / sqrt(2.0)) < 1e-15);
    b2_fidelity_add(&h, zeros, zeros, 4);
    assert_true(b2_fidelity_relative_rmse(&h) == 0);
    b2_fidelity_add(&h, zeros, stored, 4);
    assert_true(isinf(b2_fidelity_relative_rmse(&h)));
}

/* ---- the list of tensors ----------------------------------------------------------------------------------------- */

/* The numbers of a small model and the stems of its file, written out. */
static const b2_hparams SMALL = {
    .image = {.size = 28, .patch_size = 14},
    .vision = {.blocks = 2, .width = 24, .ff = 40},
    .qformer = {.n_queries = 3, .blocks = 2, .width = 20, .ff = 36, .cross_frequency = 2},
    .opt = {.blocks = 1, .width = 32, .ff = 64, .max_positions = 9, .n_vocab = 50},
};
static const char *const ORDER[] = {
    "v.class_embd",
    "v.patch_embd",
    "v.position_embd",
    "v.blk.0.ln1",
    "v.blk.0.attn_qkv",
    "v.blk.0.attn_out",
    "v.blk.0.ln2",
    "v.blk.0.ffn_up",
    "v.blk.0.ffn_down",
    "v.blk.1.ln1",
    "v.blk.1.attn_qkv",
    "v.blk.1.attn_out",
    "v.blk.1.ln2",
    "v.blk.1.ffn_up",
    "v.blk.1.ffn_down",
    "v.post_ln",
    "qf.query",
    "qf.ln",
    "qf.blk.0.attn_qkv",
    "qf.blk.0.attn_out",
    "qf.blk.0.attn_norm",
    "qf.blk.0.cross_q",
    "qf.blk.0.cross_kv",
    "qf.blk.0.cross_out",
    "qf.blk.0.cross_norm",
    "qf.blk.0.ffn_up",
    "qf.blk.0.ffn_down",
    "qf.blk.0.ffn_norm",
    "qf.blk.1.attn_qkv",
    "qf.blk.1.attn_out",
    "qf.blk.1.attn_norm",
    "qf.blk.1.ffn_up",
    "qf.blk.1.ffn_down",
    "qf.blk.1.ffn_norm",
    "proj",
    "token_embd",
    "position_embd",
    "blk.0.attn_norm",
    "blk.0.attn_qkv",
    "blk.0.attn_output",
    "blk.0.ffn_norm",
    "blk.0.ffn_up",
    "blk.0.ffn_down",
    "output_norm",
    "output",
};

static void test_tensor_order(void **state) {
    (void)state;
    const size_t n = sizeof ORDER / sizeof *ORDER;
    assert_int_equal(b2_tensors_count(&SMALL, true), n);
    assert_int_equal(b2_tensors_count(&SMALL, false), n - 1);
    for (size_t i = 0; i < n; i++) {
        const b2_tensor_spec spec = b2_tensors_get(&SMALL, true, i);
        assert_string_equal(spec.name, ORDER[i]);
        assert_true(spec.n_out > 0 && spec.n_in > 0);
        const b2_tensor_spec again = b2_tensors_spec(&SMALL, spec.row, spec.block);
        assert_memory_equal(&spec, &again, sizeof spec);
    }
}

static void test_tensor_specs(void **state) {
    (void)state;
    const b2_tensor_spec patch = b2_tensors_get(&SMALL, true, 1), kv = b2_tensors_get(&SMALL, true, 22);
    const b2_tensor_spec down = b2_tensors_get(&SMALL, true, 42), up = b2_tensors_get(&SMALL, true, 13);
    assert_true(patch.n_out == 24 && patch.n_in == 588 && patch.kind == B2_KIND_LINEAR && patch.planes == 2);
    assert_true(kv.n_out == 40 && kv.n_in == 24 && kv.scope == B2_SCOPE_CROSS);
    assert_true(down.panel == 64 && down.n_in == 64 && down.n_out == 32);
    assert_true(up.planes == B2_PLANES_BY_CONVERTER && up.block == 1);
    assert_int_equal(b2_tensors_get(&SMALL, true, 2).n_out, 5);
    assert_int_equal(b2_tensors_get(&SMALL, true, 36).n_out, 11);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_f16_to_f32),
        cmocka_unit_test(test_f16_there_and_back),
        cmocka_unit_test(test_f32_to_f16_rounds),
        cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_group_hostile),
        cmocka_unit_test(test_group_ties),
        cmocka_unit_test(test_group_random),
        cmocka_unit_test(test_group_outliers),
        cmocka_unit_test(test_group_not_finite),
        cmocka_unit_test(test_panels),
        cmocka_unit_test(test_fidelity),
        cmocka_unit_test(test_tensor_order),
        cmocka_unit_test(test_tensor_specs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
