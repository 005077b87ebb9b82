/* body.h: what every number is, written once, in plain C with 16 lanes.
 *
 * Compiled into kernels/ref for the baseline CPU (that copy is the definition) and into the translation unit of each
 * instruction set under its own flags, where the compiler turns lanes into registers. Only correctly rounded
 * operations in a fixed order: + - * / sqrt, fma and conversion; so every copy returns the same bits. Hand-written
 * kernels replace single functions of a set, never the definition.
 *
 * The compiler is given -fno-math-errno and -fno-trapping-math for these files: neither changes a value (README.md says
 * why).
 *
 * Row sums and maxima: element i belongs to lane i mod 16, in ascending order; then lane j takes in lane j+8, j+4,
 * j+2, j+1 (fold_sum). */
#ifndef B2_BODY_H
#define B2_BODY_H

#include "kernels/isa.h"
#include "quant/half.h"

#include <math.h>
#include <string.h>

enum { B2_LANES = 16 };

static inline float fold_sum(float lanes[B2_LANES]) {
    for (int width = B2_LANES / 2; width > 0; width /= 2)
        for (int j = 0; j < width; j++) lanes[j] = lanes[j] + lanes[j + width];
    return lanes[0];
}

/* ---- functions of one number ------------------------------------------------------------------------------ */

/* exp for x in [-87, 88], saturating outside; NaN stays NaN. x = n ln 2 + r, |r| <= ln 2 / 2; polynomial of degree 6
 * in r (least squares, error 3e-9) and 2^n put together from bits. Adding 1.5 * 2^23 rounds to an integer and leaves
 * it in the low bits, without a conversion that NaN would make undefined. */
static inline float exp_f32(float x) {
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    const float magic = 12582912.0f;
    const float shifted = fmaf(x, 1.44269504f, magic), n = shifted - magic;
    float r = fmaf(n, -0.693145752f, x); /* ln 2 in two parts, the first with 9 trailing zero bits */
    r = fmaf(n, -1.42860677e-6f, r);
    float p = 0.00138146942f;
    p = fmaf(p, r, 0.00836869702f);
    p = fmaf(p, r, 0.0416683853f);
    p = fmaf(p, r, 0.166665211f);
    p = fmaf(p, r, 0.49999994f);
    p = fmaf(p, r, 1.0f);
    p = fmaf(p, r, 1.0f);
    return p * b2_f32_from_bits((b2_f32_bits(shifted) + 127u) << 23);
}

/* erf as a rational function of x^2 (degree 5 over 5, fitted on |x| <= 3.95 by reweighted least squares), absolute
 * error below 4e-7; beyond that erf is 1 in f32. NaN stays NaN. */
static inline float erf_f32(float x) {
    x = x < -3.95f ? -3.95f : x;
    x = x > 3.95f ? 3.95f : x;
    const float t = x * x;
    float p = 2.02624847e-06f, q = 3.78348486e-05f;
    p = fmaf(p, t, 0.000284678565f);
    q = fmaf(q, t, 0.00117051904f);
    p = fmaf(p, t, 0.00380721595f);
    q = fmaf(q, t, 0.0150531856f);
    p = fmaf(p, t, 0.0528725684f);
    q = fmaf(q, t, 0.114550069f);
    p = fmaf(p, t, 0.191526651f);
    q = fmaf(q, t, 0.503068745f);
    p = fmaf(p, t, 1.12837911f);
    q = fmaf(q, t, 1.0f);
    float y = (x * p) / q;
    y = y > 1.0f ? 1.0f : y;
    return y < -1.0f ? -1.0f : y;
}

static inline float gelu_f32(float x) { return (0.5f * x) * (1.0f + erf_f32(x * 0.70710678f)); }

/* ---- rows -------------------------------------------------------------------------------------------------- */

/* The compiler sees one loop per epilogue, each without a branch inside. NaN passes through every one. */
static inline void finish_with(const float *y, const float *bias, size_t n, b2_epilogue epilogue, float *out) {
    for (size_t i = 0; i < n; i++) {
        const float p = bias == NULL ? y[i] : y[i] + bias[i];
        out[i] = epilogue == B2_EPILOGUE_ADD    ? out[i] + p
                 : epilogue == B2_EPILOGUE_RELU ? (p <= 0.0f ? 0.0f : p)
                 : epilogue == B2_EPILOGUE_GELU ? gelu_f32(p)
                                                : p;
    }
}

static void finish_row(const float *y, const float *bias, size_t n, b2_epilogue epilogue, float *out) {
    switch (epilogue) {
    case B2_EPILOGUE_STORE: finish_with(y, bias, n, B2_EPILOGUE_STORE, out); break;
    case B2_EPILOGUE_ADD: finish_with(y, bias, n, B2_EPILOGUE_ADD, out); break;
    case B2_EPILOGUE_RELU: finish_with(y, bias, n, B2_EPILOGUE_RELU, out); break;
    case B2_EPILOGUE_GELU: finish_with(y, bias, n, B2_EPILOGUE_GELU, out); break;
    }
}

