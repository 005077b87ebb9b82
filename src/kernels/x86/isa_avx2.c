/* isa_avx2.c: the kernels of CPUs since 2013 (AVX2, FMA, F16C). */
#include "kernels/isa_sets.h"

#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "compile this file with its flags (Makefile)"
#endif

#include "kernels/x86/gemm_simple.h"

static void gemm_f32_rows(const float *a, size_t a_stride, size_t n_rows, const float *w, size_t n_in, size_t n_out,
                          float *out, size_t out_stride) {
    for (size_t m = 0; m < n_rows; m++)
        for (size_t n = 0; n < n_out; n++)
            out[m * out_stride + n] = dot_f32_row(a + m * a_stride, w + n * n_in, n_in);
}

void b2_isa_fill_avx2(b2_isa *isa) {
    fill_plain(isa);
    isa->name = "avx2";
    isa->gemm_i8 = gemm_i8_simple;
    isa->gemm_f32 = gemm_f32_rows;
    isa->gemm_f32_name = "avx2";
}
