/* rows16.h: TEMPLATE. The row kernels of body.h in vectors of sixteen, whose lanes are the definition's lanes. The
 * arithmetic is body.h's, operation by operation, in the same order.
 *
 * Needs of the set, before it is included: its vec16 header (v16, v16i and their operations; declared below are those
 * whose meaning a name does not tell). */
#ifndef B2_ROWS16_H
#define B2_ROWS16_H

#if !defined(B2_VEC16)
#error "a template: include the set's vec16 header before it"
#endif

#include "kernels/body.h"
#include "quant/group.h"

INLINE v16 v16_load_first(const float *x, size_t n); /* n <= 16; +0 in the other lanes; reads nothing beyond x[n - 1] */
INLINE v16 v16_first(v16 v, v16 w, size_t n);        /* v in the first n lanes, w in the others */
INLINE v16 v16_max(v16 v, v16 w);                    /* v > w ? v : w, so w where either is NaN; v16_min alike */
INLINE v16 v16_relu(v16 v);                          /* v <= 0 ? +0 : v, so NaN stays */
INLINE v16i v16_round(v16 v);                        /* to nearest, ties to even */
INLINE float v16_fold_sum(v16 v);                    /* lane j takes in lane j + 8, then j + 4, j + 2, j + 1 */

/* ---- functions of numbers --------------------------------------------------------------------------------------- */

INLINE v16 v16_exp(v16 x) {
    x = v16_max(v16_set(-87.0f), x);
    x = v16_min(v16_set(88.0f), x);
    const v16 magic = v16_set(12582912.0f);
    const v16 shifted = v16_fma(x, v16_set(1.44269504f), magic), n = v16_sub(shifted, magic);
    v16 r = v16_fma(n, v16_set(-0.693145752f), x);
    r = v16_fma(n, v16_set(-1.42860677e-6f), r);
    v16 p = v16_set(0.00138146942f);
    p = v16_fma(p, r, v16_set(0.00836869702f));
    p = v16_fma(p, r, v16_set(0.0416683853f));
    p = v16_fma(p, r, v16_set(0.166665211f));
    p = v16_fma(p, r, v16_set(0.49999994f));
    p = v16_fma(p, r, v16_set(1.0f));
    p = v16_fma(p, r, v16_set(1.0f));
    return v16_mul(p, v16_from_bits(v16i_shift_left(v16i_add(v16_bits(shifted), v16i_set(127)), 23)));
}

INLINE v16 v16_erf(v16 x) {
    x = v16_max(v16_set(-3.95f), x);
    x = v16_min(v16_set(3.95f), x);
    const v16 t = v16_mul(x, x);
    v16 p = v16_set(2.02624847e-06f), q = v16_set(3.78348486e-05f);
    p = v16_fma(p, t, v16_set(0.000284678565f));
    q = v16_fma(q, t, v16_set(0.00117051904f));
    p = v16_fma(p, t, v16_set(0.00380721595f));
    q = v16_fma(q, t, v16_set(0.0150531856f));
    p = v16_fma(p, t, v16_set(0.0528725684f));
    q = v16_fma(q, t, v16_set(0.114550069f));
    p = v16_fma(p, t, v16_set(0.191526651f));
    q = v16_fma(q, t, v16_set(0.503068745f));
    p = v16_fma(p, t, v16_set(1.12837911f));
    q = v16_fma(q, t, v16_set(1.0f));
    const v16 y = v16_div(v16_mul(x, p), q);
    return v16_max(v16_set(-1.0f), v16_min(v16_set(1.0f), y));
}

INLINE v16 v16_gelu(v16 x) {
    const v16 erf = v16_erf(v16_mul(x, v16_set(0.70710678f)));
    return v16_mul(v16_mul(v16_set(0.5f), x), v16_add(v16_set(1.0f), erf));
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

INLINE v16 finish16(v16 y, v16 bias, v16 out, const b2_epilogue epilogue) {
    const v16 p = v16_add(y, bias);
    return epilogue == B2_EPILOGUE_ADD    ? v16_add(out, p)
           : epilogue == B2_EPILOGUE_RELU ? v16_relu(p)
           : epilogue == B2_EPILOGUE_GELU ? v16_gelu(p)
                                          : p;
}

/* No bias means that nothing is added: y + -0 is y, for every y. */
INLINE void finish_row16_with(const float *y, const float *bias, size_t n, const b2_epilogue epilogue, float *out) {
    const v16 nothing = v16_set(-0.0f);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        const v16 old = epilogue == B2_EPILOGUE_ADD ? v16_load(out + i) : nothing;
        v16_store(out + i, finish16(v16_load(y + i), bias == NULL ? nothing : v16_load(bias + i), old, epilogue));
    }
    if (i == n) return;
    const v16 old = epilogue == B2_EPILOGUE_ADD ? v16_load_first(out + i, n - i) : nothing;
    const v16 added = bias == NULL ? nothing : v16_load_first(bias + i, n - i);
    v16_store_first(out + i, finish16(v16_load_first(y + i, n - i), added, old, epilogue), n - i);
}

