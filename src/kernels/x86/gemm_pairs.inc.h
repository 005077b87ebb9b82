/* gemm_pairs.inc.h: TEMPLATE. int8 products by pmaddwd, in 256 bits and in 128.
 *
 * Where there is no int8 dot product the exact one is of 16 bits: pmaddwd
 * multiplies pairs and adds neighbours. Weights are widened once for all rows,
 * the rows of a row block once for all columns; 128 hi + lo has 15 bits, so one
 * kernel serves one plane and two, and no sum can overflow: 128 inputs of 16383
 * * 127 stay below 2^28.
 *
 * Tile: 6 rows x two registers. A register holds WIDE_OUTPUTS outputs x 4
 * inputs and so two partial sums of each output, which meet at the end of the
 * group: 12 accumulators, 2 of weights, one of inputs and one of products,
 * of 16.
 *
 * Needs of the set, before it is included: its vec16 header; WIDE_OUTPUTS;
 * FEW_PASS_ROWS and FEW_MOST_ROWS; wide, a register of int16 or int32;
 * wide_floats, the scales of a tile's outputs; and the functions declared
 * below. */
#ifndef B2_GEMM_PAIRS_INC_H
#define B2_GEMM_PAIRS_INC_H

#if !defined(WIDE_OUTPUTS) || !defined(FEW_PASS_ROWS)
#error "a template: define WIDE_OUTPUTS, FEW_PASS_ROWS and FEW_MOST_ROWS before including it"
#endif

#define GEMM_TILE_COLUMNS 1
#define GEMM_PREPARED_BYTES 2
#define SPARSE_MOST_ROWS 2
#define FEW_CHAINS 1

#include "kernels/gemm_many_rows.inc.h"
#include "kernels/gemm_sparse.inc.h"

enum { WIDES = 2, TILE_OUTPUTS = WIDES * WIDE_OUTPUTS, COLUMN_TILES = COLUMN_OUTPUTS / TILE_OUTPUTS };
enum { WIDE_BYTES = WIDE_OUTPUTS * 4 /* in the file */, TILE_SLOT_BYTES = GEMM_PREPARED_BYTES * WIDES * WIDE_BYTES };

INLINE wide wide_zero(void);
INLINE wide wide_add(wide a, wide b);
INLINE wide wide_widen(const int8_t *weights); /* WIDE_BYTES int8 of a line of
                                                  the file, as int16 */
INLINE wide wide_load(const uint8_t *prepared);
INLINE void wide_store(uint8_t *prepared, wide weights);
INLINE wide wide_broadcast(const int16_t *four);
/* sum += products of pairs */
INLINE void wide_dot(wide *sum, wide weights, wide inputs);
/* TILE_OUTPUTS sums from two registers of partial ones */
INLINE wide wide_join(wide first, wide second);
INLINE v16i wide_to_v16i(const wide sums[COLUMN_TILES]);
INLINE wide_floats wide_load_scales(const uint16_t *d);
/* y = fma((float)sums, s d, from), TILE_OUTPUTS of them */
INLINE void wide_accumulate(float *y, const float *from, wide sums, float s, wide_floats d);

/* A row block as int16 [TILE_ROWS][group], in scratch after the prepared
 * weights. */
INLINE int16_t *widened_rows(const gemm_tile *t) { return (int16_t *)(void *)t->row_scratch; }

/* n inputs, both planes in one */
INLINE void widen_row(const int8_t *hi, const int8_t *lo, size_t n, int16_t *out) {
    if (lo == NULL)
        for (size_t k = 0; k < n; k++) out[k] = hi[k];
    else
        for (size_t k = 0; k < n; k++) out[k] = (int16_t)(128 * hi[k] + lo[k]);
}

/* Meanwhile the rows of the next row block are prefetched: at K = 6144 all rows
 * together are larger than most L2. */
