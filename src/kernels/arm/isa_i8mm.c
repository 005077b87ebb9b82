/* isa_i8mm.c: NEON with integer matrix products (ARMv8.6: Graviton 3, Neoverse N2 and V1, Apple M2, phones since 2022).
 *
 * smmla multiplies 2 rows x 8 inputs by 8 inputs x 2 outputs: 32 products where sdot makes 16. Many rows go through it;
 * few rows are bound by reading and stay with sdot, as do groups that are not a multiple of 8.
 *
 * Tile: 6 rows x 16 outputs: 3 pairs of rows x 8 pairs of outputs, 24 accumulators of 2 x 2 results, of 32 registers.
 * Two lines of the file (4 outputs x 4 inputs a register) are zipped to 2 outputs x 8 inputs once, by the first row
 * block; a row block's rows are laid side by side, 8 inputs each, once for all columns. */
#include "kernels/isa_sets.h"

#if !defined(__ARM_FEATURE_MATMUL_INT8) || !defined(__ARM_FEATURE_DOTPROD)
#error "compile this file with its flags (Makefile)"
#endif

#include "kernels/arm/vec16_neon.h"

#include "kernels/attend16.h"

#define NEON_ROWS 6
#define FEW_PASS_ROWS 2

#include "kernels/arm/quad_sdot.inc.h"

#include "kernels/arm/gemm_neon.inc.h"

enum { STEP = 8 /* inputs of one smmla */, ROW_PAIRS = TILE_ROWS / 2, OUTPUT_PAIRS = COLUMN_OUTPUTS / 2 };

/* [plane][pair of rows][group / 8][2 rows][8 inputs] */
INLINE int8_t *paired_rows(const gemm_tile *t, int plane) {
    return (int8_t *)t->row_scratch + (size_t)plane * TILE_ROWS * t->group;
}

/* An odd last row is paired with itself, and its second result is dropped. */
INLINE void pair_rows(const gemm_tile *t, size_t n_rows, const int8_t *plane, int8_t *out) {
    for (size_t i = 0; i < n_rows; i += 2) {
        const int8_t *first = plane + i * t->stride, *second = i + 1 < n_rows ? first + t->stride : first;
        for (size_t k = 0; k < t->group; k += STEP, out += 2 * STEP)
            vst1q_s8(out, vcombine_s8(vld1_s8(first + k), vld1_s8(second + k)));
    }
}

/* One instruction of asm: GCC 12 otherwise loads all weights first and spills accumulators. */
INLINE void matrix_add(int32x4_t *sum, int8x16_t rows, int8x16_t weights) {
    __asm__("smmla %0.4s, %1.16b, %2.16b" : "+w"(*sum) : "w"(rows), "w"(weights));
}

/* Two pairs of outputs x 8 inputs: four outputs of two lines. */
INLINE void load_quad(const int8_t *file, size_t slot_bytes, int8_t *prepared, const bool from_file,
                      int8x16_t weights[2]) {
    if (!from_file) {
        weights[0] = vld1q_s8(prepared);
        weights[1] = vld1q_s8(prepared + QUAD_BYTES);
        return;
    }
    const int32x4_t first = vreinterpretq_s32_s8(vld1q_s8(file));
    const int32x4_t second = vreinterpretq_s32_s8(vld1q_s8(file + slot_bytes));
    weights[0] = vreinterpretq_s8_s32(vzip1q_s32(first, second));
    weights[1] = vreinterpretq_s8_s32(vzip2q_s32(first, second));
    vst1q_s8(prepared, weights[0]);
    vst1q_s8(prepared + QUAD_BYTES, weights[1]);
}

