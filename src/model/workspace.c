/* workspace.c: how large each buffer is, once for measuring and placing alike. */
#include "model/workspace.h"

#include "base/size.h"
#include "quant/panel.h"
#include "quant/tensors.h"

size_t b2_prompt_rows(const b2_weights *w, size_t n) { return w->dtype == B2_DTYPE_I8 ? n : b2_max(n, 2); }

/* The most rows that the text model sees at once. */
static size_t text_rows(const b2_weights *w, const b2_capacity *c) {
    const size_t rows = w->h.qformer.n_queries + b2_prompt_rows(w, c->n_prompt_tokens);
    return b2_max(b2_size_multiply(c->n_requests, rows), c->n_sequences);
}

/* Positions of a slot; a padding row after the prompt has one too. */
static size_t cache_capacity(const b2_weights *w, const b2_capacity *c) {
    const size_t n_ids = b2_max(c->n_prompt_tokens + c->n_new_tokens, b2_prompt_rows(w, c->n_prompt_tokens));
    return b2_round_up(w->h.qformer.n_queries + n_ids, 16);
}

/* The largest product and attention of the three stages. */
static b2_ops_limits find_limits(const b2_weights *w, const b2_capacity *c) {
    const b2_hparams *h = &w->h;
    const size_t n_vision = b2_min(c->n_images, B2_VISION_BATCH), n_tokens = b2_vision_tokens(h);
    const size_t widest_vision = b2_max(b2_max(h->vision.width, h->vision.ff), b2_patch_len(h));
    const size_t widest_qformer = b2_max(h->qformer.width, h->qformer.ff);
    const size_t widest_text = b2_max(h->opt.width, h->opt.ff);
    const size_t widest = b2_max(widest_vision, b2_max(widest_qformer, widest_text));
    const bool is_int8 = w->dtype == B2_DTYPE_I8;
    const size_t most_keys = n_vision * b2_round_up(b2_max(n_tokens, h->qformer.n_queries), 16);
    const size_t positions = cache_capacity(w, c);

    b2_ops_limits limits = {
        .max_keys = b2_max(n_tokens, positions),
        .max_head_len = b2_max(h->vision.width / h->vision.heads,
                               b2_max(h->qformer.width / h->qformer.heads, h->opt.width / h->opt.heads)),
        .max_key_values = most_keys * b2_max(h->vision.width, h->qformer.width),
        .max_slot_values = c->n_sequences > 0 ? positions * h->opt.width : 0,
    };
    if (is_int8) {
        const size_t vision = n_vision * n_tokens * (widest_vision + B2_GROUP_LEN);
        const size_t qformer = n_vision * h->qformer.n_queries * (widest_qformer + B2_GROUP_LEN);
        const size_t text = text_rows(w, c) * (widest_text + B2_GROUP_LEN);
        limits.max_linear_values = b2_max(vision, b2_max(qformer, text));
    } else {
        limits.max_items = b2_max(n_vision, c->n_sequences);
        limits.max_inputs = widest;
        limits.has_f16 = w->dtype == B2_DTYPE_F16;
    }
    return limits;
}

static void plan_vision(const b2_hparams *h, size_t n, b2_arena *arena, b2_vision_buffers *v) {
    const size_t rows = n * b2_vision_tokens(h), width = h->vision.width;
    v->n_images = n;
    v->x = b2_arena_take(arena, b2_size_multiply(rows, width), sizeof *v->x);
    v->y = b2_arena_take(arena, b2_size_multiply(rows, width), sizeof *v->y);
    v->patches = b2_arena_take(arena, b2_size_multiply(rows - n, b2_patch_len(h)), sizeof *v->patches);
    v->hidden = b2_arena_take(arena, b2_size_multiply(rows, b2_max(3 * width, h->vision.ff)), sizeof *v->hidden);
}

static void plan_qformer(const b2_hparams *h, size_t n, b2_arena *arena, b2_qformer_buffers *q) {
    const size_t rows = n * h->qformer.n_queries, width = h->qformer.width;
    q->x = b2_arena_take(arena, rows * width, sizeof *q->x);
    q->y = b2_arena_take(arena, rows * width, sizeof *q->y);
    q->hidden = b2_arena_take(arena, rows * b2_max(3 * width, h->qformer.ff), sizeof *q->hidden);
    q->image = b2_arena_take(arena, n * b2_vision_tokens(h) * 2 * width, sizeof *q->image);
}

static void plan_text(const b2_weights *w, const b2_capacity *c, b2_arena *arena, b2_text_buffers *t) {
    const b2_hparams *h = &w->h;
    const size_t rows = text_rows(w, c), width = h->opt.width;
    t->x = b2_arena_take(arena, b2_size_multiply(rows, width), sizeof *t->x);
    t->y = b2_arena_take(arena, b2_size_multiply(rows, width), sizeof *t->y);
    t->hidden = b2_arena_take(arena, b2_size_multiply(rows, b2_max(3 * width, h->opt.ff)), sizeof *t->hidden);
    t->last = b2_arena_take(arena, c->n_sequences * width, sizeof *t->last);
}

/* At a device the last blocks live: the cache begins with the first of them. */
static uint32_t first_block_at(const b2_weights *w, size_t home) {
    uint32_t block = 0;
    while (home != B2_HOME_CPU && block < w->h.opt.blocks && b2_home(w, B2_STAGE_TEXT, block) != home) block++;
    return block;
}

