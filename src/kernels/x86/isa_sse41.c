/* isa_sse41.c: 128-bit vectors for x86 CPUs without AVX: Atoms of NAS boxes,
 * servers before 2011 (SSE4.1, SSSE3). */
#include "kernels/isa_sets.h"

#if !defined(__SSE4_1__) || defined(__AVX__)
#error "compile this file with its flags (Makefile)"
#endif

#include "kernels/x86/vec16_sse41.h"

#include "kernels/attend16.h"

#define WIDE_OUTPUTS 2 /* tile: 6 rows x 4 outputs */
#define FEW_PASS_ROWS 1
#define FEW_MOST_ROWS 2

typedef __m128i wide;
typedef __m128 wide_floats;

INLINE __m128i wide_zero(void) { return _mm_setzero_si128(); }
INLINE __m128i wide_add(__m128i a, __m128i b) { return _mm_add_epi32(a, b); }
INLINE __m128i wide_widen(const int8_t *weights) {
    return _mm_cvtepi8_epi16(_mm_loadl_epi64((const __m128i *)(const void *)weights));
}
INLINE __m128i wide_load(const uint8_t *prepared) { return _mm_load_si128((const __m128i *)(const void *)prepared); }
INLINE void wide_store(uint8_t *prepared, __m128i weights) { _mm_store_si128((__m128i *)(void *)prepared, weights); }
INLINE __m128i wide_broadcast(const int16_t *four) {
    return _mm_castpd_si128(_mm_loaddup_pd((const double *)(const void *)four));
}
/* asm keeps the three together: GCC 12 collects products first, runs out of
 * registers, spills. */
INLINE void wide_dot(__m128i *sum, __m128i weights, __m128i inputs) {
    __m128i pairs;
    __asm__("movdqa %3, %1\n\tpmaddwd %2, %1\n\tpaddd %1, %0" : "+x"(*sum), "=&x"(pairs) : "x"(weights), "x"(inputs));
}
INLINE __m128i wide_join(__m128i first, __m128i second) { return _mm_hadd_epi32(first, second); }
INLINE v16i wide_to_v16i(const __m128i sums[4]) { return (v16i){{sums[0], sums[1], sums[2], sums[3]}}; }
INLINE __m128 wide_load_scales(const uint16_t *d) { return load_bf16_four(d); }
INLINE void wide_accumulate(float *y, const float *from, __m128i sums, float s, __m128 d) {
    const __m128 sd = _mm_mul_ps(_mm_set1_ps(s), d);
    _mm_store_ps(y, fma_four(_mm_cvtepi32_ps(sums), sd, _mm_load_ps(from)));
}

#include "kernels/x86/gemm_pairs.inc.h"

static void gemm_i8_sse41(const b2_quantised_rows *rows, const b2_weight_panels *w, const b2_gemm_out *out, float *y,
                          void *scratch) {
    gemm_i8_pairs(rows, w, out, y, scratch);
}

void b2_isa_fill_sse41(b2_isa *isa) {
    fill_vectors(isa);
    isa->name = "sse41";
    isa->gemm_i8 = gemm_i8_sse41;
    isa->gemm_f32_name = "sse41";
}
