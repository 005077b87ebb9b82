/* gemm_stream.h: an int8 product of few rows, bound by reading its weights; shared by the instruction sets.
 *
 *   strip of 64 outputs:  for each panel of 16 outputs      one stretch of the file from end to end, as the memory's own
 *                                                           read-ahead likes it
 *                           for each group, for each slot   a line of 16 outputs x 4 inputs, read once
 *                             for each row                  both planes
 *                           after each group                y = fma((float)sum, s d, y), y in registers for all of K
 *
 * More rows than a set has registers for go in passes over the panel, which by then is near. Where rows and planes make
 * fewer chains of dot products than their latency wants, neighbouring slots go to sums of their own: integers, so the
 * order of adding does not matter. Measured on Zen 5 (tests/bench/SPEED.md): four panels side by side read at 65 to 80 % of
 * what a thread can read, one after the other at 95. */
#ifndef B2_GEMM_STREAM_H
#define B2_GEMM_STREAM_H

#include "kernels/isa.h"
#include "kernels/unroll.h"
#include "quant/group.h"

#include <stdbool.h>

/* A set defines, before it includes this:
 *   STREAM_ROWS        rows that fit its registers, at most 8; STREAM_MOST_ROWS, in passes
 *   STREAM_CHAINS      sums under way that hide the latency of its dot product
 *   stream_input       what inputs are given as: int8_t, or int16_t with both planes in one
 *   stream_line        a line of weights, ready; stream_load(line) reads one
 *   stream_sum         of 16 outputs and one row; stream_zero(), stream_join(a, b)
 *   stream_add(sum, line, hi, lo, n_planes)     takes in four inputs
 *   stream_total(sum, n_planes, row_sum)        16 integers; row_sum: of the row's integers in the group */
enum { STREAM_AHEAD_BYTES = 4096, STREAM_LINE_BYTES = 64, STREAM_OUTPUTS = 16 };

typedef struct stream_rows {
    const stream_input *hi, *lo; /* the first row's; lo NULL with one plane */
    const float *scale;
    const int32_t *sum;
    size_t stride, n_groups;     /* from row to row of inputs; of scale and sum */
} stream_rows;

/* n_rows of one panel, from its first line and scale on; y: rows B2_GEMM_STRIP apart */
INLINE void stream_panel(const stream_rows *rows, const int8_t *file, const uint16_t *d, float *y, const int n_rows,
                         const int n_planes) {
    enum { LEN = B2_GROUP_LEN, MOST_SPLITS = 4 };
    const int wanted = STREAM_CHAINS / (n_rows * n_planes);
    const int n_splits = wanted >= MOST_SPLITS ? MOST_SPLITS : wanted >= 2 ? 2 : 1;
    const stream_input *hi = rows->hi, *lo = rows->lo;
    v16 total[STREAM_ROWS];
    UNROLL
    for (int i = 0; i < n_rows; i++) total[i] = v16_set(0.0f);
    for (size_t g = 0; g < rows->n_groups; g++, d += STREAM_OUTPUTS) {
        stream_sum sum[STREAM_ROWS][MOST_SPLITS];
        UNROLL
        for (int i = 0; i < n_rows; i++) {
            UNROLL
            for (int j = 0; j < n_splits; j++) sum[i][j] = stream_zero();
        }
        for (size_t k = 0; k < LEN; k += 4 * (size_t)n_splits, file += n_splits * STREAM_LINE_BYTES) {
            UNROLL
            for (int j = 0; j < n_splits; j++) {
                const int8_t *line = file + j * STREAM_LINE_BYTES;
                __builtin_prefetch(line + STREAM_AHEAD_BYTES, 0, 3);
                const stream_line weights = stream_load(line);
                UNROLL
                for (int i = 0; i < n_rows; i++) {
                    const size_t at = (size_t)i * rows->stride + g * LEN + k + 4 * (size_t)j;
                    stream_add(&sum[i][j], weights, hi + at, n_planes == 2 ? lo + at : NULL, n_planes);
                }
            }
        }
        const v16 scales = v16_load_bf16(d);
        UNROLL
        for (int i = 0; i < n_rows; i++) {
            const size_t at = (size_t)i * rows->n_groups + g;
            UNROLL
            for (int j = 1; j < n_splits; j++) sum[i][0] = stream_join(sum[i][0], sum[i][j]);
            const v16 value = v16_from_integers(stream_total(sum[i][0], n_planes, rows->sum[at]));
            total[i] = v16_fma(value, v16_mul(v16_set(rows->scale[at]), scales), total[i]);
        }
    }
    UNROLL
    for (int i = 0; i < n_rows; i++) v16_store(y + i * B2_GEMM_STRIP, total[i]);
}

