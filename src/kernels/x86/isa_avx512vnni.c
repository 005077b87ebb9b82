/* isa_avx512vnni.c: 512-bit vectors with integer dot products: servers since 2019, Zen 4 and later. */
#include "kernels/isa_sets.h"

#if !defined(__AVX512VNNI__) || !defined(__AVX512VL__) || !defined(__AVX512BW__)
#error "compile this file with its flags (Makefile)"
#endif

#include "kernels/x86/vec16_avx512.h"

#include "kernels/attend16.h"
#include "kernels/gemm_walk.h"

/* ---- int8 products ----------------------------------------------------------------------------------------------
 *
 * Tile: 6 rows x 64 outputs, 24 accumulators, 4 registers of weights and one of activations. vpdpbusd multiplies
 * unsigned by signed: weights become unsigned by + 128 (one bit flipped), and the accumulators start at -128 times
 * the sum of the row's integers, which takes the offset back. Two planes go through the same accumulators one after
 * the other: the sum over hi, times 128, and on with lo. */

enum { TILE_COLUMNS = COLUMNS };

/* One instruction of asm each: GCC 12 copies and spills the accumulators of the intrinsics, 40 % of the speed. */
INLINE void dot(__m512i *sum, __m512i weights, __m512i activations) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(*sum) : "v"(weights), "v"(activations));
}
INLINE void times_128(__m512i *sum) { __asm__("vpslld $7, %0, %0" : "+v"(*sum)); }

INLINE __m512i broadcast_inputs(const int8_t *four) {
    int32_t word;
    memcpy(&word, four, sizeof word);
    return _mm512_set1_epi32(word);
}

INLINE void add_plane(const gemm_tile *t, const int8_t *plane, const int n_rows, const int n_columns,
                      const bool from_file, const char *ahead, __m512i sum[TILE_ROWS][TILE_COLUMNS]) {
    const __m512i flip = _mm512_set1_epi8((char)0x80);
    const int8_t *file = t->file;
    uint8_t *block = t->block;
    for (size_t k = 0; k < t->group; k += 4) {
        __m512i weights[TILE_COLUMNS];
        UNROLL
        for (int j = 0; j < n_columns; j++) {
            uint8_t *at = block + j * LINE_BYTES;
            if (from_file) {
                _mm_prefetch((const char *)file + (size_t)j * t->column_bytes + t->ahead_bytes, _MM_HINT_T0);
                weights[j] = _mm512_xor_si512(_mm512_loadu_si512(file + (size_t)j * t->column_bytes), flip);
                _mm512_store_si512(at, weights[j]);
            } else {
                weights[j] = _mm512_load_si512(at);
            }
        }
        if (!from_file) _mm_prefetch(ahead, _MM_HINT_T1);
        ahead += t->ahead_step;
        UNROLL
        for (int i = 0; i < n_rows; i++) {
            const __m512i inputs = broadcast_inputs(plane + (size_t)i * t->stride + k);
            UNROLL
            for (int j = 0; j < n_columns; j++) dot(&sum[i][j], weights[j], inputs);
        }
        file += t->slot_bytes;
        block += n_columns * LINE_BYTES;
    }
}

/* y = fma((float)sum, s d, y), the first group onto zeros */
INLINE void add_to_y(const gemm_tile *t, const int n_rows, const int n_columns,
                     __m512i sum[TILE_ROWS][TILE_COLUMNS]) {
    const float *scale = t->scale, *before = t->before;
    float *y = t->y;
    __m512 d[TILE_COLUMNS];
    UNROLL
    for (int j = 0; j < n_columns; j++) d[j] = v16_load_bf16(t->d + (size_t)j * t->d_column);
    UNROLL
    for (int i = 0; i < n_rows; i++) {
        const __m512 s = _mm512_set1_ps(*scale);
        UNROLL
        for (int j = 0; j < n_columns; j++) {
            const __m512 onto = _mm512_load_ps(before + j * COLUMN_OUTPUTS), sd = _mm512_mul_ps(s, d[j]);
            _mm512_store_ps(y + j * COLUMN_OUTPUTS, _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[i][j]), sd, onto));
        }
        scale += t->n_groups;
        before += t->before_stride;
        y += B2_GEMM_STRIP;
    }
}

