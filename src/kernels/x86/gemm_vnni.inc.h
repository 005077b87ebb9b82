/* gemm_vnni.inc.h: TEMPLATE. int8 products by vpdpbusd, in 512 bits and in 256.
 *
 * Tile: 6 rows x GEMM_TILE_COLUMNS columns of 16 outputs. vpdpbusd multiplies
 * unsigned by signed: weights become unsigned by + 128 (one bit flipped), and
 * the accumulators start at -128 times the sum of the row's integers, which
 * takes the offset back. Two planes go through the same accumulators one after
 * the other: the sum over hi, times 128, and on with lo.
 *
 * Needs of the set, before it is included: its vec16 header, what
 * gemm_sparse.inc.h and gemm_few_rows.inc.h want defined, vnni_inputs (four
 * inputs in every lane of a register) and the functions declared below. */
#ifndef B2_GEMM_VNNI_INC_H
#define B2_GEMM_VNNI_INC_H

#if !defined(GEMM_TILE_COLUMNS) || !defined(SPARSE_MOST_ROWS) || !defined(FEW_PASS_ROWS)
#error "a template: define GEMM_TILE_COLUMNS, SPARSE_MOST_ROWS and FEW_* before including it"
#endif

#define GEMM_PREPARED_BYTES 1

#include "kernels/gemm_many_rows.inc.h"
#include "kernels/gemm_sparse.inc.h"

INLINE vnni_inputs vnni_broadcast(const int8_t *four);
/* sum += weights times inputs, unsigned by signed: sixteen sums of four
 * products */
INLINE void vnni_dot(v16i *sum, v16i weights, vnni_inputs inputs);
INLINE void vnni_times_128(v16i *sum);
/* a line of the file, unsigned */
INLINE v16i vnni_load(const int8_t *line);

INLINE void add_plane(const gemm_tile *t, const int8_t *plane, const int n_rows, const int n_columns,
                      const bool from_file, const char *prefetch_at, v16i sum[TILE_ROWS][GEMM_TILE_COLUMNS]) {
    const int8_t *file = t->file;
    int8_t *prepared = (int8_t *)t->prepared;
    for (size_t k = 0; k < t->group; k += 4) {
        v16i weights[GEMM_TILE_COLUMNS];
        UNROLL
        for (int j = 0; j < n_columns; j++) {
            if (from_file) {
                const int8_t *line = file + (size_t)j * t->column_bytes;
                _mm_prefetch((const char *)line + t->next_group_bytes, _MM_HINT_T0);
                weights[j] = v16i_xor(v16i_load_bytes(line), v16i_set((int32_t)0x80808080u));
                v16i_store_bytes(prepared + j * LINE_BYTES, weights[j]);
            } else {
                weights[j] = v16i_load_bytes(prepared + j * LINE_BYTES);
            }
        }
        if (!from_file) _mm_prefetch(prefetch_at, _MM_HINT_T1);
        prefetch_at += t->prefetch_step;
        UNROLL
        for (int i = 0; i < n_rows; i++) {
            const vnni_inputs inputs = vnni_broadcast(plane + (size_t)i * t->stride + k);
            UNROLL
            for (int j = 0; j < n_columns; j++) vnni_dot(&sum[i][j], weights[j], inputs);
        }
        file += t->slot_bytes;
        prepared += n_columns * LINE_BYTES;
    }
}

/* y = fma((float)sum, s d, y), the first group onto zeros */
INLINE void add_to_y(const gemm_tile *t, const int n_rows, const int n_columns,
                     v16i sum[TILE_ROWS][GEMM_TILE_COLUMNS]) {
    const float *scale = t->scale, *from = t->accumulate_from;
    float *y = t->y;
    v16 d[GEMM_TILE_COLUMNS];
    UNROLL
    for (int j = 0; j < n_columns; j++) d[j] = v16_load_bf16(t->d + (size_t)j * t->d_column);
    UNROLL
    for (int i = 0; i < n_rows; i++) {
        const v16 s = v16_set(*scale);
        UNROLL
        for (int j = 0; j < n_columns; j++) {
            const v16 onto = v16_load(from + j * COLUMN_OUTPUTS), sd = v16_mul(s, d[j]);
            v16_store(y + j * COLUMN_OUTPUTS, v16_fma(v16_from_integers(sum[i][j]), sd, onto));
        }
        scale += t->n_groups;
        from += t->accumulate_stride;
        y += B2_GEMM_STRIP;
    }
}

