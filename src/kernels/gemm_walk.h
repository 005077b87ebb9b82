/* gemm_walk.h: the way through one strip of an int8 product, shared by the instruction sets; the tiles are theirs. A set
 * includes its vec16 first.
 *
 *   strip of 64 outputs:  for each pair of groups along K           the pair's weights stay in L1, 16 KB
 *                           for each block of rows                  as high as a tile, heights equal within one
 *                             for each group, for each tile across  one call of the set's tile
 *                             after the last pair                   bias, epilogue, out
 *
 * The first block of rows reads the weights from the file, once, and leaves them in scratch the way the dot product
 * wants them; the blocks after it read them there. Meanwhile, line by line, they ask for the pair after this one, and
 * during the last pair for the first one of the panels that come next. */
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
    const char *ahead;     /* to ask for meanwhile: with each slot of each pass the line here, then a step on */
    size_t ahead_step;
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

INLINE size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/* The lines of a pair of groups: runs of neighbours, one for each panel. */
typedef struct pair_lines {
    const int8_t *at;
    size_t n_lines, run_lines, run_step_bytes; /* all; of a run; from a run's start to the next one's */
} pair_lines;

/* Those after a pair: further along K, or at the start of the panels that come next. */
INLINE pair_lines lines_after(const b2_weight_panels *w, size_t k, size_t pair) {
    const size_t next = pair + PAIR_GROUPS, first = next * w->group < k ? next * w->group : 0;
    const size_t n_inputs = k - first < PAIR_GROUPS * w->group ? k - first : PAIR_GROUPS * w->group;
    const int8_t *values = first > 0 || w->next == NULL ? w->values : w->next->values;
    const size_t run_lines = n_inputs * w->panel / LINE_BYTES;
    return (pair_lines){values + first * w->panel, w->n_panels * run_lines, run_lines, k * w->panel};
}

/* A core has two dozen lines under way, and more at once hold up everything: so each tile asks for a share of those lines,
 * at most one with each of n_slots slots. A power of two, as a run is: no share goes on from one into the next. */
INLINE size_t choose_share_lines(const pair_lines *lines, size_t n_shares, size_t n_slots) {
    size_t n = 1;
    while (n * n_shares < lines->n_lines && 2 * n <= n_slots && 2 * n <= lines->run_lines) n *= 2;
    return n;
}

INLINE void ask_for_nothing(gemm_tile *t) {
    t->ahead = (const char *)t->file;
    t->ahead_step = 0;
}

