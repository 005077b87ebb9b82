/* gemm_few_rows.inc.h: TEMPLATE. An int8 product of few rows, bound by reading its weights.
 *
 *   strip of 64 outputs:  for each panel of 16 outputs      one stretch of the file from end to end, as the hardware
 *                                                           prefetcher likes it
 *                           for each group, for each slot   a line of 16 outputs x 4 inputs, read once
 *                             for each row                  both planes
 *                           after each group                y = fma((float)sum, s d, y), y in registers for all of K
 *
 * More rows than a set has registers for go in passes over the panel, which by then is near. Where rows and planes make
 * fewer chains of dot products than their latency wants, neighbouring slots go to accumulators of their own: integers,
 * so the order of adding does not matter. Measured on Zen 5 (tests/bench/SPEED.md): four panels side by side read at 65
 * to 80 % of what a thread can read, one after the other at 95. */
#ifndef B2_GEMM_FEW_ROWS_INC_H
#define B2_GEMM_FEW_ROWS_INC_H

/* Needs of the set, before it is included: its vec16 header, and
 *   FEW_PASS_ROWS      rows that fit its registers, at most 8
 *   FEW_MOST_ROWS      rows in all passes
 *   FEW_CHAINS         independent accumulators needed to hide the latency of its dot product
 *   few_input          what inputs are given as: int8_t, or int16_t with both planes in one
 *   few_line           a line of weights in registers
 *   few_sum            the accumulators of 16 outputs and one row
 * and the functions declared below. */
#if !defined(FEW_PASS_ROWS) || !defined(FEW_MOST_ROWS) || !defined(FEW_CHAINS)
#error "a template: define FEW_PASS_ROWS, FEW_MOST_ROWS and FEW_CHAINS before including it"
#endif

#include "kernels/isa.h"
#include "kernels/unroll.h"
#include "quant/group.h"

#include <stdbool.h>

INLINE few_line few_load(const int8_t *line);
INLINE few_sum few_zero(void);
/* takes in four inputs, which start at hi and lo; lo only with two planes */
INLINE void few_add(few_sum *sum, few_line weights, const few_input *hi, const few_input *lo, const int n_planes);
INLINE few_sum few_join(few_sum a, few_sum b);
/* sixteen integers; row_sum: of the row's integers in the group */
INLINE v16i few_total(few_sum sum, const int n_planes, int32_t row_sum);

enum { FEW_AHEAD_BYTES = 4096, FEW_LINE_BYTES = 64, FEW_OUTPUTS = 16 };

typedef struct few_rows {
    const few_input *hi, *lo; /* the first row's; lo NULL with one plane */
    const float *scale;
    const int32_t *sum;
    size_t stride, n_groups; /* from row to row of inputs; of scale and sum */
} few_rows;

/* n_rows of one panel, from its first line and scale on; y: rows B2_GEMM_STRIP apart */
INLINE void few_panel(const few_rows *rows, const int8_t *file, const uint16_t *d, float *y, const int n_rows,
                      const int n_planes) {
    enum { LEN = B2_GROUP_LEN, MOST_SPLITS = 4 };
    const int wanted = FEW_CHAINS / (n_rows * n_planes);
    const int n_splits = wanted >= MOST_SPLITS ? MOST_SPLITS : wanted >= 2 ? 2 : 1;
    const few_input *hi = rows->hi, *lo = rows->lo;
    v16 total[FEW_PASS_ROWS];
    UNROLL
    for (int i = 0; i < n_rows; i++) total[i] = v16_set(0.0f);
    for (size_t g = 0; g < rows->n_groups; g++, d += FEW_OUTPUTS) {
        few_sum sum[FEW_PASS_ROWS][MOST_SPLITS];
        UNROLL
        for (int i = 0; i < n_rows; i++) {
            UNROLL
            for (int j = 0; j < n_splits; j++) sum[i][j] = few_zero();
        }
        for (size_t k = 0; k < LEN; k += 4 * (size_t)n_splits, file += n_splits * FEW_LINE_BYTES) {
            UNROLL
            for (int j = 0; j < n_splits; j++) {
                const int8_t *line = file + j * FEW_LINE_BYTES;
                __builtin_prefetch(line + FEW_AHEAD_BYTES, 0, 3);
                const few_line weights = few_load(line);
                UNROLL
                for (int i = 0; i < n_rows; i++) {
                    const size_t at = (size_t)i * rows->stride + g * LEN + k + 4 * (size_t)j;
                    few_add(&sum[i][j], weights, hi + at, n_planes == 2 ? lo + at : NULL, n_planes);
                }
            }
        }
        const v16 scales = v16_load_bf16(d);
        UNROLL
        for (int i = 0; i < n_rows; i++) {
            const size_t at = (size_t)i * rows->n_groups + g;
            UNROLL
            for (int j = 1; j < n_splits; j++) sum[i][0] = few_join(sum[i][0], sum[i][j]);
            const v16 value = v16_from_integers(few_total(sum[i][0], n_planes, rows->sum[at]));
            total[i] = v16_fma(value, v16_mul(v16_set(rows->scale[at]), scales), total[i]);
        }
    }
    UNROLL
    for (int i = 0; i < n_rows; i++) v16_store(y + i * B2_GEMM_STRIP, total[i]);
}