INLINE void run_columns(const gemm_tile *t, const int n_rows, const int n_columns, const bool from_file,
                        const int n_planes) {
    v16i sum[TILE_ROWS][GEMM_TILE_COLUMNS];
    const int offset = n_planes == 2 ? -1 : -128; /* -1: the shift between the planes makes it -128 */
    UNROLL
    for (int i = 0; i < n_rows; i++) {
        const v16i start = v16i_set(offset * t->sum[(size_t)i * t->n_groups]);
        UNROLL
        for (int j = 0; j < n_columns; j++) sum[i][j] = start;
    }
    add_plane(t, t->hi, n_rows, n_columns, from_file, t->prefetch_at, sum);
    if (n_planes == 2) {
        UNROLL
        for (int i = 0; i < n_rows; i++) {
            UNROLL
            for (int j = 0; j < n_columns; j++) vnni_times_128(&sum[i][j]);
        }
        add_plane(t, t->lo, n_rows, n_columns, false, t->prefetch_at + t->group / 4 * t->prefetch_step, sum);
    }
    add_to_y(t, n_rows, n_columns, sum);
}

INLINE void run_shape(const gemm_tile *t, const int n_rows, const bool from_file, const int n_planes) {
    run_columns(t, n_rows, GEMM_TILE_COLUMNS, from_file, n_planes);
}
GEMM_SHAPES(1) /* from_file_1_1 from_prepared_1_1 .. from_prepared_6_1 (gemm_tile.h) */
GEMM_SHAPES(2)

static void run_tile_vnni(const gemm_tile *t, size_t n_rows, bool from_file) {
    static gemm_shape_fn *const shapes[2][TILE_ROWS][2] = {GEMM_TABLE(1), GEMM_TABLE(2)};
    assert_weights(t, from_file);
    shapes[t->lo != NULL][n_rows - 1][from_file](t);
}

/* The last strip of a matrix may be narrower than a tile: one row and 16
 * outputs at once, straight from the file. */
static void run_narrow_vnni(const gemm_tile *t, size_t n_rows, bool from_file) {
    (void)from_file;
    gemm_tile row = *t;
    for (size_t i = 0; i < n_rows; i++) {
        if (t->lo == NULL) run_columns(&row, 1, 1, true, 1);
        else run_columns(&row, 1, 1, true, 2);
        row.hi += t->stride;
        row.lo = t->lo == NULL ? NULL : row.lo + t->stride;
        row.scale += t->n_groups;
        row.sum += t->n_groups;
        row.accumulate_from += t->accumulate_stride;
        row.y += B2_GEMM_STRIP;
    }
}

/* ---- few rows, panels of 64
 * ----------------------------------------------------------------------------------------
 *
 * One or two rows straight from the file, both planes from one line, summed
 * side by side: S = 128 H + L - 128 (sum of integers). */

typedef struct sparse_sums {
    v16i hi[SPARSE_ROWS][GEMM_TILE_COLUMNS], lo[SPARSE_ROWS][GEMM_TILE_COLUMNS];
} sparse_sums;

INLINE void add_slot(const gemm_tile *t, size_t slot, const int n_rows, const int n_planes, sparse_sums *s) {
    const int8_t *file = t->file + slot * t->slot_bytes;
    v16i weights[GEMM_TILE_COLUMNS];
    UNROLL
    for (int j = 0; j < GEMM_TILE_COLUMNS; j++)
        weights[j] = v16i_xor(v16i_load_bytes(file + j * LINE_BYTES), v16i_set((int32_t)0x80808080u));
    UNROLL
    for (int i = 0; i < n_rows; i++) {
        const size_t at = (size_t)i * t->stride + 4 * slot;
        const vnni_inputs hi = vnni_broadcast(t->hi + at);
        UNROLL
        for (int j = 0; j < GEMM_TILE_COLUMNS; j++) vnni_dot(&s->hi[i][j], weights[j], hi);
        if (n_planes == 1) continue;
        const vnni_inputs lo = vnni_broadcast(t->lo + at);
        UNROLL
        for (int j = 0; j < GEMM_TILE_COLUMNS; j++) vnni_dot(&s->lo[i][j], weights[j], lo);
    }
}