static void layernorm_row(const float *x, size_t n, const float *gamma, const float *beta, float eps, float *y) {
    float lanes[B2_LANES] = {0};
    size_t i = 0;
    for (; i + B2_LANES <= n; i += B2_LANES)
        for (int j = 0; j < B2_LANES; j++) lanes[j] += x[i + (size_t)j];
    for (; i < n; i++) lanes[i % B2_LANES] += x[i];
    const float mean = fold_sum(lanes) / (float)n;

    memset(lanes, 0, sizeof lanes);
    for (i = 0; i + B2_LANES <= n; i += B2_LANES)
        for (int j = 0; j < B2_LANES; j++) {
            const float d = x[i + (size_t)j] - mean;
            lanes[j] = fmaf(d, d, lanes[j]);
        }
    for (; i < n; i++) {
        const float d = x[i] - mean;
        lanes[i % B2_LANES] = fmaf(d, d, lanes[i % B2_LANES]);
    }
    const float inverse = 1.0f / sqrtf(fold_sum(lanes) / (float)n + eps);
    for (i = 0; i < n; i++) y[i] = fmaf((x[i] - mean) * inverse, gamma[i], beta[i]);
}

/* The magnitude's bits compare like the magnitude, and NaN above all: one NaN in a group wins. */
static inline uint32_t max_magnitude_bits(const float *x, size_t n) {
    uint32_t max = 0;
    for (size_t i = 0; i < n; i++) {
        const uint32_t magnitude = b2_f32_bits(x[i]) & 0x7FFFFFFFu;
        max = magnitude > max ? magnitude : max;
    }
    return max;
}

/* NaN anywhere gives NaN: it is looked for by itself, since x > max is false for NaN */
static float max_row(const float *x, size_t n) {
    float max = -INFINITY;
    bool nan = false;
    for (size_t i = 0; i < n; i++) {
        max = x[i] > max ? x[i] : max;
        nan |= x[i] != x[i];
    }
    return nan ? b2_f32_from_bits(0x7FC00000u) : max;
}

static float sum_exp_row(const float *x, size_t n, float shift) {
    float lanes[B2_LANES] = {0};
    size_t i = 0;
    for (; i + B2_LANES <= n; i += B2_LANES)
        for (int j = 0; j < B2_LANES; j++) lanes[j] += exp_f32(x[i + (size_t)j] - shift);
    for (; i < n; i++) lanes[i % B2_LANES] += exp_f32(x[i] - shift);
    return fold_sum(lanes);
}

/* Below 2^-100 a group counts as zero: 127 / m would overflow, and its products would round to nothing. */
static inline bool is_silent(uint32_t magnitude_bits) { return magnitude_bits < (uint32_t)(127 - 100) << 23; }
static inline bool is_not_finite(uint32_t magnitude_bits) { return magnitude_bits >= 0x7F800000u; }

static inline int clamp_int(float x, float limit) {
    const float r = rintf(x), low = r < -limit ? -limit : r;
    return (int)(low > limit ? limit : low);
}

static void quantise_group(const float *x, size_t n, int8_t *hi, int8_t *lo, float *scale, int32_t *sum) {
    const uint32_t magnitude = max_magnitude_bits(x, n);
    *sum = 0;
    if (is_silent(magnitude) || is_not_finite(magnitude)) {
        memset(hi, 0, n);
        if (lo != NULL) memset(lo, 0, n);
        *scale = is_silent(magnitude) ? 0.0f : b2_f32_from_bits(0x7FC00000u);
        return;
    }
    const float m = b2_f32_from_bits(magnitude);
    if (lo == NULL) {
        const float inverse = 127.0f / m;
        *scale = m / 127.0f;
        for (size_t i = 0; i < n; i++) {
            const int t = clamp_int(x[i] * inverse, 127.0f);
            hi[i] = (int8_t)t;
            *sum += t;
        }
        return;
    }
    const float inverse = 16256.0f / m;
    *scale = m / 16256.0f;
    for (size_t i = 0; i < n; i++) {
        const int t = clamp_int(x[i] * inverse, 16256.0f), h = (t + 64) >> 7;
        hi[i] = (int8_t)h;
        lo[i] = (int8_t)(t - 128 * h);
        *sum += t;
    }
}

static void quantise_row(const float *x, size_t n, size_t n_padded, size_t group, int8_t *hi, int8_t *lo, float *scale,
                         int32_t *sum) {
    for (size_t k = 0, g = 0; k < n_padded; k += group, g++) {
        const size_t len = k >= n ? 0 : n - k < group ? n - k : group;
        quantise_group(x + (len > 0 ? k : 0), len, hi + k, lo == NULL ? NULL : lo + k, scale + g, sum + g);
        memset(hi + k + len, 0, group - len);
        if (lo != NULL) memset(lo + k + len, 0, group - len);
    }
}

