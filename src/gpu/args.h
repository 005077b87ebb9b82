/* args.h: what each kernel is given, as one struct by value: the host (launch.c, C11) fills it and the kernels
 * (kernels*.cu) read it, so the two can never disagree about order or width. Pointers are device addresses. */
#ifndef B2_GPU_ARGS_H
#define B2_GPU_ARGS_H

/* A row of n numbers -> n_padded / 128 groups of integers (src/NUMBERS.md). A warp a group. */
typedef struct b2_quantise_args {
    const float *x;       /* [n_rows][n] */
    signed char *hi, *lo; /* [n_rows][n_padded]; lo is NULL with one plane */
    float *scale;         /* [n_rows][n_padded / 128] */
    int n, n_padded, n_rows;
} b2_quantise_args;

/* out = epilogue(rows W^T + bias); w and d lie as in the file (quant/panel.h). */
typedef struct b2_gemm_args {
    const signed char *w, *hi, *lo; /* [N/P][K/4][P][4], [n_rows][K], the same */
    const unsigned short *d;        /* [N/P][K/128][P], BF16 */
    const float *scale, *bias;      /* [n_rows][K/128]; [n_out] or NULL */
    float *out;                     /* [n_rows][n_out] */
    int n_out, k_padded, panel, n_rows, epilogue;
} b2_gemm_args;

typedef struct b2_layernorm_args {
    const float *x, *gamma, *beta; /* [n_rows][n], [n], [n] */
    float *y;                      /* [n_rows][n]; may be x */
    float eps;
    int n;
} b2_layernorm_args;

/* Where the cache of item i lies and what it holds already. */
typedef struct b2_slot {
    unsigned slot, n_past;
} b2_slot;

/* keys as rows -> out [items][n_heads][head_len][key_stride]; keys from n_keys up to the stride become zero. */
typedef struct b2_transpose_args {
    const float *keys;
    float *out;
    unsigned long long batch_stride;
    int row_stride, n_heads, head_len, n_keys, key_stride;
} b2_transpose_args;

/* New positions of each item into its slot: keys [slot][n_heads][head_len][capacity], values
 * [slot][n_heads][capacity][head_len]. */
typedef struct b2_append_args {
    const float *qkv; /* [items][rows][3 * n_heads * head_len] */
    float *keys, *values;
    const b2_slot *slots; /* [items] */
    int rows, n_heads, head_len, capacity;
} b2_append_args;

/* isa.h's b2_attention for all heads and items. slots NULL: item i is slot i, and all n_keys are seen; else item i sees
 * n_past keys and, of the new ones, those up to the query's own; sources NULL: all in its slot, else key j of those
 * n_past in slot sources[i * source_stride + j]. Strides in floats. */
typedef struct b2_attend_args {
    const float *queries, *keys, *values;
    float *out; /* [items][n_queries][n_heads * head_len] */
    const b2_slot *slots;
    const unsigned *sources;
    unsigned long long q_batch, value_batch, value_head; /* keys: one head after the other, item after item */
    int q_stride, value_stride, key_stride, source_stride, n_heads, head_len, n_queries, n_keys;
    float query_scale, score_scale;
} b2_attend_args;

/* y[r] = x[r * x_stride], or that plus table[rows[r]] (rows NULL: row r) */
typedef struct b2_rows_args {
    const float *x, *table; /* table NULL: a copy */
    const unsigned *rows;
    float *y;
    unsigned long long x_stride;
    int n_rows, width;
} b2_rows_args;

/* out[i] = row ids[i] of the matrix */
typedef struct b2_gather_args {
    const signed char *w;
    const unsigned short *d;
    const unsigned *ids;
    float *out;
    int n_in, k_padded, panel, n_rows;
} b2_gather_args;

/* From slot to slot of a cache, one move after the other: [n_heads] blocks of head_len * capacity floats. */
typedef struct b2_move_args {
    float *cache, *spare; /* [slots][n_heads][head_values]; spare [n_heads][head_values] */
    const b2_slot *moves; /* slot: from, n_past: to; ~0u: the spare */
    int n_moves, n_heads, head_values;
} b2_move_args;

/* What there is to know of a row of logits. */
typedef struct b2_choice {
    int index;          /* of the largest value, the lowest on a tie; -1: a value is NaN */
    float max, log_sum; /* log of the sum of exp(x - max) */
    float value;        /* x[wanted] */
} b2_choice;

typedef struct b2_choose_args {
    const float *x; /* [n] */
    b2_choice *choice;
    int n, wanted; /* wanted < n */
} b2_choose_args;

/* y = (x - max) - log_sum */
typedef struct b2_log_softmax_args {
    const float *x;
    const b2_choice *choice;
    float *y;
    int n;
} b2_log_softmax_args;

#endif
