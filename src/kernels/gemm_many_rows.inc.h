/* gemm_many_rows.inc.h: TEMPLATE. An int8 product of many rows, bound by arithmetic: one strip of 64 outputs.
 *
 *   strip of 64 outputs:  for each pair of groups along K           the pair's weights stay in L1, 16 KB
 *                           for each row block                      as high as a tile, heights equal within one
 *                             for each group, for each tile across  one call of the set's function
 *                             after the last pair                   bias, epilogue, out
 *
 * The first row block reads the weights from the file, once, and leaves them in scratch prepared for the dot product;
 * the row blocks after it read them there. Meanwhile they prefetch, line by line, the pair after this one, and during
 * the last pair the first one of the panels that come next.
 *
 * Needs of the set, before it is included: GEMM_TILE_COLUMNS, the width of a tile in columns; GEMM_PREPARED_BYTES, of
 * one prepared weight. */
#ifndef B2_GEMM_MANY_ROWS_INC_H
#define B2_GEMM_MANY_ROWS_INC_H

#if !defined(GEMM_TILE_COLUMNS) || !defined(GEMM_PREPARED_BYTES)
#error "a template: define GEMM_TILE_COLUMNS and GEMM_PREPARED_BYTES before including it"
#endif

#include "kernels/gemm_tile.h"

enum { PAIR_GROUPS = 2 };

/* The lines of a pair of groups: runs of neighbours, one for each panel. */
typedef struct pair_lines {
    const int8_t *at;
    size_t n_lines, run_lines, run_step_bytes;
} pair_lines;

/* Those after a pair: further along K, or at the start of the panels that come next. */
INLINE pair_lines lines_after(const b2_weight_panels *w, size_t k, size_t pair) {
    const size_t next = pair + PAIR_GROUPS, first = next * w->group < k ? next * w->group : 0;
    const size_t n_inputs = k - first < PAIR_GROUPS * w->group ? k - first : PAIR_GROUPS * w->group;
    const int8_t *values = first > 0 || w->next == NULL ? w->values : w->next->values;
    const size_t run_lines = n_inputs * w->panel / LINE_BYTES;
    return (pair_lines){values + first * w->panel, w->n_panels * run_lines, run_lines, k * w->panel};
}

/* A core tracks about 24 outstanding misses, and a burst of prefetches stalls all loads: so each tile issues a share,
 * at most one line with each of its n_slots slots. A power of two, as a run is: no share goes on from one into the
 * next. */
INLINE size_t choose_share_lines(const pair_lines *lines, size_t n_shares, size_t n_slots) {
    size_t n = 1;
    while (n * n_shares < lines->n_lines && 2 * n <= n_slots && 2 * n <= lines->run_lines) n *= 2;
    return n;
}

/* The tile's prefetches hit its own first line. */
INLINE void prefetch_nothing(gemm_tile *t) {
    t->prefetch_at = (const char *)t->file;
    t->prefetch_step = 0;
}

INLINE void prefetch_share(gemm_tile *t, const pair_lines *lines, size_t share, size_t share_lines, size_t n_slots) {
    const size_t line = share * share_lines, run = line / lines->run_lines;
    prefetch_nothing(t);
    if (line >= lines->n_lines) return;
    t->prefetch_at = (const char *)lines->at + run * lines->run_step_bytes + line % lines->run_lines * LINE_BYTES;
    t->prefetch_step = share_lines * LINE_BYTES / n_slots;
}

INLINE void prefetch_scales(const b2_weight_panels *next, size_t n_groups) {
    const size_t n_bytes = next->n_panels * next->panel * n_groups * sizeof *next->scales;
    for (size_t i = 0; i < n_bytes; i += LINE_BYTES) __builtin_prefetch((const char *)next->scales + i, 0, 2);
}

/* Results go to lines that no cache holds: fetched while the last products are made. */
INLINE void prefetch_out(const b2_gemm_out *out, size_t first_row, size_t n_rows) {
    const float *row = out->out + first_row * out->stride;
    for (size_t i = 0; i < n_rows; i++, row += out->stride)
        for (size_t n = 0; n < out->n; n += LINE_BYTES / sizeof *row) __builtin_prefetch(row + n, 1);
}

/* tile_columns: of the tiles of this strip. n_passes: of a tile over the slots of a group, one for each plane that it
 * sums apart; every pass prefetches. */
INLINE void gemm_many_rows(const b2_quantised_rows *rows, const b2_weight_panels *w, const b2_gemm_out *out, float *y,
                           uint8_t *scratch, const size_t tile_columns, const size_t n_passes, gemm_tile_fn *run) {
    const size_t k = rows->stride, group = w->group, n_groups = k / group;
    const size_t n_columns = w->n_panels * w->panel / COLUMN_OUTPUTS,
                 n_tiles = (n_columns + tile_columns - 1) / tile_columns;
    const size_t n_row_blocks = (rows->n_rows + TILE_ROWS - 1) / TILE_ROWS, n_slots = group / 4 * n_passes;
    gemm_tile t = strip_tile(rows, w, scratch + PAIR_GROUPS * group * B2_GEMM_STRIP * GEMM_PREPARED_BYTES);
    for (size_t pair = 0; pair < n_groups; pair += PAIR_GROUPS) {
        const pair_lines next = lines_after(w, k, pair);
        const size_t n_shares = (n_row_blocks - 1) * smaller(PAIR_GROUPS, n_groups - pair) * n_tiles;
        const size_t share_lines = choose_share_lines(&next, n_shares, n_slots);
        const bool is_last = pair + PAIR_GROUPS >= n_groups;
        t.is_prepared = false;
        for (size_t b = 0, m = 0, n_rows = 0, share = 0; b < n_row_blocks; b++, m += n_rows) {
            n_rows = (rows->n_rows - m + n_row_blocks - b - 1) / (n_row_blocks - b);
            if (is_last) prefetch_out(out, m, n_rows);
            for (size_t g = pair; g < n_groups && g < pair + PAIR_GROUPS; g++) {
                place_rows(&t, rows, m, g);
                for (size_t c = 0; c < n_columns; c += tile_columns) {
                    place_columns(&t, w, c, g, y + m * B2_GEMM_STRIP);
                    t.prepared =
                        scratch + ((g - pair) * B2_GEMM_STRIP + c * COLUMN_OUTPUTS) * group * GEMM_PREPARED_BYTES;
                    if (b == 0) prefetch_nothing(&t);
                    else prefetch_share(&t, &next, share++, share_lines, n_slots);
                    run(&t, n_rows, b == 0);
                }
            }
            t.is_prepared = true;
            for (size_t i = m; is_last && i < m + n_rows; i++) b2_gemm_finish_row(out, i, y + i * B2_GEMM_STRIP);
        }
    }
    if (w->next != NULL && n_row_blocks > 1) prefetch_scales(w->next, n_groups);
}

#endif
