/* vec16_neon.h: sixteen numbers at once, in four registers. The operations that rows16.h, attend16.h and the
 * templates of products are written in. */
#ifndef B2_VEC16_NEON_H
#define B2_VEC16_NEON_H
#define B2_VEC16 /* what the templates look for */

#include "kernels/unroll.h"

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct v16 {
    float32x4_t q[4]; /* lanes 0-3, 4-7, 8-11, 12-15 */
} v16;
typedef struct v16i {
    int32x4_t q[4];
} v16i;

/* attend16.h: rows and vectors of a register tile, of 32 registers */
enum { ATTEND_ROWS = 5, ATTEND_VECTORS = 1 };

#define V16_EACH(type, expression)                                                                                     \
    type r;                                                                                                            \
    UNROLL for (int i = 0; i < 4; i++) r.q[i] = expression;                                                            \
    return r

INLINE v16 v16_set(float x) { V16_EACH(v16, vdupq_n_f32(x)); }
INLINE v16 v16_load(const float *x) { V16_EACH(v16, vld1q_f32(x + 4 * i)); }
INLINE v16 v16_load_first(const float *x, size_t n) {
    float lanes[16] = {0};
    memcpy(lanes, x, n * sizeof *x);
    return v16_load(lanes);
}
INLINE void v16_store(float *x, v16 v) {
    UNROLL
    for (int i = 0; i < 4; i++) vst1q_f32(x + 4 * i, v.q[i]);
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
/* v in the first n lanes, w in the others */
INLINE v16 v16_first(v16 v, v16 w, size_t n) {
    static const uint32_t lane[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const uint32x4_t end = vdupq_n_u32((uint32_t)n);
    V16_EACH(v16, vbslq_f32(vcltq_u32(vld1q_u32(lane + 4 * i), end), v.q[i], w.q[i]));
}
/* sixteen f16 */
INLINE v16 v16_load_f16(const uint16_t *x) { V16_EACH(v16, vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(x + 4 * i)))); }

INLINE v16 v16_load_bf16(const uint16_t *x) {
    V16_EACH(v16, vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(x + 4 * i), 16)));
}
INLINE v16 v16_from_integers(v16i v) { V16_EACH(v16, vcvtq_f32_s32(v.q[i])); }

INLINE v16 v16_add(v16 v, v16 w) { V16_EACH(v16, vaddq_f32(v.q[i], w.q[i])); }
INLINE v16 v16_sub(v16 v, v16 w) { V16_EACH(v16, vsubq_f32(v.q[i], w.q[i])); }
INLINE v16 v16_mul(v16 v, v16 w) { V16_EACH(v16, vmulq_f32(v.q[i], w.q[i])); }
INLINE v16 v16_div(v16 v, v16 w) { V16_EACH(v16, vdivq_f32(v.q[i], w.q[i])); }
INLINE v16 v16_fma(v16 v, v16 w, v16 x) { V16_EACH(v16, vfmaq_f32(x.q[i], v.q[i], w.q[i])); }
INLINE void v16_chain(v16 *sum, v16 x, v16 y) { *sum = v16_fma(x, y, *sum); }
/* v > w ? v : w and v < w ? v : w: w when either is NaN (vmaxq would give NaN) */
INLINE v16 v16_max(v16 v, v16 w) { V16_EACH(v16, vbslq_f32(vcgtq_f32(v.q[i], w.q[i]), v.q[i], w.q[i])); }
INLINE v16 v16_min(v16 v, v16 w) { V16_EACH(v16, vbslq_f32(vcltq_f32(v.q[i], w.q[i]), v.q[i], w.q[i])); }
/* v <= 0 ? +0 : v, NaN stays */
INLINE v16 v16_relu(v16 v) {
    const float32x4_t zero = vdupq_n_f32(0.0f);
    V16_EACH(v16, vbslq_f32(vcleq_f32(v.q[i], zero), zero, v.q[i]));
}

INLINE v16i v16i_set(int32_t x) { V16_EACH(v16i, vdupq_n_s32(x)); }
INLINE v16i v16_bits(v16 v) { V16_EACH(v16i, vreinterpretq_s32_f32(v.q[i])); }
INLINE v16 v16_from_bits(v16i v) { V16_EACH(v16, vreinterpretq_f32_s32(v.q[i])); }
INLINE v16i v16_round(v16 v) { V16_EACH(v16i, vcvtnq_s32_f32(v.q[i])); } /* to nearest, ties to even */
INLINE v16i v16i_add(v16i v, v16i w) { V16_EACH(v16i, vaddq_s32(v.q[i], w.q[i])); }
INLINE v16i v16i_sub(v16i v, v16i w) { V16_EACH(v16i, vsubq_s32(v.q[i], w.q[i])); }
INLINE v16i v16i_and(v16i v, v16i w) { V16_EACH(v16i, vandq_s32(v.q[i], w.q[i])); }
INLINE v16i v16i_or(v16i v, v16i w) { V16_EACH(v16i, vorrq_s32(v.q[i], w.q[i])); }
INLINE v16i v16i_max(v16i v, v16i w) { V16_EACH(v16i, vmaxq_s32(v.q[i], w.q[i])); }
INLINE v16i v16i_min(v16i v, v16i w) { V16_EACH(v16i, vminq_s32(v.q[i], w.q[i])); }
INLINE v16i v16i_shift_left(v16i v, const int n) { V16_EACH(v16i, vshlq_s32(v.q[i], vdupq_n_s32(n))); }
INLINE v16i v16i_shift_right(v16i v, const int n) {
    V16_EACH(v16i, vshlq_s32(v.q[i], vdupq_n_s32(-n)));
} /* with sign */
INLINE v16i v16i_load_bytes(const int8_t *x) { V16_EACH(v16i, vreinterpretq_s32_s8(vld1q_s8(x + 16 * i))); }
/* bit j: lane j is not 0 */
INLINE uint32_t v16i_find_nonzero(v16i v) {
    static const uint32_t bit[16] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768};
    uint32_t found = 0;
    UNROLL
    for (int i = 0; i < 4; i++) found |= vaddvq_u32(vandq_u32(vtstq_s32(v.q[i], v.q[i]), vld1q_u32(bit + 4 * i)));
    return found;
}
/* sixteen int8 of values that fit */
INLINE void v16i_store_i8(int8_t *x, v16i v) {
    const int16x8_t low = vcombine_s16(vmovn_s32(v.q[0]), vmovn_s32(v.q[1]));
    const int16x8_t high = vcombine_s16(vmovn_s32(v.q[2]), vmovn_s32(v.q[3]));
    vst1q_s8(x, vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
}

/* Lane j takes in lane j + 8, then j + 4, j + 2, j + 1. */
INLINE float v16_fold_sum(v16 v) {
    const float32x4_t four = vaddq_f32(vaddq_f32(v.q[0], v.q[2]), vaddq_f32(v.q[1], v.q[3]));
    const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}
INLINE float v16_fold_max(v16 v) { /* of numbers, in any order */
    return vmaxvq_f32(vmaxq_f32(vmaxq_f32(v.q[0], v.q[2]), vmaxq_f32(v.q[1], v.q[3])));
}
INLINE int32_t v16i_fold_sum(v16i v) {
    return vaddvq_s32(vaddq_s32(vaddq_s32(v.q[0], v.q[2]), vaddq_s32(v.q[1], v.q[3])));
}
INLINE int32_t v16i_fold_max(v16i v) {
    return vmaxvq_s32(vmaxq_s32(vmaxq_s32(v.q[0], v.q[2]), vmaxq_s32(v.q[1], v.q[3])));
}

#endif
