/* attention.c: many heads at once. A unit is one head of one batch item and a block of its queries; it lays the
 * keys out transposed, so that neighbouring keys are neighbouring lanes, and calls the kernel. */
#include "kernels/cpu/cpu_verbs.h"

#include <math.h>

/* The scratch of a unit: keys [head_len][key_stride], scores, queries; values [key_stride][head_len] of a cache. */
typedef struct attention_scratch {
    float *keys, *scores, *query, *values;
} attention_scratch;

static attention_scratch scratch_of(const b2_cpu *cpu, int thread, size_t head_len, size_t key_stride) {
    attention_scratch s = {.keys = b2_cpu_scratch(cpu, thread)};
    s.scores = s.keys + b2_round_up(head_len * key_stride, 16);
    s.query = s.scores + B2_ATTENTION_ROWS * key_stride;
    s.values = s.query + b2_round_up(B2_ATTENTION_ROWS * head_len, 16);
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
    const b2_cpu *cpu;
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
    const attention_scratch s = scratch_of(job->cpu, thread, head_len, key_stride);
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
    job->cpu->isa.attend(&attention);
}

void b2_cpu_attend(b2_ops *ops, size_t n_batch, size_t n_heads, size_t head_len, b2_head_rows queries, size_t n_queries,
                   b2_head_rows keys, b2_head_rows values, size_t n_keys, float *out) {
    b2_cpu *cpu = b2_cpu_of(ops);
    attend_job job = {
        .cpu = cpu,
        .n_heads = n_heads,
        .head_len = head_len,
        .n_queries = n_queries,
        .n_keys = n_keys,
        .queries = queries,
        .keys = keys,
        .values = values,
        .out = out,
    };
    /* Each block of a head transposes its keys again: a few blocks, only as many as the threads need. */
    const size_t wanted = 4 * (size_t)b2_team_threads(cpu->team), n_heads_all = n_batch * n_heads;
    job.n_blocks = n_heads_all >= wanted ? 1 : (wanted + n_heads_all - 1) / n_heads_all;
    const size_t most = (n_queries + B2_ATTENTION_ROWS - 1) / B2_ATTENTION_ROWS;
    if (job.n_blocks > most) job.n_blocks = most;
    job.queries_per_block = b2_round_up((n_queries + job.n_blocks - 1) / job.n_blocks, B2_ATTENTION_ROWS);
    b2_parallel_for(cpu->team, n_heads_all * job.n_blocks, attend_unit, &job);
}

/* ---- new positions over the cache ------------------------------------------------------------------------------- */

typedef struct cached_job {
    const b2_cpu *cpu;
    const b2_block_cache *cache;
    const float *qkv;
    size_t rows;
    const b2_cache_places *at;
    float *out;
    size_t items_per_unit;
} cached_job;

/* A head of a slot: keys [head_len][capacity], values [capacity][head_len]. */
typedef struct cached_head {
    float *keys, *values;
} cached_head;

static cached_head head_of(const b2_block_cache *cache, size_t slot, size_t head) {
    const size_t at = (slot * cache->n_heads + head) * cache->capacity * cache->head_len;
    return (cached_head){cache->keys + at, cache->values + at};
}

/* An item's new keys and values, into its slot. */
static void store_new(const cached_job *job, size_t item, size_t head, cached_head to) {
    const b2_block_cache *cache = job->cache;
    const size_t head_len = cache->head_len, width = cache->n_heads * head_len, n_past = job->at->n_past[item];
    const float *qkv = job->qkv + item * job->rows * 3 * width + head * head_len;
    for (size_t r = 0; r < job->rows; r++) {
        const float *k = qkv + r * 3 * width + width, *v = k + width;
        for (size_t d = 0; d < head_len; d++) to.keys[d * cache->capacity + n_past + r] = k[d];
        memcpy(to.values + (n_past + r) * head_len, v, head_len * sizeof *v);
    }
}

/* The columns first .. end - 1 of one head, copied to another. */
static void copy_columns(const b2_block_cache *cache, cached_head from, size_t first, size_t end, cached_head to) {
    for (size_t d = 0; d < cache->head_len; d++)
        memcpy(to.keys + d * cache->capacity + first, from.keys + d * cache->capacity + first,
               (end - first) * sizeof *to.keys);
    memcpy(to.values + first * cache->head_len, from.values + first * cache->head_len,
           (end - first) * cache->head_len * sizeof *to.values);
}

/* All that a sequence sees, side by side in `to`: runs of positions from the slots where they are, the new ones from
 * its own. Positions before n_held are there already. */
static void collect(const cached_job *job, size_t item, size_t head, size_t n_held, cached_head to) {
    const b2_cache_places *at = job->at;
    const size_t n_past = at->n_past[item], slot = at->slots[item], n_seen = n_past + job->rows;
    const uint32_t *source = at->sources + item * at->stride;
    for (size_t first = n_held, end = n_held; end < n_seen; first = end) {
        const size_t from = first < n_past ? source[first] : slot;
        while (end < n_seen && (end < n_past ? source[end] : slot) == from) end++;
        copy_columns(job->cache, head_of(job->cache, from, head), first, end, to);
    }
}

static bool is_elsewhere(const b2_cache_places *at, size_t item) {
    const uint32_t *source = at->sources + item * at->stride;
    size_t i = 0;
    while (i < at->n_past[item] && source[i] == at->slots[item]) i++;
    return i < at->n_past[item];
}

