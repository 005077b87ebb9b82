/* gemm_neon.inc.h: TEMPLATE. int8 products of the ARM sets, which differ in one operation: how four outputs take in
 * four inputs each.
 *
 * Tile: NEON_ROWS rows x 16 outputs. A line of the file is 4 registers (quads) of 4 outputs x 4 inputs, and signed
 * times signed is what these instructions do: weights are used as they lie in the file, nothing is prepared.
 *
 * Needs of the set, before it is included: vec16_neon.h; NEON_ROWS, of a tile; FEW_PASS_ROWS (gemm_few_rows.inc.h);
 * quad_sum, the accumulators of four outputs; and the functions declared below. */
#ifndef B2_GEMM_NEON_INC_H
#define B2_GEMM_NEON_INC_H

#if !defined(NEON_ROWS) || !defined(FEW_PASS_ROWS)
#error "a template: define NEON_ROWS and FEW_PASS_ROWS before including it"
#endif

#define GEMM_TILE_COLUMNS 1
#define GEMM_PREPARED_BYTES 1 /* room only: nothing is prepared */
#define SPARSE_MOST_ROWS 2
#define FEW_MOST_ROWS 4
#define FEW_CHAINS 2

#include "kernels/gemm_many_rows.inc.h"
#include "kernels/gemm_sparse.inc.h"

enum { QUADS = 4, QUAD_BYTES = 16 };

INLINE void quad_clear(quad_sum *sum);
/* takes in four inputs for each of four outputs */
INLINE void quad_add(quad_sum *sum, int8x16_t weights, int8x16_t inputs);
INLINE void quad_join(quad_sum *sum, const quad_sum *other);
INLINE int32x4_t quad_total(const quad_sum *sum);

#define BROADCAST_INPUTS(four) vreinterpretq_s8_s32(vld1q_dup_s32((const int32_t *)(const void *)(four)))

/* y = fma((float)sum, s d, y), the first group onto zeros */
INLINE void add_quad_to_y(const gemm_tile *t, int row, int quad, int32x4_t sum) {
    const float32x4_t d = vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(t->d + 4 * quad), 16));
    const float32x4_t sd = vmulq_f32(vdupq_n_f32(t->scale[(size_t)row * t->n_groups]), d);
    const float32x4_t onto = vld1q_f32(t->accumulate_from + (size_t)row * t->accumulate_stride + 4 * quad);
    vst1q_f32(t->y + (size_t)row * B2_GEMM_STRIP + 4 * quad, vfmaq_f32(onto, vcvtq_f32_s32(sum), sd));
}

/* 128 hi + lo, or hi alone */
INLINE int32x4_t join_planes(int32x4_t hi, int32x4_t lo) { return vaddq_s32(vshlq_n_s32(hi, 7), lo); }