/* A function for each shape: inside one function GCC merges the equal ends of several, and spills. */
typedef void stream_fn(const stream_rows *rows, const int8_t *file, const uint16_t *d, float *y);
#define STREAM_SHAPE(rows, planes)                                                                                     \
    static void stream_##rows##_##planes(const stream_rows *r, const int8_t *file, const uint16_t *d, float *y) {      \
        if (rows <= STREAM_ROWS) stream_panel(r, file, d, y, rows <= STREAM_ROWS ? rows : 1, planes);                  \
    }
#define STREAM_SHAPES(rows) STREAM_SHAPE(rows, 1) STREAM_SHAPE(rows, 2)
#define STREAM_ENTRY(rows) {stream_##rows##_1, stream_##rows##_2}
STREAM_SHAPES(1) STREAM_SHAPES(2) STREAM_SHAPES(3) STREAM_SHAPES(4)
STREAM_SHAPES(5) STREAM_SHAPES(6) STREAM_SHAPES(7) STREAM_SHAPES(8)

static bool is_stream(const b2_quantised_rows *rows, const b2_weight_panels *w) {
    return rows->n_rows <= STREAM_MOST_ROWS && w->panel == STREAM_OUTPUTS && w->group == B2_GROUP_LEN;
}

/* hi, lo: the inputs as the set wants them, rows->stride apart. For what is_stream. */
static void stream_strip(const b2_quantised_rows *rows, const stream_input *hi, const stream_input *lo,
                         const b2_weight_panels *w, const b2_gemm_out *out, float *y) {
    static stream_fn *const shapes[8][2] = {STREAM_ENTRY(1), STREAM_ENTRY(2), STREAM_ENTRY(3), STREAM_ENTRY(4),
                                            STREAM_ENTRY(5), STREAM_ENTRY(6), STREAM_ENTRY(7), STREAM_ENTRY(8)};
    const size_t stride = rows->stride, n_groups = stride / B2_GROUP_LEN;
    const size_t n_passes = (rows->n_rows + STREAM_ROWS - 1) / STREAM_ROWS;
    for (size_t c = 0; c < w->n_panels; c++) {
        const int8_t *file = w->values + c * STREAM_OUTPUTS * stride;
        const uint16_t *d = w->scales + c * STREAM_OUTPUTS * n_groups;
        for (size_t pass = 0, m = 0, n = 0; pass < n_passes; pass++, m += n) {
            n = (rows->n_rows - m + n_passes - pass - 1) / (n_passes - pass);
            const stream_rows these = {.hi = hi + m * stride, .lo = lo == NULL ? NULL : lo + m * stride,
                                       .scale = rows->scale + m * n_groups, .sum = rows->sum + m * n_groups,
                                       .stride = stride, .n_groups = n_groups};
            shapes[n - 1][lo != NULL](&these, file, d, y + m * B2_GEMM_STRIP + c * STREAM_OUTPUTS);
        }
    }
    for (size_t m = 0; m < rows->n_rows; m++) b2_gemm_finish_row(out, m, y + m * B2_GEMM_STRIP);
}

#endif
