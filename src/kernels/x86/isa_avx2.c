/* isa_avx2.c: 256-bit vectors, the x86 CPUs since 2013 (AVX2, FMA, F16C). */
#include "kernels/isa_sets.h"

#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "compile this file with its flags (Makefile)"
#endif

#include "kernels/x86/vec16_avx2.h"

#include "kernels/attend16.h"
#include "kernels/gemm_walk.h"

/* ---- int8 products ----------------------------------------------------------------------------------------------
 *
 * The only exact products are of 16 bits: vpmaddwd multiplies 16 pairs and adds neighbours. Weights are widened once
 * for all rows, the rows of a block once for all columns; 128 hi + lo has 15 bits, so one kernel serves one plane and
 * two, and no sum can overflow: 128 inputs of 16383 * 127 stay below 2^28.
 *
 * Tile: 6 rows x 8 outputs. A register holds 4 outputs x 4 inputs and so two partial sums of each output, which meet
 * at the end of the group: 12 accumulators, 2 of weights, one of activations and one of products, of 16. */

enum { QUADS = 2, QUAD_OUTPUTS = 4, TILE_OUTPUTS = QUADS * QUAD_OUTPUTS };
enum { QUAD_BYTES = QUAD_OUTPUTS * 4, TILE_LINE_BYTES = 2 * QUADS * QUAD_BYTES, BLOCK_BYTES = 2 };

/* The rows of a block as int16 [TILE_ROWS][group], behind the prepared weights in scratch. */
INLINE int16_t *widened_rows(const gemm_tile *t) { return (int16_t *)(void *)t->spare; }

INLINE __m256i widen(const int8_t *sixteen) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)sixteen));
}

/* n inputs, both planes in one */
INLINE void widen_row(const int8_t *hi, const int8_t *lo, size_t n, int16_t *out) {
    size_t k = 0;
    for (; k + 16 <= n; k += 16) {
        __m256i wide = widen(hi + k);
        if (lo != NULL) wide = _mm256_add_epi16(_mm256_slli_epi16(wide, 7), widen(lo + k));
        _mm256_storeu_si256((__m256i *)(void *)(out + k), wide);
    }
    for (; k < n; k++) out[k] = (int16_t)(lo == NULL ? hi[k] : 128 * hi[k] + lo[k]);
}