static void finish_row16(const float *y, const float *bias, size_t n, b2_epilogue epilogue, float *out) {
    switch (epilogue) {
    case B2_EPILOGUE_STORE: finish_row16_with(y, bias, n, B2_EPILOGUE_STORE, out); break;
    case B2_EPILOGUE_ADD: finish_row16_with(y, bias, n, B2_EPILOGUE_ADD, out); break;
    case B2_EPILOGUE_RELU: finish_row16_with(y, bias, n, B2_EPILOGUE_RELU, out); break;
    case B2_EPILOGUE_GELU: finish_row16_with(y, bias, n, B2_EPILOGUE_GELU, out); break;
    }
}

INLINE v16 square_onto(v16 lanes, v16 x, v16 mean) {
    const v16 d = v16_sub(x, mean);
    return v16_fma(d, d, lanes);
}

INLINE v16 normalise16(v16 x, v16 mean, v16 inverse, v16 gamma, v16 beta) {
    return v16_fma(v16_mul(v16_sub(x, mean), inverse), gamma, beta);
}

static void layernorm_row16(const float *x, size_t n, const float *gamma, const float *beta, float eps, float *y) {
    const size_t whole = n / 16 * 16, left = n - whole;
    v16 lanes = v16_set(0.0f);
    for (size_t i = 0; i < whole; i += 16) lanes = v16_add(lanes, v16_load(x + i));
    lanes = v16_add(lanes, v16_load_first(x + whole, left)); /* no lane is -0, so + 0 leaves it alone */
    const float mean = v16_fold_sum(lanes) / (float)n;

    const v16 means = v16_set(mean);
    lanes = v16_set(0.0f);
    for (size_t i = 0; i < whole; i += 16) lanes = square_onto(lanes, v16_load(x + i), means);
    lanes = v16_first(square_onto(lanes, v16_load_first(x + whole, left), means), lanes, left);
    const v16 inverse = v16_set(1.0f / sqrtf(v16_fold_sum(lanes) / (float)n + eps));

    for (size_t i = 0; i < whole; i += 16)
        v16_store(y + i, normalise16(v16_load(x + i), means, inverse, v16_load(gamma + i), v16_load(beta + i)));
    v16_store_first(y + whole,
                    normalise16(v16_load_first(x + whole, left), means, inverse, v16_load_first(gamma + whole, left),
                                v16_load_first(beta + whole, left)),
                    left);
}

/* The maximum drops NaN, so NaN is detected as x - x != 0 (infinity also matches and takes the slow path). */
static float max_row16(const float *x, size_t n) {
    v16 max = v16_set(-INFINITY), odd = v16_set(0.0f);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        const v16 next = v16_load(x + i);
        max = v16_max(next, max);
        odd = v16_add(odd, v16_sub(next, next));
    }
    if (i < n) {
        const v16 next = v16_load_first(x + i, n - i);
        max = v16_max(v16_first(next, max, n - i), max);
        odd = v16_add(odd, v16_sub(next, next));
    }
    const float any_odd = v16_fold_sum(odd);
    return any_odd == any_odd ? v16_fold_max(max) : max_row(x, n);
}

static float sum_exp_row16(const float *x, size_t n, float shift) {
    const v16 shifts = v16_set(shift);
    v16 lanes = v16_set(0.0f);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) lanes = v16_add(lanes, v16_exp(v16_sub(v16_load(x + i), shifts)));
    const v16 last = v16_exp(v16_sub(v16_load_first(x + i, n - i), shifts));
    return v16_fold_sum(v16_first(v16_add(lanes, last), lanes, n - i));
}

/* ---- quantising ------------------------------------------------------------------------------------------------ */

/* Sixteen numbers as integers t = hi, or 128 hi + lo; returns t. The definition clamps t to the limit; |x| <= m and two
 * roundings of 2^-24 leave |x| (limit / m) below limit + 1/2, so there is nothing to clamp. */
INLINE v16i quantise16(v16 x, v16 inverse, int8_t *hi, int8_t *lo) {
    const v16i t = v16_round(v16_mul(x, inverse));
    if (lo == NULL) {
        v16i_store_i8(hi, t);
        return t;
    }
    const v16i h = v16i_shift_right(v16i_add(t, v16i_set(64)), 7);
    v16i_store_i8(hi, h);
    v16i_store_i8(lo, v16i_sub(t, v16i_shift_left(h, 7)));
    return t;
}

