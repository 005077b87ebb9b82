/* isa_dotprod.c: NEON with integer dot products (ARMv8.2 and later: phones since 2018, Graviton 2, Apple M1). */
#include "kernels/isa_sets.h"

#if !defined(__ARM_FEATURE_DOTPROD)
#error "compile this file with its flags (Makefile)"
#endif

#include "kernels/arm/vec16_neon.h"

#include "kernels/attend16.h"

enum { ROWS = 6, STREAM_ROWS = 2 }; /* 24 accumulators, 4 registers of weights, one of inputs, of 32 */

typedef struct quad_sum {
    int32x4_t sum;
} quad_sum;

INLINE void quad_clear(quad_sum *s) { s->sum = vdupq_n_s32(0); }
INLINE void quad_add(quad_sum *s, int8x16_t weights, int8x16_t inputs) { s->sum = vdotq_s32(s->sum, weights, inputs); }
INLINE void quad_join(quad_sum *a, const quad_sum *b) { a->sum = vaddq_s32(a->sum, b->sum); }
INLINE int32x4_t quad_total(const quad_sum *s) { return s->sum; }

#include "kernels/arm/gemm_neon.h"

void b2_isa_fill_dotprod(b2_isa *isa) {
    fill_vectors(isa);
    isa->name = "dotprod";
    isa->gemm_i8 = gemm_i8;
    isa->gemm_f32_name = "neon";
}
