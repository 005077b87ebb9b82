/* ops_internal.h: what the files of ops share. */
#ifndef B2_OPS_INTERNAL_H
#define B2_OPS_INTERNAL_H

#include "kernels/ops.h"
#include "quant/panel.h"

#include <string.h>

static inline size_t b2_round_up(size_t n, size_t multiple) { return (n + multiple - 1) / multiple * multiple; }

/* The scratch of a thread: ops->thread_scratch_bytes, 64-byte aligned. */
void *b2_ops_thread_scratch(const b2_ops *ops, int thread);

/* The products alone of an int8 matrix with the rows that the last b2_ops_linear quantised: n_rows >= 1 of them, and as many
 * inputs, planes and inputs to a group as w has. For measuring: quantising is no product. */
void b2_ops_multiply_again(b2_ops *ops, const b2_matrix *w, size_t n_rows, b2_epilogue epilogue, float *out);

#endif
