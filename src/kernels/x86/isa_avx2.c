/* isa_avx2.c: 256-bit vectors, the x86 CPUs since 2013 (AVX2, FMA, F16C). */
#include "kernels/isa_sets.h"

#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "compile this file with its flags (Makefile)"
#endif

#include "kernels/x86/vec16_avx2.h"

#include "kernels/attend16.h"

#define WIDE_OUTPUTS 4 /* tile: 6 rows x 8 outputs */
#define FEW_PASS_ROWS 2
#define FEW_MOST_ROWS 4

typedef __m256i wide;
typedef __m256 wide_floats;

INLINE __m256i wide_zero(void) { return _mm256_setzero_si256(); }
INLINE __m256i wide_add(__m256i a, __m256i b) { return _mm256_add_epi32(a, b); }
INLINE __m256i wide_widen(const int8_t *weights) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)weights));
}
INLINE __m256i wide_load(const uint8_t *prepared) { return _mm256_load_si256((const __m256i *)(const void *)prepared); }
INLINE void wide_store(uint8_t *prepared, __m256i weights) { _mm256_store_si256((__m256i *)(void *)prepared, weights); }
INLINE __m256i wide_broadcast(const int16_t *four) {
    int64_t word;
    memcpy(&word, four, sizeof word);
    return _mm256_set1_epi64x(word);
}
/* asm keeps the two together: GCC 12 collects products first, runs out of
 * registers, spills. */
INLINE void wide_dot(__m256i *sum, __m256i weights, __m256i inputs) {
    __m256i pairs;
    __asm__("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0" : "+x"(*sum), "=&x"(pairs) : "x"(weights), "x"(inputs));
}
/* hadd works within halves of a register: outputs 0 1 4 5 2 3 6 7. */
INLINE __m256i wide_join(__m256i first, __m256i second) {
    return _mm256_permute4x64_epi64(_mm256_hadd_epi32(first, second), 0xD8);
}
INLINE v16i wide_to_v16i(const __m256i sums[2]) { return (v16i){sums[0], sums[1]}; }
INLINE __m256 wide_load_scales(const uint16_t *d) { return load_bf16_eight(d); }
INLINE void wide_accumulate(float *y, const float *from, __m256i sums, float s, __m256 d) {
    const __m256 sd = _mm256_mul_ps(_mm256_set1_ps(s), d);
    _mm256_store_ps(y, _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums), sd, _mm256_load_ps(from)));
}

#include "kernels/x86/gemm_pairs.inc.h"

static void gemm_i8_avx2(const b2_quantised_rows *rows, const b2_weight_panels *w, const b2_gemm_out *out, float *y,
                         void *scratch) {
    gemm_i8_pairs(rows, w, out, y, scratch);
}

void b2_isa_fill_avx2(b2_isa *isa) {
    fill_vectors(isa);
    isa->name = "avx2";
    isa->gemm_i8 = gemm_i8_avx2;
    isa->gemm_f32_name = "avx2";
}
