/* ops.h: the verbs that the model is written in. Each works on whole tensors, spreads itself over the team's threads,
 * never allocates and cannot fail. Which instructions compute it is decided below (isa.h); results never depend on
 * the number of threads, nor on what else is in the batch.
 *
 * Shapes are row-major. A batch is n_groups groups (images, sequences) of rows_per_group rows. */
#ifndef B2_OPS_H
#define B2_OPS_H

#include "base/arena.h"
#include "base/parallel.h"
#include "kernels/isa.h"
#include "quant/dtype.h"

/* A matrix [n_out][n_in] of the mapped file, with its bias [n_out] or NULL. */
typedef struct b2_matrix {
    b2_dtype dtype;     /* I8 (panels and scales), F16 or F32 (plain rows) */
    size_t n_out, n_in;
    size_t n_in_padded; /* whole groups */
    size_t panel, group;
    int planes;         /* of the activations that meet an int8 matrix: 1 or 2 */
    const void *values;
    const uint16_t *scales;
    const float *bias;
} b2_matrix;

typedef struct b2_norm {
    const float *gamma, *beta; /* [n] */
    size_t n;
    float eps;
} b2_norm;

/* The largest sizes that the verbs will meet, so that scratch is reserved once. */
typedef struct b2_ops_limits {
    size_t max_linear_values; /* max over products of rows * n_in_padded */
    size_t max_linear_rows;
    size_t max_tail_values;   /* f32/f16 files: max of n_groups * 32 * n_in; 0 for int8 files */
    size_t max_strip_values;  /* f16 files: max of strip * n_in; 0 otherwise */
    size_t max_keys, max_head_len;
} b2_ops_limits;

typedef struct b2_ops {
    b2_isa isa;
    b2_team *team;
    bool (*is_cancelled)(void *context); /* asked between blocks and tokens; may be NULL */
    void *cancel_context;

    /* scratch, placed by b2_ops_plan */
    int8_t *plane_hi, *plane_lo;
    float *plane_scale;
    int32_t *plane_sum;
    float *tail;                /* [n_groups][32][n_in]: last rows of each group, zero padded */
    uint8_t *thread_scratch;    /* [n_threads][thread_scratch_bytes] */
    size_t thread_scratch_bytes;
    b2_ops_limits limits;
} b2_ops;

/* Takes the scratch for these limits from the arena (measuring or placing). ops->team must be set. */
void b2_ops_plan(b2_ops *ops, const b2_ops_limits *limits, b2_arena *arena);

bool b2_ops_is_cancelled(const b2_ops *ops);

/* out[rows][n_out] = epilogue(x[rows][n_in] W^T + bias), rows = n_groups * rows_per_group. For int8 matrices x is
 * quantised first (DESIGN section 4). For f32 and f16 matrices groups of one row take dot products, longer ones tiles
 * of 32 rows counted from each group's first row. */
void b2_ops_linear(b2_ops *ops, const b2_matrix *w, const float *x, size_t n_groups, size_t rows_per_group,
                   b2_epilogue epilogue, float *out);

/* y[n_rows][n] = layernorm of each row of x; in place allowed. */
void b2_ops_layernorm(b2_ops *ops, const b2_norm *norm, const float *x, size_t n_rows, float *y);

/* Rows of Q, K and V as they lie in a tensor: head h of row r of batch item b starts at
 * data[b * batch_stride + r * row_stride + h * head_len]. */
typedef struct b2_head_rows {
    const float *data;
    size_t batch_stride, row_stride;
} b2_head_rows;

/* out[batch][n_queries][n_heads * head_len]: every query attends to every key; scores * 1/sqrt(head_len). */
void b2_ops_attend(b2_ops *ops, size_t n_batch, size_t n_heads, size_t head_len, b2_head_rows queries,
                   size_t n_queries, b2_head_rows keys, b2_head_rows values, size_t n_keys, float *out);

/* The cache of one decoder block: for each sequence and head, keys transposed [head_len][capacity] and values
 * [capacity][head_len]. capacity is a multiple of 16. */
typedef struct b2_block_cache {
    float *keys, *values;
    size_t capacity, n_heads, head_len;
} b2_block_cache;

/* Causal attention of new positions over the cache. qkv[n][rows][3 * width] holds the projections of n sequences, rows
 * new positions each; sequence i lives in slot slots[i] of the cache and has n_past[i] positions there already. The
 * new keys and values are appended at n_past[i]; q is scaled before the product, as OPT does.
 * out[n][rows][width], width = n_heads * head_len. */
void b2_ops_attend_cached(b2_ops *ops, const b2_block_cache *cache, const float *qkv, size_t n, size_t rows,
                          const size_t *slots, const size_t *n_past, float *out);

/* out[n_in] = row `row` of the matrix as f32. */
void b2_ops_gather_row(const b2_ops *ops, const b2_matrix *w, size_t row, float *out);

/* Index of the largest value, the lowest one on a tie; false when a value is NaN. */
bool b2_ops_argmax(const b2_ops *ops, const float *x, size_t n, size_t *index);

/* log softmax(x)[index] */
float b2_ops_log_probability(const b2_ops *ops, const float *x, size_t n, size_t index);

#endif
