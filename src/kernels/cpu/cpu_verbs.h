/* cpu_verbs.h: what the files of kernels/cpu share. (tests/kernels times the halves of a product through it.) */
#ifndef B2_CPU_VERBS_H
#define B2_CPU_VERBS_H

#include "base/parallel.h"
#include "base/size.h"
#include "kernels/verbs.h"
#include "quant/panel.h"

#include <string.h>

typedef struct b2_cpu {
    b2_ops ops;
    b2_isa isa;
    int n_threads;
    b2_team *team; /* NULL in a home that only adds up sizes */

    /* scratch, placed by plan in cpu_home.c */
    int8_t *plane_hi, *plane_lo; /* the quantised rows of a product */
    float *plane_scale;
    int32_t *plane_sum;
    float *tail;             /* [n_items][B2_TILE_ROWS][n_in]: last rows of each group, zero padded */
    uint8_t *thread_scratch; /* [n_threads][thread_scratch_bytes] */
    size_t thread_scratch_bytes;
} b2_cpu;

static inline b2_cpu *b2_cpu_of(b2_ops *ops) { return (b2_cpu *)(void *)ops; }

/* The scratch of a thread: thread_scratch_bytes, 64-byte aligned. */
static inline void *b2_cpu_scratch(const b2_cpu *cpu, int thread) {
    return cpu->thread_scratch + (size_t)thread * cpu->thread_scratch_bytes;
}

/* ---- the verbs, as verbs.h describes them ---- */

void b2_cpu_copy_rows(b2_ops *ops, const float *x, size_t x_stride, size_t n_rows, size_t width, float *y);
void b2_cpu_add_rows(b2_ops *ops, const float *x, const float *table, const size_t *rows, size_t n_rows, size_t width,
                     float *y);
void b2_cpu_cut_patches(b2_ops *ops, const float *pixels, size_t size, size_t patch, float *patches);
void b2_cpu_gather_rows(b2_ops *ops, const b2_matrix *w, const int32_t *ids, size_t n, float *out);
void b2_cpu_layernorm(b2_ops *ops, const b2_norm *norm, const float *x, size_t n_rows, float *y);
void b2_cpu_linear(b2_ops *ops, const b2_matrix *w, const float *x, size_t n_items, size_t rows_per_item,
                   b2_epilogue epilogue, float *out);
void b2_cpu_attend(b2_ops *ops, size_t n_batch, size_t n_heads, size_t head_len, b2_head_rows queries, size_t n_queries,
                   b2_head_rows keys, b2_head_rows values, size_t n_keys, float *out);
void b2_cpu_attend_cached(b2_ops *ops, const b2_block_cache *cache, const float *qkv, const b2_cache_places *at,
                          size_t rows, float *out);
void b2_cpu_move_slots(b2_ops *ops, const b2_block_cache *cache, const b2_slot_move *moves, size_t n,
                       size_t n_positions);
bool b2_cpu_argmax(b2_ops *ops, const float *x, size_t n, size_t *index);
float b2_cpu_max(b2_ops *ops, const float *x, size_t n);
float b2_cpu_log_probability(b2_ops *ops, const float *x, size_t n, size_t index);
void b2_cpu_log_softmax(b2_ops *ops, const float *x, size_t n, float *y);

/* ---- the two halves of an int8 product: b2_cpu_linear calls one after the other ---- */

/* x[n_rows][n_in] -> the planes in scratch that the next products read. */
void b2_cpu_quantise(b2_cpu *cpu, const b2_matrix *w, const float *x, size_t n_rows);
/* The planes of n_rows >= 1 rows times w, finished into out[n_rows][n_out]. */
void b2_cpu_multiply(b2_cpu *cpu, const b2_matrix *w, size_t n_rows, b2_epilogue epilogue, float *out);

#endif
