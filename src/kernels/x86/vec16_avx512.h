/* vec16_avx512.h: sixteen numbers at once, in one register. The operations that
 * rows16.h, attend16.h and the templates of products are written in. */
#ifndef B2_VEC16_AVX512_H
#define B2_VEC16_AVX512_H
#define B2_VEC16 /* what the templates look for */

#include "kernels/unroll.h"

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

typedef __m512 v16;   /* float */
typedef __m512i v16i; /* int32_t */

/* attend16.h: rows and vectors of a register tile, of 32 registers */
enum { ATTEND_ROWS = 8, ATTEND_VECTORS = 3 };

/* the first n lanes, n <= 16 */
INLINE __mmask16 first_lanes(size_t n) { return (__mmask16)((1u << n) - 1u); }

INLINE v16 v16_set(float x) { return _mm512_set1_ps(x); }
INLINE v16 v16_load(const float *x) { return _mm512_loadu_ps(x); }
INLINE v16 v16_load_first(const float *x, size_t n) { return _mm512_maskz_loadu_ps(first_lanes(n), x); }
INLINE void v16_store(float *x, v16 a) { _mm512_storeu_ps(x, a); }
INLINE void v16_store_first(float *x, v16 a, size_t n) { _mm512_mask_storeu_ps(x, first_lanes(n), a); }
/* a in the first n lanes, b in the others */
INLINE v16 v16_first(v16 a, v16 b, size_t n) { return _mm512_mask_blend_ps(first_lanes(n), b, a); }
/* sixteen f16 */
INLINE v16 v16_load_f16(const uint16_t *x) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)x));
}

INLINE v16 v16_load_bf16(const uint16_t *x) {
    const __m256i halves = _mm256_loadu_si256((const __m256i *)(const void *)x);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

INLINE v16 v16_add(v16 a, v16 b) { return _mm512_add_ps(a, b); }
INLINE v16 v16_sub(v16 a, v16 b) { return _mm512_sub_ps(a, b); }
INLINE v16 v16_mul(v16 a, v16 b) { return _mm512_mul_ps(a, b); }
INLINE v16 v16_div(v16 a, v16 b) { return _mm512_div_ps(a, b); }
INLINE v16 v16_fma(v16 a, v16 b, v16 c) { return _mm512_fmadd_ps(a, b, c); }
/* a > b ? a : b and a < b ? a : b: b when either is NaN */
INLINE v16 v16_max(v16 a, v16 b) { return _mm512_max_ps(a, b); }
INLINE v16 v16_min(v16 a, v16 b) { return _mm512_min_ps(a, b); }
INLINE void v16_chain(v16 *sum, v16 x, v16 y) { *sum = v16_fma(x, y, *sum); }
/* a <= 0 ? +0 : a, NaN stays */
INLINE v16 v16_relu(v16 a) { return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, _mm512_setzero_ps(), _CMP_NLE_UQ), a); }

INLINE v16i v16i_set(int32_t x) { return _mm512_set1_epi32(x); }
INLINE v16i v16_bits(v16 a) { return _mm512_castps_si512(a); }
INLINE v16 v16_from_bits(v16i a) { return _mm512_castsi512_ps(a); }
INLINE v16i v16_round(v16 a) { return _mm512_cvtps_epi32(a); } /* to nearest, ties to even */
INLINE v16 v16_from_integers(v16i a) { return _mm512_cvtepi32_ps(a); }
INLINE v16i v16i_add(v16i a, v16i b) { return _mm512_add_epi32(a, b); }
INLINE v16i v16i_sub(v16i a, v16i b) { return _mm512_sub_epi32(a, b); }
INLINE v16i v16i_or(v16i a, v16i b) { return _mm512_or_si512(a, b); }
INLINE v16i v16i_xor(v16i a, v16i b) { return _mm512_xor_si512(a, b); }
INLINE v16i v16i_load_bytes(const int8_t *x) { return _mm512_loadu_si512(x); }
INLINE void v16i_store_bytes(int8_t *x, v16i a) { _mm512_storeu_si512(x, a); }
/* bit j: lane j is not 0 */
INLINE uint32_t v16i_find_nonzero(v16i a) { return _mm512_test_epi32_mask(a, a); }
INLINE v16i v16i_and(v16i a, v16i b) { return _mm512_and_si512(a, b); }
INLINE v16i v16i_max(v16i a, v16i b) { return _mm512_max_epi32(a, b); }
INLINE v16i v16i_min(v16i a, v16i b) { return _mm512_min_epi32(a, b); }
INLINE v16i v16i_shift_left(v16i a, const int n) { return _mm512_slli_epi32(a, (unsigned)n); }
INLINE v16i v16i_shift_right(v16i a, const int n) { return _mm512_srai_epi32(a, (unsigned)n); } /* with sign */
/* sixteen int8 of values that fit */
INLINE void v16i_store_i8(int8_t *x, v16i a) { _mm_storeu_si128((__m128i *)(void *)x, _mm512_cvtepi32_epi8(a)); }

/* Lane j takes in lane j + 8, then j + 4, j + 2, j + 1. */
INLINE __m256 upper_half(v16 a) { return _mm512_extractf32x8_ps(a, 1); }
INLINE float v16_fold_sum(v16 a) {
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a), upper_half(a));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
INLINE float v16_fold_max(v16 a) {
    const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(a), upper_half(a));
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
INLINE int32_t v16i_fold_sum(v16i a) { return _mm512_reduce_add_epi32(a); }
INLINE int32_t v16i_fold_max(v16i a) { return _mm512_reduce_max_epi32(a); }

#endif
