/* isa_avx512vnni.c: 512-bit vectors with integer dot products: servers since
 * 2019, Zen 4 and later. */
#include "kernels/isa_sets.h"

#if !defined(__AVX512VNNI__) || !defined(__AVX512VL__) || !defined(__AVX512BW__)
#error "compile this file with its flags (Makefile)"
#endif

#include "kernels/x86/vec16_avx512.h"

#include "kernels/attend16.h"

/* Tile: 6 rows x 64 outputs, 24 accumulators, 4 registers of weights and one of
 * inputs, of 32. */
#define GEMM_TILE_COLUMNS 4
#define SPARSE_MOST_ROWS 16 /* two rows at a time, 16 accumulators, 4 registers of inputs */
#define FEW_PASS_ROWS 8
#define FEW_MOST_ROWS 16
#define FEW_CHAINS 8

typedef __m512i vnni_inputs;

/* One instruction of asm each: GCC 12 copies and spills the accumulators of the
 * intrinsics, 40 % of the speed. */
INLINE void vnni_dot(__m512i *sum, __m512i weights, __m512i inputs) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(*sum) : "v"(weights), "v"(inputs));
}
INLINE void vnni_times_128(__m512i *sum) { __asm__("vpslld $7, %0, %0" : "+v"(*sum)); }
INLINE __m512i vnni_load(const int8_t *line) {
    __m512i weights; /* as intrinsics GCC 12 finds no register for it among eight
                      rows' sums */
    __asm__("vpxord %1, %2, %0"
            : "=v"(weights)
            : "m"(*(const __m512i *)(const void *)line), "v"(_mm512_set1_epi8((char)0x80)));
    return weights;
}
INLINE __m512i vnni_broadcast(const int8_t *four) {
    int32_t word;
    memcpy(&word, four, sizeof word);
    return _mm512_set1_epi32(word);
}

#include "kernels/x86/gemm_vnni.inc.h"

void b2_gemm_i8_avx512vnni(const b2_quantised_rows *rows, const b2_weight_panels *w, const b2_gemm_out *out, float *y,
                           void *scratch) {
    gemm_i8_vnni(rows, w, out, y, scratch);
}

void b2_isa_fill_avx512vnni(b2_isa *isa) {
    fill_vectors(isa);
    isa->name = "avx512vnni";
    isa->gemm_i8 = b2_gemm_i8_avx512vnni;
    isa->gemm_f32_name = "avx512vnni";
}
