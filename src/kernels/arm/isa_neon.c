/* isa_neon.c: what every 64-bit ARM has. Products of 8 bits become 16, neighbours are added into 32. */
#include "kernels/isa_sets.h"

#include "kernels/arm/vec16_neon.h"

#include "kernels/attend16.h"

/* two registers a sum: 16 accumulators, 4 registers of weights, inputs and products, of 32 */
#define NEON_ROWS 2
#define FEW_PASS_ROWS 1

typedef struct quad_sum {
    int32x4_t low, high; /* two partial sums of each output: outputs 0 and 1, outputs 2 and 3 */
} quad_sum;

INLINE void quad_clear(quad_sum *s) { s->low = s->high = vdupq_n_s32(0); }
INLINE void quad_add(quad_sum *s, int8x16_t weights, int8x16_t inputs) {
    s->low = vpadalq_s16(s->low, vmull_s8(vget_low_s8(weights), vget_low_s8(inputs)));
    s->high = vpadalq_s16(s->high, vmull_high_s8(weights, inputs));
}
INLINE void quad_join(quad_sum *a, const quad_sum *b) {
    a->low = vaddq_s32(a->low, b->low);
    a->high = vaddq_s32(a->high, b->high);
}
INLINE int32x4_t quad_total(const quad_sum *s) { return vpaddq_s32(s->low, s->high); }

#include "kernels/arm/gemm_neon.inc.h"

static void gemm_i8_neon(const b2_quantised_rows *rows, const b2_weight_panels *w, const b2_gemm_out *out, float *y,
                         void *scratch) {
    gemm_i8_arm(rows, w, out, y, scratch, run_tile_neon);
}

void b2_isa_fill_neon(b2_isa *isa) {
    fill_vectors(isa);
    isa->name = "neon";
    isa->gemm_i8 = gemm_i8_neon;
    isa->gemm_f32_name = "neon";
}