/* n = group, except in the last group of a row: padding becomes zeros */
INLINE int32_t quantise_all(const float *x, size_t n, size_t group, float inverse, int8_t *hi, int8_t *lo) {
    const v16 inverses = v16_set(inverse);
    v16i sum = v16i_set(0);
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        sum = v16i_add(sum, quantise16(v16_load(x + i), inverses, hi + i, lo == NULL ? NULL : lo + i));
    for (; i < group; i += 16) {
        const size_t n_left = i < n ? n - i : 0;
        const v16 last = v16_load_first(n_left > 0 ? x + i : x, n_left);
        sum = v16i_add(sum, quantise16(last, inverses, hi + i, lo == NULL ? NULL : lo + i));
    }
    return v16i_fold_sum(sum);
}

INLINE uint32_t max_magnitude16(const float *x, size_t n) {
    const v16i magnitude = v16i_set(0x7FFFFFFF);
    v16i max = v16i_set(0);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) max = v16i_max(max, v16i_and(v16_bits(v16_load(x + i)), magnitude));
    if (i < n) max = v16i_max(max, v16i_and(v16_bits(v16_load_first(x + i, n - i)), magnitude));
    return (uint32_t)v16i_fold_max(max);
}

INLINE void quantise_group16(const float *x, size_t n, size_t group, int8_t *hi, int8_t *lo, float *scale,
                             int32_t *sum) {
    const uint32_t magnitude = max_magnitude16(x, n);
    const float m = b2_f32_from_bits(magnitude), limit = lo == NULL ? 127.0f : 16256.0f;
    if (is_silent(magnitude) || is_not_finite(magnitude)) {
        memset(hi, 0, group);
        if (lo != NULL) memset(lo, 0, group);
        *scale = is_silent(magnitude) ? 0.0f : b2_f32_from_bits(0x7FC00000u);
        *sum = 0;
        return;
    }
    *scale = m / limit;
    *sum = quantise_all(x, n, group, limit / m, hi, lo);
}

/* The usual case, whole groups of 128 in one plane or two, is compiled for itself: no tails, loops of known length. */
static void quantise_row16(const float *x, size_t n, size_t n_padded, size_t group, int8_t *hi, int8_t *lo,
                           float *scale, int32_t *sum) {
    if (group % 16 != 0) {
        quantise_row(x, n, n_padded, group, hi, lo, scale, sum);
        return;
    }
    enum { LEN = B2_GROUP_LEN };
    size_t k = 0;
    if (group == LEN && lo == NULL)
        for (; k + LEN <= n; k += LEN) quantise_group16(x + k, LEN, LEN, hi + k, NULL, scale++, sum++);
    else if (group == LEN)
        for (; k + LEN <= n; k += LEN) quantise_group16(x + k, LEN, LEN, hi + k, lo + k, scale++, sum++);
    for (; k < n_padded; k += group) {
        const size_t len = k >= n ? 0 : n - k < group ? n - k : group;
        quantise_group16(len > 0 ? x + k : x, len, group, hi + k, lo == NULL ? NULL : lo + k, scale++, sum++);
    }
}

/* ---- dot products of the parity path --------------------------------------------------------------------------- */

static float dot_f32_row16(const float *a, const float *b, size_t n) {
    v16 lanes = v16_set(0.0f);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) lanes = v16_fma(v16_load(a + i), v16_load(b + i), lanes);
    const v16 last = v16_fma(v16_load_first(a + i, n - i), v16_load_first(b + i, n - i), lanes);
    return v16_fold_sum(v16_first(last, lanes, n - i));
}

/* the up to fifteen f16 after the last whole vector */
INLINE v16 load_f16_first(const uint16_t *x, size_t n) {
    uint16_t last[16] = {0};
    for (size_t i = 0; i < n; i++) last[i] = x[i];
    return v16_load_f16(last);
}

static float dot_f16_row16(const uint16_t *a, const float *b, size_t n) {
    v16 lanes = v16_set(0.0f);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) lanes = v16_fma(v16_load_f16(a + i), v16_load(b + i), lanes);
    const v16 last = v16_fma(load_f16_first(a + i, n - i), v16_load_first(b + i, n - i), lanes);
    return v16_fold_sum(v16_first(last, lanes, n - i));
}

static void widen_f16_row16(const uint16_t *x, float *y, size_t n) {
    size_t i = 0;
    for (; i + 16 <= n; i += 16) v16_store(y + i, v16_load_f16(x + i));
    v16_store_first(y + i, load_f16_first(x + i, n - i), n - i);
}

static void gemm_f32_rows16(const float *a, size_t a_stride, size_t n_rows, const float *w, size_t n_in, size_t n_out,
                            float *out, size_t out_stride) {
    for (size_t m = 0; m < n_rows; m++)
        for (size_t n = 0; n < n_out; n++)
            out[m * out_stride + n] = dot_f32_row16(a + m * a_stride, w + n * n_in, n_in);
}

#endif