/* How many positions from the first on two sequences see in the same slots. */
static size_t count_shared(const b2_cache_places *at, size_t a, size_t b) {
    const uint32_t *in_a = at->sources + a * at->stride, *in_b = at->sources + b * at->stride;
    size_t i = 0;
    while (i < at->n_past[a] && i < at->n_past[b] && in_a[i] == in_b[i]) i++;
    return i;
}

static void attend_cached(const cached_job *job, size_t item, size_t head, cached_head rows,
                          const attention_scratch *s) {
    const b2_block_cache *cache = job->cache;
    const size_t head_len = cache->head_len, width = cache->n_heads * head_len, n_past = job->at->n_past[item];
    const b2_attention attention = {
        .queries = job->qkv + item * job->rows * 3 * width + head * head_len,
        .q_stride = 3 * width,
        .keys = rows.keys,
        .key_stride = cache->capacity,
        .values = rows.values,
        .value_stride = head_len,
        .out = job->out + item * job->rows * width + head * head_len,
        .out_stride = width,
        .n_queries = job->rows,
        .n_keys = n_past + job->rows,
        .n_visible_first = n_past + 1,
        .head_len = head_len,
        .query_scale = (float)(1.0 / sqrt((double)head_len)),
        .score_scale = 1.0f,
        .scores = s->scores,
        .query = s->query,
    };
    job->cpu->isa.attend(&attention);
}

/* One head of neighbouring items: what two of them see in the same slots is collected once. */
static void cached_unit(void *context, size_t unit, int thread) {
    const cached_job *job = context;
    const b2_block_cache *cache = job->cache;
    const b2_cache_places *at = job->at;
    const size_t head = unit % cache->n_heads, first = unit / cache->n_heads * job->items_per_unit;
    const size_t end = at->n - first < job->items_per_unit ? at->n : first + job->items_per_unit;
    const attention_scratch s = scratch_of(job->cpu, thread, cache->head_len, cache->capacity);
    const cached_head collected = {s.keys, s.values};
    for (size_t item = first, held = end; item < end; item++) {
        const cached_head own = head_of(cache, at->slots[item], head);
        store_new(job, item, head, own);
        if (at->sources == NULL || !is_elsewhere(at, item)) {
            attend_cached(job, item, head, own, &s);
            continue;
        }
        collect(job, item, head, held < end ? count_shared(at, held, item) : 0, collected);
        held = item;
        attend_cached(job, item, head, collected, &s);
    }
}

void b2_cpu_attend_cached(b2_ops *ops, const b2_block_cache *cache, const float *qkv, const b2_cache_places *at,
                          size_t rows, float *out) {
    b2_cpu *cpu = b2_cpu_of(ops);
    cached_job job = {.cpu = cpu, .cache = cache, .qkv = qkv, .rows = rows, .at = at, .out = out, .items_per_unit = 1};
    /* As few units as keep the threads busy, where items share what is collected for them. */
    const size_t wanted = 4 * (size_t)b2_team_threads(cpu->team), units_wanted = (wanted - 1) / cache->n_heads + 1;
    if (at->sources != NULL && units_wanted < at->n) job.items_per_unit = (at->n - 1) / units_wanted + 1;
    const size_t units = at->n == 0 ? 0 : (at->n - 1) / job.items_per_unit + 1;
    b2_parallel_for(cpu->team, units * cache->n_heads, cached_unit, &job);
}

/* ---- slots of the cache ---------------------------------------------------------------------------------------- */

typedef struct move_job {
    const b2_cpu *cpu;
    const b2_block_cache *cache;
    const b2_slot_move *moves;
    size_t n_moves, n_positions;
} move_job;

/* Where a head's rows of a slot begin, in keys or in values; the spare slot is the thread's scratch. */
static float *head_at(const move_job *job, float *rows, size_t slot, size_t head, float *spare) {
    const b2_block_cache *cache = job->cache;
    return slot == B2_SPARE_SLOT ? spare : rows + (slot * cache->n_heads + head) * cache->capacity * cache->head_len;
}

/* All moves of one head: its keys first, then its values, since the spare slot has room for one of them. */
static void move_unit(void *context, size_t head, int thread) {
    const move_job *job = context;
    const b2_block_cache *cache = job->cache;
    float *spare = b2_cpu_scratch(job->cpu, thread);
    for (size_t i = 0; i < job->n_moves; i++) {
        const float *from = head_at(job, cache->keys, job->moves[i].from, head, spare);
        float *to = head_at(job, cache->keys, job->moves[i].to, head, spare);
        for (size_t d = 0; d < cache->head_len; d++)
            memcpy(to + d * cache->capacity, from + d * cache->capacity, job->n_positions * sizeof *to);
    }
    for (size_t i = 0; i < job->n_moves; i++)
        memcpy(head_at(job, cache->values, job->moves[i].to, head, spare),
               head_at(job, cache->values, job->moves[i].from, head, spare),
               job->n_positions * cache->head_len * sizeof *spare);
}

void b2_cpu_move_slots(b2_ops *ops, const b2_block_cache *cache, const b2_slot_move *moves, size_t n,
                       size_t n_positions) {
    b2_cpu *cpu = b2_cpu_of(ops);
    move_job job = {.cpu = cpu, .cache = cache, .moves = moves, .n_moves = n, .n_positions = n_positions};
    b2_parallel_for(cpu->team, cache->n_heads, move_unit, &job);
}
