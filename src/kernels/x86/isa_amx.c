/* isa_amx.c: int8 products by the matrix unit of Intel servers since 2023; all else as avx512vnni.
 *
 * Tiles and their instructions: amx_tiles.h. A decoding step's 3 to 16 rows, and those that whole
 * blocks leave: amx_few_rows.h. Whole blocks, here:
 *
 *   strip of 64 outputs:  for each chunk of 4 groups                 its weights, 32 KB, stay near while the rows pass
 *                           for each block of rows                   2 tiles of rows; two planes: 1 tile of each
 *                             for each pair of groups, pair of columns   8 products a group into 4 tiles of sums
 *
 * The matrix unit needs 128 cycles for those 8 products, and y = fma((float)S, s d, y) of their sums about 100 of the
 * vector units: so a block's sums go to memory, and are finished between the products of the next block (woven).
 * y is read and written once for two groups, for else the loads alone would take 144 cycles. Counted, and timed on one
 * machine, which needs four times that: tests/bench/SPEED.md. */
#include "kernels/isa_sets.h"

#if !defined(__AVX512VNNI__) || !defined(__AVX512VL__) || !defined(__AVX512BW__)
#error "compile this file with its flags (Makefile)"
#endif

#include "kernels/x86/amx_few_rows.h"

#include <stdbool.h>

enum { CHUNK_GROUPS = 4, BLOCK_GROUPS = 2 };
enum {
    GROUP_SUMS = 4 * TILE_SUMS,
    BLOCK_SUMS = BLOCK_GROUPS * GROUP_SUMS,
    PRODUCTS = 8 /* of a whole block and group */
};

/* ---- a block ----------------------------------------------------------------------------------------------------- */

INLINE void store_sums(int32_t *to) {
    TILE_STORE(0, to);
    TILE_STORE(1, to + TILE_SUMS);
    TILE_STORE(2, to + 2 * TILE_SUMS);
    TILE_STORE(3, to + 3 * TILE_SUMS);
}

typedef struct amx_block {
    const int8_t *rows[2]; /* two tiles of rows, or two planes of one tile */
    size_t stride;
    const int8_t *weights[2]; /* columns */
    size_t slot_bytes, group_bytes;
    int32_t *sums;        /* [group][2 rows][2 columns][16][16] */
    const float *scale;   /* the first row's, of the first group */
    const uint16_t *d[2]; /* columns */
    size_t n_groups, d_group;
    float *y;
    const float *from; /* y, or zeros for the first group of a matrix */
    size_t from_stride;
    size_t n_columns, groups;
} amx_block;

/* Where the finishing of a block stands. Each pointer moves on by one addition, hidden from GCC 12, which otherwise
 * computes 32 addresses ahead and keeps them on the stack. */
typedef struct amx_row {
    const int32_t *sums;
    const float *scale, *from;
    float *y;
} amx_row;

INLINE void move_on(amx_row *at, const amx_block *b) {
    at->scale += b->n_groups;
    at->from += b->from_stride;
    at->y += B2_GEMM_STRIP;
    __asm__("" : "+r"(at->scale), "+r"(at->from), "+r"(at->y));
}

/* One row of a block whose sums are in memory: y = fma((float)S, s d, y) for its groups in order. */
INLINE void finish_row_amx(const amx_row *at, size_t row, const v16 d[BLOCK_GROUPS][2], const int n_columns,
                           const int n_planes, const int groups) {
    const size_t tile = n_planes == 2 ? 0 : row / SIDE * 2;
    v16 s[BLOCK_GROUPS]; /* before y is written, which for all that the compiler knows could change them */
    UNROLL
    for (int g = 0; g < groups; g++) s[g] = v16_set(at->scale[g]);
    UNROLL
    for (int j = 0; j < n_columns; j++) {
        v16 total = v16_load(at->from + j * SIDE);
        UNROLL
        for (int g = 0; g < groups; g++) {
            const int32_t *sums = at->sums + g * GROUP_SUMS + (tile + (size_t)j) * TILE_SUMS + row % SIDE * SIDE;
            v16i sum = _mm512_load_si512(sums);
            if (n_planes == 2) sum = v16i_add(v16i_shift_left(sum, 7), _mm512_load_si512(sums + 2 * TILE_SUMS));
            total = v16_fma(v16_from_integers(sum), v16_mul(s[g], d[g][j]), total);
        }
        v16_store(at->y + j * SIDE, total);
    }
}

