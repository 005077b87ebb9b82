/* isa_blas.c: matrix products through any CBLAS, one thread per call: the threads are ours.
 *
 * int8: a group of 128 products of integers below 2^7 sums to less than 2^21, exact in f32 in any order, so every
 * BLAS gives the one right S, and from there the arithmetic is the reference's. */
#include "kernels/isa_sets.h"

#include "quant/half.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

/* What is worked on at once: a strip of outputs against up to ROWS rows, one group of K. */
enum { GROUP = 128, ROWS = 128, STRIP = B2_GEMM_STRIP };

typedef struct blas_scratch {
    float weights[STRIP * GROUP];    /* [outputs][GROUP] */
    float activations[ROWS * GROUP]; /* [rows][GROUP] */
    float sum[2][ROWS * STRIP];      /* [plane][rows][outputs] */
} blas_scratch;
_Static_assert(sizeof(blas_scratch) <= B2_GEMM_SCRATCH_BYTES, "it must fit the scratch that every kernel gets");

static void widen_weights(const b2_weight_panels *w, size_t k_padded, size_t g, float *out) {
    for (size_t panel = 0; panel < w->n_panels; panel++, out += w->panel * w->group) {
        const int8_t *values = w->values + (panel * k_padded + g * w->group) * w->panel;
        for (size_t k = 0; k < w->group; k += 4)
            for (size_t n = 0; n < w->panel; n++)
                for (size_t i = 0; i < 4; i++) out[n * w->group + k + i] = (float)*values++;
    }
}

static void widen_activations(const int8_t *plane, size_t stride, size_t n_rows, size_t group, float *out) {
    for (size_t m = 0; m < n_rows; m++)
        for (size_t k = 0; k < group; k++) out[m * group + k] = (float)plane[m * stride + k];
}

static void sum_plane(const int8_t *plane, size_t stride, size_t n_rows, const b2_weight_panels *w, blas_scratch *b,
                      float *sum) {
    const int n = (int)(w->n_panels * w->panel), k = (int)w->group;
    widen_activations(plane, stride, n_rows, w->group, b->activations);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n_rows, n, k, 1.0f, b->activations, k, b->weights, k,
                0.0f, sum, n);
}

/* y[row][...] takes in group g of the rows [first, first + n_rows). */
static void add_group(const b2_quantised_rows *rows, size_t first, size_t n_rows, const b2_weight_panels *w, size_t g,
                      const blas_scratch *b, float *y) {
    const size_t n_groups = rows->stride / w->group, p = w->panel, width = w->n_panels * p;
    for (size_t m = 0; m < n_rows; m++) {
        const float s = rows->scale[(first + m) * n_groups + g];
        for (size_t panel = 0; panel < w->n_panels; panel++) {
            const uint16_t *d = w->scales + (panel * n_groups + g) * p;
            const float *hi = b->sum[0] + m * width + panel * p, *lo = b->sum[1] + m * width + panel * p;
            float *out = y + (first + m) * STRIP + panel * p;
            for (size_t n = 0; n < p; n++) {
                const int32_t sum = rows->lo == NULL ? (int32_t)hi[n] : 128 * (int32_t)hi[n] + (int32_t)lo[n];
                out[n] = fmaf((float)sum, s * b2_bf16_to_f32(d[n]), out[n]);
            }
        }
    }
}

static void gemm_i8_blas(const b2_quantised_rows *rows, const b2_weight_panels *w, const b2_gemm_out *out, float *y,
                         void *scratch) {
    blas_scratch *b = scratch;
    for (size_t m = 0; m < rows->n_rows; m++) memset(y + m * STRIP, 0, w->n_panels * w->panel * sizeof *y);
    for (size_t g = 0; g < rows->stride / w->group; g++) {
        widen_weights(w, rows->stride, g, b->weights);
        for (size_t first = 0; first < rows->n_rows; first += ROWS) {
            const size_t n_rows = rows->n_rows - first < ROWS ? rows->n_rows - first : ROWS;
            const size_t offset = first * rows->stride + g * w->group;
            sum_plane(rows->hi + offset, rows->stride, n_rows, w, b, b->sum[0]);
            if (rows->lo != NULL) sum_plane(rows->lo + offset, rows->stride, n_rows, w, b, b->sum[1]);
            add_group(rows, first, n_rows, w, g, b, y);
        }
    }
    for (size_t m = 0; m < rows->n_rows; m++) b2_gemm_finish_row(out, m, y + m * STRIP);
}

static void gemm_f32_blas(const float *a, size_t a_stride, size_t n_rows, const float *w, size_t n_in, size_t n_out,
                          float *out, size_t out_stride) {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n_rows, (int)n_out, (int)n_in, 1.0f, a, (int)a_stride, w,
                (int)n_in, 0.0f, out, (int)out_stride);
}

/* OpenBLAS would start a pool of its own inside each of our threads; other BLAS have no such call. */
extern void openblas_set_num_threads(int n) __attribute__((weak));

void b2_isa_fill_blas(b2_isa *isa) {
    if (openblas_set_num_threads != NULL) openblas_set_num_threads(1);
    isa->name = "blas";
    isa->gemm_i8 = gemm_i8_blas;
    isa->gemm_f32 = gemm_f32_blas;
    isa->gemm_f32_name = "blas";
}
