/* gemm_sparse.inc.h: TEMPLATE. An int8 product of few rows over panels of 64 outputs that skips zeros.
 *
 * After a ReLU most inputs are exact zeros, and a slot of 4 inputs that are zero in all rows of a row block adds
 * nothing to any of its sums. A row block is one or two rows, multiplied straight from the file, both planes from one
 * line. If it is the only one, lines of skipped slots are not even read: a slot is 256 bytes, so that skipping pays.
 * Scales are applied to every group, so not a bit of the result changes.
 *
 * Needs of the set, before it is included: its vec16 header; GEMM_TILE_COLUMNS; SPARSE_MOST_ROWS, at least SPARSE_ROWS:
 * more where the set is faster this way even if no slot is skipped. */
#ifndef B2_GEMM_SPARSE_INC_H
#define B2_GEMM_SPARSE_INC_H

#if !defined(GEMM_TILE_COLUMNS) || !defined(SPARSE_MOST_ROWS)
#error "a template: define GEMM_TILE_COLUMNS and SPARSE_MOST_ROWS before including it"
#endif

#include "kernels/gemm_tile.h"

enum { SPARSE_ROWS = 2, SPARSE_GROUP = 128, SKIP_AHEAD_GROUPS = 4, DENSE_AHEAD_GROUPS = 2 };
enum { SLOT_MASKS_BYTES = 64 * 1024 };
static const uint32_t ALL_SLOTS = 0xFFFFFFFFu;

INLINE v16i v16i_set(int32_t x);
INLINE v16i v16i_or(v16i v, v16i w);
INLINE v16i v16i_load_bytes(const int8_t *bytes);
INLINE uint32_t v16i_find_nonzero(v16i v);

/* Multiplies those slots of a group whose bit is set; n_rows is 1 or 2. With ALL_SLOTS every slot prefetches the lines
 * of prefetch_step bytes at prefetch_at and moves on, so that the row blocks share the prefetching of a later group. */
typedef void gemm_sparse_fn(const gemm_tile *t, size_t n_rows, uint32_t slots);

/* Bit i: the slot of inputs 4 i .. 4 i + 3 of group g is not zero in every one of the rows and planes. */
INLINE uint32_t find_nonzero_slots(const b2_quantised_rows *rows, size_t row, size_t n_rows, size_t g) {
    uint32_t slots = 0;
    for (size_t k = 0; k < SPARSE_GROUP; k += LINE_BYTES) {
        v16i any = v16i_set(0);
        for (size_t m = row; m < row + n_rows; m++) {
            const size_t at = m * rows->stride + g * SPARSE_GROUP + k;
            any = v16i_or(any, v16i_load_bytes(rows->hi + at));
            if (rows->lo != NULL) any = v16i_or(any, v16i_load_bytes(rows->lo + at));
        }
        slots |= v16i_find_nonzero(any) << k / 4;
    }
    return slots;
}

INLINE void prefetch_slots(const int8_t *group, uint32_t slots) {
    for (; slots != 0; slots &= slots - 1) {
        const char *slot = (const char *)group + (size_t)__builtin_ctz(slots) * COLUMNS * LINE_BYTES;
        for (int j = 0; j < COLUMNS; j++) __builtin_prefetch(slot + j * LINE_BYTES, 0, 3);
    }
}

/* masks[row block][group]; returns how many bits are set */
INLINE size_t find_all_slots(const b2_quantised_rows *rows, size_t n_groups, uint32_t *masks) {
    size_t n_slots = 0;
    for (size_t m = 0; m < rows->n_rows; m += SPARSE_ROWS)
        for (size_t g = 0; g < n_groups; g++, masks++) {
            *masks = find_nonzero_slots(rows, m, smaller(rows->n_rows - m, SPARSE_ROWS), g);
            n_slots += (size_t)__builtin_popcount(*masks);
        }
    return n_slots;
}

/* Returns false without writing a result where another way is faster. */
INLINE bool gemm_sparse(const b2_quantised_rows *rows, const b2_weight_panels *w, const b2_gemm_out *out, float *y,
                        uint8_t *scratch, gemm_sparse_fn *run) {
    const size_t k = rows->stride, n_groups = k / w->group;
    const size_t n_row_blocks = (rows->n_rows + SPARSE_ROWS - 1) / SPARSE_ROWS;
    uint32_t *slots = (uint32_t *)(void *)scratch;
    if (rows->n_rows > SPARSE_MOST_ROWS || w->panel != B2_GEMM_STRIP || w->group != SPARSE_GROUP) return false;
    if (n_row_blocks * n_groups > SLOT_MASKS_BYTES / sizeof *slots) return false;
    /* where few are zero, the memory's own read-ahead is faster than skipping */
    const bool is_sparse = find_all_slots(rows, n_groups, slots) <= n_row_blocks * k / 4 / 2;
    if (!is_sparse && SPARSE_MOST_ROWS <= SPARSE_ROWS) return false;

    const size_t group_bytes = SPARSE_GROUP * B2_GEMM_STRIP, n_slots = SPARSE_GROUP / 4;
    gemm_tile t = strip_tile(rows, w, scratch + SLOT_MASKS_BYTES);
    t.prefetch_step = n_row_blocks == 1 ? 4 * LINE_BYTES : n_row_blocks < 4 ? 2 * LINE_BYTES : LINE_BYTES;
    for (size_t g = 0; g < n_groups; g++) {
        const size_t ahead = g + SKIP_AHEAD_GROUPS;
        for (size_t b = 0, m = 0; b < n_row_blocks; b++, m += SPARSE_ROWS) {
            if (is_sparse && ahead < n_groups)
                prefetch_slots(w->values + ahead * group_bytes, slots[b * n_groups + ahead]);
            place_rows(&t, rows, m, g);
            t.prefetch_at =
                (const char *)w->values + (g + DENSE_AHEAD_GROUPS) * group_bytes + b * n_slots * t.prefetch_step;
            for (size_t c = 0; c < COLUMNS; c += GEMM_TILE_COLUMNS) {
                place_columns(&t, w, c, g, y + m * B2_GEMM_STRIP);
                run(&t, smaller(rows->n_rows - m, SPARSE_ROWS), is_sparse ? slots[b * n_groups + g] : ALL_SLOTS);
            }
        }
    }
    for (size_t m = 0; m < rows->n_rows; m++) b2_gemm_finish_row(out, m, y + m * B2_GEMM_STRIP);
    return true;
}

#endif