/* Whole blocks: multiplies b and meanwhile finishes done. prefetch_at: one line with each product. */
INLINE void multiply_woven(const amx_block *block, const amx_block *finished, const char *prefetch_at,
                           const int n_planes, const int groups, const int done_groups) {
    const amx_block b = *block, done = *finished;
    const int slot_rows = (n_planes == 2 ? SIDE : 2 * SIDE) / (PRODUCTS * groups);
    size_t row = 0;
    amx_row row_at = {done.sums, done.scale, done.from, done.y};
    v16 d[BLOCK_GROUPS][2];
    UNROLL
    for (int g = 0; g < done_groups; g++) {
        UNROLL
        for (int j = 0; j < 2; j++) d[g][j] = v16_load_bf16(done.d[j] + (size_t)g * done.d_group);
    }
#define FINISH_SOME()                                                                                                  \
    do {                                                                                                               \
        _mm_prefetch(prefetch_at, _MM_HINT_T1);                                                                        \
        prefetch_at += LINE_BYTES;                                                                                     \
        UNROLL                                                                                                         \
        for (int i = 0; i < slot_rows; i++, move_on(&row_at, &done))                                                   \
            finish_row_amx(&row_at, row++, d, 2, n_planes, done_groups);                                               \
    } while (0)
    UNROLL
    for (int g = 0; g < groups; g++) {
        zero_sums();
        UNROLL
        for (int step = 0; step < STEPS; step++) {
            const size_t at = (size_t)g * B2_GROUP_LEN + (size_t)step * STEP;
            const size_t line = (size_t)g * b.group_bytes + (size_t)step * SIDE * b.slot_bytes;
            TILE_LOAD(6, b.weights[0] + line, b.slot_bytes);
            TILE_LOAD(4, b.rows[0] + at, b.stride);
            TILE_DOT(0, 4, 6);
            FINISH_SOME();
            TILE_LOAD(7, b.weights[1] + line, b.slot_bytes);
            TILE_DOT(1, 4, 7);
            FINISH_SOME();
            TILE_LOAD(5, b.rows[1] + at, b.stride);
            TILE_DOT(2, 5, 6);
            FINISH_SOME();
            TILE_DOT(3, 5, 7);
            FINISH_SOME();
        }
        store_sums(b.sums + g * GROUP_SUMS);
    }
#undef FINISH_SOME
}

/* A function for each shape, as in gemm_tile.h; made: woven_1_11 woven_1_12 .. woven_2_22 (planes _ groups of the
 * block, groups of the finished one). */
typedef void woven_fn(const amx_block *block, const amx_block *done, const char *prefetch_at);
#define WOVEN(planes, groups, done_groups)                                                                             \
    static void woven_##planes##_##groups##done_groups(const amx_block *b, const amx_block *done, const char *at) {    \
        multiply_woven(b, done, at, planes, groups, done_groups);                                                      \
    }
WOVEN(1, 1, 1)
WOVEN(1, 1, 2)
WOVEN(1, 2, 1)
WOVEN(1, 2, 2)
WOVEN(2, 1, 1)
WOVEN(2, 1, 2)
WOVEN(2, 2, 1)
WOVEN(2, 2, 2)

/* Any block, alone: the first of a call, the narrow end of a strip. */
static void multiply_alone(const amx_block *b) {
    for (size_t g = 0; g < b->groups; g++) {
        zero_sums();
        for (size_t step = 0; step < STEPS; step++) {
            const size_t at = g * B2_GROUP_LEN + step * STEP, line = g * b->group_bytes + step * SIDE * b->slot_bytes;
            TILE_LOAD(6, b->weights[0] + line, b->slot_bytes);
            TILE_LOAD(4, b->rows[0] + at, b->stride);
            TILE_DOT(0, 4, 6);
            TILE_LOAD(5, b->rows[1] + at, b->stride);
            TILE_DOT(2, 5, 6);
            if (b->n_columns == 1) continue;
            TILE_LOAD(7, b->weights[1] + line, b->slot_bytes);
            TILE_DOT(1, 4, 7);
            TILE_DOT(3, 5, 7);
        }
        store_sums(b->sums + g * GROUP_SUMS);
    }
}

INLINE void finish_rows_amx(const amx_block *b, const int n_columns, const int n_planes, const int groups) {
    v16 d[BLOCK_GROUPS][2];
    for (int g = 0; g < groups; g++)
        for (int j = 0; j < n_columns; j++) d[g][j] = v16_load_bf16(b->d[j] + (size_t)g * b->d_group);
    amx_row at = {b->sums, b->scale, b->from, b->y};
    for (size_t row = 0; row < (n_planes == 2 ? SIDE : 2 * SIDE); row++, move_on(&at, b))
        finish_row_amx(&at, row, d, n_columns, n_planes, groups);
}

