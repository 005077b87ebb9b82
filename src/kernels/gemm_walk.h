/* gemm_walk.h: the way through one strip of an int8 product, shared by the instruction sets; the tiles are theirs. A set
 * includes its vec16 first.
 *
 *   strip of 64 outputs:  for each pair of groups along K           the pair's weights stay in L1, 16 KB
 *                           for each block of rows                  as high as a tile, heights equal within one
 *                             for each group, for each tile across  one call of the set's tile
 *                             after the last pair                   bias, epilogue, out
 *
 * The first block of rows reads the weights from the file, once, and leaves them in scratch the way the dot product
 * wants them; the blocks after it read them there. Meanwhile the pair after this one is prefetched, and during the last
 * pair the first one of the panels that come next. */
#ifndef B2_GEMM_WALK_H
#define B2_GEMM_WALK_H

#include "kernels/isa.h"
#include "kernels/unroll.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { TILE_ROWS = 6, PAIR_GROUPS = 2, COLUMN_OUTPUTS = 16, COLUMNS = B2_GEMM_STRIP / COLUMN_OUTPUTS, LINE_BYTES = 64 };

/* One group of K of some rows and outputs, as a tile meets it. */
typedef struct gemm_tile {
    const int8_t *file;    /* the group's first line of the first column; a column is 16 outputs, a line its 4 inputs */
    size_t slot_bytes;     /* from a line to that of the next 4 inputs */
    size_t column_bytes;   /* from a line to the next column's */
    size_t ahead_bytes;    /* from a line to the one to prefetch meanwhile: the next group's */
    uint8_t *block;        /* the same weights prepared, in the set's own order */
    uint8_t *spare;        /* scratch behind all blocks, for what a set prepares of the rows */
    bool is_first_column;
    const uint16_t *d;     /* BF16 scales of the first column */
    size_t d_column;       /* from a column's scales to the next one's */
    const int8_t *hi, *lo; /* the first row's inputs of the group; lo NULL with one plane */
    size_t stride;         /* from row to row */
    const float *scale;    /* the first row's, of the group */
    const int32_t *sum;
    size_t n_groups;       /* from row to row of scale and sum */
    size_t group;          /* inputs */
    float *y;              /* rows B2_GEMM_STRIP apart */
    const float *before;   /* what the products are added to: y, or zeros for the first group */
    size_t before_stride;
} gemm_tile;

/* n_rows: 1 .. TILE_ROWS. from_file: read file and fill block; otherwise read block. */
typedef void gemm_tile_fn(const gemm_tile *tile, size_t n_rows, bool from_file);

/* The shapes of a tile, 1 to 6 rows. A function for each: inside one function GCC merges the equal ends of several, and
 * spills. A set defines run_shape(t, n_rows, from_file, n_planes), inline, with all but t known to the compiler. */
typedef void gemm_shape_fn(const gemm_tile *tile);
#define GEMM_SHAPE(rows, planes)                                                                                       \
    static void from_file_##rows##_##planes(const gemm_tile *t) { run_shape(t, rows, true, planes); }                  \
    static void from_block_##rows##_##planes(const gemm_tile *t) { run_shape(t, rows, false, planes); }
#define GEMM_SHAPES(planes)                                                                                            \
    GEMM_SHAPE(1, planes) GEMM_SHAPE(2, planes) GEMM_SHAPE(3, planes)                                                  \
    GEMM_SHAPE(4, planes) GEMM_SHAPE(5, planes) GEMM_SHAPE(6, planes)
#define GEMM_ENTRY(rows, planes) {from_block_##rows##_##planes, from_file_##rows##_##planes}
#define GEMM_TABLE(planes)                                                                                             \
    {GEMM_ENTRY(1, planes), GEMM_ENTRY(2, planes), GEMM_ENTRY(3, planes),                                              \
     GEMM_ENTRY(4, planes), GEMM_ENTRY(5, planes), GEMM_ENTRY(6, planes)}

/* The lines of a pair of groups, panel after panel, asked for a few at a time. */
typedef struct line_cursor {
    uintptr_t at; /* a number, not a pointer: the last lines asked for may lie behind the matrix */
    size_t n_left, panel_lines, panel_skip_bytes; /* left and all in this panel; from its end to the next one's start */
} line_cursor;

INLINE void prefetch_lines(line_cursor *cursor, size_t n) {
    for (; n > 0; n--) {
        __builtin_prefetch((const void *)cursor->at, 0, 2);
        cursor->at += LINE_BYTES;
        if (--cursor->n_left > 0) continue;
        cursor->n_left = cursor->panel_lines;
        cursor->at += cursor->panel_skip_bytes;
    }
}

