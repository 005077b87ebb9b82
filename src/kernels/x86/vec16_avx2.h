/* vec16_avx2.h: sixteen numbers at once, in two registers. The operations that
 * rows16.h, attend16.h and the templates of products are written in. */
#ifndef B2_VEC16_AVX2_H
#define B2_VEC16_AVX2_H
#define B2_VEC16 /* what the templates look for */

#include "kernels/unroll.h"

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

typedef struct v16 {
    __m256 a, b; /* lanes 0-7, 8-15 */
} v16;
typedef struct v16i {
    __m256i a, b;
} v16i;

/* attend16.h: rows and vectors of a register tile, of 16 registers */
enum { ATTEND_ROWS = 6, ATTEND_VECTORS = 1 };

/* all bits in the first n of 8 lanes, n from -8 to 16 */
INLINE __m256i first_eight(int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

INLINE v16 v16_set(float x) { return (v16){_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
INLINE v16 v16_load(const float *x) { return (v16){_mm256_loadu_ps(x), _mm256_loadu_ps(x + 8)}; }
INLINE v16 v16_load_first(const float *x, size_t n) {
    return (v16){_mm256_maskload_ps(x, first_eight((int)n)), _mm256_maskload_ps(x + 8, first_eight((int)n - 8))};
}
INLINE void v16_store(float *x, v16 v) {
    _mm256_storeu_ps(x, v.a);
    _mm256_storeu_ps(x + 8, v.b);
}
INLINE void v16_store_first(float *x, v16 v, size_t n) {
    _mm256_maskstore_ps(x, first_eight((int)n), v.a);
    _mm256_maskstore_ps(x + 8, first_eight((int)n - 8), v.b);
}
/* v in the first n lanes, w in the others */
INLINE v16 v16_first(v16 v, v16 w, size_t n) {
    return (v16){_mm256_blendv_ps(w.a, v.a, _mm256_castsi256_ps(first_eight((int)n))),
                 _mm256_blendv_ps(w.b, v.b, _mm256_castsi256_ps(first_eight((int)n - 8)))};
}
/* sixteen f16 */
INLINE v16 v16_load_f16(const uint16_t *x) {
    return (v16){_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)x)),
                 _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(x + 8)))};
}

INLINE __m256 load_bf16_eight(const uint16_t *x) {
    const __m128i eight = _mm_loadu_si128((const __m128i *)(const void *)x);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(eight), 16));
}
INLINE v16 v16_load_bf16(const uint16_t *x) { return (v16){load_bf16_eight(x), load_bf16_eight(x + 8)}; }
INLINE v16 v16_from_integers(v16i v) { return (v16){_mm256_cvtepi32_ps(v.a), _mm256_cvtepi32_ps(v.b)}; }

#define V16_BINARY(name, type, op)                                                                                     \
    INLINE type name(type v, type w) { return (type){op(v.a, w.a), op(v.b, w.b)}; }
V16_BINARY(v16_add, v16, _mm256_add_ps)
V16_BINARY(v16_sub, v16, _mm256_sub_ps)
V16_BINARY(v16_mul, v16, _mm256_mul_ps)
V16_BINARY(v16_div, v16, _mm256_div_ps)
/* v > w ? v : w and v < w ? v : w: w when either is NaN */
V16_BINARY(v16_max, v16, _mm256_max_ps)
V16_BINARY(v16_min, v16, _mm256_min_ps)
V16_BINARY(v16i_add, v16i, _mm256_add_epi32)
V16_BINARY(v16i_sub, v16i, _mm256_sub_epi32)
V16_BINARY(v16i_and, v16i, _mm256_and_si256)
V16_BINARY(v16i_or, v16i, _mm256_or_si256)
V16_BINARY(v16i_xor, v16i, _mm256_xor_si256)
V16_BINARY(v16i_max, v16i, _mm256_max_epi32)
V16_BINARY(v16i_min, v16i, _mm256_min_epi32)
#undef V16_BINARY

INLINE v16 v16_fma(v16 v, v16 w, v16 x) {
    return (v16){_mm256_fmadd_ps(v.a, w.a, x.a), _mm256_fmadd_ps(v.b, w.b, x.b)};
}
INLINE void v16_chain(v16 *sum, v16 x, v16 y) { *sum = v16_fma(x, y, *sum); }
/* v <= 0 ? +0 : v, NaN stays */
INLINE v16 v16_relu(v16 v) {
    const __m256 zero = _mm256_setzero_ps();
    return (v16){_mm256_and_ps(v.a, _mm256_cmp_ps(v.a, zero, _CMP_NLE_UQ)),
                 _mm256_and_ps(v.b, _mm256_cmp_ps(v.b, zero, _CMP_NLE_UQ))};
}

INLINE v16i v16i_load_bytes(const int8_t *x) {
    return (v16i){_mm256_loadu_si256((const __m256i *)(const void *)x),
                  _mm256_loadu_si256((const __m256i *)(const void *)(x + 32))};
}
INLINE void v16i_store_bytes(int8_t *x, v16i v) {
    _mm256_storeu_si256((__m256i *)(void *)x, v.a);
    _mm256_storeu_si256((__m256i *)(void *)(x + 32), v.b);
}
INLINE uint32_t find_zero(__m256i v) {
    return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(v, _mm256_setzero_si256())));
}
/* bit j: lane j is not 0 */
INLINE uint32_t v16i_find_nonzero(v16i v) { return ~(find_zero(v.a) | find_zero(v.b) << 8) & 0xFFFFu; }
INLINE v16i v16i_set(int32_t x) { return (v16i){_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
INLINE v16i v16_bits(v16 v) { return (v16i){_mm256_castps_si256(v.a), _mm256_castps_si256(v.b)}; }
INLINE v16 v16_from_bits(v16i v) { return (v16){_mm256_castsi256_ps(v.a), _mm256_castsi256_ps(v.b)}; }
/* to nearest, ties to even */
INLINE v16i v16_round(v16 v) { return (v16i){_mm256_cvtps_epi32(v.a), _mm256_cvtps_epi32(v.b)}; }
INLINE v16i v16i_shift_left(v16i v, const int n) {
    return (v16i){_mm256_slli_epi32(v.a, n), _mm256_slli_epi32(v.b, n)};
}
/* with sign */
INLINE v16i v16i_shift_right(v16i v, const int n) {
    return (v16i){_mm256_srai_epi32(v.a, n), _mm256_srai_epi32(v.b, n)};
}
/* sixteen int8 of values that fit */
INLINE void v16i_store_i8(int8_t *x, v16i v) {
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(v.a, v.b), 0xD8);
    const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128((__m128i *)(void *)x, bytes);
}

/* Lane j takes in lane j + 8, then j + 4, j + 2, j + 1. */
INLINE float v16_fold_sum(v16 v) {
    const __m256 eight = _mm256_add_ps(v.a, v.b);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
INLINE float v16_fold_max(v16 v) {
    const __m256 eight = _mm256_max_ps(v.a, v.b);
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
INLINE int32_t v16i_fold_sum(v16i v) {
    const __m256i eight = _mm256_add_epi32(v.a, v.b);
    const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4E));
    return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xB1)));
}
INLINE int32_t v16i_fold_max(v16i v) {
    const __m256i eight = _mm256_max_epi32(v.a, v.b);
    const __m128i four = _mm_max_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    const __m128i two = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4E));
    return _mm_cvtsi128_si32(_mm_max_epi32(two, _mm_shuffle_epi32(two, 0xB1)));
}

#endif