/* Meanwhile the rows of the next block are fetched: at K = 6144 all rows together are larger than most L2. */
static void widen_rows(const gemm_tile *t, size_t n_rows) {
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

/* sum += products of pairs. asm keeps the two together: GCC 12 collects products first, runs out of registers, spills. */
INLINE void dot(__m256i *sum, __m256i weights, __m256i inputs) {
    __m256i pairs;
    __asm__("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0" : "+x"(*sum), "=&x"(pairs) : "x"(weights), "x"(inputs));
}

INLINE __m256i broadcast_inputs(const int16_t *four) {
    int64_t word;
    memcpy(&word, four, sizeof word);
    return _mm256_set1_epi64x(word);
}

INLINE void add_group(const gemm_tile *t, const int n_rows, const bool from_file, __m256i sum[TILE_ROWS][QUADS]) {
    const int16_t *inputs = widened_rows(t);
    const int8_t *file = t->file;
    uint8_t *block = t->block;
    const char *ahead = t->ahead;
    const size_t group = t->group;
    for (size_t k = 0; k < group; k += 4) {
        __m256i weights[QUADS];
        if (from_file) _mm_prefetch((const char *)file + t->ahead_bytes, _MM_HINT_T0);
        else _mm_prefetch(ahead, _MM_HINT_T1);
        ahead += t->ahead_step;
        UNROLL
        for (int j = 0; j < QUADS; j++) {
            __m256i *at = (__m256i *)(void *)(block + j * 2 * QUAD_BYTES);
            if (from_file) {
                const __m128i *quad = (const __m128i *)(const void *)(file + j * QUAD_BYTES);
                weights[j] = _mm256_cvtepi8_epi16(_mm_loadu_si128(quad));
                _mm256_store_si256(at, weights[j]);
            } else {
                weights[j] = _mm256_load_si256(at);
            }
        }
        UNROLL
        for (int i = 0; i < n_rows; i++) {
            const __m256i four = broadcast_inputs(inputs + (size_t)i * group + k);
            UNROLL
            for (int j = 0; j < QUADS; j++) dot(&sum[i][j], weights[j], four);
        }
        file += t->slot_bytes;
        block += TILE_LINE_BYTES;
    }
}

/* Eight outputs from two registers of partial sums. hadd works within halves of a register: outputs 0 1 4 5 2 3 6 7. */
INLINE __m256i add_pairs(__m256i first, __m256i second) {
    return _mm256_permute4x64_epi64(_mm256_hadd_epi32(first, second), 0xD8);
}

/* y = fma((float)sum, s d, y), the first group onto zeros */
INLINE void add_to_y(const gemm_tile *t, const int n_rows, __m256i sum[TILE_ROWS][QUADS]) {
    const float *scale = t->scale, *before = t->before;
    float *y = t->y;
    const __m256 d = load_bf16_eight(t->d);
    UNROLL
    for (int i = 0; i < n_rows; i++) {
        const __m256 total = _mm256_cvtepi32_ps(add_pairs(sum[i][0], sum[i][1]));
        const __m256 sd = _mm256_mul_ps(_mm256_set1_ps(*scale), d);
        _mm256_store_ps(y, _mm256_fmadd_ps(total, sd, _mm256_load_ps(before)));
        scale += t->n_groups;
        before += t->before_stride;
        y += B2_GEMM_STRIP;
    }
}

INLINE void run_shape(const gemm_tile *t, const int n_rows, const bool from_file, const int n_planes) {
    (void)n_planes; /* the widened rows hold both */
    __m256i sum[TILE_ROWS][QUADS];
    UNROLL
    for (int i = 0; i < n_rows; i++) {
        UNROLL
        for (int j = 0; j < QUADS; j++) sum[i][j] = _mm256_setzero_si256();
    }
    add_group(t, n_rows, from_file, sum);
    add_to_y(t, n_rows, sum);
}

GEMM_SHAPES(1)

static void next_tile(gemm_tile *t) {
    t->file += TILE_OUTPUTS * 4;
    if (t->block != NULL) t->block += TILE_LINE_BYTES / 4 * t->group; /* NULL: the live slots come from the file */
    t->d += TILE_OUTPUTS;
    t->ahead += t->group / 4 * t->ahead_step;
    t->y += TILE_OUTPUTS;
    t->before += TILE_OUTPUTS;
}

/* a column of 16 outputs: two tiles */
static void run_tile(const gemm_tile *t, size_t n_rows, bool from_file) {
    static gemm_shape_fn *const shapes[TILE_ROWS][2] = GEMM_TABLE(1);
    if (t->is_first_column) widen_rows(t, n_rows);
    gemm_tile half = *t;
    for (int i = 0; i < 2; i++, next_tile(&half)) shapes[n_rows - 1][from_file](&half);
}

/* 8 outputs of the live slots. */
INLINE void run_live_shape(const gemm_tile *t, const int n_rows, uint32_t live) {
    const int16_t *inputs = widened_rows(t);
    __m256i sum[TILE_ROWS][QUADS];
    UNROLL
    for (int i = 0; i < n_rows; i++) {
        UNROLL
        for (int j = 0; j < QUADS; j++) sum[i][j] = _mm256_setzero_si256();
    }
    for (; live != 0; live &= live - 1) {
        const size_t slot = (size_t)__builtin_ctz(live);
        __m256i weights[QUADS];
        UNROLL
        for (int j = 0; j < QUADS; j++) weights[j] = widen(t->file + slot * t->slot_bytes + j * QUAD_BYTES);
        UNROLL
        for (int i = 0; i < n_rows; i++) {
            const __m256i four = broadcast_inputs(inputs + (size_t)i * LIVE_GROUP + 4 * slot);
            UNROLL
            for (int j = 0; j < QUADS; j++) dot(&sum[i][j], weights[j], four);
        }
    }
    add_to_y(t, n_rows, sum);
}

static void run_live(const gemm_tile *t, size_t n_rows, uint32_t live) {
    if (t->is_first_column) widen_rows(t, n_rows);
    gemm_tile half = *t;
    for (int i = 0; i < 2; i++, next_tile(&half))
        if (n_rows == 1) run_live_shape(&half, 1, live);
        else run_live_shape(&half, 2, live);
}

/* ---- few rows: the words of gemm_stream.h --------------------------------------------------------------------------
 *
 * All of a row is widened at the start of a strip, 128 hi + lo in one. */

enum { STREAM_ROWS = 2, STREAM_MOST_ROWS = 4, STREAM_CHAINS = 1, STREAM_QUADS = COLUMN_OUTPUTS / QUAD_OUTPUTS };

typedef int16_t stream_input;
typedef struct stream_line {
    __m256i quads[STREAM_QUADS];
} stream_line;
typedef stream_line stream_sum; /* two partial sums of each output, as in the tile */

INLINE stream_line stream_load(const int8_t *line) {
    stream_line weights;
    UNROLL
    for (int j = 0; j < STREAM_QUADS; j++) weights.quads[j] = widen(line + j * QUAD_BYTES);
    return weights;
}
INLINE stream_sum stream_zero(void) {
    const __m256i zero = _mm256_setzero_si256();
    return (stream_sum){{zero, zero, zero, zero}};
}
INLINE void stream_add(stream_sum *sum, stream_line weights, const int16_t *four, const int16_t *lo, const int n_planes) {
    (void)lo, (void)n_planes;
    const __m256i inputs = broadcast_inputs(four);
    UNROLL
    for (int j = 0; j < STREAM_QUADS; j++) dot(&sum->quads[j], weights.quads[j], inputs);
}
INLINE stream_sum stream_join(stream_sum a, stream_sum b) {
    UNROLL
    for (int j = 0; j < STREAM_QUADS; j++) a.quads[j] = _mm256_add_epi32(a.quads[j], b.quads[j]);
    return a;
}
INLINE v16i stream_total(stream_sum sum, const int n_planes, int32_t row_sum) {
    (void)n_planes, (void)row_sum;
    return (v16i){add_pairs(sum.quads[0], sum.quads[1]), add_pairs(sum.quads[2], sum.quads[3])};
}

#include "kernels/gemm_stream.h"

static void gemm_i8(const b2_quantised_rows *rows, const b2_weight_panels *w, const b2_gemm_out *out, float *y,
                    void *scratch) {
    const size_t n_inputs = rows->n_rows * rows->stride;
    if (is_stream(rows, w) && n_inputs * sizeof(int16_t) <= B2_GEMM_SCRATCH_BYTES) {
        int16_t *inputs = scratch;
        widen_row(rows->hi, rows->lo, n_inputs, inputs);
        stream_strip(rows, inputs, NULL, w, out, y);
        return;
    }
    if (walk_live(rows, w, out, y, scratch, 1, LIVE_ROWS, run_live)) return;
    walk_strip(rows, w, out, y, scratch, 1, BLOCK_BYTES, 2, run_tile);
}

void b2_isa_fill_avx2(b2_isa *isa) {
    fill_vectors(isa);
    isa->name = "avx2";
    isa->gemm_i8 = gemm_i8;
    isa->gemm_f32_name = "avx2";
}
