/* vec16_sse41.h: sixteen numbers at once, in four registers. The operations
 * that rows16.h, attend16.h and the templates of products are written in, for
 * CPUs without AVX and so without fma. */
#ifndef B2_VEC16_SSE41_H
#define B2_VEC16_SSE41_H
#define B2_VEC16 /* what the templates look for */

#include "kernels/unroll.h"
#include "quant/half.h"

#include <smmintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct v16 {
    __m128 q[4]; /* lanes 0-3, 4-7, 8-11, 12-15 */
} v16;
typedef struct v16i {
    __m128i q[4];
} v16i;

/* attend16.h: rows and vectors of a register tile, of 16 registers, half of
 * which fma wants for itself */
enum { ATTEND_ROWS = 2, ATTEND_VECTORS = 1 };

#define V16_EACH(type, expression)                                                                                     \
    type r;                                                                                                            \
    UNROLL for (int i = 0; i < 4; i++) r.q[i] = expression;                                                            \
    return r

/* ---- fma without fma
 * ------------------------------------------------------------------------------------------------
 *
 * A product of two f32 is exact in f64, so s = product + addend is rounded
 * once, and rounding s to f32 is right except in two cases: s lies exactly
 * between two f32 without being exact itself, or the result is so small that
 * f32 keeps fewer bits of it. Both are looked for (low 29 bits 1 0...0;
 * magnitude up to the smallest normal number) and left to fma_exactly, which
 * turns s to the odd neighbour if it is inexact (Boldo and Melquiond: round to
 * odd, then to nearest, rounds once). */

static inline float fma_exactly(float a, float b, float c) {
    const double product = (double)a * (double)b, addend = (double)c;
    double s = product + addend;
    const double part = s - product, error = (product - (s - part)) + (addend - part); /* exact: Knuth's two-sum */
    int64_t bits;
    memcpy(&bits, &s, sizeof bits);
    if ((error > 0.0 || error < 0.0) && (bits & 1) == 0) { /* false for NaN, which infinities leave here */
        bits += (error > 0.0) == (s > 0.0) ? 1 : -1;
        memcpy(&s, &bits, sizeof s);
    }
    return (float)s;
}

static __attribute__((noinline, cold)) __m128 fma_four_exactly(__m128 a, __m128 b, __m128 c) {
    float x[4], y[4], z[4];
    _mm_storeu_ps(x, a), _mm_storeu_ps(y, b), _mm_storeu_ps(z, c);
    for (int i = 0; i < 4; i++) z[i] = fma_exactly(x[i], y[i], z[i]);
    return _mm_loadu_ps(z);
}

INLINE __m128d low_as_double(__m128 x) { return _mm_cvtps_pd(x); }
INLINE __m128d high_as_double(__m128 x) { return _mm_cvtps_pd(_mm_movehl_ps(x, x)); }

/* a b + c where nothing is doubtful; *doubt: lanes that may be wrong */
INLINE __m128 fma_four_fast(__m128 a, __m128 b, __m128 c, __m128i *doubt) {
    const __m128d low = _mm_add_pd(_mm_mul_pd(low_as_double(a), low_as_double(b)), low_as_double(c));
    const __m128d high = _mm_add_pd(_mm_mul_pd(high_as_double(a), high_as_double(b)), high_as_double(c));
    const __m128 sum = _mm_movelh_ps(_mm_cvtpd_ps(low), _mm_cvtpd_ps(high));
    const __m128i low_bits = _mm_castps_si128(_mm_shuffle_ps(_mm_castpd_ps(low), _mm_castpd_ps(high), 0x88));
    const __m128i between = _mm_cmpeq_epi32(_mm_slli_epi32(low_bits, 3), _mm_set1_epi32((int32_t)0x80000000u));
    /* 0 < magnitude <= limit, unsigned; zero wraps round (what rounds to zero is right: near 2^-150 the f64 sum is
     * exact) */
    const __m128i magnitude = _mm_slli_epi32(_mm_castps_si128(sum), 1), limit = _mm_set1_epi32(0x01000000 - 1);
    const __m128i below = _mm_add_epi32(magnitude, _mm_set1_epi32(-1));
    *doubt = _mm_or_si128(between, _mm_cmpeq_epi32(_mm_max_epu32(below, limit), limit));
    return sum;
}