static void finish_alone(const amx_block *b, const int n_planes) {
    for (size_t g = 0; g < b->groups; g++) { /* one group at a time: this is not the way that must be fast */
        amx_block one = *b;
        one.sums += g * GROUP_SUMS;
        one.scale += g;
        if (g > 0) one.from = b->y, one.from_stride = B2_GEMM_STRIP;
        for (size_t j = 0; j < b->n_columns; j++) one.d[j] += g * b->d_group;
        if (b->n_columns == 2 && n_planes == 2) finish_rows_amx(&one, 2, 2, 1);
        else if (b->n_columns == 2) finish_rows_amx(&one, 2, 1, 1);
        else if (n_planes == 2) finish_rows_amx(&one, 1, 2, 1);
        else finish_rows_amx(&one, 1, 1, 1);
    }
}

/* ---- a strip -----------------------------------------------------------------------------------------------------
 *
 * A block's sums are pending until the next block has been multiplied; whoever reads y finishes it first. */

typedef struct amx_strip {
    const b2_quantised_rows *rows;
    const b2_weight_panels *w;
    float *y;
    amx_block blocks[2]; /* they take turns, each with its own sums */
    bool is_pending;     /* blocks[turn ^ 1] */
    unsigned turn;
    const char *run, *share; /* to be prefetched: runs of lines, one for each panel; where this one stands */
    size_t run_bytes, run_step, runs_left;
} amx_strip;

static void finish_pending(amx_strip *s) {
    if (s->is_pending) finish_alone(&s->blocks[s->turn ^ 1], s->rows->lo != NULL ? 2 : 1);
    s->is_pending = false;
}

/* The chunk after the one that begins at group g: further along K, or the first of the panels that come next. */
static void aim_prefetch(amx_strip *s, size_t g) {
    const b2_weight_panels *w = s->w;
    const size_t n_groups = s->rows->stride / B2_GROUP_LEN, group_bytes = B2_GROUP_LEN * w->panel;
    const size_t next = g + CHUNK_GROUPS < n_groups ? g + CHUNK_GROUPS : 0;
    const size_t n = n_groups - next < CHUNK_GROUPS ? n_groups - next : CHUNK_GROUPS;
    const int8_t *values = next > 0 || w->next == NULL ? w->values : w->next->values;
    s->run = s->share = (const char *)values + next * group_bytes;
    s->run_bytes = n * group_bytes;
    s->run_step = n_groups * group_bytes;
    s->runs_left = w->n_panels;
}

/* The next n_bytes of it, or what is left of the run: shares are of one group or two, so a last one may be cut. */
static const char *next_share(amx_strip *s, size_t n_bytes) {
    if (s->runs_left == 0) return (const char *)s->w->values; /* near already */
    const char *share = s->share;
    const bool is_last = (size_t)(share - s->run) + n_bytes >= s->run_bytes;
    s->runs_left -= is_last;
    if (is_last && s->runs_left > 0) s->run += s->run_step;
    s->share = is_last ? s->run : share + n_bytes;
    return share;
}

/* The strip's next block, in its place. */
static amx_block *place_block(amx_strip *s, size_t row, size_t column, size_t g, size_t groups) {
    static const _Alignas(64) float zeros[B2_GEMM_STRIP];
    const b2_weight_panels *w = s->w;
    const size_t k = s->rows->stride, p = w->panel, n_groups = k / B2_GROUP_LEN;
    const size_t column_bytes = p == SIDE ? p * k : LINE_BYTES, d_column = p == SIDE ? p * n_groups : SIDE;
    amx_block *b = &s->blocks[s->turn];
    b->rows[0] = s->rows->hi + row * k + g * B2_GROUP_LEN;
    b->rows[1] = s->rows->lo != NULL ? s->rows->lo + row * k + g * B2_GROUP_LEN : b->rows[0] + SIDE * k;
    b->stride = k;
    b->slot_bytes = 4 * p;
    b->group_bytes = B2_GROUP_LEN * p;
    b->scale = s->rows->scale + row * n_groups + g;
    b->n_groups = n_groups;
    b->d_group = p;
    b->y = s->y + row * B2_GEMM_STRIP + column * SIDE;
    b->from = g == 0 ? zeros : b->y;
    b->from_stride = g == 0 ? 0 : B2_GEMM_STRIP;
    b->n_columns = w->n_panels * p < (column + 2) * SIDE ? 1 : 2;
    b->groups = groups;
    for (size_t j = 0; j < b->n_columns; j++) {
        b->weights[j] = w->values + g * b->group_bytes + (column + j) * column_bytes;
        b->d[j] = w->scales + g * p + (column + j) * d_column;
    }
    return b;
}

