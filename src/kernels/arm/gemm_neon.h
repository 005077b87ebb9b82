/* gemm_neon.h: int8 products of the ARM sets, which differ in one word: how four outputs take in four inputs each.
 *
 * Tile: ROWS rows x 16 outputs. A line of the file is 4 registers of 4 outputs x 4 inputs, and signed times signed is
 * what these instructions do: weights are used as they lie in the file, nothing is prepared. */
#ifndef B2_GEMM_NEON_H
#define B2_GEMM_NEON_H

#include "kernels/gemm_walk.h"

enum { QUADS = 4, QUAD_BYTES = 16 };

/* A set defines, before it includes this: ROWS of a tile and STREAM_ROWS (gemm_stream.h); quad_sum, a sum of four outputs;
 * quad_clear, quad_add (which takes in 4 inputs for each of the 4), quad_join (a takes in b) and quad_total. */

#define BROADCAST_INPUTS(four) vreinterpretq_s8_s32(vld1q_dup_s32((const int32_t *)(const void *)(four)))

/* y = fma((float)sum, s d, y), the first group onto zeros */
INLINE void add_quad_to_y(const gemm_tile *t, int row, int quad, int32x4_t sum) {
    const float32x4_t d = vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(t->d + 4 * quad), 16));
    const float32x4_t sd = vmulq_f32(vdupq_n_f32(t->scale[(size_t)row * t->n_groups]), d);
    const float32x4_t onto = vld1q_f32(t->before + (size_t)row * t->before_stride + 4 * quad);
    vst1q_f32(t->y + (size_t)row * B2_GEMM_STRIP + 4 * quad, vfmaq_f32(onto, vcvtq_f32_s32(sum), sd));
}

/* 128 hi + lo, or hi alone */
INLINE int32x4_t join_planes(int32x4_t hi, int32x4_t lo) { return vaddq_s32(vshlq_n_s32(hi, 7), lo); }

/* ahead: what to ask for meanwhile, where all slots live. */
INLINE void sum_plane(const gemm_tile *t, const int8_t *plane, int first_row, const int n_rows, uint32_t live,
                      const char *ahead, quad_sum sum[][QUADS]) {
    UNROLL
    for (int i = 0; i < n_rows; i++) {
        UNROLL
        for (int j = 0; j < QUADS; j++) quad_clear(&sum[i][j]);
    }
    plane += (size_t)first_row * t->stride;
    for (size_t slot = 0; slot < t->group / 4; slot++) {
        if (live != ALL_LIVE && (live >> slot & 1) == 0) continue;
        if (live == ALL_LIVE) __builtin_prefetch(ahead, 0, 2);
        ahead += t->ahead_step;
        const int8_t *file = t->file + slot * t->slot_bytes;
        int8x16_t weights[QUADS];
        UNROLL
        for (int j = 0; j < QUADS; j++) weights[j] = vld1q_s8(file + j * QUAD_BYTES);
        UNROLL
        for (int i = 0; i < n_rows; i++) {
            const int8x16_t inputs = BROADCAST_INPUTS(plane + (size_t)i * t->stride + 4 * slot);
            UNROLL
            for (int j = 0; j < QUADS; j++) quad_add(&sum[i][j], weights[j], inputs);
        }
    }
}

INLINE void run_rows(const gemm_tile *t, int first_row, const int n_rows, uint32_t live) {
    quad_sum sum[TILE_ROWS][QUADS];
    int32x4_t hi[TILE_ROWS][QUADS];
    sum_plane(t, t->hi, first_row, n_rows, live, t->ahead, sum);
    UNROLL
    for (int i = 0; i < n_rows; i++) {
        UNROLL
        for (int j = 0; j < QUADS; j++) hi[i][j] = quad_total(&sum[i][j]);
    }
    if (t->lo != NULL) {
        sum_plane(t, t->lo, first_row, n_rows, live, t->ahead + t->group / 4 * t->ahead_step, sum);
        UNROLL
        for (int i = 0; i < n_rows; i++) {
            UNROLL
            for (int j = 0; j < QUADS; j++) hi[i][j] = join_planes(hi[i][j], quad_total(&sum[i][j]));
        }
    }
    for (int i = 0; i < n_rows; i++)
        for (int j = 0; j < QUADS; j++) add_quad_to_y(t, first_row + i, j, hi[i][j]);
}

