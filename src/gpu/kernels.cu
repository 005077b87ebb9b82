/* kernels.cu: all kernels as one module. */
#include "gpu/kernels_gemm.cu"
#include "gpu/kernels_rows.cu"
