/* merge.h: what happens to rows of a checkpoint between the file and the encoder, in f32.
 *
 *   bitsandbytes' int8 weights      w[r][k] * SCB[r] / 127
 *   a LoRA of PEFT (adapter.h)      w[r][k] + scale * sum over j of B[r][j] A[j][k]
 *   a DoRA                          the row above, made as long as its magnitude says
 *
 * Everything is local to a row, so that it fits the stream: a segment of n rows needs A, n rows of B and n numbers
 * each of the others. A bias is a column: its A is the number 1. */
#ifndef B2_MERGE_H
#define B2_MERGE_H

#include "convert/tensor_source.h"

/* For one stored tensor of a stem; {0}: the rows stay as they are. */
typedef struct b2_merge {
    const b2_stored_tensor *row_scale;         /* SCB [rows]; NULL: the weights are floats */
    const b2_stored_tensor *a, *b, *magnitude; /* [rank][n_in], [rows][rank], [rows]; a NULL: a bias, of rank 1 */
    size_t rank;                               /* 0: no LoRA */
    float scale;
} b2_merge;

static inline bool b2_merge_is_empty(const b2_merge *m) { return m->row_scale == NULL && m->rank == 0; }

/* How many numbers n_rows rows of n_in need beside themselves. */
size_t b2_merge_count(const b2_merge *merge, size_t n_rows, size_t n_in);

/* Reads them, for rows first_row .. first_row + n_rows of the tensor, to out[b2_merge_count()].
 * Errors: BLIP2_IO, BLIP2_MEMORY. */
blip2_status b2_merge_read(const b2_merge *merge, b2_tensor_source *source, size_t first_row, size_t n_rows,
                           size_t n_in, float *out, blip2_error *err);

/* Changes rows[n][n_in], which are the rows first .. first + n of the n_rows_read that b2_merge_read read to data.
 * The order of the sums is fixed: the same bits on every machine. */
void b2_merge_rows(const b2_merge *merge, const float *data, size_t n_rows_read, size_t first, size_t n, size_t n_in,
                   float *rows);

#endif