INLINE void ask_for_share(gemm_tile *t, const pair_lines *lines, size_t share, size_t share_lines, size_t n_slots) {
    const size_t line = share * share_lines, run = line / lines->run_lines;
    ask_for_nothing(t);
    if (line >= lines->n_lines) return;
    t->ahead = (const char *)lines->at + run * lines->run_step_bytes + line % lines->run_lines * LINE_BYTES;
    t->ahead_step = share_lines * LINE_BYTES / n_slots;
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

/* A tile as large as the strip; rows, group and columns are the walk's to place. */
INLINE gemm_tile strip_tile(const b2_quantised_rows *rows, const b2_weight_panels *w, uint8_t *spare) {
    const size_t k = rows->stride, p = w->panel, n_groups = k / w->group;
    return (gemm_tile){
        .slot_bytes = 4 * p,
        .column_bytes = p == COLUMN_OUTPUTS ? p * k : LINE_BYTES,
        .ahead_bytes = p * w->group,
        .spare = spare,
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
    t->before = g == 0 ? zeros : t->y;
    t->before_stride = g == 0 ? 0 : B2_GEMM_STRIP;
}

/* tile_columns: a tile's width in columns. block_bytes: of one prepared weight. n_passes: of a tile over the slots of a
 * group, asking in each. */
INLINE void walk_strip(const b2_quantised_rows *rows, const b2_weight_panels *w, const b2_gemm_out *out, float *y,
                       uint8_t *scratch, const size_t tile_columns, const size_t block_bytes, const size_t n_passes,
                       gemm_tile_fn *run) {
    const size_t k = rows->stride, group = w->group, n_groups = k / group;
    const size_t n_columns = w->n_panels * w->panel / COLUMN_OUTPUTS, n_tiles = (n_columns + tile_columns - 1) / tile_columns;
    const size_t n_blocks = (rows->n_rows + TILE_ROWS - 1) / TILE_ROWS, n_slots = group / 4 * n_passes;
    gemm_tile t = strip_tile(rows, w, scratch + PAIR_GROUPS * group * B2_GEMM_STRIP * block_bytes);
    for (size_t pair = 0; pair < n_groups; pair += PAIR_GROUPS) {
        const pair_lines next = lines_after(w, k, pair);
        const size_t n_shares = (n_blocks - 1) * smaller(PAIR_GROUPS, n_groups - pair) * n_tiles;
        const size_t share_lines = choose_share_lines(&next, n_shares, n_slots);
        const bool is_last = pair + PAIR_GROUPS >= n_groups;
        for (size_t b = 0, m = 0, n_rows = 0, share = 0; b < n_blocks; b++, m += n_rows) {
            n_rows = (rows->n_rows - m + n_blocks - b - 1) / (n_blocks - b);
            if (is_last) prefetch_out(out, m, n_rows);
            for (size_t g = pair; g < n_groups && g < pair + PAIR_GROUPS; g++) {
                place_rows(&t, rows, m, g);
                for (size_t c = 0; c < n_columns; c += tile_columns) {
                    place_columns(&t, w, c, g, y + m * B2_GEMM_STRIP);
                    t.block = scratch + ((g - pair) * B2_GEMM_STRIP + c * COLUMN_OUTPUTS) * group * block_bytes;
                    if (b == 0) ask_for_nothing(&t);
                    else ask_for_share(&t, &next, share++, share_lines, n_slots);
                    run(&t, n_rows, b == 0);
                }
            }
            for (size_t i = m; is_last && i < m + n_rows; i++) b2_gemm_finish_row(out, i, y + i * B2_GEMM_STRIP);
        }
    }
    if (w->next != NULL && n_blocks > 1) prefetch_scales(w->next, n_groups);
}

/* ---- few rows, panels of 64: skipping zeros ---------------------------------------------------------------------------
 *
 * Behind a ReLU most inputs are exact zeros, and a slot of 4 inputs that are zero in all rows of a block adds nothing to
 * any of its sums. A block is one or two rows, multiplied straight from the file, both planes from one line. If it is the
 * only one, lines that nobody needs are not even read: pieces of 256 bytes, so that skipping pays. Scales are applied to
 * every group, so not a bit of the result changes. */

enum { LIVE_ROWS = 2, LIVE_GROUP = 128, LIVE_AHEAD_GROUPS = 4, DENSE_AHEAD_GROUPS = 2, LIVE_MASKS_BYTES = 64 * 1024 };
static const uint32_t ALL_LIVE = 0xFFFFFFFFu;

/* Bit i: the slot of inputs 4 i .. 4 i + 3 of group g is not zero in every one of the rows and planes. */
INLINE uint32_t live_slots(const b2_quantised_rows *rows, size_t row, size_t n_rows, size_t g) {
    uint32_t live = 0;
    for (size_t k = 0; k < LIVE_GROUP; k += LINE_BYTES) {
        v16i any = v16i_set(0);
        for (size_t m = row; m < row + n_rows; m++) {
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

/* Multiplies only the live slots of a group; n_rows is 1 or 2. If ALL_LIVE, each slot asks for all lines of a step from
 * t->ahead on, so that the blocks share the asking for a group further on. */
typedef void gemm_live_fn(const gemm_tile *t, size_t n_rows, uint32_t live);

/* masks[block][group]; returns how many bits are set */
INLINE size_t find_live(const b2_quantised_rows *rows, size_t n_groups, uint32_t *masks) {
    size_t n_live = 0;
    for (size_t m = 0; m < rows->n_rows; m += LIVE_ROWS)
        for (size_t g = 0; g < n_groups; g++, masks++) {
            *masks = live_slots(rows, m, smaller(rows->n_rows - m, LIVE_ROWS), g);
            n_live += (size_t)__builtin_popcount(*masks);
        }
    return n_live;
}

/* False, and no result touched, where this way does not pay. most_rows: LIVE_ROWS, or more where a set is faster this way
 * even if all slots live. */
INLINE bool walk_live(const b2_quantised_rows *rows, const b2_weight_panels *w, const b2_gemm_out *out, float *y,
                      uint8_t *scratch, const size_t tile_columns, const size_t most_rows, gemm_live_fn *run) {
    const size_t k = rows->stride, n_groups = k / w->group, n_blocks = (rows->n_rows + LIVE_ROWS - 1) / LIVE_ROWS;
    uint32_t *live = (uint32_t *)(void *)scratch;
    if (rows->n_rows > most_rows || w->panel != B2_GEMM_STRIP || w->group != LIVE_GROUP) return false;
    if (n_blocks * n_groups > LIVE_MASKS_BYTES / sizeof *live) return false;
    /* where most live, the memory's own read-ahead is faster than skipping */
    const bool is_sparse = find_live(rows, n_groups, live) <= n_blocks * k / 4 / 2;
    if (!is_sparse && most_rows <= LIVE_ROWS) return false;

    const size_t group_bytes = LIVE_GROUP * B2_GEMM_STRIP, n_slots = LIVE_GROUP / 4;
    gemm_tile t = strip_tile(rows, w, scratch + LIVE_MASKS_BYTES);
    t.ahead_step = n_blocks == 1 ? 4 * LINE_BYTES : n_blocks < 4 ? 2 * LINE_BYTES : LINE_BYTES;
    for (size_t g = 0; g < n_groups; g++) {
        const size_t ahead = g + LIVE_AHEAD_GROUPS;
        for (size_t b = 0, m = 0; b < n_blocks; b++, m += LIVE_ROWS) {
            if (is_sparse && ahead < n_groups) prefetch_live(w->values + ahead * group_bytes, live[b * n_groups + ahead]);
            place_rows(&t, rows, m, g);
            t.ahead = (const char *)w->values + (g + DENSE_AHEAD_GROUPS) * group_bytes + b * n_slots * t.ahead_step;
            for (size_t c = 0; c < COLUMNS; c += tile_columns) {
                place_columns(&t, w, c, g, y + m * B2_GEMM_STRIP);
                run(&t, smaller(rows->n_rows - m, LIVE_ROWS), is_sparse ? live[b * n_groups + g] : ALL_LIVE);
            }
        }
    }
    for (size_t m = 0; m < rows->n_rows; m++) b2_gemm_finish_row(out, m, y + m * B2_GEMM_STRIP);
    return true;
}

#endif