static void widen_row_block(const gemm_tile *t, size_t n_rows) {
    int16_t *out = widened_rows(t);
    for (size_t i = 0; i < n_rows; i++) {
        const int8_t *hi = t->hi + i * t->stride, *lo = t->lo == NULL ? NULL : t->lo + i * t->stride;
        for (size_t k = 0; k < t->group; k += LINE_BYTES) {
            _mm_prefetch((const char *)hi + n_rows * t->stride + k, _MM_HINT_T0);
            if (lo != NULL) _mm_prefetch((const char *)lo + n_rows * t->stride + k, _MM_HINT_T0);
        }
        widen_row(hi, lo, t->group, out);
        out += t->group;
    }
}

INLINE void add_group(const gemm_tile *t, const int n_rows, const bool from_file, wide sum[TILE_ROWS][WIDES]) {
    const int16_t *inputs = widened_rows(t);
    const int8_t *file = t->file;
    uint8_t *prepared = t->prepared;
    const char *prefetch_at = t->prefetch_at;
    const size_t group = t->group;
    for (size_t k = 0; k < group; k += 4) {
        wide weights[WIDES];
        if (from_file) _mm_prefetch((const char *)file + t->next_group_bytes, _MM_HINT_T0);
        else _mm_prefetch(prefetch_at, _MM_HINT_T1);
        prefetch_at += t->prefetch_step;
        UNROLL
        for (int j = 0; j < WIDES; j++) {
            uint8_t *at = prepared + j * GEMM_PREPARED_BYTES * WIDE_BYTES;
            if (from_file) {
                weights[j] = wide_widen(file + j * WIDE_BYTES);
                wide_store(at, weights[j]);
            } else {
                weights[j] = wide_load(at);
            }
        }
        UNROLL
        for (int i = 0; i < n_rows; i++) {
            const wide four = wide_broadcast(inputs + (size_t)i * group + k);
            UNROLL
            for (int j = 0; j < WIDES; j++) wide_dot(&sum[i][j], weights[j], four);
        }
        file += t->slot_bytes;
        prepared += TILE_SLOT_BYTES;
    }
}

/* y = fma((float)sum, s d, y), the first group onto zeros */
INLINE void add_to_y(const gemm_tile *t, const int n_rows, wide sum[TILE_ROWS][WIDES]) {
    const float *scale = t->scale, *from = t->accumulate_from;
    float *y = t->y;
    const wide_floats d = wide_load_scales(t->d);
    UNROLL
    for (int i = 0; i < n_rows; i++) {
        wide_accumulate(y, from, wide_join(sum[i][0], sum[i][1]), *scale, d);
        scale += t->n_groups;
        from += t->accumulate_stride;
        y += B2_GEMM_STRIP;
    }
}

INLINE void clear_sums(const int n_rows, wide sum[TILE_ROWS][WIDES]) {
    UNROLL
    for (int i = 0; i < n_rows; i++) {
        UNROLL
        for (int j = 0; j < WIDES; j++) sum[i][j] = wide_zero();
    }
}

INLINE void run_shape(const gemm_tile *t, const int n_rows, const bool from_file, const int n_planes) {
    (void)n_planes; /* the widened rows hold both */
    wide sum[TILE_ROWS][WIDES];
    clear_sums(n_rows, sum);
    add_group(t, n_rows, from_file, sum);
    add_to_y(t, n_rows, sum);
}

GEMM_SHAPES(1) /* from_file_1_1 from_prepared_1_1 .. from_prepared_6_1 (gemm_tile.h) */

static void next_tile(gemm_tile *t) {
    t->file += TILE_OUTPUTS * 4;
    if (t->prepared != NULL) t->prepared += TILE_SLOT_BYTES / 4 * t->group; /* NULL: sparse, straight from the file */
    t->d += TILE_OUTPUTS;
    t->prefetch_at += t->group / 4 * t->prefetch_step;
    t->y += TILE_OUTPUTS;
    t->accumulate_from += TILE_OUTPUTS;
}

/* A column of 16 outputs: two tiles, or four. */
static void run_tile_pairs(const gemm_tile *t, size_t n_rows, bool from_file) {
    static gemm_shape_fn *const shapes[TILE_ROWS][2] = GEMM_TABLE(1);
    assert_weights(t, from_file);
    if (t->is_first_column) widen_row_block(t, n_rows);
    gemm_tile part = *t;
    for (int i = 0; i < COLUMN_TILES; i++, next_tile(&part)) shapes[n_rows - 1][from_file](&part);
}