/* prefetch_at: what to fetch meanwhile, where no slot is skipped. */
INLINE void sum_plane(const gemm_tile *t, const int8_t *plane, int first_row, const int n_rows, uint32_t slots,
                      const char *prefetch_at, quad_sum sum[][QUADS]) {
    UNROLL
    for (int i = 0; i < n_rows; i++) {
        UNROLL
        for (int j = 0; j < QUADS; j++) quad_clear(&sum[i][j]);
    }
    plane += (size_t)first_row * t->stride;
    for (size_t slot = 0; slot < t->group / 4; slot++) {
        if (slots != ALL_SLOTS && (slots >> slot & 1) == 0) continue;
        if (slots == ALL_SLOTS) __builtin_prefetch(prefetch_at, 0, 2);
        prefetch_at += t->prefetch_step;
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

INLINE void run_rows(const gemm_tile *t, int first_row, const int n_rows, uint32_t slots) {
    quad_sum sum[TILE_ROWS][QUADS];
    int32x4_t hi[TILE_ROWS][QUADS];
    sum_plane(t, t->hi, first_row, n_rows, slots, t->prefetch_at, sum);
    UNROLL
    for (int i = 0; i < n_rows; i++) {
        UNROLL
        for (int j = 0; j < QUADS; j++) hi[i][j] = quad_total(&sum[i][j]);
    }
    if (t->lo != NULL) {
        sum_plane(t, t->lo, first_row, n_rows, slots, t->prefetch_at + t->group / 4 * t->prefetch_step, sum);
        UNROLL
        for (int i = 0; i < n_rows; i++) {
            UNROLL
            for (int j = 0; j < QUADS; j++) hi[i][j] = join_planes(hi[i][j], quad_total(&sum[i][j]));
        }
    }
    for (int i = 0; i < n_rows; i++)
        for (int j = 0; j < QUADS; j++) add_quad_to_y(t, first_row + i, j, hi[i][j]);
}

/* Rows in tiles of NEON_ROWS, those left over one by one. A function for each shape: inside one, tiles spill. */
static void run_tile_rows_neon(const gemm_tile *t, int first_row, uint32_t slots) {
    run_rows(t, first_row, NEON_ROWS, slots);
}
static void run_single_row_neon(const gemm_tile *t, int row, uint32_t slots) { run_rows(t, row, 1, slots); }

static void run_all_rows_neon(const gemm_tile *t, size_t n_rows, uint32_t slots) {
    int row = 0;
    for (; row + NEON_ROWS <= (int)n_rows; row += NEON_ROWS) run_tile_rows_neon(t, row, slots);
    for (; row < (int)n_rows; row++) run_single_row_neon(t, row, slots);
}

static void run_tile_neon(const gemm_tile *t, size_t n_rows, bool from_file) {
    (void)from_file;
    run_all_rows_neon(t, n_rows, ALL_SLOTS);
}

/* ---- few rows, panels of 16: the operations that gemm_few_rows.inc.h requires ---------------------------------- */

typedef int8_t few_input;
typedef struct few_line {
    int8x16_t quads[QUADS];
} few_line;
typedef struct few_sum {
    quad_sum hi[QUADS], lo[QUADS];
} few_sum;

INLINE few_line few_load(const int8_t *line) {
    few_line weights;
    UNROLL
    for (int j = 0; j < QUADS; j++) weights.quads[j] = vld1q_s8(line + j * QUAD_BYTES);
    return weights;
}
INLINE few_sum few_zero(void) {
    few_sum sum;
    UNROLL
    for (int j = 0; j < QUADS; j++) quad_clear(&sum.hi[j]), quad_clear(&sum.lo[j]);
    return sum;
}
INLINE void few_add(few_sum *sum, few_line weights, const int8_t *hi, const int8_t *lo, const int n_planes) {
    const int8x16_t inputs_hi = BROADCAST_INPUTS(hi);
    UNROLL
    for (int j = 0; j < QUADS; j++) quad_add(&sum->hi[j], weights.quads[j], inputs_hi);
    if (n_planes == 1) return;
    const int8x16_t inputs_lo = BROADCAST_INPUTS(lo);
    UNROLL
    for (int j = 0; j < QUADS; j++) quad_add(&sum->lo[j], weights.quads[j], inputs_lo);
}
INLINE few_sum few_join(few_sum a, few_sum b) {
    UNROLL
    for (int j = 0; j < QUADS; j++) quad_join(&a.hi[j], &b.hi[j]), quad_join(&a.lo[j], &b.lo[j]);
    return a;
}
INLINE v16i few_total(few_sum sum, const int n_planes, int32_t row_sum) {
    (void)row_sum; /* signed times signed: there is nothing to take back */
    v16i total;
    UNROLL
    for (int j = 0; j < QUADS; j++) {
        const int32x4_t hi = quad_total(&sum.hi[j]);
        total.q[j] = n_planes == 2 ? join_planes(hi, quad_total(&sum.lo[j])) : hi;
    }
    return total;
}

#include "kernels/gemm_few_rows.inc.h"

/* run: the set's function for many rows; run_tile_neon where it has no better one. */
INLINE void gemm_i8_arm(const b2_quantised_rows *rows, const b2_weight_panels *w, const b2_gemm_out *out, float *y,
                        void *scratch, gemm_tile_fn *run) {
    if (is_few_rows(rows, w)) {
        gemm_few_rows(rows, rows->hi, rows->lo, w, out, y);
        return;
    }
    if (gemm_sparse(rows, w, out, y, scratch, run_all_rows_neon)) return;
    gemm_many_rows(rows, w, out, y, scratch, 1, rows->lo != NULL ? 2 : 1, run);
}

#endif
