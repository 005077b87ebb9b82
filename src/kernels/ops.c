/* ops.c: scratch, and the verbs on rows. Products are in ops_linear.c, attention in ops_attention.c. */
#include "kernels/ops_internal.h"

#include <math.h>

static size_t max_size(size_t a, size_t b) { return a > b ? a : b; }

/* Scratch of one thread: what a product needs (a kernel's block, a tile of results, a strip of widened weights) or
 * what attention needs (transposed keys, scores, a block of queries), whichever is larger; never both at once. */
static size_t thread_scratch_bytes(const b2_ops_limits *limits) {
    const size_t linear = B2_GEMM_SCRATCH_BYTES + sizeof(float) * B2_GEMM_ROWS * B2_GEMM_STRIP +
                          sizeof(float) * limits->max_strip_values;
    const size_t keys = b2_round_up(limits->max_keys, 16);
    const size_t attention =
        sizeof(float) * (keys * limits->max_head_len + B2_ATTENTION_ROWS * keys +
                         B2_ATTENTION_ROWS * b2_round_up(limits->max_head_len, 16));
    return b2_round_up(max_size(linear, attention), B2_ARENA_ALIGN_BYTES);
}

void b2_ops_plan(b2_ops *ops, const b2_ops_limits *limits, b2_arena *arena) {
    ops->limits = *limits;
    ops->thread_scratch_bytes = thread_scratch_bytes(limits);
    ops->plane_hi = b2_arena_take(arena, limits->max_linear_values, sizeof *ops->plane_hi);
    ops->plane_lo = b2_arena_take(arena, limits->max_linear_values, sizeof *ops->plane_lo);
    ops->plane_scale = b2_arena_take(arena, limits->max_linear_values / B2_GROUP_LEN, sizeof *ops->plane_scale);
    ops->plane_sum = b2_arena_take(arena, limits->max_linear_values / B2_GROUP_LEN, sizeof *ops->plane_sum);
    ops->tail = b2_arena_take(arena, limits->max_tail_values, sizeof *ops->tail);
    ops->thread_scratch = b2_arena_take(arena, (size_t)b2_team_threads(ops->team), ops->thread_scratch_bytes);
}

bool b2_ops_is_cancelled(const b2_ops *ops) {
    return ops->is_cancelled != NULL && ops->is_cancelled(ops->cancel_context);
}

void *b2_ops_thread_scratch(const b2_ops *ops, int thread) {
    return ops->thread_scratch + (size_t)thread * ops->thread_scratch_bytes;
}

/* ---- layer normalisation ------------------------------------------------------------------------------------- */

enum { ROWS_PER_UNIT = 8 };

typedef struct layernorm_job {
    const b2_ops *ops;
    const b2_norm *norm;
    const float *x;
    float *y;
    size_t n_rows;
} layernorm_job;

static void layernorm_unit(void *context, size_t unit, int thread) {
    (void)thread;
    const layernorm_job *job = context;
    const b2_norm *norm = job->norm;
    for (size_t r = unit * ROWS_PER_UNIT; r < job->n_rows && r < (unit + 1) * ROWS_PER_UNIT; r++)
        job->ops->isa.layernorm_row(job->x + r * norm->n, norm->n, norm->gamma, norm->beta, norm->eps,
                                    job->y + r * norm->n);
}

void b2_ops_layernorm(b2_ops *ops, const b2_norm *norm, const float *x, size_t n_rows, float *y) {
    layernorm_job job = {.ops = ops, .norm = norm, .x = x, .y = y, .n_rows = n_rows};
    b2_parallel_for(ops->team, (n_rows + ROWS_PER_UNIT - 1) / ROWS_PER_UNIT, layernorm_unit, &job);
}

/* ---- rows and logits ------------------------------------------------------------------------------------------ */

void b2_ops_gather_row(const b2_ops *ops, const b2_matrix *w, size_t row, float *out) {
    switch (w->dtype) {
    case B2_DTYPE_I8: {
        const b2_weight_panels all = {
            .values = w->values, .scales = w->scales, .panel = w->panel, .group = w->group};
        ops->isa.gather_row(&all, w->n_in_padded, row, out, w->n_in);
        return;
    }
    case B2_DTYPE_F16: ops->isa.widen_f16((const uint16_t *)w->values + row * w->n_in, out, w->n_in); return;
    default: memcpy(out, (const float *)w->values + row * w->n_in, w->n_in * sizeof *out); return;
    }
}

bool b2_ops_argmax(const b2_ops *ops, const float *x, size_t n, size_t *index) {
    const float max = ops->isa.max(x, n);
    *index = 0;
    if (isnan(max)) return false;
    while (*index + 1 < n && x[*index] != max) ++*index;
    return true;
}

float b2_ops_log_probability(const b2_ops *ops, const float *x, size_t n, size_t index) {
    const float max = ops->isa.max(x, n);
    return (x[index] - max) - b2_log_f32(ops->isa.sum_exp(x, n, max));
}