/* Rows in tiles of ROWS, those left over one by one. A function for each shape: inside one, tiles spill. */
static void run_tile_rows(const gemm_tile *t, int first_row, uint32_t live) { run_rows(t, first_row, ROWS, live); }
static void run_single_row(const gemm_tile *t, int row, uint32_t live) { run_rows(t, row, 1, live); }

static void run_all_rows(const gemm_tile *t, size_t n_rows, uint32_t live) {
    int row = 0;
    for (; row + ROWS <= (int)n_rows; row += ROWS) run_tile_rows(t, row, live);
    for (; row < (int)n_rows; row++) run_single_row(t, row, live);
}

static void run(const gemm_tile *t, size_t n_rows, bool from_file) {
    (void)from_file;
    run_all_rows(t, n_rows, ALL_LIVE);
}

/* ---- few rows: the words of gemm_stream.h -------------------------------------------------------------------------- */

enum { STREAM_MOST_ROWS = 4, STREAM_CHAINS = 2 };

typedef int8_t stream_input;
typedef struct stream_line {
    int8x16_t quads[QUADS];
} stream_line;
typedef struct stream_sum {
    quad_sum hi[QUADS], lo[QUADS];
} stream_sum;

INLINE stream_line stream_load(const int8_t *line) {
    stream_line weights;
    UNROLL
    for (int j = 0; j < QUADS; j++) weights.quads[j] = vld1q_s8(line + j * QUAD_BYTES);
    return weights;
}
INLINE stream_sum stream_zero(void) {
    stream_sum sum;
    UNROLL
    for (int j = 0; j < QUADS; j++) quad_clear(&sum.hi[j]), quad_clear(&sum.lo[j]);
    return sum;
}
INLINE void stream_add(stream_sum *sum, stream_line weights, const int8_t *hi, const int8_t *lo, const int n_planes) {
    const int8x16_t inputs_hi = BROADCAST_INPUTS(hi);
    UNROLL
    for (int j = 0; j < QUADS; j++) quad_add(&sum->hi[j], weights.quads[j], inputs_hi);
    if (n_planes == 1) return;
    const int8x16_t inputs_lo = BROADCAST_INPUTS(lo);
    UNROLL
    for (int j = 0; j < QUADS; j++) quad_add(&sum->lo[j], weights.quads[j], inputs_lo);
}
INLINE stream_sum stream_join(stream_sum a, stream_sum b) {
    UNROLL
    for (int j = 0; j < QUADS; j++) quad_join(&a.hi[j], &b.hi[j]), quad_join(&a.lo[j], &b.lo[j]);
    return a;
}
INLINE v16i stream_total(stream_sum sum, const int n_planes, int32_t row_sum) {
    (void)row_sum; /* signed times signed: there is nothing to take back */
    v16i total;
    UNROLL
    for (int j = 0; j < QUADS; j++) {
        const int32x4_t hi = quad_total(&sum.hi[j]);
        total.q[j] = n_planes == 2 ? join_planes(hi, quad_total(&sum.lo[j])) : hi;
    }
    return total;
}

#include "kernels/gemm_stream.h"

static void gemm_i8(const b2_quantised_rows *rows, const b2_weight_panels *w, const b2_gemm_out *out, float *y,
                    void *scratch) {
    if (is_stream(rows, w)) {
        stream_strip(rows, rows->hi, rows->lo, w, out, y);
        return;
    }
    if (walk_live(rows, w, out, y, scratch, 1, LIVE_ROWS, run_all_rows)) return;
    walk_strip(rows, w, out, y, scratch, 1, 1, rows->lo != NULL ? 2 : 1, run);
}

#endif