INLINE bool is_any(__m128i lanes) { return _mm_movemask_epi8(lanes) != 0; }

INLINE __m128 fma_four(__m128 a, __m128 b, __m128 c) {
    __m128i doubt;
    const __m128 sum = fma_four_fast(a, b, c, &doubt);
    return __builtin_expect(is_any(doubt), 0) ? fma_four_exactly(a, b, c) : sum;
}

INLINE v16 v16_fma(v16 v, v16 w, v16 x) {
    __m128i doubt[4];
    v16 r;
    UNROLL
    for (int i = 0; i < 4; i++) r.q[i] = fma_four_fast(v.q[i], w.q[i], x.q[i], &doubt[i]);
    if (__builtin_expect(is_any(_mm_or_si128(_mm_or_si128(doubt[0], doubt[1]), _mm_or_si128(doubt[2], doubt[3]))), 0))
        for (int i = 0; i < 4; i++) r.q[i] = fma_four_exactly(v.q[i], w.q[i], x.q[i]);
    return r;
}
INLINE void v16_chain(v16 *sum, v16 x, v16 y) { *sum = v16_fma(x, y, *sum); }

/* ---- all the others
 * -----------------------------------------------------------------------------------------------
 */

INLINE v16 v16_set(float x) { V16_EACH(v16, _mm_set1_ps(x)); }
INLINE v16 v16_load(const float *x) { V16_EACH(v16, _mm_loadu_ps(x + 4 * i)); }
INLINE v16 v16_load_first(const float *x, size_t n) {
    float lanes[16] = {0};
    if (n == 16) return v16_load(x);
    memcpy(lanes, x, n * sizeof *x);
    return v16_load(lanes);
}
INLINE void v16_store(float *x, v16 v) {
    UNROLL
    for (int i = 0; i < 4; i++) _mm_storeu_ps(x + 4 * i, v.q[i]);
}
INLINE void v16_store_first(float *x, v16 v, size_t n) {
    float lanes[16];
    if (n == 16) {
        v16_store(x, v);
        return;
    }
    v16_store(lanes, v);
    memcpy(x, lanes, n * sizeof *x);
}
INLINE v16 v16_first(v16 v, v16 w, size_t n) {
    const __m128i end = _mm_set1_epi32((int32_t)n), lane = _mm_setr_epi32(0, 1, 2, 3);
    V16_EACH(v16, _mm_blendv_ps(w.q[i], v.q[i],
                                _mm_castsi128_ps(_mm_cmpgt_epi32(end, _mm_add_epi32(lane, _mm_set1_epi32(4 * i))))));
}
INLINE v16 v16_load_f16(const uint16_t *x) {
    float lanes[16];
    for (int i = 0; i < 16; i++) lanes[i] = b2_f16_to_f32(x[i]);
    return v16_load(lanes);
}
INLINE __m128 load_bf16_four(const uint16_t *x) {
    return _mm_castsi128_ps(_mm_slli_epi32(_mm_cvtepu16_epi32(_mm_loadl_epi64((const __m128i *)(const void *)x)), 16));
}
INLINE v16 v16_load_bf16(const uint16_t *x) { V16_EACH(v16, load_bf16_four(x + 4 * i)); }
INLINE v16 v16_from_integers(v16i v) { V16_EACH(v16, _mm_cvtepi32_ps(v.q[i])); }

#define V16_BINARY(name, type, op)                                                                                     \
    INLINE type name(type v, type w) { V16_EACH(type, op(v.q[i], w.q[i])); }