INLINE void run_sparse_shape(const gemm_tile *t, const int n_rows, const int n_planes, uint32_t slots) {
    sparse_sums s;
    UNROLL
    for (int i = 0; i < n_rows; i++) {
        UNROLL
        for (int j = 0; j < GEMM_TILE_COLUMNS; j++) s.hi[i][j] = s.lo[i][j] = v16i_set(0);
    }
    if (SPARSE_MOST_ROWS == SPARSE_ROWS || slots != ALL_SLOTS) {
        for (; slots != 0; slots &= slots - 1) add_slot(t, (size_t)__builtin_ctz(slots), n_rows, n_planes, &s);
    } else {
        const char *prefetch_at = t->prefetch_at;
        for (size_t slot = 0; slot < SPARSE_GROUP / 4; slot++, prefetch_at += t->prefetch_step) {
            for (size_t i = 0; i < t->prefetch_step; i += LINE_BYTES) _mm_prefetch(prefetch_at + i, _MM_HINT_T0);
            add_slot(t, slot, n_rows, n_planes, &s);
        }
    }
    v16i sum[TILE_ROWS][GEMM_TILE_COLUMNS];
    UNROLL
    for (int i = 0; i < n_rows; i++) {
        const v16i offset = v16i_set(-128 * t->sum[(size_t)i * t->n_groups]);
        UNROLL
        for (int j = 0; j < GEMM_TILE_COLUMNS; j++) {
            if (n_planes == 2) vnni_times_128(&s.hi[i][j]);
            sum[i][j] = v16i_add(v16i_add(s.hi[i][j], s.lo[i][j]), offset);
        }
    }
    add_to_y(t, n_rows, GEMM_TILE_COLUMNS, sum);
}

/* rows _ planes */
static void sparse_1_1(const gemm_tile *t, uint32_t slots) { run_sparse_shape(t, 1, 1, slots); }
static void sparse_1_2(const gemm_tile *t, uint32_t slots) { run_sparse_shape(t, 1, 2, slots); }
static void sparse_2_1(const gemm_tile *t, uint32_t slots) { run_sparse_shape(t, 2, 1, slots); }
static void sparse_2_2(const gemm_tile *t, uint32_t slots) { run_sparse_shape(t, 2, 2, slots); }

static void run_sparse_vnni(const gemm_tile *t, size_t n_rows, uint32_t slots) {
    if (t->lo == NULL) n_rows == 1 ? sparse_1_1(t, slots) : sparse_2_1(t, slots);
    else n_rows == 1 ? sparse_1_2(t, slots) : sparse_2_2(t, slots);
}

/* ---- few rows, panels of 16: the operations that gemm_few_rows.inc.h requires
 * ---------------------------------- */

typedef int8_t few_input;
typedef v16i few_line;
typedef struct few_sum {
    v16i hi, lo;
} few_sum;

INLINE few_line few_load(const int8_t *line) { return vnni_load(line); }
INLINE few_sum few_zero(void) { return (few_sum){v16i_set(0), v16i_set(0)}; }
INLINE void few_add(few_sum *sum, few_line weights, const int8_t *hi, const int8_t *lo, const int n_planes) {
    vnni_dot(&sum->hi, weights, vnni_broadcast(hi));
    if (n_planes == 2) vnni_dot(&sum->lo, weights, vnni_broadcast(lo));
}
INLINE few_sum few_join(few_sum a, few_sum b) { return (few_sum){v16i_add(a.hi, b.hi), v16i_add(a.lo, b.lo)}; }
INLINE v16i few_total(few_sum sum, const int n_planes, int32_t row_sum) {
    const v16i both = n_planes == 2 ? v16i_add(v16i_shift_left(sum.hi, 7), sum.lo) : sum.hi;
    return v16i_add(both, v16i_set(-128 * row_sum));
}

#include "kernels/gemm_few_rows.inc.h"

INLINE void gemm_i8_vnni(const b2_quantised_rows *rows, const b2_weight_panels *w, const b2_gemm_out *out, float *y,
                         void *scratch) {
    if (is_few_rows(rows, w)) {
        gemm_few_rows(rows, rows->hi, rows->lo, w, out, y);
        return;
    }
    if (gemm_sparse(rows, w, out, y, scratch, run_sparse_vnni)) return;
    const size_t n_planes = rows->lo != NULL ? 2 : 1;
    if (GEMM_TILE_COLUMNS == 1 || w->n_panels * w->panel == B2_GEMM_STRIP)
        gemm_many_rows(rows, w, out, y, scratch, GEMM_TILE_COLUMNS, n_planes, run_tile_vnni);
    else gemm_many_rows(rows, w, out, y, scratch, 1, n_planes, run_narrow_vnni);
}

#endif
