/* amx_few_rows.h: products of few rows by tiles, bound by reading the weights.
 *
 *   strip of 64 outputs:  for each panel of 16 outputs    one stretch of the file from end to end, as prefetchers like
 *                           for each group                2 tiles of weights, read once; a tile of rows of each plane
 *                             y = fma((float)S, s d, y)   of the group before, while the unit multiplies this one
 *
 * A panel of 64 outputs goes in pairs of columns, two for each group. The dot products of avx512vnni take as long as
 * the reading from about 4 rows of two planes on; a tile's do not, be they 3 rows or 16: five beams, or a batch of
 * eight, cost a step little more than one caption does (tests/bench/SPEED.md). */
#ifndef B2_AMX_FEW_ROWS_H
#define B2_AMX_FEW_ROWS_H

#include "kernels/x86/amx_tiles.h"
#include "kernels/x86/vec16_avx512.h"

#include "kernels/isa.h"

#include <stdbool.h>

enum {
    FEW_LEAST_ROWS = 3 /* fewer: avx512vnni */,
    FEW_LEAST_ROWS_64 = 5 /* fewer: slots of zeros are skipped there */
};
enum { FEW_AHEAD_BYTES = 4096, FEW_COLUMNS = 2, FEW_SUMS = 2 * FEW_COLUMNS * TILE_SUMS };

/* A panel of 16 outputs, in one column; or of 64, in two pairs. A piece: a group of a column or of a pair. */
typedef struct few_panel {
    const b2_quantised_rows *rows;
    const int8_t *file;
    const uint16_t *d;
    float *y;      /* the panel's first column; rows B2_GEMM_STRIP apart */
    int32_t *sums; /* [piece: two take turns][plane][column][16 rows][16] */
    size_t width, n_groups;
} few_panel;

/* Pieces that follow each other have sums of their own. */
INLINE int32_t *few_sums(const few_panel *p, size_t g, size_t pair, const int n_columns) {
    return p->sums + (n_columns == 2 ? pair : g % 2) * FEW_SUMS;
}

/* Sums of a piece; its lines of weights are asked for FEW_AHEAD_BYTES early. */
INLINE void few_multiply(const few_panel *p, size_t g, size_t pair, const int n_columns, const int n_planes) {
    const size_t stride = p->rows->stride, slot_bytes = 4 * p->width;
    const int8_t *hi = p->rows->hi + g * B2_GROUP_LEN, *lo = n_planes == 2 ? p->rows->lo + g * B2_GROUP_LEN : NULL;
    const int8_t *file = p->file + g * B2_GROUP_LEN * p->width + pair * FEW_COLUMNS * LINE_BYTES;
    int32_t *sums = few_sums(p, g, pair, n_columns);
    zero_sums();
    UNROLL
    for (int step = 0; step < STEPS; step++, file += SIDE * slot_bytes, hi += STEP) {
        for (size_t i = 0; i < SIDE; i++) {
            UNROLL
            for (int j = 0; j < n_columns; j++)
                _mm_prefetch((const char *)file + FEW_AHEAD_BYTES + i * slot_bytes + j * LINE_BYTES, _MM_HINT_T0);
        }
        TILE_LOAD(6, file, slot_bytes);
        TILE_LOAD(4, hi, stride);
        TILE_DOT(0, 4, 6);
        if (n_columns == 2) TILE_LOAD(7, file + LINE_BYTES, slot_bytes);
        if (n_columns == 2) TILE_DOT(1, 4, 7);
        if (n_planes == 1) continue;
        TILE_LOAD(5, lo + step * STEP, stride);
        TILE_DOT(2, 5, 6);
        if (n_columns == 2) TILE_DOT(3, 5, 7);
    }
    TILE_STORE(0, sums);
    if (n_columns == 2) TILE_STORE(1, sums + TILE_SUMS);
    if (n_planes == 2) TILE_STORE(2, sums + 2 * TILE_SUMS);
    if (n_planes == 2 && n_columns == 2) TILE_STORE(3, sums + 3 * TILE_SUMS);
}

