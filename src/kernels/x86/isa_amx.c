/* isa_amx.c: int8 products by the matrix unit of Intel servers since 2023; all else as avx512vnni.
 *
 * tdpbssd multiplies 16 rows x 64 inputs by 64 inputs x 16 outputs, signed by signed. 16 lines of the file as they lie
 * are one tile of weights; a tile of rows is read with the activations' own stride. Nothing is prepared or flipped.
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

#include "kernels/x86/vec16_avx512.h"

#include "quant/group.h"

#include <stdbool.h>

enum { LEAST_ROWS = 17 /* fewer are bound by reading */, LEAST_TILE_ROWS = 5 /* fewer left over go to avx512vnni */ };
enum { SIDE = 16, STEP = 64, STEPS = B2_GROUP_LEN / STEP, CHUNK_GROUPS = 4, BLOCK_GROUPS = 2, COLUMNS = 4 };
enum { TILE_SUMS = SIDE * SIDE, GROUP_SUMS = 4 * TILE_SUMS, BLOCK_SUMS = BLOCK_GROUPS * GROUP_SUMS };
enum { PRODUCTS = 8 /* of a whole block and group */, LINE_BYTES = 64 };

/* ---- the instructions -------------------------------------------------------------------------------------------
 *
 * As asm with memory operands: GCC's intrinsics do not say what they read, so a store to it may come later. */

#define TILE_ZERO(t) __asm__ volatile("tilezero %%tmm" #t : :)
#define TILE_DOT(sums, rows, weights) __asm__ volatile("tdpbssd %%tmm" #weights ", %%tmm" #rows ", %%tmm" #sums : :)
#define TILE_LOAD(t, from, stride)                                                                                     \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t                                                                   \
                     :                                                                                                 \
                     : "r"(from), "r"((size_t)(stride)), "m"(*(const char(*)[1 << 30])(const void *)(from)))
#define TILE_STORE(t, to)                                                                                              \
    __asm__ volatile("tilestored %%tmm" #t ", (%1,%2,1)"                                                               \
                     : "=m"(*(int32_t(*)[TILE_SUMS])(void *)(to))                                                      \
                     : "r"(to), "r"((size_t)(SIDE * 4)))

INLINE void zero_sums(void) {
    TILE_ZERO(0);
    TILE_ZERO(1);
    TILE_ZERO(2);
    TILE_ZERO(3);
}
INLINE void store_sums(int32_t *to) {
    TILE_STORE(0, to);
    TILE_STORE(1, to + TILE_SUMS);
    TILE_STORE(2, to + 2 * TILE_SUMS);
    TILE_STORE(3, to + 3 * TILE_SUMS);
}

/* Tiles 0 to 3: sums; 4 and 5: rows; 6 and 7: weights. Sizes are checked by the CPU: the last rows of a call, fewer
 * than 16, need a configuration of their own. */
static void configure_tiles(size_t n_rows) {
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1};
    for (int t = 0; t < 8; t++) {
        config.row_bytes[t] = STEP;
        config.rows[t] = t < 6 ? (uint8_t)n_rows : SIDE;
    }
    __asm__ volatile("ldtilecfg %0" : : "m"(config));
}
static void release_tiles(void) { __asm__ volatile("tilerelease" : :); }

/* ---- a block ----------------------------------------------------------------------------------------------------- */