V16_BINARY(v16_add, v16, _mm_add_ps)
V16_BINARY(v16_sub, v16, _mm_sub_ps)
V16_BINARY(v16_mul, v16, _mm_mul_ps)
V16_BINARY(v16_div, v16, _mm_div_ps)
V16_BINARY(v16_max, v16, _mm_max_ps)
V16_BINARY(v16_min, v16, _mm_min_ps)
V16_BINARY(v16i_add, v16i, _mm_add_epi32)
V16_BINARY(v16i_sub, v16i, _mm_sub_epi32)
V16_BINARY(v16i_and, v16i, _mm_and_si128)
V16_BINARY(v16i_or, v16i, _mm_or_si128)
V16_BINARY(v16i_max, v16i, _mm_max_epi32)
V16_BINARY(v16i_min, v16i, _mm_min_epi32)
#undef V16_BINARY

INLINE v16 v16_relu(v16 v) { V16_EACH(v16, _mm_and_ps(v.q[i], _mm_cmpnle_ps(v.q[i], _mm_setzero_ps()))); }
INLINE v16i v16i_load_bytes(const int8_t *x) {
    V16_EACH(v16i, _mm_loadu_si128((const __m128i *)(const void *)(x + 16 * i)));
}
/* bit j: lane j is not 0 */
INLINE uint32_t v16i_find_nonzero(v16i v) {
    uint32_t zero = 0;
    UNROLL
    for (int i = 0; i < 4; i++)
        zero |= (uint32_t)_mm_movemask_ps(_mm_castsi128_ps(_mm_cmpeq_epi32(v.q[i], _mm_setzero_si128()))) << 4 * i;
    return ~zero & 0xFFFFu;
}
INLINE v16i v16i_set(int32_t x) { V16_EACH(v16i, _mm_set1_epi32(x)); }
INLINE v16i v16_bits(v16 v) { V16_EACH(v16i, _mm_castps_si128(v.q[i])); }
INLINE v16 v16_from_bits(v16i v) { V16_EACH(v16, _mm_castsi128_ps(v.q[i])); }
INLINE v16i v16_round(v16 v) { V16_EACH(v16i, _mm_cvtps_epi32(v.q[i])); }
INLINE v16i v16i_shift_left(v16i v, const int n) { V16_EACH(v16i, _mm_slli_epi32(v.q[i], n)); }
INLINE v16i v16i_shift_right(v16i v, const int n) { V16_EACH(v16i, _mm_srai_epi32(v.q[i], n)); } /* with sign */
/* sixteen int8 of values that fit */
INLINE void v16i_store_i8(int8_t *x, v16i v) {
    const __m128i low = _mm_packs_epi32(v.q[0], v.q[1]), high = _mm_packs_epi32(v.q[2], v.q[3]);
    _mm_storeu_si128((__m128i *)(void *)x, _mm_packs_epi16(low, high));
}

/* Lane j takes in lane j + 8, then j + 4, j + 2, j + 1. */
INLINE float v16_fold_sum(v16 v) {
    const __m128 four = _mm_add_ps(_mm_add_ps(v.q[0], v.q[2]), _mm_add_ps(v.q[1], v.q[3]));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
INLINE float v16_fold_max(v16 v) {
    const __m128 four = _mm_max_ps(_mm_max_ps(v.q[0], v.q[2]), _mm_max_ps(v.q[1], v.q[3]));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
INLINE int32_t v16i_fold_sum(v16i v) {
    const __m128i four = _mm_add_epi32(_mm_add_epi32(v.q[0], v.q[2]), _mm_add_epi32(v.q[1], v.q[3]));
    const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4E));
    return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xB1)));
}
INLINE int32_t v16i_fold_max(v16i v) {
    const __m128i four = _mm_max_epi32(_mm_max_epi32(v.q[0], v.q[2]), _mm_max_epi32(v.q[1], v.q[3]));
    const __m128i two = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4E));
    return _mm_cvtsi128_si32(_mm_max_epi32(two, _mm_shuffle_epi32(two, 0xB1)));
}

#endif