INLINE void run_columns(const gemm_tile *t, const int n_rows, const int n_columns, const bool from_file,
                        const int n_planes) {
    __m512i sum[TILE_ROWS][TILE_COLUMNS];
    const int offset = n_planes == 2 ? -1 : -128; /* -1: the shift between the planes makes it -128 */
    UNROLL
    for (int i = 0; i < n_rows; i++) {
        const __m512i start = _mm512_set1_epi32(offset * t->sum[(size_t)i * t->n_groups]);
        UNROLL
        for (int j = 0; j < n_columns; j++) sum[i][j] = start;
    }
    add_plane(t, t->hi, n_rows, n_columns, from_file, t->ahead, sum);
    if (n_planes == 2) {
        UNROLL
        for (int i = 0; i < n_rows; i++) {
            UNROLL
            for (int j = 0; j < n_columns; j++) times_128(&sum[i][j]);
        }
        add_plane(t, t->lo, n_rows, n_columns, false, t->ahead + t->group / 4 * t->ahead_step, sum);
    }
    add_to_y(t, n_rows, n_columns, sum);
}

/* 64 outputs at once */
INLINE void run_shape(const gemm_tile *t, const int n_rows, const bool from_file, const int n_planes) {
    run_columns(t, n_rows, TILE_COLUMNS, from_file, n_planes);
}
GEMM_SHAPES(1) GEMM_SHAPES(2)

static void run_wide(const gemm_tile *t, size_t n_rows, bool from_file) {
    static gemm_shape_fn *const shapes[2][TILE_ROWS][2] = {GEMM_TABLE(1), GEMM_TABLE(2)};
    shapes[t->lo != NULL][n_rows - 1][from_file](t);
}

/* The last strip of a matrix may be narrower: one row and 16 outputs at once, straight from the file. */
static void run_narrow(const gemm_tile *t, size_t n_rows, bool from_file) {
    (void)from_file;
    gemm_tile row = *t;
    for (size_t i = 0; i < n_rows; i++) {
        if (t->lo == NULL) run_columns(&row, 1, 1, true, 1);
        else run_columns(&row, 1, 1, true, 2);
        row.hi += t->stride;
        row.lo = t->lo == NULL ? NULL : row.lo + t->stride;
        row.scale += t->n_groups;
        row.sum += t->n_groups;
        row.before += t->before_stride;
        row.y += B2_GEMM_STRIP;
    }
}

/* ---- few rows, panels of 64 ----------------------------------------------------------------------------------------
 *
 * One or two rows straight from the file, both planes from one line, summed side by side: S = 128 H + L - 128 (sum of
 * integers). 16 accumulators, 4 registers of inputs. */

enum { FEW_MOST_ROWS = 16 };

typedef struct few_sums {
    __m512i hi[LIVE_ROWS][TILE_COLUMNS], lo[LIVE_ROWS][TILE_COLUMNS];
} few_sums;

INLINE void add_slot(const gemm_tile *t, size_t slot, const int n_rows, const int n_planes, few_sums *s) {
    const int8_t *file = t->file + slot * t->slot_bytes;
    __m512i weights[TILE_COLUMNS];
    UNROLL
    for (int j = 0; j < TILE_COLUMNS; j++)
        weights[j] = _mm512_xor_si512(_mm512_loadu_si512(file + j * LINE_BYTES), _mm512_set1_epi8((char)0x80));
    UNROLL
    for (int i = 0; i < n_rows; i++) {
        const size_t at = (size_t)i * t->stride + 4 * slot;
        const __m512i inputs_hi = broadcast_inputs(t->hi + at);
        UNROLL
        for (int j = 0; j < TILE_COLUMNS; j++) dot(&s->hi[i][j], weights[j], inputs_hi);
        if (n_planes == 1) continue;
        const __m512i inputs_lo = broadcast_inputs(t->lo + at);
        UNROLL
        for (int j = 0; j < TILE_COLUMNS; j++) dot(&s->lo[i][j], weights[j], inputs_lo);
    }
}

