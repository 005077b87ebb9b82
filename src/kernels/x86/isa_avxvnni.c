/* isa_avxvnni.c: 256-bit vectors with integer dot products: laptops since 2021.
 */
#include "kernels/isa_sets.h"

#if !defined(__AVXVNNI__) || !defined(__AVX2__) || !defined(__FMA__)
#error "compile this file with its flags (Makefile)"
#endif

#include "kernels/x86/vec16_avx2.h"

#include "kernels/attend16.h"

/* Tile: 6 rows x 16 outputs in two registers each: 12 accumulators, 2 of
 * weights, one of inputs, of 16. */
#define GEMM_TILE_COLUMNS 1
#define SPARSE_MOST_ROWS 2
#define FEW_PASS_ROWS 2
#define FEW_MOST_ROWS 4
#define FEW_CHAINS 4

typedef __m256i vnni_inputs;

/* One instruction of asm each: GCC 12 copies and spills the accumulators of the
 * intrinsics. */
INLINE void vnni_dot(v16i *sum, v16i weights, __m256i inputs) {
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum->a) : "x"(weights.a), "x"(inputs));
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum->b) : "x"(weights.b), "x"(inputs));
}
INLINE void vnni_times_128(v16i *sum) {
    __asm__("vpslld $7, %0, %0" : "+x"(sum->a));
    __asm__("vpslld $7, %0, %0" : "+x"(sum->b));
}
INLINE v16i vnni_load(const int8_t *line) { return v16i_xor(v16i_load_bytes(line), v16i_set((int32_t)0x80808080u)); }
INLINE __m256i vnni_broadcast(const int8_t *four) {
    int32_t word;
    memcpy(&word, four, sizeof word);
    return _mm256_set1_epi32(word);
}

#include "kernels/x86/gemm_vnni.inc.h"

static void gemm_i8_avxvnni(const b2_quantised_rows *rows, const b2_weight_panels *w, const b2_gemm_out *out, float *y,
                            void *scratch) {
    gemm_i8_vnni(rows, w, out, y, scratch);
}

void b2_isa_fill_avxvnni(b2_isa *isa) {
    fill_vectors(isa);
    isa->name = "avxvnni";
    isa->gemm_i8 = gemm_i8_avxvnni;
    isa->gemm_f32_name = "avxvnni";
}