static void gather_row(const b2_weight_panels *weights, size_t k_padded, size_t row, float *out, size_t n) {
    const size_t p = weights->panel, in_panel = row % p, first = row / p;
    const int8_t *values = weights->values + first * p * k_padded + in_panel * 4;
    const uint16_t *scales = weights->scales + first * p * (k_padded / weights->group) + in_panel;
    for (size_t k = 0; k < n; k++)
        out[k] = (float)values[k / 4 * p * 4 + k % 4] * b2_bf16_to_f32(scales[k / weights->group * p]);
}

/* ---- dot products of the parity path ------------------------------------------------------------------------ */

static float dot_f32_row(const float *a, const float *b, size_t n) {
    float lanes[B2_LANES] = {0};
    size_t i = 0;
    for (; i + B2_LANES <= n; i += B2_LANES)
        for (int j = 0; j < B2_LANES; j++) lanes[j] = fmaf(a[i + (size_t)j], b[i + (size_t)j], lanes[j]);
    for (; i < n; i++) lanes[i % B2_LANES] = fmaf(a[i], b[i], lanes[i % B2_LANES]);
    return fold_sum(lanes);
}

static void widen_f16_row(const uint16_t *x, float *y, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = b2_f16_to_f32(x[i]);
}

static float dot_f16_row(const uint16_t *a, const float *b, size_t n) {
    float lanes[B2_LANES] = {0};
    size_t i = 0;
    for (; i + B2_LANES <= n; i += B2_LANES)
        for (int j = 0; j < B2_LANES; j++) lanes[j] = fmaf(b2_f16_to_f32(a[i + (size_t)j]), b[i + (size_t)j], lanes[j]);
    for (; i < n; i++) lanes[i % B2_LANES] = fmaf(b2_f16_to_f32(a[i]), b[i], lanes[i % B2_LANES]);
    return fold_sum(lanes);
}

/* ---- attention ----------------------------------------------------------------------------------------------- */

/* Scores of one query against n_keys keys, 16 keys at a time: each score is one chain over d. */
static inline void score_row(const float *query, const float *keys, size_t key_stride, size_t n_keys, size_t head_len,
                             float scale, float *scores) {
    for (size_t j0 = 0; j0 < n_keys; j0 += B2_LANES) {
        float chain[B2_LANES] = {0};
        for (size_t d = 0; d < head_len; d++)
            for (size_t j = 0; j < B2_LANES; j++) chain[j] = fmaf(query[d], keys[d * key_stride + j0 + j], chain[j]);
        for (size_t j = 0; j < B2_LANES; j++) scores[j0 + j] = chain[j] * scale;
    }
}

/* scores -> weights e_j in place; returns 1 / sum */
static inline float softmax_weights(float *scores, size_t n) {
    const float max = max_row(scores, n);
    float lanes[B2_LANES] = {0};
    size_t i = 0;
    for (; i + B2_LANES <= n; i += B2_LANES)
        for (int j = 0; j < B2_LANES; j++) lanes[j] += scores[i + (size_t)j] = exp_f32(scores[i + (size_t)j] - max);
    for (; i < n; i++) lanes[i % B2_LANES] += scores[i] = exp_f32(scores[i] - max);
    return 1.0f / fold_sum(lanes);
}

static inline void mix_values(const float *weights, const float *values, size_t value_stride, size_t n_keys,
                              size_t head_len, float inverse, float *out) {
    for (size_t d = 0; d < head_len; d++) out[d] = 0.0f;
    for (size_t j = 0; j < n_keys; j++)
        for (size_t d = 0; d < head_len; d++) out[d] = fmaf(weights[j], values[j * value_stride + d], out[d]);
    for (size_t d = 0; d < head_len; d++) out[d] *= inverse;
}

static inline size_t visible_keys(const b2_attention *a, size_t query) {
    const size_t n = a->n_visible_first + query;
    return n < a->n_keys ? n : a->n_keys;
}

static void attend_plain(const b2_attention *a) {
    for (size_t i = 0; i < a->n_queries; i++) {
        const size_t n = visible_keys(a, i);
        for (size_t d = 0; d < a->head_len; d++) a->query[d] = a->queries[i * a->q_stride + d] * a->query_scale;
        score_row(a->query, a->keys, a->key_stride, n, a->head_len, a->score_scale, a->scores);
        const float inverse = softmax_weights(a->scores, n);
        mix_values(a->scores, a->values, a->value_stride, n, a->head_len, inverse, a->out + i * a->out_stride);
    }
}

/* Every function above, as the start of an instruction set's table. */
static inline void fill_plain(b2_isa *isa) {
    isa->attend = attend_plain;
    isa->quantise_row = quantise_row;
    isa->layernorm_row = layernorm_row;
    isa->finish_row = finish_row;
    isa->dot_f32 = dot_f32_row;
    isa->dot_f16 = dot_f16_row;
    isa->widen_f16 = widen_f16_row;
    isa->max = max_row;
    isa->sum_exp = sum_exp_row;
    isa->gather_row = gather_row;
}

#endif
