/* tensor.h: what the verbs of ops.h work on. Every pointer here but those called "host" is an address in the memory of
 * the home that computes: nobody but its verbs may look at what is there. Shapes are row-major. */
#ifndef B2_TENSOR_H
#define B2_TENSOR_H

#include "base/status.h"
#include "quant/dtype.h"

/* A home: a device that computes, with memory of its own. Defined in verbs.h, for those who make homes. */
typedef struct b2_ops b2_ops;

/* Rows of an item that f32 and f16 products take together, from its first row on. */
enum { B2_TILE_ROWS = 32 };

/* A matrix [n_out][n_in], with its bias [n_out] or NULL. */
typedef struct b2_matrix {
    b2_dtype dtype; /* I8 (panels and scales), F16 or F32 (plain rows) */
    size_t n_out, n_in;
    size_t n_in_padded; /* whole groups */
    size_t panel, group;
    int planes; /* of the activations that meet an int8 matrix: 1 or 2 */
    const void *values;
    const uint16_t *scales;
    const float *bias;
} b2_matrix;

typedef struct b2_norm {
    const float *gamma, *beta; /* [n] */
    size_t n;
    float eps;
} b2_norm;

/* Rows of Q, K and V as they lie in a tensor: head h of row r of batch item b starts at
 * data[b * batch_stride + r * row_stride + h * head_len]. */
typedef struct b2_head_rows {
    const float *data;
    size_t batch_stride, row_stride;
} b2_head_rows;

/* The cache of one decoder block: for each slot and head, keys transposed [head_len][capacity] and values
 * [capacity][head_len]. capacity is a multiple of 16. */
typedef struct b2_block_cache {
    float *keys, *values;
    size_t capacity, n_heads, head_len;
} b2_block_cache;

/* Where sequences live in a cache, n of them, lists on the host: sequence i appends to slot slots[i], after the
 * n_past[i] positions that it has. sources NULL: those are in that slot too; else position p of sequence i is in slot
 * sources[i * stride + p], in its column p: sequences with a common beginning share it. */
typedef struct b2_cache_places {
    size_t n;
    const size_t *slots, *n_past;
    const uint32_t *sources;
    size_t stride;
} b2_cache_places;

/* What slot `from` of a cache holds goes to slot `to`. B2_SPARE_SLOT is a slot's worth of the home's own scratch, for
 * exchanging: it keeps what it holds until the verb returns. */
typedef struct b2_slot_move {
    size_t from, to;
} b2_slot_move;

#define B2_SPARE_SLOT SIZE_MAX

/* The largest sizes that the verbs will meet, so that scratch is reserved once. */
typedef struct b2_ops_limits {
    size_t max_linear_values;      /* int8 files: max over products of rows * n_in_padded */
    size_t max_items;              /* f32 and f16 files: of a product; 0 for int8 files */
    size_t max_inputs;             /* f32 and f16 files: max n_in */
    bool has_f16;                  /* weights are widened strip by strip */
    size_t max_keys, max_head_len; /* of attention; a cache's capacity counts as keys */
    size_t max_key_values;         /* of attention without a cache: batch * n_keys (to sixteens) * width */
    size_t max_slot_values;        /* of a slot of a block's cache: keys (or values) */
} b2_ops_limits;

#endif