INLINE void run_few(const gemm_tile *t, const int n_rows, const int n_planes, uint32_t live) {
    few_sums s;
    UNROLL
    for (int i = 0; i < n_rows; i++) {
        UNROLL
        for (int j = 0; j < TILE_COLUMNS; j++) s.hi[i][j] = s.lo[i][j] = _mm512_setzero_si512();
    }
    if (live != ALL_LIVE) {
        for (; live != 0; live &= live - 1) add_slot(t, (size_t)__builtin_ctz(live), n_rows, n_planes, &s);
    } else {
        const char *ahead = t->ahead;
        for (size_t slot = 0; slot < LIVE_GROUP / 4; slot++, ahead += t->ahead_step) {
            for (size_t i = 0; i < t->ahead_step; i += LINE_BYTES) _mm_prefetch(ahead + i, _MM_HINT_T0);
            add_slot(t, slot, n_rows, n_planes, &s);
        }
    }
    __m512i sum[TILE_ROWS][TILE_COLUMNS];
    UNROLL
    for (int i = 0; i < n_rows; i++) {
        const __m512i offset = _mm512_set1_epi32(-128 * t->sum[(size_t)i * t->n_groups]);
        UNROLL
        for (int j = 0; j < TILE_COLUMNS; j++) {
            if (n_planes == 2) times_128(&s.hi[i][j]);
            sum[i][j] = _mm512_add_epi32(_mm512_add_epi32(s.hi[i][j], s.lo[i][j]), offset);
        }
    }
    add_to_y(t, n_rows, TILE_COLUMNS, sum);
}

static void few_1_1(const gemm_tile *t, uint32_t live) { run_few(t, 1, 1, live); }
static void few_1_2(const gemm_tile *t, uint32_t live) { run_few(t, 1, 2, live); }
static void few_2_1(const gemm_tile *t, uint32_t live) { run_few(t, 2, 1, live); }
static void few_2_2(const gemm_tile *t, uint32_t live) { run_few(t, 2, 2, live); }

static void run_live(const gemm_tile *t, size_t n_rows, uint32_t live) {
    if (t->lo == NULL) n_rows == 1 ? few_1_1(t, live) : few_2_1(t, live);
    else n_rows == 1 ? few_1_2(t, live) : few_2_2(t, live);
}

/* ---- few rows: the words of gemm_stream.h -------------------------------------------------------------------------- */

enum { STREAM_ROWS = 8, STREAM_MOST_ROWS = 16, STREAM_CHAINS = 8 };

typedef int8_t stream_input;
typedef __m512i stream_line;
typedef struct stream_sum {
    __m512i hi, lo;
} stream_sum;

/* As asm: GCC 12 otherwise finds no register for it among eight rows' sums. */
INLINE stream_line stream_load(const int8_t *line) {
    __m512i weights;
    __asm__("vpxord %1, %2, %0"
            : "=v"(weights)
            : "m"(*(const __m512i *)(const void *)line), "v"(_mm512_set1_epi8((char)0x80)));
    return weights;
}
INLINE stream_sum stream_zero(void) { return (stream_sum){_mm512_setzero_si512(), _mm512_setzero_si512()}; }
INLINE void stream_add(stream_sum *sum, stream_line weights, const int8_t *hi, const int8_t *lo, const int n_planes) {
    dot(&sum->hi, weights, broadcast_inputs(hi));
    if (n_planes == 2) dot(&sum->lo, weights, broadcast_inputs(lo));
}
INLINE stream_sum stream_join(stream_sum a, stream_sum b) {
    return (stream_sum){_mm512_add_epi32(a.hi, b.hi), _mm512_add_epi32(a.lo, b.lo)};
}
INLINE v16i stream_total(stream_sum sum, const int n_planes, int32_t row_sum) {
    const __m512i both = n_planes == 2 ? _mm512_add_epi32(_mm512_slli_epi32(sum.hi, 7), sum.lo) : sum.hi;
    return _mm512_add_epi32(both, _mm512_set1_epi32(-128 * row_sum));
}

#include "kernels/gemm_stream.h"

static void gemm_i8(const b2_quantised_rows *rows, const b2_weight_panels *w, const b2_gemm_out *out, float *y,
                    void *scratch) {
    if (is_stream(rows, w)) {
        stream_strip(rows, rows->hi, rows->lo, w, out, y);
        return;
    }
    if (walk_live(rows, w, out, y, scratch, TILE_COLUMNS, FEW_MOST_ROWS, run_live)) return;
    const size_t n_planes = rows->lo != NULL ? 2 : 1;
    if (w->n_panels * w->panel == B2_GEMM_STRIP) walk_strip(rows, w, out, y, scratch, TILE_COLUMNS, 1, n_planes, run_wide);
    else walk_strip(rows, w, out, y, scratch, 1, 1, n_planes, run_narrow);
}

void b2_isa_fill_avx512vnni(b2_isa *isa) {
    fill_vectors(isa);
    isa->name = "avx512vnni";
    isa->gemm_i8 = gemm_i8;
    isa->gemm_f32_name = "avx512vnni";
}
