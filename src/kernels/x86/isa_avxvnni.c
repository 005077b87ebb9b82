/* isa_avxvnni.c: 256-bit vectors with integer dot products: laptops since 2021. */
#include "kernels/isa_sets.h"

#if !defined(__AVXVNNI__) || !defined(__AVX2__) || !defined(__FMA__)
#error "compile this file with its flags (Makefile)"
#endif

#include "kernels/x86/vec16_avx2.h"

#include "kernels/attend16.h"
#include "kernels/gemm_walk.h"

/* ---- int8 products ----------------------------------------------------------------------------------------------
 *
 * Tile: 6 rows x 16 outputs in two registers each: 12 accumulators, 2 of weights, one of activations, of 16. Unsigned
 * weights, starting sums and the two planes as in isa_avx512vnni.c. */

enum { HALVES = 2, HALF_BYTES = LINE_BYTES / HALVES, HALF_OUTPUTS = COLUMN_OUTPUTS / HALVES };

/* One instruction of asm each: GCC 12 copies and spills the accumulators of the intrinsics. */
INLINE void dot(__m256i *sum, __m256i weights, __m256i activations) {
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(*sum) : "x"(weights), "x"(activations));
}
INLINE void times_128(__m256i *sum) { __asm__("vpslld $7, %0, %0" : "+x"(*sum)); }

INLINE __m256i broadcast_inputs(const int8_t *four) {
    int32_t word;
    memcpy(&word, four, sizeof word);
    return _mm256_set1_epi32(word);
}

INLINE void add_plane(const gemm_tile *t, const int8_t *plane, const int n_rows, const bool from_file,
                      const char *ahead, __m256i sum[TILE_ROWS][HALVES]) {
    const int8_t *file = t->file;
    uint8_t *block = t->block;
    for (size_t k = 0; k < t->group; k += 4) {
        __m256i weights[HALVES];
        if (from_file) _mm_prefetch((const char *)file + t->ahead_bytes, _MM_HINT_T0);
        else _mm_prefetch(ahead, _MM_HINT_T1);
        ahead += t->ahead_step;
        UNROLL
        for (int j = 0; j < HALVES; j++) {
            __m256i *at = (__m256i *)(void *)(block + j * HALF_BYTES);
            if (from_file) {
                const __m256i *half = (const __m256i *)(const void *)(file + j * HALF_BYTES);
                weights[j] = _mm256_xor_si256(_mm256_loadu_si256(half), _mm256_set1_epi8((char)0x80));
                _mm256_store_si256(at, weights[j]);
            } else {
                weights[j] = _mm256_load_si256(at);
            }
        }
        UNROLL
        for (int i = 0; i < n_rows; i++) {
            const __m256i inputs = broadcast_inputs(plane + (size_t)i * t->stride + k);
            UNROLL
            for (int j = 0; j < HALVES; j++) dot(&sum[i][j], weights[j], inputs);
        }
        file += t->slot_bytes;
        block += LINE_BYTES;
    }
}

/* y = fma((float)sum, s d, y), the first group onto zeros */
INLINE void add_to_y(const gemm_tile *t, const int n_rows, __m256i sum[TILE_ROWS][HALVES]) {
    const float *scale = t->scale, *before = t->before;
    float *y = t->y;
    __m256 d[HALVES];
    UNROLL
    for (int j = 0; j < HALVES; j++) {
        const __m128i eight = _mm_loadu_si128((const __m128i *)(const void *)(t->d + j * HALF_OUTPUTS));
        d[j] = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(eight), 16));
    }
    UNROLL
    for (int i = 0; i < n_rows; i++) {
        const __m256 s = _mm256_set1_ps(*scale);
        UNROLL
        for (int j = 0; j < HALVES; j++) {
            const __m256 onto = _mm256_load_ps(before + j * HALF_OUTPUTS), sd = _mm256_mul_ps(s, d[j]);
            _mm256_store_ps(y + j * HALF_OUTPUTS, _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[i][j]), sd, onto));
        }
        scale += t->n_groups;
        before += t->before_stride;
        y += B2_GEMM_STRIP;
    }
}

INLINE void run_shape(const gemm_tile *t, const int n_rows, const bool from_file, const int n_planes) {
    __m256i sum[TILE_ROWS][HALVES];
    const int offset = n_planes == 2 ? -1 : -128; /* -1: the shift between the planes makes it -128 */
    UNROLL
    for (int i = 0; i < n_rows; i++) {
        const __m256i start = _mm256_set1_epi32(offset * t->sum[(size_t)i * t->n_groups]);
        UNROLL
        for (int j = 0; j < HALVES; j++) sum[i][j] = start;
    }
    add_plane(t, t->hi, n_rows, from_file, t->ahead, sum);
    if (n_planes == 2) {
        UNROLL
        for (int i = 0; i < n_rows; i++) {
            UNROLL
            for (int j = 0; j < HALVES; j++) times_128(&sum[i][j]);
        }
        add_plane(t, t->lo, n_rows, false, t->ahead + t->group / 4 * t->ahead_step, sum);
    }
    add_to_y(t, n_rows, sum);
}

GEMM_SHAPES(1) GEMM_SHAPES(2)