/* y = fma((float)S, s d, y), the first group onto zeros */
INLINE void few_finish(const few_panel *p, size_t g, size_t pair, const int n_columns, const int n_planes) {
    const uint16_t *d = p->d + g * p->width + pair * FEW_COLUMNS * SIDE;
    const v16 scales[FEW_COLUMNS] = {v16_load_bf16(d), n_columns == 2 ? v16_load_bf16(d + SIDE) : v16_set(0.0f)};
    const int32_t *sums = few_sums(p, g, pair, n_columns);
    const float *scale = p->rows->scale + g;
    float *y = p->y + pair * FEW_COLUMNS * SIDE;
    for (size_t i = 0; i < p->rows->n_rows; i++, sums += SIDE, scale += p->n_groups, y += B2_GEMM_STRIP) {
        const v16 s = v16_set(*scale);
        UNROLL
        for (int j = 0; j < n_columns; j++) {
            v16i sum = _mm512_load_si512(sums + j * TILE_SUMS);
            if (n_planes == 2) sum = v16i_add(v16i_shift_left(sum, 7), _mm512_load_si512(sums + (2 + j) * TILE_SUMS));
            const v16 onto = g == 0 ? v16_set(0.0f) : v16_load(y + j * SIDE);
            v16_store(y + j * SIDE, v16_fma(v16_from_integers(sum), v16_mul(s, scales[j]), onto));
        }
    }
}

/* A piece is finished when the next has been multiplied. */
INLINE void few_column(const few_panel *p, const int n_planes) {
    for (size_t g = 0; g < p->n_groups; g++) {
        few_multiply(p, g, 0, 1, n_planes);
        if (g > 0) few_finish(p, g - 1, 0, 1, n_planes);
    }
    few_finish(p, p->n_groups - 1, 0, 1, n_planes);
}
INLINE void few_pairs(const few_panel *p, const int n_planes) {
    for (size_t g = 0; g < p->n_groups; g++) {
        few_multiply(p, g, 0, 2, n_planes);
        if (g > 0) few_finish(p, g - 1, 1, 2, n_planes);
        few_multiply(p, g, 1, 2, n_planes);
        few_finish(p, g, 0, 2, n_planes);
    }
    few_finish(p, p->n_groups - 1, 1, 2, n_planes);
}

static bool is_few_rows_amx(const b2_quantised_rows *rows, const b2_weight_panels *w) {
    const size_t least = w->panel == SIDE ? FEW_LEAST_ROWS : FEW_LEAST_ROWS_64;
    return rows->n_rows >= least && rows->n_rows <= SIDE && w->group == B2_GROUP_LEN;
}

/* For what is_few_rows_amx; sums: 2 * FEW_SUMS, on a line's boundary. */
static void gemm_few_rows_amx(const b2_quantised_rows *rows, const b2_weight_panels *w, const b2_gemm_out *out,
                              float *y, int32_t *sums) {
    const size_t k = rows->stride, n_groups = k / B2_GROUP_LEN;
    configure_tiles(rows->n_rows);
    for (size_t c = 0; c < w->n_panels; c++) {
        const few_panel p = {.rows = rows,
                             .file = w->values + c * w->panel * k,
                             .d = w->scales + c * w->panel * n_groups,
                             .y = y + c * w->panel,
                             .sums = sums,
                             .width = w->panel,
                             .n_groups = n_groups};
        if (w->panel == SIDE && rows->lo == NULL) few_column(&p, 1);
        else if (w->panel == SIDE) few_column(&p, 2);
        else if (rows->lo == NULL) few_pairs(&p, 1);
        else few_pairs(&p, 2);
    }
    release_tiles();
    for (size_t m = 0; m < rows->n_rows; m++) b2_gemm_finish_row(out, m, y + m * B2_GEMM_STRIP);
}

#endif
