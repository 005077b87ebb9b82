/* tensors.c: the order of the file: part by part, in a network block by block, in a block row by row. */
#include "quant/tensors.h"

#include <stdio.h>

/* The last column of B2_TENSOR. */
enum { PLANES_0 = 0, PLANES_1 = 1, PLANES_2 = 2, PLANES_V = B2_PLANES_BY_CONVERTER };

static const struct {
    b2_part part;
    b2_tensor_scope scope;
} ROWS[B2_N_TENSOR_ROWS] = {
#define B2_TENSOR(part, scope, member, name, kind, n_out, n_in, panel, planes) {B2_PART_##part, B2_SCOPE_##scope},
#include "quant/parts.def"
};

b2_tensor_spec b2_tensors_spec(const b2_hparams *h, b2_tensor_row row, uint32_t block) {
    b2_tensor_spec spec = {.row = row, .part = ROWS[row].part, .scope = ROWS[row].scope, .block = block};
    const char *stem = "";
    switch (row) {
#define B2_TENSOR(part_, scope_, member_, name_, kind_, n_out_, n_in_, panel_, planes_)                                \
    case B2_ROW_##part_##_##member_:                                                                                   \
        stem = name_;                                                                                                  \
        spec.kind = B2_KIND_##kind_;                                                                                   \
        spec.n_out = (n_out_);                                                                                         \
        spec.n_in = (n_in_);                                                                                           \
        spec.panel = (panel_);                                                                                         \
        spec.planes = PLANES_##planes_;                                                                                \
        break;
#include "quant/parts.def"
    case B2_N_TENSOR_ROWS: break;
    }
    snprintf(spec.name, sizeof spec.name, stem, (unsigned)block); /* stems without %u ignore the argument */
    return spec;
}

static bool is_per_block(size_t row) { return ROWS[row].scope == B2_SCOPE_BLOCK || ROWS[row].scope == B2_SCOPE_CROSS; }

static uint32_t count_blocks(const b2_hparams *h, size_t row) {
    if (!is_per_block(row)) return 1;
#define B2_NETWORK(part_)                                                                                              \
    if (ROWS[row].part == B2_PART_##part_) return h->part_.blocks;
#include "quant/parts.def"
    return 0;
}

static bool is_present(const b2_hparams *h, bool with_head, size_t row, uint32_t block) {
    if (!b2_arch_has(h->arch, ROWS[row].part)) return false;
    if (ROWS[row].scope == B2_SCOPE_HEAD) return with_head;
    return ROWS[row].scope != B2_SCOPE_CROSS || b2_block_has_cross(h, block);
}

/* One past the last row that repeats together with `first`, block by block. */
static size_t run_end(size_t first) {
    size_t end = first + 1;
    if (!is_per_block(first)) return end;
    while (end < B2_N_TENSOR_ROWS && is_per_block(end) && ROWS[end].part == ROWS[first].part) end++;
    return end;
}

/* Walks the file's order: runs of rows, in each run its blocks, in each block its rows. Stops at the stem number
 * `stop`, if there is one, leaving it in *row and *block; returns how many stems were passed. */
static size_t walk(const b2_hparams *h, bool with_head, size_t stop, size_t *row, uint32_t *block) {
    size_t n_passed = 0;
    for (size_t first = 0; first < B2_N_TENSOR_ROWS; first = run_end(first))
        for (*block = 0; *block < count_blocks(h, first); ++*block)
            for (*row = first; *row < run_end(first); ++*row) {
                if (!is_present(h, with_head, *row, *block)) continue;
                if (n_passed == stop) return n_passed;
                n_passed++;
            }
    return n_passed;
}

size_t b2_tensors_count(const b2_hparams *h, bool with_head) {
    size_t row;
    uint32_t block;
    return walk(h, with_head, SIZE_MAX, &row, &block);
}

b2_tensor_spec b2_tensors_get(const b2_hparams *h, bool with_head, size_t i) {
    size_t row = 0;
    uint32_t block = 0;
    walk(h, with_head, i, &row, &block);
    return b2_tensors_spec(h, (b2_tensor_row)row, block);
}