/* A function for each shape: inside one function GCC merges the equal ends of several, and spills accumulators. Made
 * below: few_1_1 few_2_1 .. few_8_1 and few_1_2 few_2_2 .. few_8_2 (rows _ planes). */
typedef void few_fn(const few_rows *rows, const int8_t *file, const uint16_t *d, float *y);
#define FEW_SHAPE(rows, planes)                                                                                        \
    static void few_##rows##_##planes(const few_rows *r, const int8_t *file, const uint16_t *d, float *y) {            \
        if (rows <= FEW_PASS_ROWS) few_panel(r, file, d, y, rows <= FEW_PASS_ROWS ? rows : 1, planes);                 \
    }
#define FEW_SHAPES(rows)                                                                                               \
    FEW_SHAPE(rows, 1)                                                                                                 \
    FEW_SHAPE(rows, 2)
#define FEW_ENTRY(rows)                                                                                                \
    { few_##rows##_1, few_##rows##_2 }
FEW_SHAPES(1)
FEW_SHAPES(2)
FEW_SHAPES(3)
FEW_SHAPES(4)
FEW_SHAPES(5)
FEW_SHAPES(6)
FEW_SHAPES(7)
FEW_SHAPES(8)

static bool is_few_rows(const b2_quantised_rows *rows, const b2_weight_panels *w) {
    return rows->n_rows <= FEW_MOST_ROWS && w->panel == FEW_OUTPUTS && w->group == B2_GROUP_LEN;
}

/* hi, lo: the inputs as the set wants them, rows->stride apart. For what is_few_rows. */
static void gemm_few_rows(const b2_quantised_rows *rows, const few_input *hi, const few_input *lo,
                          const b2_weight_panels *w, const b2_gemm_out *out, float *y) {
    static few_fn *const shapes[8][2] = {FEW_ENTRY(1), FEW_ENTRY(2), FEW_ENTRY(3), FEW_ENTRY(4),
                                         FEW_ENTRY(5), FEW_ENTRY(6), FEW_ENTRY(7), FEW_ENTRY(8)};
    const size_t stride = rows->stride, n_groups = stride / B2_GROUP_LEN;
    const size_t n_passes = (rows->n_rows + FEW_PASS_ROWS - 1) / FEW_PASS_ROWS;
    for (size_t c = 0; c < w->n_panels; c++) {
        const int8_t *file = w->values + c * FEW_OUTPUTS * stride;
        const uint16_t *d = w->scales + c * FEW_OUTPUTS * n_groups;
        for (size_t pass = 0, m = 0, n = 0; pass < n_passes; pass++, m += n) {
            n = (rows->n_rows - m + n_passes - pass - 1) / (n_passes - pass);
            const few_rows these = {.hi = hi + m * stride,
                                    .lo = lo == NULL ? NULL : lo + m * stride,
                                    .scale = rows->scale + m * n_groups,
                                    .sum = rows->sum + m * n_groups,
                                    .stride = stride,
                                    .n_groups = n_groups};
            shapes[n - 1][lo != NULL](&these, file, d, y + m * B2_GEMM_STRIP + c * FEW_OUTPUTS);
        }
    }
    for (size_t m = 0; m < rows->n_rows; m++) b2_gemm_finish_row(out, m, y + m * B2_GEMM_STRIP);
}

#endif