/* The outputs of a tile, those slots whose bit is set. */
INLINE void run_sparse_shape(const gemm_tile *t, const int n_rows, uint32_t slots) {
    const int16_t *inputs = widened_rows(t);
    wide sum[TILE_ROWS][WIDES];
    clear_sums(n_rows, sum);
    for (; slots != 0; slots &= slots - 1) {
        const size_t slot = (size_t)__builtin_ctz(slots);
        wide weights[WIDES];
        UNROLL
        for (int j = 0; j < WIDES; j++) weights[j] = wide_widen(t->file + slot * t->slot_bytes + j * WIDE_BYTES);
        UNROLL
        for (int i = 0; i < n_rows; i++) {
            const wide four = wide_broadcast(inputs + (size_t)i * SPARSE_GROUP + 4 * slot);
            UNROLL
            for (int j = 0; j < WIDES; j++) wide_dot(&sum[i][j], weights[j], four);
        }
    }
    add_to_y(t, n_rows, sum);
}

static void run_sparse_pairs(const gemm_tile *t, size_t n_rows, uint32_t slots) {
    if (t->is_first_column) widen_row_block(t, n_rows);
    gemm_tile part = *t;
    for (int i = 0; i < COLUMN_TILES; i++, next_tile(&part))
        if (n_rows == 1) run_sparse_shape(&part, 1, slots);
        else run_sparse_shape(&part, 2, slots);
}

/* ---- few rows, panels of 16: the operations that gemm_few_rows.inc.h requires
 * -----------------------------------
 *
 * All of a row is widened at the start of a strip, 128 hi + lo in one. */

enum { LINE_WIDES = COLUMN_OUTPUTS / WIDE_OUTPUTS };

typedef int16_t few_input;
typedef struct few_line {
    wide part[LINE_WIDES];
} few_line;
typedef few_line few_sum; /* two partial sums of each output, as in the tile */

INLINE few_line few_load(const int8_t *line) {
    few_line weights;
    UNROLL
    for (int j = 0; j < LINE_WIDES; j++) weights.part[j] = wide_widen(line + j * WIDE_BYTES);
    return weights;
}
INLINE few_sum few_zero(void) {
    few_sum sum;
    UNROLL
    for (int j = 0; j < LINE_WIDES; j++) sum.part[j] = wide_zero();
    return sum;
}
INLINE void few_add(few_sum *sum, few_line weights, const int16_t *four, const int16_t *lo, const int n_planes) {
    (void)lo, (void)n_planes;
    const wide inputs = wide_broadcast(four);
    UNROLL
    for (int j = 0; j < LINE_WIDES; j++) wide_dot(&sum->part[j], weights.part[j], inputs);
}
INLINE few_sum few_join(few_sum a, few_sum b) {
    UNROLL
    for (int j = 0; j < LINE_WIDES; j++) a.part[j] = wide_add(a.part[j], b.part[j]);
    return a;
}
INLINE v16i few_total(few_sum sum, const int n_planes, int32_t row_sum) {
    (void)n_planes, (void)row_sum;
    wide total[COLUMN_TILES];
    UNROLL
    for (int j = 0; j < COLUMN_TILES; j++) total[j] = wide_join(sum.part[2 * j], sum.part[2 * j + 1]);
    return wide_to_v16i(total);
}

#include "kernels/gemm_few_rows.inc.h"

INLINE void gemm_i8_pairs(const b2_quantised_rows *rows, const b2_weight_panels *w, const b2_gemm_out *out, float *y,
                          void *scratch) {
    const size_t n_inputs = rows->n_rows * rows->stride;
    if (is_few_rows(rows, w) && n_inputs * sizeof(int16_t) <= B2_GEMM_SCRATCH_BYTES) {
        int16_t *inputs = scratch;
        widen_row(rows->hi, rows->lo, n_inputs, inputs);
        gemm_few_rows(rows, inputs, NULL, w, out, y);
        return;
    }
    if (gemm_sparse(rows, w, out, y, scratch, run_sparse_pairs)) return;
    gemm_many_rows(rows, w, out, y, scratch, 1, COLUMN_TILES, run_tile_pairs);
}

#endif
