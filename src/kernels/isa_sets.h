/* isa_sets.h: who can fill a table of kernels. Each set lives in a translation unit of its own with its own flags;
 * isa_select.c calls it only where CPU and operating system allow. */
#ifndef B2_ISA_SETS_H
#define B2_ISA_SETS_H

#include "kernels/isa.h"

void b2_isa_fill_scalar(b2_isa *isa);
#if defined(__x86_64__)
void b2_isa_fill_sse41(b2_isa *isa);
void b2_isa_fill_avx2(b2_isa *isa);
void b2_isa_fill_avxvnni(b2_isa *isa);
void b2_isa_fill_avx512vnni(b2_isa *isa);
void b2_isa_fill_amx(b2_isa *isa);
b2_gemm_i8_fn b2_gemm_i8_avx512vnni; /* what amx leaves to it */
#elif defined(__aarch64__)
void b2_isa_fill_neon(b2_isa *isa);
void b2_isa_fill_dotprod(b2_isa *isa);
void b2_isa_fill_i8mm(b2_isa *isa);
#endif
#ifdef B2_HAVE_BLAS
/* Replaces the matrix products of a table that is already filled. */
void b2_isa_fill_blas(b2_isa *isa);
#endif

#endif
