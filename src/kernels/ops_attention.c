/* ops_attention.c: many heads at once. A unit is one head of one batch item and a block of its queries; it lays the
 * keys out transposed, so that neighbouring keys are neighbouring lanes, and calls the kernel. */
#include "kernels/ops_internal.h"

#include <math.h>

/* The scratch of a unit: keys [head_len][key_stride], scores, queries. */
typedef struct attention_scratch {
    float *keys, *scores, *query;
} attention_scratch;

static attention_scratch scratch_of(const b2_ops *ops, int thread, size_t head_len, size_t key_stride) {
    attention_scratch s = {.keys = b2_ops_thread_scratch(ops, thread)};
    s.scores = s.keys + b2_round_up(head_len * key_stride, 16);
    s.query = s.scores + B2_ATTENTION_ROWS * key_stride;
    return s;
}

/* out[d][j] = rows[j][d], eight keys at a time so that each line of out is touched in pieces worth the trip; keys
 * beyond n_keys up to the stride are zero. */
static void transpose_keys(const float *rows, size_t row_stride, size_t n_keys, size_t head_len, size_t key_stride,
                           float *out) {
    for (size_t j0 = 0; j0 < key_stride; j0 += 8)
        for (size_t d = 0; d < head_len; d++)
            for (size_t j = j0; j < j0 + 8; j++) out[d * key_stride + j] = j < n_keys ? rows[j * row_stride + d] : 0.0f;
}

/* ---- every query sees every key -------------------------------------------------------------------------------- */

typedef struct attend_job {
    const b2_ops *ops;
    size_t n_heads, head_len, n_queries, n_keys, n_blocks, queries_per_block;
    b2_head_rows queries, keys, values;
    float *out;
} attend_job;

static void attend_unit(void *context, size_t unit, int thread) {
    const attend_job *job = context;
    const size_t block = unit % job->n_blocks, head = unit / job->n_blocks % job->n_heads;
    const size_t item = unit / job->n_blocks / job->n_heads, head_len = job->head_len;
    const size_t first = block * job->queries_per_block, key_stride = b2_round_up(job->n_keys, 16);
    if (first >= job->n_queries) return;
    const attention_scratch s = scratch_of(job->ops, thread, head_len, key_stride);
    const size_t in_head = head * head_len, width = job->n_heads * head_len;
    transpose_keys(job->keys.data + item * job->keys.batch_stride + in_head, job->keys.row_stride, job->n_keys,
                   head_len, key_stride, s.keys);
    const size_t n_left = job->n_queries - first;
    const b2_attention attention = {
        .queries = job->queries.data + item * job->queries.batch_stride + first * job->queries.row_stride + in_head,
        .q_stride = job->queries.row_stride,
        .keys = s.keys,
        .key_stride = key_stride,
        .values = job->values.data + item * job->values.batch_stride + in_head,
        .value_stride = job->values.row_stride,
        .out = job->out + (item * job->n_queries + first) * width + in_head,
        .out_stride = width,
        .n_queries = n_left < job->queries_per_block ? n_left : job->queries_per_block,
        .n_keys = job->n_keys,
        .n_visible_first = job->n_keys,
        .head_len = head_len,
        .query_scale = 1.0f,
        .score_scale = (float)(1.0 / sqrt((double)head_len)),
        .scores = s.scores,
        .query = s.query,
    };
    job->ops->isa.attend(&attention);
}

void b2_ops_attend(b2_ops *ops, size_t n_batch, size_t n_heads, size_t head_len, b2_head_rows queries,
                   size_t n_queries, b2_head_rows keys, b2_head_rows values, size_t n_keys, float *out) {
    attend_job job = {
        .ops = ops, .n_heads = n_heads, .head_len = head_len, .n_queries = n_queries, .n_keys = n_keys,
        .queries = queries, .keys = keys, .values = values, .out = out,
    };
    /* Each block of a head transposes its keys again: a few blocks, only as many as the threads need. */
    const size_t wanted = 4 * (size_t)b2_team_threads(ops->team), n_heads_all = n_batch * n_heads;
    job.n_blocks = n_heads_all >= wanted ? 1 : (wanted + n_heads_all - 1) / n_heads_all;
    const size_t most = (n_queries + B2_ATTENTION_ROWS - 1) / B2_ATTENTION_ROWS;
    if (job.n_blocks > most) job.n_blocks = most;
    job.queries_per_block = b2_round_up((n_queries + job.n_blocks - 1) / job.n_blocks, B2_ATTENTION_ROWS);
    b2_parallel_for(ops->team, n_heads_all * job.n_blocks, attend_unit, &job);
}

/* ---- new positions over the cache ------------------------------------------------------------------------------- */

typedef struct cached_job {
    const b2_ops *ops;
    const b2_block_cache *cache;
    const float *qkv;
    size_t rows;
    const size_t *slots, *n_past;
    float *out;
} cached_job;

static void cached_unit(void *context, size_t unit, int thread) {
    const cached_job *job = context;
    const b2_block_cache *cache = job->cache;
    const size_t head = unit % cache->n_heads, item = unit / cache->n_heads, head_len = cache->head_len;
    const size_t width = cache->n_heads * head_len, n_past = job->n_past[item], capacity = cache->capacity;
    const size_t head_values = capacity * head_len, at = (job->slots[item] * cache->n_heads + head) * head_values;
    float *keys = cache->keys + at, *values = cache->values + at;
    const float *qkv = job->qkv + item * job->rows * 3 * width + head * head_len;
    for (size_t r = 0; r < job->rows; r++) {
        const float *k = qkv + r * 3 * width + width, *v = k + width;
        for (size_t d = 0; d < head_len; d++) keys[d * capacity + n_past + r] = k[d];
        memcpy(values + (n_past + r) * head_len, v, head_len * sizeof *v);
    }
    const attention_scratch s = scratch_of(job->ops, thread, head_len, capacity);
    const b2_attention attention = {
        .queries = qkv,
        .q_stride = 3 * width,
        .keys = keys,
        .key_stride = capacity,
        .values = values,
        .value_stride = head_len,
        .out = job->out + item * job->rows * width + head * head_len,
        .out_stride = width,
        .n_queries = job->rows,
        .n_keys = n_past + job->rows,
        .n_visible_first = n_past + 1,
        .head_len = head_len,
        .query_scale = (float)(1.0 / sqrt((double)head_len)),
        .score_scale = 1.0f,
        .scores = s.scores,
        .query = s.query,
    };
    job->ops->isa.attend(&attention);
}

void b2_ops_attend_cached(b2_ops *ops, const b2_block_cache *cache, const float *qkv, size_t n, size_t rows,
                          const size_t *slots, const size_t *n_past, float *out) {
    cached_job job = {.ops = ops, .cache = cache, .qkv = qkv, .rows = rows, .slots = slots, .n_past = n_past, .out = out};
    b2_parallel_for(ops->team, n * cache->n_heads, cached_unit, &job);
}