INLINE void add_plane_i8mm(const gemm_tile *t, const int8_t *rows, const int n_pairs, const bool from_file,
                           const char *prefetch_at, int32x4_t sum[ROW_PAIRS][OUTPUT_PAIRS]) {
    const int8_t *file = t->file;
    int8_t *prepared = (int8_t *)t->prepared;
    const size_t slot_bytes = t->slot_bytes, pair_bytes = 2 * t->group, next_group = t->next_group_bytes;
    for (size_t k = 0; k < t->group; k += STEP) {
        int8x16_t inputs[ROW_PAIRS];
        UNROLL
        for (int i = 0; i < n_pairs; i++) inputs[i] = vld1q_s8(rows + (size_t)i * pair_bytes + 2 * k);
        UNROLL
        for (int slot = 0; slot < STEP / 4; slot++, prefetch_at += t->prefetch_step)
            __builtin_prefetch(from_file ? (const char *)file + (size_t)slot * slot_bytes + next_group : prefetch_at, 0,
                               2);
        UNROLL
        for (int j = 0; j < QUADS; j++) {
            int8x16_t weights[2];
            load_quad(file + j * QUAD_BYTES, slot_bytes, prepared + 2 * j * QUAD_BYTES, from_file, weights);
            UNROLL
            for (int i = 0; i < n_pairs; i++) {
                matrix_add(&sum[i][2 * j], inputs[i], weights[0]);
                matrix_add(&sum[i][2 * j + 1], inputs[i], weights[1]);
            }
        }
        file += 2 * slot_bytes;
        prepared += 2 * LINE_BYTES;
    }
}

/* Sums lie as row 0: o0 o1, row 1: o0 o1; halves of two neighbours make four outputs of one row. */
INLINE int32x4_t one_row(int32x4_t first, int32x4_t second, const int row) {
    const int64x2_t a = vreinterpretq_s64_s32(first), b = vreinterpretq_s64_s32(second);
    return vreinterpretq_s32_s64(row == 0 ? vzip1q_s64(a, b) : vzip2q_s64(a, b));
}

INLINE void run_shape(const gemm_tile *t, const int n_rows, const bool from_file, const int n_planes) {
    const int n_pairs = (n_rows + 1) / 2;
    int32x4_t sum[ROW_PAIRS][OUTPUT_PAIRS];
    UNROLL
    for (int i = 0; i < n_pairs; i++) {
        UNROLL
        for (int j = 0; j < OUTPUT_PAIRS; j++) sum[i][j] = vdupq_n_s32(0);
    }
    add_plane_i8mm(t, paired_rows(t, 0), n_pairs, from_file, t->prefetch_at, sum);
    if (n_planes == 2) {
        UNROLL
        for (int i = 0; i < n_pairs; i++) {
            UNROLL
            for (int j = 0; j < OUTPUT_PAIRS; j++) sum[i][j] = vshlq_n_s32(sum[i][j], 7);
        }
        add_plane_i8mm(t, paired_rows(t, 1), n_pairs, false, t->prefetch_at + t->group / 4 * t->prefetch_step, sum);
    }
    UNROLL
    for (int i = 0; i < n_rows; i++) {
        UNROLL
        for (int j = 0; j < QUADS; j++)
            add_quad_to_y(t, i, j, one_row(sum[i / 2][2 * j], sum[i / 2][2 * j + 1], i % 2));
    }
}

GEMM_SHAPES(1) /* from_file_1_1 from_prepared_1_1 .. from_prepared_6_1 (gemm_tile.h) */
GEMM_SHAPES(2)

static void run_tile_i8mm(const gemm_tile *t, size_t n_rows, bool from_file) {
    static gemm_shape_fn *const shapes[2][TILE_ROWS][2] = {GEMM_TABLE(1), GEMM_TABLE(2)};
    assert_weights(t, from_file);
    if (t->is_first_column) {
        pair_rows(t, n_rows, t->hi, paired_rows(t, 0));
        if (t->lo != NULL) pair_rows(t, n_rows, t->lo, paired_rows(t, 1));
    }
    shapes[t->lo != NULL][n_rows - 1][from_file](t);
}

static void gemm_i8_i8mm(const b2_quantised_rows *rows, const b2_weight_panels *w, const b2_gemm_out *out, float *y,
                         void *scratch) {
    gemm_i8_arm(rows, w, out, y, scratch, w->group % STEP == 0 ? run_tile_i8mm : run_tile_neon);
}

void b2_isa_fill_i8mm(b2_isa *isa) {
    fill_vectors(isa);
    isa->name = "i8mm";
    isa->gemm_i8 = gemm_i8_i8mm;
    isa->gemm_f32_name = "neon";
}
