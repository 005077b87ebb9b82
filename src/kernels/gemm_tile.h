/* gemm_tile.h: what an int8 product does at one place: a tile of results takes in one group of K. The words (tile,
 * column, line, slot, group, prepared) and two pictures: README.md.
 *
 * gemm_many_rows.inc.h and gemm_sparse.inc.h place tiles and call the set's function for each; this header holds what
 * both and the sets know of a tile. */
#ifndef B2_GEMM_TILE_H
#define B2_GEMM_TILE_H

#include "kernels/isa.h"
#include "kernels/unroll.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

enum { TILE_ROWS = 6, COLUMN_OUTPUTS = 16, COLUMNS = B2_GEMM_STRIP / COLUMN_OUTPUTS, LINE_BYTES = 64 };

/* One group of K of some rows and outputs. */
typedef struct gemm_tile {
    const int8_t *file;      /* the group's first line of the first column, as the file has it */
    size_t slot_bytes;       /* from a line to that of the next slot */
    size_t column_bytes;     /* from a line to that of the next column */
    size_t next_group_bytes; /* from a line to that of the next group */
    uint8_t *prepared;       /* the same weights, as the set wants them, in its own order */
    bool is_prepared;        /* whether prepared holds them already */
    uint8_t *row_scratch;    /* the set's own copy of the rows, after the prepared weights */
    bool is_first_column;
    const uint16_t *d;            /* BF16 scales of the first column */
    size_t d_column;              /* from a column's scales to the next one's */
    const int8_t *hi, *lo;        /* the first row's inputs of the group; lo NULL with one plane */
    size_t stride;                /* from row to row of hi and lo */
    const float *scale;           /* the first row's, of the group */
    const int32_t *sum;           /* the same: of the row's integers in the group */
    size_t n_groups;              /* from row to row of scale and sum */
    size_t group;                 /* inputs */
    float *y;                     /* results, rows B2_GEMM_STRIP apart */
    const float *accumulate_from; /* what the products are added to: y, or zeros for the first group */
    size_t accumulate_stride;     /* from row to row of it */
    const char *prefetch_at;      /* next address to prefetch; every slot prefetches one line there and moves on */
    size_t prefetch_step;
} gemm_tile;

/* A set's function for one column or more of a tile of 1 .. TILE_ROWS rows. from_file: reads file and fills prepared;
 * otherwise reads prepared. A set that uses the weights as the file has them reads file either way. */
typedef void gemm_tile_fn(const gemm_tile *tile, size_t n_rows, bool from_file);

/* Prepared weights must have been written before they are read: the set's function states it first. */
INLINE void assert_weights(const gemm_tile *t, bool from_file) {
    assert((from_file || t->is_prepared) && "the first row block prepares the weights");
    (void)t, (void)from_file;
}

/* The shapes of a tile: a function for each, because inside one function GCC merges the equal ends of several shapes
 * and spills accumulators (tests/bench/SPEED.md). Before it expands GEMM_SHAPES a set defines
 *     INLINE void run_shape(const gemm_tile *t, const int n_rows, const bool from_file, const int n_planes);
 * in which the compiler knows all but t. GEMM_SHAPES(1) and (2) make, for the eye and for grep:
 *     from_file_1_1     from_file_2_1     .. from_file_6_1        rows _ planes
 *     from_file_1_2     from_file_2_2     .. from_file_6_2
 *     from_prepared_1_1 from_prepared_2_1 .. from_prepared_6_1
 *     from_prepared_1_2 from_prepared_2_2 .. from_prepared_6_2
 * GEMM_TABLE(planes) lists them by [rows - 1][from_file]. */
typedef void gemm_shape_fn(const gemm_tile *tile);
#define GEMM_SHAPE(rows, planes)                                                                                       \
    static void from_file_##rows##_##planes(const gemm_tile *t) { run_shape(t, rows, true, planes); }                  \
    static void from_prepared_##rows##_##planes(const gemm_tile *t) { run_shape(t, rows, false, planes); }
#define GEMM_SHAPES(planes)                                                                                            \
    GEMM_SHAPE(1, planes)                                                                                              \
    GEMM_SHAPE(2, planes)                                                                                              \
    GEMM_SHAPE(3, planes)                                                                                              \
    GEMM_SHAPE(4, planes)                                                                                              \
    GEMM_SHAPE(5, planes)                                                                                              \
    GEMM_SHAPE(6, planes)
#define GEMM_ENTRY(rows, planes)                                                                                       \
    { from_prepared_##rows##_##planes, from_file_##rows##_##planes }
#define GEMM_TABLE(planes)                                                                                             \
    {                                                                                                                  \
        GEMM_ENTRY(1, planes), GEMM_ENTRY(2, planes), GEMM_ENTRY(3, planes), GEMM_ENTRY(4, planes),                    \
            GEMM_ENTRY(5, planes), GEMM_ENTRY(6, planes)                                                               \
    }

/* ---- placing a tile ---------------------------------------------------------------------------------------------- */

INLINE size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/* What all tiles of a strip have in common; rows, group and columns are placed by the two functions below. */
INLINE gemm_tile strip_tile(const b2_quantised_rows *rows, const b2_weight_panels *w, uint8_t *row_scratch) {
    const size_t k = rows->stride, p = w->panel, n_groups = k / w->group;
    return (gemm_tile){
        .slot_bytes = 4 * p,
        .column_bytes = p == COLUMN_OUTPUTS ? p * k : LINE_BYTES,
        .next_group_bytes = p * w->group,
        .row_scratch = row_scratch,
        .d_column = p == COLUMN_OUTPUTS ? p * n_groups : COLUMN_OUTPUTS,
        .stride = k,
        .n_groups = n_groups,
        .group = w->group,
    };
}

INLINE void place_rows(gemm_tile *t, const b2_quantised_rows *rows, size_t row, size_t g) {
    t->hi = rows->hi + row * t->stride + g * t->group;
    t->lo = rows->lo == NULL ? NULL : rows->lo + row * t->stride + g * t->group;
    t->scale = rows->scale + row * t->n_groups + g;
    t->sum = rows->sum + row * t->n_groups + g;
}

/* y: of the tile's first row */
INLINE void place_columns(gemm_tile *t, const b2_weight_panels *w, size_t column, size_t g, float *y) {
    static const _Alignas(64) float zeros[B2_GEMM_STRIP];
    t->is_first_column = column == 0;
    t->file = w->values + g * t->group * w->panel + column * t->column_bytes;
    t->d = w->scales + g * w->panel + column * t->d_column;
    t->y = y + column * COLUMN_OUTPUTS;
    t->accumulate_from = g == 0 ? zeros : t->y;
    t->accumulate_stride = g == 0 ? 0 : B2_GEMM_STRIP;
}

#endif
