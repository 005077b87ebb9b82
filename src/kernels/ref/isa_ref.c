/* isa_ref.c: the definition of every number, for any CPU. Slow and plain; the others are compared with it. */
#include "kernels/isa_sets.h"

#include "kernels/body.h"

/* y = 0; for each group, in order: y = fma((float)S, s_g d_g, y) with the sum S exact in int32; two planes are put
 * together before the one conversion: S = 128 H + L. */
static void gemm_i8_plain(const b2_quantised_rows *rows, const b2_weight_panels *w, const b2_gemm_out *result, float *y,
                          void *scratch) {
    (void)scratch;
    const size_t p = w->panel, n_groups = rows->stride / w->group;
    for (size_t panel = 0; panel < w->n_panels; panel++)
        for (size_t m = 0; m < rows->n_rows; m++) {
            float *out = y + m * B2_GEMM_STRIP + panel * p;
            for (size_t n = 0; n < p; n++) out[n] = 0.0f;
            for (size_t g = 0; g < n_groups; g++) {
                int32_t sum[B2_GEMM_STRIP] = {0};
                const int8_t *hi = rows->hi + m * rows->stride + g * w->group;
                const int8_t *lo = rows->lo == NULL ? NULL : rows->lo + m * rows->stride + g * w->group;
                const int8_t *line = w->values + (panel * rows->stride + g * w->group) * p;
                for (size_t k = 0; k < w->group; k += 4, line += 4 * p)
                    for (size_t n = 0; n < p; n++)
                        for (size_t i = 0; i < 4; i++) {
                            const int32_t a = lo == NULL ? hi[k + i] : 128 * hi[k + i] + lo[k + i];
                            sum[n] += a * line[4 * n + i];
                        }
                const float s = rows->scale[m * n_groups + g];
                const uint16_t *d = w->scales + (panel * n_groups + g) * p;
                for (size_t n = 0; n < p; n++) out[n] = fmaf((float)sum[n], s * b2_bf16_to_f32(d[n]), out[n]);
            }
        }
    for (size_t m = 0; m < rows->n_rows; m++) b2_gemm_finish_row(result, m, y + m * B2_GEMM_STRIP);
}

static void gemm_f32_plain(const float *a, size_t a_stride, size_t n_rows, const float *w, size_t n_in, size_t n_out,
                           float *out, size_t out_stride) {
    for (size_t m = 0; m < n_rows; m++)
        for (size_t n = 0; n < n_out; n++) out[m * out_stride + n] = dot_f32_row(a + m * a_stride, w + n * n_in, n_in);
}

void b2_isa_fill_scalar(b2_isa *isa) {
    fill_plain(isa);
    isa->name = "scalar";
    isa->gemm_i8 = gemm_i8_plain;
    isa->gemm_f32 = gemm_f32_plain;
    isa->gemm_f32_name = "scalar";
}

/* log x for x >= 1: x = m 2^e with m in [1/sqrt 2, sqrt 2), s = (m - 1) / (m + 1), log m = 2 s + 2 s^3 (c0 + c1 s^2 +
 * ..) (least squares, error 5e-10). */
float b2_log_f32(float x) {
    if (!(x < INFINITY)) return x;
    const uint32_t bits = b2_f32_bits(x), offset = bits - 0x3F3504F3u; /* the bits of 1/sqrt 2 */
    const float e = (float)((int32_t)offset >> 23), m = b2_f32_from_bits(bits - (offset & 0xFF800000u));
    const float s = (m - 1.0f) / (m + 1.0f), u = s * s, twice = s + s;
    float p = 0.149438947f;
    p = fmaf(p, u, 0.199882075f);
    p = fmaf(p, u, 0.333333969f);
    p = fmaf(twice * u, p, twice);
    return fmaf(e, 0.693147182f, p);
}