static void plan_cache(const b2_weights *w, const b2_capacity *c, size_t home, b2_arena *arena, b2_kvcache *cache) {
    cache->first_block = first_block_at(w, home);
    cache->n_sequences = c->n_sequences;
    cache->capacity = cache_capacity(w, c);
    cache->block_values = b2_size_multiply(c->n_sequences, b2_size_multiply(cache->capacity, w->h.opt.width));
    const size_t n_values = b2_size_multiply(w->h.opt.blocks - cache->first_block, cache->block_values);
    cache->keys = b2_arena_take(arena, n_values, sizeof *cache->keys);
    cache->values = b2_arena_take(arena, n_values, sizeof *cache->values);
}

static void plan_lists(const b2_weights *w, const b2_capacity *c, b2_arena *arena, b2_text_lists *lists) {
    const size_t capacity = cache_capacity(w, c);
    lists->image_slots = b2_arena_take(arena, c->n_requests, sizeof *lists->image_slots);
    lists->no_past = b2_arena_take(arena, c->n_requests, sizeof *lists->no_past);
    lists->sources = b2_arena_take(arena, b2_size_multiply(c->n_sequences, capacity), sizeof *lists->sources);
    lists->slots = b2_arena_take(arena, c->n_sequences, sizeof *lists->slots);
    lists->n_past = b2_arena_take(arena, c->n_sequences, sizeof *lists->n_past);
    lists->ids = b2_arena_take(arena, b2_prompt_rows(w, c->n_prompt_tokens), sizeof *lists->ids);
    lists->moves = b2_arena_take(arena, 2 * c->n_sequences, sizeof *lists->moves);
}

/* What a home that does not compute everything needs room for. */
static b2_capacity capacity_at(const b2_weights *w, const b2_capacity *c, size_t home) {
    b2_capacity here = *c;
    if (home != B2_HOME_CPU && b2_home(w, B2_STAGE_VISION, 0) != home) here.n_images = 0;
    if (home != B2_HOME_CPU && b2_home(w, B2_STAGE_HEAD, 0) != home) here.n_requests = here.n_sequences = 0;
    return here;
}

/* Measures while the arena has no memory, places when it has: the pointers are not looked at here. */
static b2_workspace_bytes plan(const b2_weights *w, const b2_capacity *capacity, size_t home, b2_workspace *ws) {
    const b2_hparams *h = &w->h;
    const b2_capacity c = capacity_at(w, capacity, home);
    const b2_ops_limits limits = find_limits(w, &c);
    b2_arena *arena = &ws->arena;
    b2_ops_plan(ws->ops, &limits, arena);
    if (home == B2_HOME_CPU) plan_lists(w, &c, arena, &ws->lists);
    const size_t scratch = b2_arena_mark(arena);
    ws->soft_tokens = b2_arena_take(arena, c.n_images * h->qformer.n_queries * h->opt.width, sizeof *ws->soft_tokens);
    const size_t soft_tokens = b2_arena_mark(arena);
    plan_cache(w, &c, home, arena, &ws->cache);
    const size_t cache = b2_arena_mark(arena);
    ws->logits = b2_arena_take(arena, b2_size_multiply(c.n_sequences, h->opt.n_vocab), sizeof *ws->logits);

    const size_t stages = b2_arena_mark(arena), n_vision = b2_min(c.n_images, B2_VISION_BATCH);
    plan_vision(h, n_vision, arena, &ws->vision);
    plan_qformer(h, n_vision, arena, &ws->qformer);
    const size_t after_vision = b2_arena_mark(arena);
    b2_arena_rewind(arena, stages);
    plan_text(w, &c, arena, &ws->text);
    b2_arena_rewind(arena, b2_max(after_vision, b2_arena_mark(arena)));
    const size_t end = b2_arena_mark(arena);
    return (b2_workspace_bytes){.scratch = scratch,
                                .soft_tokens = soft_tokens - scratch,
                                .cache = cache - soft_tokens,
                                .logits = stages - cache,
                                .stages = end - stages,
                                .total = end};
}

b2_workspace_bytes b2_workspace_measure(const b2_weights *w, const b2_capacity *capacity, size_t home, b2_ops *ops) {
    b2_workspace ws = {.ops = ops};
    return plan(w, capacity, home, &ws);
}

blip2_status b2_workspace_create(const b2_weights *w, const b2_capacity *capacity, size_t home, b2_ops *ops,
                                 b2_workspace *ws, blip2_error *err) {
    *ws = (b2_workspace){.ops = ops};
    if (capacity->n_sequences > B2_MAX_SEQUENCES)
        return b2_fail(err, BLIP2_LIMIT, "%zu texts at once: expected at most %d", capacity->n_sequences,
                       B2_MAX_SEQUENCES);
    plan(w, capacity, home, ws);
    B2_TRY(b2_ops_reserve(ops, &ws->arena, err));
    plan(w, capacity, home, ws);
    return BLIP2_OK;
}

void b2_workspace_free(b2_workspace *ws) {
    if (ws->ops != NULL) b2_ops_release(ws->ops, &ws->arena);
    *ws = (b2_workspace){0};
}

blip2_status b2_workspace_status(const b2_workspace *homes, blip2_error *err) {
    for (size_t i = B2_MAX_HOMES; i-- > 0;)
        if (homes[i].ops != NULL) B2_TRY(b2_ops_status(homes[i].ops, err));
    return BLIP2_OK;
}
