/* isa_dotprod.c: NEON with integer dot products (ARMv8.2 and later: phones since 2018, Graviton 2, Apple M1). */
#include "kernels/isa_sets.h"

#if !defined(__ARM_FEATURE_DOTPROD)
#error "compile this file with its flags (Makefile)"
#endif

#include "kernels/arm/vec16_neon.h"

#include "kernels/attend16.h"

#define NEON_ROWS 6 /* 24 accumulators, 4 registers of weights, one of inputs, of 32 */
#define FEW_PASS_ROWS 2

#include "kernels/arm/quad_sdot.inc.h"

#include "kernels/arm/gemm_neon.inc.h"

static void gemm_i8_dotprod(const b2_quantised_rows *rows, const b2_weight_panels *w, const b2_gemm_out *out, float *y,
                            void *scratch) {
    gemm_i8_arm(rows, w, out, y, scratch, run_tile_neon);
}

void b2_isa_fill_dotprod(b2_isa *isa) {
    fill_vectors(isa);
    isa->name = "dotprod";
    isa->gemm_i8 = gemm_i8_dotprod;
    isa->gemm_f32_name = "neon";
}
