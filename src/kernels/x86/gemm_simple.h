/* gemm_simple.h: the int8 product with AVX2 alone, one row and 16 outputs at a time. */
#ifndef B2_GEMM_SIMPLE_H
#define B2_GEMM_SIMPLE_H

#include "kernels/body.h"

#include <immintrin.h>

/* 4 inputs of one row as int16, four times: 128 hi + lo fits 15 bits */
static inline __m256i broadcast_inputs(const int8_t *hi, const int8_t *lo) {
    int64_t four = 0;
    for (int i = 0; i < 4; i++) {
        const int a = lo == NULL ? hi[i] : 128 * hi[i] + lo[i];
        four |= (int64_t)((uint64_t)(uint16_t)a << 16 * i);
    }
    return _mm256_set1_epi64x(four);
}

static void gemm_i8_simple(const b2_quantised_rows *rows, const b2_weight_panels *w, float *y, void *scratch) {
    (void)scratch;
    const size_t p = w->panel, n_groups = rows->stride / w->group;
    for (size_t n = 0; n < w->n_panels * p; n += 16)
        for (size_t m = 0; m < rows->n_rows; m++) {
            float *out = y + m * B2_GEMM_STRIP + n;
            for (size_t i = 0; i < 16; i++) out[i] = 0.0f;
            for (size_t g = 0; g < n_groups; g++) {
                __m256i c[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(),
                                _mm256_setzero_si256()};
                const size_t at = m * rows->stride + g * w->group;
                const int8_t *line = w->values + n / p * p * rows->stride + g * w->group * p + n % p * 4;
                for (size_t k = 0; k < w->group; k += 4, line += 4 * p) {
                    const __m256i a = broadcast_inputs(rows->hi + at + k, rows->lo == NULL ? NULL : rows->lo + at + k);
                    for (int i = 0; i < 4; i++) {
                        const __m128i four = _mm_loadu_si128((const __m128i *)(const void *)(line + 16 * i));
                        c[i] = _mm256_add_epi32(c[i], _mm256_madd_epi16(_mm256_cvtepi8_epi16(four), a));
                    }
                }
                int32_t sum[32];
                for (int i = 0; i < 4; i++) _mm256_storeu_si256((__m256i *)(void *)(sum + 8 * i), c[i]);
                const float s = rows->scale[m * n_groups + g];
                const uint16_t *d = w->scales + (n / p * n_groups + g) * p + n % p;
                for (size_t i = 0; i < 16; i++)
                    out[i] = fmaf((float)(sum[2 * i] + sum[2 * i + 1]), s * b2_bf16_to_f32(d[i]), out[i]);
            }
        }
}

#endif