/* Where the lines after a pair lie: further along K, or at the start of the panels that come next. */
INLINE line_cursor lines_after(const b2_weight_panels *w, size_t k, size_t pair) {
    const size_t pair_inputs = PAIR_GROUPS * w->group, n_lines = pair_inputs * w->panel / LINE_BYTES;
    const bool is_last = (pair + PAIR_GROUPS) * w->group >= k;
    const int8_t *at = !is_last ? w->values + (pair + PAIR_GROUPS) * w->group * w->panel
                       : w->next != NULL ? w->next->values : w->values;
    return (line_cursor){(uintptr_t)at, n_lines, n_lines, k > pair_inputs ? (k - pair_inputs) * w->panel : 0};
}

INLINE void prefetch_scales(const b2_weight_panels *next, size_t n_groups) {
    const size_t n_bytes = next->n_panels * next->panel * n_groups * sizeof *next->scales;
    for (size_t i = 0; i < n_bytes; i += LINE_BYTES) __builtin_prefetch((const char *)next->scales + i, 0, 2);
}

/* Results go to lines that no cache holds: asked for while the last products are made. */
INLINE void prefetch_out(const b2_gemm_out *out, size_t first_row, size_t n_rows) {
    const float *row = out->out + first_row * out->stride;
    for (size_t i = 0; i < n_rows; i++, row += out->stride)
        for (size_t n = 0; n < out->n; n += LINE_BYTES / sizeof *row) __builtin_prefetch(row + n, 1);
}

/* tile_columns: a tile's width in columns. block_bytes: of one prepared weight. */
INLINE void walk_strip(const b2_quantised_rows *rows, const b2_weight_panels *w, const b2_gemm_out *out, float *y,
                       uint8_t *scratch, const size_t tile_columns, const size_t block_bytes, gemm_tile_fn *run) {
    static const _Alignas(64) float zeros[B2_GEMM_STRIP];
    const size_t k = rows->stride, group = w->group, n_groups = k / group, p = w->panel;
    const size_t n_columns = w->n_panels * p / COLUMN_OUTPUTS, n_blocks = (rows->n_rows + TILE_ROWS - 1) / TILE_ROWS;
    const size_t pair_lines = PAIR_GROUPS * group * p / LINE_BYTES, n_later = (n_blocks - 1) * PAIR_GROUPS;
    const size_t share = n_later > 0 ? w->n_panels * pair_lines / n_later + 1 : 0; /* of prefetching, for each group */
    gemm_tile t = {
        .slot_bytes = 4 * p,
        .column_bytes = p == COLUMN_OUTPUTS ? p * k : LINE_BYTES,
        .ahead_bytes = p * group,
        .spare = scratch + PAIR_GROUPS * group * B2_GEMM_STRIP * block_bytes,
        .d_column = p == COLUMN_OUTPUTS ? p * n_groups : COLUMN_OUTPUTS,
        .stride = k,
        .n_groups = n_groups,
        .group = group,
    };
    for (size_t pair = 0; pair < n_groups; pair += PAIR_GROUPS) {
        line_cursor ahead = lines_after(w, k, pair);
        for (size_t b = 0, m = 0; b < n_blocks; b++) {
            const size_t n_rows = (rows->n_rows - m + n_blocks - b - 1) / (n_blocks - b);
            const bool is_last = pair + PAIR_GROUPS >= n_groups;
            if (is_last) prefetch_out(out, m, n_rows);
            for (size_t g = pair; g < n_groups && g < pair + PAIR_GROUPS; g++) {
                if (b > 0) prefetch_lines(&ahead, share);
                t.hi = rows->hi + m * k + g * group;
                t.lo = rows->lo == NULL ? NULL : rows->lo + m * k + g * group;
                t.scale = rows->scale + m * n_groups + g;
                t.sum = rows->sum + m * n_groups + g;
                t.before_stride = g == 0 ? 0 : B2_GEMM_STRIP;
                for (size_t c = 0; c < n_columns; c += tile_columns) {
                    t.is_first_column = c == 0;
                    t.file = w->values + g * group * p + c * t.column_bytes;
                    t.d = w->scales + g * p + c * t.d_column;
                    t.block = scratch + ((g - pair) * B2_GEMM_STRIP + c * COLUMN_OUTPUTS) * group * block_bytes;
                    t.y = y + m * B2_GEMM_STRIP + c * COLUMN_OUTPUTS;
                    t.before = g == 0 ? zeros : t.y;
                    run(&t, n_rows, b == 0);
                }
            }
            for (size_t i = m; is_last && i < m + n_rows; i++) b2_gemm_finish_row(out, i, y + i * B2_GEMM_STRIP);
            m += n_rows;
        }
    }
    if (w->next != NULL && n_later > 0) prefetch_scales(w->next, n_groups);
}