/* b: the block that was placed last */
static void multiply_block(amx_strip *s, const amx_block *b) {
    static woven_fn *const woven[2][2][2] = {{{woven_1_11, woven_1_12}, {woven_1_21, woven_1_22}},
                                             {{woven_2_11, woven_2_12}, {woven_2_21, woven_2_22}}};
    const bool two_planes = s->rows->lo != NULL;
    const amx_block *done = &s->blocks[s->turn ^ 1];
    if (s->is_pending && b->n_columns == 2 && done->n_columns == 2) {
        woven[two_planes][b->groups - 1][done->groups - 1](b, done, next_share(s, b->groups * PRODUCTS * LINE_BYTES));
    } else {
        finish_pending(s);
        multiply_alone(b);
    }
    s->is_pending = true;
    s->turn ^= 1;
}

/* Results go to lines that no cache holds: asked for, to be written, while their sums come about. */
static void prefetch_results(const b2_gemm_out *out, size_t row, size_t end) {
    for (; row < end; row++)
        for (size_t n = 0; n < out->n; n += LINE_BYTES / sizeof(float))
            __builtin_prefetch(out->out + row * out->stride + n, 1);
}

static void finish_rows(const amx_strip *s, const b2_gemm_out *out, size_t row, size_t end) {
    for (; row < end; row++) b2_gemm_finish_row(out, row, s->y + row * B2_GEMM_STRIP);
}

/* The first n_rows rows, whole blocks of block_rows. A block's last sums are pending until the next rows are begun, so
 * rows are finished one turn later. */
static void multiply_rows(amx_strip *s, const b2_gemm_out *out, size_t n_rows, size_t block_rows) {
    const size_t n_groups = s->rows->stride / B2_GROUP_LEN, n_columns = s->w->n_panels * s->w->panel / SIDE;
    configure_tiles(SIDE);
    for (size_t chunk = 0; chunk < n_groups; chunk += CHUNK_GROUPS) {
        const size_t chunk_end = n_groups - chunk < CHUNK_GROUPS ? n_groups : chunk + CHUNK_GROUPS;
        aim_prefetch(s, chunk);
        for (size_t row = 0; row < n_rows; row += block_rows) {
            if (chunk_end == n_groups) prefetch_results(out, row, row + block_rows);
            for (size_t g = chunk, groups = 0; g < chunk_end; g += groups) {
                groups = chunk_end - g < BLOCK_GROUPS ? 1 : BLOCK_GROUPS;
                for (size_t c = 0; c < n_columns; c += 2) multiply_block(s, place_block(s, row, c, g, groups));
            }
            if (chunk_end == n_groups && row > 0) finish_rows(s, out, row - block_rows, row);
        }
    }
    finish_pending(s);
    release_tiles();
    finish_rows(s, out, n_rows - block_rows, n_rows);
}

static void multiply_few(const b2_quantised_rows *rows, const b2_weight_panels *w, const b2_gemm_out *out, float *y,
                         void *scratch) {
    if (is_few_rows_amx(rows, w)) gemm_few_rows_amx(rows, w, out, y, scratch);
    else b2_gemm_i8_avx512vnni(rows, w, out, y, scratch);
}

static void gemm_i8_amx(const b2_quantised_rows *rows, const b2_weight_panels *w, const b2_gemm_out *out, float *y,
                        void *scratch) {
    if (rows->n_rows <= SIDE || w->group != B2_GROUP_LEN) {
        multiply_few(rows, w, out, y, scratch);
        return;
    }
    int32_t *sums = scratch;
    amx_strip s = {.rows = rows, .w = w, .y = y, .blocks = {{.sums = sums}, {.sums = sums + BLOCK_SUMS}}};
    const size_t block_rows = rows->lo != NULL ? SIDE : 2 * SIDE, n_groups = rows->stride / B2_GROUP_LEN;
    const size_t whole = rows->n_rows / block_rows * block_rows;
    if (whole > 0) multiply_rows(&s, out, whole, block_rows);
    for (size_t first = whole, n = 0; first < rows->n_rows; first += n) { /* the rest, as calls of their own */
        n = rows->n_rows - first < SIDE ? rows->n_rows - first : SIDE;
        const b2_quantised_rows rest = {.hi = rows->hi + first * rows->stride,
                                        .lo = rows->lo == NULL ? NULL : rows->lo + first * rows->stride,
                                        .scale = rows->scale + first * n_groups,
                                        .sum = rows->sum + first * n_groups,
                                        .n_rows = n,
                                        .stride = rows->stride};
        b2_gemm_out end = *out;
        end.out += first * out->stride;
        multiply_few(&rest, w, &end, y + first * B2_GEMM_STRIP, scratch);
    }
}

void b2_isa_fill_amx(b2_isa *isa) {
    b2_isa_fill_avx512vnni(isa);
    isa->name = "amx";
    isa->gemm_i8 = gemm_i8_amx;
}