static void run_tile(const gemm_tile *t, size_t n_rows, bool from_file) {
    static gemm_shape_fn *const shapes[2][TILE_ROWS][2] = {GEMM_TABLE(1), GEMM_TABLE(2)};
    shapes[t->lo != NULL][n_rows - 1][from_file](t);
}

/* Slots come one by one, so both planes are summed side by side: S = 128 H + L - 128 (sum of integers). */
INLINE void run_live_shape(const gemm_tile *t, const int n_rows, const int n_planes, uint32_t live) {
    __m256i hi[LIVE_ROWS][HALVES], lo[LIVE_ROWS][HALVES];
    UNROLL
    for (int i = 0; i < n_rows; i++) {
        UNROLL
        for (int j = 0; j < HALVES; j++) hi[i][j] = lo[i][j] = _mm256_setzero_si256();
    }
    for (; live != 0; live &= live - 1) {
        const size_t slot = (size_t)__builtin_ctz(live);
        __m256i weights[HALVES];
        UNROLL
        for (int j = 0; j < HALVES; j++) {
            const int8_t *half = t->file + slot * t->slot_bytes + j * HALF_BYTES;
            weights[j] = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(const void *)half),
                                          _mm256_set1_epi8((char)0x80));
        }
        UNROLL
        for (int i = 0; i < n_rows; i++) {
            const size_t at = (size_t)i * t->stride + 4 * slot;
            const __m256i inputs_hi = broadcast_inputs(t->hi + at);
            UNROLL
            for (int j = 0; j < HALVES; j++) dot(&hi[i][j], weights[j], inputs_hi);
            if (n_planes == 1) continue;
            const __m256i inputs_lo = broadcast_inputs(t->lo + at);
            UNROLL
            for (int j = 0; j < HALVES; j++) dot(&lo[i][j], weights[j], inputs_lo);
        }
    }
    __m256i sum[TILE_ROWS][HALVES];
    UNROLL
    for (int i = 0; i < n_rows; i++) {
        const __m256i offset = _mm256_set1_epi32(-128 * t->sum[(size_t)i * t->n_groups]);
        UNROLL
        for (int j = 0; j < HALVES; j++) {
            if (n_planes == 2) times_128(&hi[i][j]);
            sum[i][j] = _mm256_add_epi32(_mm256_add_epi32(hi[i][j], lo[i][j]), offset);
        }
    }
    add_to_y(t, n_rows, sum);
}

static void run_live(const gemm_tile *t, size_t n_rows, uint32_t live) {
    if (t->lo == NULL) n_rows == 1 ? run_live_shape(t, 1, 1, live) : run_live_shape(t, 2, 1, live);
    else n_rows == 1 ? run_live_shape(t, 1, 2, live) : run_live_shape(t, 2, 2, live);
}

/* ---- few rows: the words of gemm_stream.h -------------------------------------------------------------------------- */

enum { STREAM_ROWS = 2, STREAM_MOST_ROWS = 4, STREAM_CHAINS = 4 };

typedef int8_t stream_input;
typedef v16i stream_line;
typedef struct stream_sum {
    v16i hi, lo;
} stream_sum;

INLINE stream_line stream_load(const int8_t *line) {
    return v16i_xor(v16i_load_bytes(line), v16i_set((int32_t)0x80808080u));
}
INLINE stream_sum stream_zero(void) { return (stream_sum){v16i_set(0), v16i_set(0)}; }
INLINE void dot_line(v16i *sum, v16i weights, const int8_t *four) {
    const __m256i inputs = broadcast_inputs(four);
    dot(&sum->a, weights.a, inputs);
    dot(&sum->b, weights.b, inputs);
}
INLINE void stream_add(stream_sum *sum, stream_line weights, const int8_t *hi, const int8_t *lo, const int n_planes) {
    dot_line(&sum->hi, weights, hi);
    if (n_planes == 2) dot_line(&sum->lo, weights, lo);
}
INLINE stream_sum stream_join(stream_sum v, stream_sum w) {
    return (stream_sum){v16i_add(v.hi, w.hi), v16i_add(v.lo, w.lo)};
}
INLINE v16i stream_total(stream_sum sum, const int n_planes, int32_t row_sum) {
    const v16i both = n_planes == 2 ? v16i_add(v16i_shift_left(sum.hi, 7), sum.lo) : sum.hi;
    return v16i_add(both, v16i_set(-128 * row_sum));
}

#include "kernels/gemm_stream.h"

static void gemm_i8(const b2_quantised_rows *rows, const b2_weight_panels *w, const b2_gemm_out *out, float *y,
                    void *scratch) {
    if (is_stream(rows, w)) {
        stream_strip(rows, rows->hi, rows->lo, w, out, y);
        return;
    }
    if (walk_live(rows, w, out, y, scratch, 1, LIVE_ROWS, run_live)) return;
    walk_strip(rows, w, out, y, scratch, 1, 1, rows->lo != NULL ? 2 : 1, run_tile);
}

void b2_isa_fill_avxvnni(b2_isa *isa) {
    fill_vectors(isa);
    isa->name = "avxvnni";
    isa->gemm_i8 = gemm_i8;
    isa->gemm_f32_name = "avxvnni";
}
