#include "model/workspace.h"

#include "quant/panel.h"
#include "quant/tensors.h"

static size_t max_size(size_t a, size_t b) { return a > b ? a : b; }
static size_t min_size(size_t a, size_t b) { return a < b ? a : b; }

/* The largest product, attention and tile that the three stages will ask for. */
static b2_ops_limits find_limits(const b2_weights *w, const b2_capacity *c) {
    const b2_hparams *h = &w->h;
    const size_t n_vision = min_size(c->n_images, B2_VISION_BATCH), n_tokens = b2_vision_tokens(h);
    const size_t text_rows = c->n_sequences * (h->n_queries + c->n_prompt_tokens);
    const size_t widest_vision = max_size(max_size(h->vision_width, h->vision_ff), b2_patch_len(h));
    const size_t widest_qformer = max_size(h->qformer_width, h->qformer_ff);
    const size_t widest_text = max_size(h->text_width, h->text_ff);
    const size_t widest = max_size(widest_vision, max_size(widest_qformer, widest_text));
    const bool is_int8 = w->dtype == B2_DTYPE_I8;

    b2_ops_limits limits = {
        .max_linear_rows = max_size(n_vision * n_tokens, max_size(n_vision * h->n_queries, text_rows)),
        .max_keys = max_size(n_tokens, max_size(h->n_queries, h->n_queries + c->n_prompt_tokens + c->n_new_tokens)),
        .max_head_len = max_size(h->vision_width / h->vision_heads,
                                 max_size(h->qformer_width / h->qformer_heads, h->text_width / h->text_heads)),
    };
    if (is_int8) {
        const size_t vision = n_vision * n_tokens * (widest_vision + B2_GROUP_LEN);
        const size_t qformer = n_vision * h->n_queries * (widest_qformer + B2_GROUP_LEN);
        const size_t text = text_rows * (widest_text + B2_GROUP_LEN);
        limits.max_linear_values = max_size(vision, max_size(qformer, text));
    } else {
        const size_t n_groups = max_size(n_vision, c->n_sequences);
        limits.max_tail_values = b2_size_multiply(n_groups * 32, widest);
        limits.max_strip_values = w->dtype == B2_DTYPE_F16 ? B2_GEMM_STRIP * widest : 0;
    }
    return limits;
}

static void plan_vision(const b2_hparams *h, size_t n, b2_arena *arena, b2_vision_buffers *v) {
    const size_t rows = n * b2_vision_tokens(h), width = h->vision_width;
    v->n_images = n;
    v->x = b2_arena_take(arena, b2_size_multiply(rows, width), sizeof *v->x);
    v->y = b2_arena_take(arena, b2_size_multiply(rows, width), sizeof *v->y);
    v->patches = b2_arena_take(arena, b2_size_multiply(rows - n, b2_patch_len(h)), sizeof *v->patches);
    v->hidden = b2_arena_take(arena, b2_size_multiply(rows, max_size(3 * width, h->vision_ff)), sizeof *v->hidden);
}

static void plan_qformer(const b2_hparams *h, size_t n, b2_arena *arena, b2_qformer_buffers *q) {
    const size_t rows = n * h->n_queries, width = h->qformer_width;
    q->x = b2_arena_take(arena, rows * width, sizeof *q->x);
    q->y = b2_arena_take(arena, rows * width, sizeof *q->y);
    q->hidden = b2_arena_take(arena, rows * max_size(3 * width, h->qformer_ff), sizeof *q->hidden);
    q->image = b2_arena_take(arena, n * b2_vision_tokens(h) * 2 * width, sizeof *q->image);
}

static void plan_text(const b2_hparams *h, const b2_capacity *c, b2_arena *arena, b2_text_buffers *t) {
    const size_t rows = b2_size_multiply(c->n_sequences, h->n_queries + c->n_prompt_tokens), width = h->text_width;
    t->x = b2_arena_take(arena, b2_size_multiply(rows, width), sizeof *t->x);
    t->y = b2_arena_take(arena, b2_size_multiply(rows, width), sizeof *t->y);
    t->hidden = b2_arena_take(arena, b2_size_multiply(rows, max_size(3 * width, h->text_ff)), sizeof *t->hidden);
    t->last = b2_arena_take(arena, c->n_sequences * width, sizeof *t->last);
}

static void plan_cache(const b2_hparams *h, const b2_capacity *c, b2_arena *arena, b2_kvcache *cache) {
    const size_t positions = h->n_queries + c->n_prompt_tokens + c->n_new_tokens;
    cache->n_sequences = c->n_sequences;
    cache->capacity = (positions + 15) / 16 * 16;
    cache->block_values = b2_size_multiply(c->n_sequences, b2_size_multiply(cache->capacity, h->text_width));
    cache->keys = b2_arena_take(arena, b2_size_multiply(h->text_blocks, cache->block_values), sizeof *cache->keys);
    cache->values = b2_arena_take(arena, b2_size_multiply(h->text_blocks, cache->block_values), sizeof *cache->values);
}

/* Measures while the arena has no memory, places when it has. */
static b2_workspace_bytes plan(const b2_weights *w, const b2_capacity *c, b2_ops *ops, b2_workspace *ws) {
    const b2_hparams *h = &w->h;
    b2_arena *arena = &ws->arena;
    b2_workspace_bytes bytes = {0};
    const b2_ops_limits limits = find_limits(w, c);
    b2_ops_plan(ops, &limits, arena);
    bytes.scratch = arena->used_bytes;
    ws->soft_tokens = b2_arena_take(arena, c->n_images * h->n_queries * h->text_width, sizeof *ws->soft_tokens);
    bytes.soft_tokens = arena->used_bytes - bytes.scratch;
    plan_cache(h, c, arena, &ws->cache);
    bytes.cache = arena->used_bytes - bytes.scratch - bytes.soft_tokens;
    ws->logits = b2_arena_take(arena, b2_size_multiply(c->n_sequences, h->n_vocab), sizeof *ws->logits);

    const size_t stages = arena->used_bytes, n_vision = min_size(c->n_images, B2_VISION_BATCH);
    bytes.logits = stages - bytes.scratch - bytes.soft_tokens - bytes.cache;
    plan_vision(h, n_vision, arena, &ws->vision);
    plan_qformer(h, n_vision, arena, &ws->qformer);
    const size_t after_vision = arena->used_bytes;
    arena->used_bytes = stages;
    plan_text(h, c, arena, &ws->text);
    arena->used_bytes = max_size(arena->used_bytes, after_vision);
    bytes.stages = arena->used_bytes - stages;
    bytes.total = arena->used_bytes;
    return bytes;
}

b2_workspace_bytes b2_workspace_measure(const b2_weights *w, const b2_capacity *capacity, int n_threads) {
    b2_workspace ws = {0};
    b2_ops ops = {.team = b2_team_create(n_threads)};
    if (ops.team == NULL) return (b2_workspace_bytes){0};
    const b2_workspace_bytes bytes = plan(w, capacity, &ops, &ws);
    b2_team_free(ops.team);
    return bytes;
}

blip2_status b2_workspace_create(const b2_weights *w, const b2_capacity *capacity, b2_ops *ops, b2_workspace *ws,
                                 blip2_error *err) {
    *ws = (b2_workspace){0};
    plan(w, capacity, ops, ws);
    B2_TRY(b2_arena_reserve(&ws->arena, err));
    plan(w, capacity, ops, ws);
    return BLIP2_OK;
}

void b2_workspace_free(b2_workspace *ws) {
    b2_arena_free(&ws->arena);
    *ws = (b2_workspace){0};
}