/* ---- skipping zeros ---------------------------------------------------------------------------------------------
 *
 * Behind a ReLU most inputs are exact zeros, and a slot of 4 inputs that are zero in all rows adds nothing to any sum:
 * its lines need not even be read. Worth it while one or two rows are multiplied and panels are 64 wide, so that what
 * is read comes in pieces of 256 bytes. Scales are applied to every group, so not a bit of the result changes. */

enum { LIVE_ROWS = 2, LIVE_GROUP = 128, LIVE_AHEAD_GROUPS = 4, LIVE_MASKS_BYTES = 64 * 1024 };

/* Bit i: the slot of inputs 4 i .. 4 i + 3 of the group is not zero in every row and plane. */
INLINE uint32_t live_slots(const b2_quantised_rows *rows, size_t g) {
    uint32_t live = 0;
    for (size_t k = 0; k < LIVE_GROUP; k += LINE_BYTES) {
        v16i any = v16i_set(0);
        for (size_t m = 0; m < rows->n_rows; m++) {
            const size_t at = m * rows->stride + g * LIVE_GROUP + k;
            any = v16i_or(any, v16i_load_bytes(rows->hi + at));
            if (rows->lo != NULL) any = v16i_or(any, v16i_load_bytes(rows->lo + at));
        }
        live |= v16i_find_nonzero(any) << k / 4;
    }
    return live;
}

INLINE void prefetch_live(const int8_t *group, uint32_t live) {
    for (; live != 0; live &= live - 1) {
        const char *slot = (const char *)group + (size_t)__builtin_ctz(live) * COLUMNS * LINE_BYTES;
        for (int j = 0; j < COLUMNS; j++) __builtin_prefetch(slot + j * LINE_BYTES, 0, 3);
    }
}

/* Multiplies only the live slots of a group; n_rows is 1 or 2. */
typedef void gemm_live_fn(const gemm_tile *tile, size_t n_rows, uint32_t live);

/* False, and nothing done, where this way does not pay. */
INLINE bool walk_live(const b2_quantised_rows *rows, const b2_weight_panels *w, const b2_gemm_out *out, float *y,
                      uint8_t *scratch, const size_t tile_columns, gemm_live_fn *run) {
    static const _Alignas(64) float zeros[B2_GEMM_STRIP];
    const size_t k = rows->stride, n_groups = k / w->group;
    uint32_t *live = (uint32_t *)(void *)scratch;
    if (rows->n_rows > LIVE_ROWS || w->panel != B2_GEMM_STRIP || w->group != LIVE_GROUP) return false;
    if (n_groups > LIVE_MASKS_BYTES / sizeof *live) return false;
    size_t n_live = 0;
    for (size_t g = 0; g < n_groups; g++) n_live += (size_t)__builtin_popcount(live[g] = live_slots(rows, g));
    if (n_live > k / 4 / 2) return false; /* the memory's own read-ahead is then faster */

    gemm_tile t = {.slot_bytes = COLUMNS * LINE_BYTES, .column_bytes = LINE_BYTES, .d_column = COLUMN_OUTPUTS,
                   .stride = k, .n_groups = n_groups, .group = LIVE_GROUP, .spare = scratch + LIVE_MASKS_BYTES};
    const size_t group_bytes = LIVE_GROUP * B2_GEMM_STRIP;
    for (size_t g = 0; g < n_groups; g++) {
        const size_t ahead = g + LIVE_AHEAD_GROUPS;
        if (ahead < n_groups) prefetch_live(w->values + ahead * group_bytes, live[ahead]);
        t.hi = rows->hi + g * LIVE_GROUP;
        t.lo = rows->lo == NULL ? NULL : rows->lo + g * LIVE_GROUP;
        t.scale = rows->scale + g;
        t.sum = rows->sum + g;
        t.before_stride = g == 0 ? 0 : B2_GEMM_STRIP;
        for (size_t c = 0; c < COLUMNS; c += tile_columns) {
            t.is_first_column = c == 0;
            t.file = w->values + g * group_bytes + c * LINE_BYTES;
            t.d = w->scales + g * B2_GEMM_STRIP + c * COLUMN_OUTPUTS;
            t.y = y + c * COLUMN_OUTPUTS;
            t.before = g == 0 ? zeros : t.y;
            run(&t, rows->n_rows, live[g]);
        }
    }
    for (size_t m = 0; m < rows->n_rows; m++) b2_gemm_finish_row(out, m, y + m * B2_GEMM_STRIP);
    return true;
}

#endif