typedef struct amx_block {
    const int8_t *rows[2]; /* two tiles of rows; two planes of one tile; or one tile */
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
    size_t n_tiles, n_columns, groups; /* n_tiles: of rows[] */
    size_t height;                     /* rows */
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

/* Any block, alone: the first of a call, the narrow end of a strip, rows left over. */
static void multiply_alone(const amx_block *b) {
    for (size_t g = 0; g < b->groups; g++) {
        zero_sums();
        for (size_t step = 0; step < STEPS; step++) {
            const size_t at = g * B2_GROUP_LEN + step * STEP, line = g * b->group_bytes + step * SIDE * b->slot_bytes;
            TILE_LOAD(6, b->weights[0] + line, b->slot_bytes);
            TILE_LOAD(4, b->rows[0] + at, b->stride);
            TILE_DOT(0, 4, 6);
            if (b->n_tiles == 2) TILE_LOAD(5, b->rows[1] + at, b->stride);
            if (b->n_tiles == 2) TILE_DOT(2, 5, 6);
            if (b->n_columns == 1) continue;
            TILE_LOAD(7, b->weights[1] + line, b->slot_bytes);
            TILE_DOT(1, 4, 7);
            if (b->n_tiles == 2) TILE_DOT(3, 5, 7);
        }
        store_sums(b->sums + g * GROUP_SUMS);
    }
}

INLINE void finish_rows_amx(const amx_block *b, const int n_columns, const int n_planes, const int groups) {
    v16 d[BLOCK_GROUPS][2];
    for (int g = 0; g < groups; g++)
        for (int j = 0; j < n_columns; j++) d[g][j] = v16_load_bf16(b->d[j] + (size_t)g * b->d_group);
    amx_row at = {b->sums, b->scale, b->from, b->y};
    for (size_t row = 0; row < b->height; row++, move_on(&at, b))
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
    const char *next_chunk; /* to be prefetched: runs of lines, one for each panel */
    size_t run_bytes, run_step, chunk_bytes, prefetched_bytes;
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
    s->next_chunk = (const char *)values + next * group_bytes;
    s->run_bytes = n * group_bytes;
    s->run_step = n_groups * group_bytes;
    s->chunk_bytes = w->n_panels * s->run_bytes;
    s->prefetched_bytes = 0;
}

/* The next n_bytes of it: a share never crosses the end of a run, which is a multiple of it. */
static const char *next_share(amx_strip *s, size_t n_bytes) {
    const size_t at = s->prefetched_bytes;
    if (at >= s->chunk_bytes) return (const char *)s->w->values; /* near already */
    s->prefetched_bytes += n_bytes;
    return s->next_chunk + at / s->run_bytes * s->run_step + at % s->run_bytes;
}

static amx_block place_block(const amx_strip *s, size_t row, size_t height, size_t column, size_t g, size_t groups) {
    static const _Alignas(64) float zeros[B2_GEMM_STRIP];
    const b2_weight_panels *w = s->w;
    const size_t k = s->rows->stride, p = w->panel, n_groups = k / B2_GROUP_LEN;
    const size_t n_columns = w->n_panels * p / SIDE - column < 2 ? 1 : 2;
    const size_t column_bytes = p == SIDE ? p * k : LINE_BYTES, d_column = p == SIDE ? p * n_groups : SIDE;
    const int8_t *hi = s->rows->hi + row * k + g * B2_GROUP_LEN;
    const int8_t *lo = s->rows->lo == NULL ? NULL : s->rows->lo + row * k + g * B2_GROUP_LEN;
    float *y = s->y + row * B2_GEMM_STRIP + column * SIDE;
    amx_block b = {.rows = {hi, lo != NULL ? lo : hi + SIDE * k},
                   .stride = k,
                   .slot_bytes = 4 * p,
                   .group_bytes = B2_GROUP_LEN * p,
                   .sums = s->blocks[s->turn].sums,
                   .scale = s->rows->scale + row * n_groups + g,
                   .n_groups = n_groups,
                   .d_group = p,
                   .y = y,
                   .from = g == 0 ? zeros : y,
                   .from_stride = g == 0 ? 0 : B2_GEMM_STRIP,
                   .n_tiles = lo != NULL || height > SIDE ? 2 : 1,
                   .n_columns = n_columns,
                   .groups = groups,
                   .height = height};
    for (size_t j = 0; j < n_columns; j++) {
        b.weights[j] = w->values + g * b.group_bytes + (column + j) * column_bytes;
        b.d[j] = w->scales + g * p + (column + j) * d_column;
    }
    return b;
}

static bool is_whole(const amx_block *b, bool two_planes) {
    return b->n_columns == 2 && b->height == (two_planes ? SIDE : 2 * SIDE);
}

static void multiply_block(amx_strip *s, const amx_block *b) {
    static woven_fn *const woven[2][2][2] = {{{woven_1_11, woven_1_12}, {woven_1_21, woven_1_22}},
                                             {{woven_2_11, woven_2_12}, {woven_2_21, woven_2_22}}};
    const bool two_planes = s->rows->lo != NULL;
    const amx_block *done = &s->blocks[s->turn ^ 1];
    s->blocks[s->turn] = *b;
    if (s->is_pending && is_whole(b, two_planes) && is_whole(done, two_planes)) {
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

/* Rows first to first + n_rows - 1 in blocks of at most most_rows rows, tiles of tile_rows. A block's last sums are
 * pending until the next rows are begun, so rows are finished one turn later. */
static void multiply_rows(amx_strip *s, const b2_gemm_out *out, size_t first, size_t n_rows, size_t tile_rows) {
    const size_t n_groups = s->rows->stride / B2_GROUP_LEN, n_columns = s->w->n_panels * s->w->panel / SIDE;
    const size_t most_rows = s->rows->lo != NULL ? tile_rows : 2 * tile_rows, end = first + n_rows;
    configure_tiles(tile_rows);
    for (size_t chunk = 0; chunk < n_groups; chunk += CHUNK_GROUPS) {
        const size_t chunk_end = n_groups - chunk < CHUNK_GROUPS ? n_groups : chunk + CHUNK_GROUPS;
        aim_prefetch(s, chunk);
        for (size_t row = first, height = 0; row < end; row += height) {
            height = end - row < most_rows ? end - row : most_rows;
            if (chunk_end == n_groups) prefetch_results(out, row, row + height);
            for (size_t g = chunk, groups = 0; g < chunk_end; g += groups) {
                groups = chunk_end - g < BLOCK_GROUPS ? 1 : BLOCK_GROUPS;
                for (size_t c = 0; c < n_columns; c += 2) {
                    const amx_block b = place_block(s, row, height, c, g, groups);
                    multiply_block(s, &b);
                }
            }
            if (chunk_end == n_groups && row > first) finish_rows(s, out, row - most_rows, row);
        }
    }
    finish_pending(s);
    finish_rows(s, out, first + (n_rows - 1) / most_rows * most_rows, end);
    release_tiles();
}

/* The last rows of a call as a call of their own. */
static void multiply_rest(const b2_quantised_rows *rows, const b2_weight_panels *w, const b2_gemm_out *out, float *y,
                          void *scratch, size_t first) {
    const size_t n_groups = rows->stride / B2_GROUP_LEN;
    const b2_quantised_rows rest = {.hi = rows->hi + first * rows->stride,
                                    .lo = rows->lo == NULL ? NULL : rows->lo + first * rows->stride,
                                    .scale = rows->scale + first * n_groups,
                                    .sum = rows->sum + first * n_groups,
                                    .n_rows = rows->n_rows - first,
                                    .stride = rows->stride};
    b2_gemm_out end = *out;
    end.out += first * out->stride;
    b2_gemm_i8_avx512vnni(&rest, w, &end, y + first * B2_GEMM_STRIP, scratch);
}

static void gemm_i8_amx(const b2_quantised_rows *rows, const b2_weight_panels *w, const b2_gemm_out *out, float *y,
                        void *scratch) {
    if (rows->n_rows < LEAST_ROWS || w->group != B2_GROUP_LEN) {
        b2_gemm_i8_avx512vnni(rows, w, out, y, scratch);
        return;
    }
    int32_t *sums = scratch;
    amx_strip s = {.rows = rows, .w = w, .y = y, .blocks = {{.sums = sums}, {.sums = sums + BLOCK_SUMS}}};
    const size_t whole = rows->n_rows / SIDE * SIDE, left = rows->n_rows - whole;
    multiply_rows(&s, out, 0, whole, SIDE);
    if (left >= LEAST_TILE_ROWS) multiply_rows(&s, out, whole, left, left);
    else if (left > 0) multiply_rest(rows, w, out, y, scratch, whole);
}

void b2_isa_fill_amx(b2_isa *isa) {
    b2_isa_fill_avx512vnni(isa);
    isa->name = "amx";
    isa->gemm_i8 = gemm_i8_amx;
}
