/* quad_sdot.inc.h: TEMPLATE. The accumulators of gemm_neon.inc.h where the CPU has sdot: isa_dotprod.c, isa_i8mm.c. */
#ifndef B2_QUAD_SDOT_INC_H
#define B2_QUAD_SDOT_INC_H

#if !defined(__ARM_FEATURE_DOTPROD) || !defined(B2_VEC16)
#error "a template: include vec16_neon.h before it, with sdot among the flags (Makefile)"
#endif

typedef struct quad_sum {
    int32x4_t sum;
} quad_sum;

INLINE void quad_clear(quad_sum *s) { s->sum = vdupq_n_s32(0); }
INLINE void quad_add(quad_sum *s, int8x16_t weights, int8x16_t inputs) { s->sum = vdotq_s32(s->sum, weights, inputs); }
INLINE void quad_join(quad_sum *a, const quad_sum *b) { a->sum = vaddq_s32(a->sum, b->sum); }
INLINE int32x4_t quad_total(const quad_sum *s) { return s->sum; }

#endif
