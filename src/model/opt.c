/* opt.c: OPT decoder, pre-LN (transformers modeling_opt.py).
 *
 *   x [R][D] = (soft tokens, embeddings of ids) + position[index + 2]
 *   each block:  x += output(causal attention over the cache(qkv(LN x)));   x += down(relu(up(LN x)))
 *   logits = token_embd LN(last row of x)
 *
 * A prefill has two parts of rows: the soft tokens of each image, then the prompts, which see those of their image
 * wherever they are stored. Prompts of different length go through together: shorter ones are filled up with padding
 * rows after them, which no earlier row sees and whose place in the cache the first generated tokens take over. */
#include "model/opt.h"

#include "base/size.h"
#include "quant/tensors.h"

/* The slots of block i, at its home. */
static b2_block_cache block_cache(const b2_weights *w, const b2_kvcache *cache, uint32_t block) {
    const size_t at = (block - cache->first_block) * cache->block_values;
    return (b2_block_cache){
        .keys = cache->keys + at,
        .values = cache->values + at,
        .capacity = cache->capacity,
        .n_heads = w->h.opt.heads,
        .head_len = w->h.opt.width / w->h.opt.heads,
    };
}

/* The row of the table that position 0 looks up. */
static const float *positions(const b2_weights *w) {
    return w->opt.position_embd + B2_OPT_POSITION_OFFSET * w->h.opt.width;
}

/* Rows that go through the blocks together: `rows` new positions of each sequence of `at`. */
typedef struct text_part {
    b2_cache_places at;
    size_t rows;
} text_part;

typedef struct text_rows {
    text_part parts[2];
    size_t n_parts;
} text_rows;

static size_t count_rows(const text_rows *r) {
    size_t n = 0;
    for (size_t i = 0; i < r->n_parts; i++) n += r->parts[i].at.n * r->parts[i].rows;
    return n;
}

/* Two parts that are one item's whole tiles and what follows them. */
static bool is_one_item(const text_rows *r) {
    return r->n_parts == 2 && r->parts[0].at.n == 1 && r->parts[1].at.n == 1 && r->parts[0].rows % B2_TILE_ROWS == 0;
}

/* All rows at once where their place among others does not matter (int8) or is the same, else part by part: each begins
 * tiles. */
static void multiply(b2_ops *ops, const b2_matrix *w, const text_rows *r, const float *x, b2_epilogue epilogue,
                     float *out) {
    if (w->dtype == B2_DTYPE_I8) {
        b2_ops_linear(ops, w, x, count_rows(r), 1, epilogue, out);
        return;
    }
    if (is_one_item(r)) {
        b2_ops_linear(ops, w, x, 1, count_rows(r), epilogue, out);
        return;
    }
    for (size_t i = 0; i < r->n_parts; i++) {
        const size_t n = r->parts[i].at.n, rows = r->parts[i].rows;
        b2_ops_linear(ops, w, x, n, rows, epilogue, out);
        x += n * rows * w->n_in;
        out += n * rows * w->n_out;
    }
}

static void run_block(const b2_weights *w, uint32_t i, b2_workspace *at, const text_rows *r) {
    const b2_opt_block *block = &w->opt.blocks[i];
    const b2_block_cache cache = block_cache(w, &at->cache, i);
    const size_t n_rows = count_rows(r), width = w->h.opt.width;
    b2_ops *ops = at->ops;
    b2_text_buffers *b = &at->text;
    b2_ops_layernorm(ops, &block->attn_norm, b->x, n_rows, b->y);
    multiply(ops, &block->attn_qkv, r, b->y, B2_EPILOGUE_STORE, b->hidden);
    for (size_t part = 0, done = 0; part < r->n_parts; part++) {
        b2_ops_attend_cached(ops, &cache, b->hidden + done * 3 * width, &r->parts[part].at, r->parts[part].rows,
                             b->y + done * width);
        done += r->parts[part].at.n * r->parts[part].rows;
    }
    multiply(ops, &block->attn_output, r, b->y, B2_EPILOGUE_ADD, b->x);

    b2_ops_layernorm(ops, &block->ffn_norm, b->x, n_rows, b->y);
    multiply(ops, &block->ffn_up, r, b->y, B2_EPILOGUE_RELU, b->hidden);
    multiply(ops, &block->ffn_down, r, b->hidden, B2_EPILOGUE_ADD, b->x);
}

/* The blocks on x[rows][D] of the CPU. Returns where x is then. */
static b2_workspace *run_blocks(const b2_weights *w, b2_workspace *homes, const text_rows *r) {
    b2_workspace *cpu = &homes[B2_HOME_CPU], *at = cpu;
    for (uint32_t i = 0; i < w->h.opt.blocks && !b2_ops_is_stopped(at->ops); i++) {
        /* x goes along where the home changes; between two blocks of one home the move does nothing. */
        b2_workspace *next = &homes[b2_home(w, B2_STAGE_TEXT, i)];
        b2_ops_move(at->ops, at->text.x, count_rows(r) * w->h.opt.width, next->ops, next->text.x);
        at = next;
        run_block(w, i, at, r);
    }
    return at;
}

/* last[n][D] of a home -> logits[n][n_vocab] of the head's home */
static void run_head(const b2_weights *w, b2_workspace *homes, b2_workspace *at, const float *last, size_t n) {
    b2_workspace *head = &homes[b2_home(w, B2_STAGE_HEAD, 0)];
    if (head != at) {
        b2_ops_move(at->ops, last, n * w->h.opt.width, head->ops, head->text.last);
        last = head->text.last;
    }
    b2_ops_layernorm(head->ops, &w->opt.output_norm, last, n, head->text.last);
    b2_ops_linear(head->ops, &w->opt.output, head->text.last, n, 1, B2_EPILOGUE_STORE, head->logits);
}

/* x[K][D] of an image: soft tokens, each plus its position. */
static void embed_image(const b2_weights *w, b2_workspace *cpu, const float *soft_tokens, float *x) {
    b2_ops_add_rows(cpu->ops, soft_tokens, positions(w), NULL, w->h.qformer.n_queries, w->h.opt.width, x);
}

/* x[rows][D] of a prompt: ids, padding, each plus its position. */
static void embed_prompt(const b2_weights *w, b2_workspace *cpu, const b2_sequence *s, size_t rows, float *x) {
    const size_t width = w->h.opt.width, n_soft = w->h.qformer.n_queries;
    int32_t *ids = cpu->lists.ids;
    for (size_t i = 0; i < rows; i++) ids[i] = i < s->n_prompt ? s->prompt[i] : (int32_t)w->h.tokenizer.pad_id;
    b2_ops_gather_rows(cpu->ops, &w->opt.token_embd, ids, rows, x);
    b2_ops_add_rows(cpu->ops, x, positions(w) + n_soft * width, NULL, s->n_prompt, width, x);
}

/* The sequence whose slot gets the soft tokens that sequence i reads, too. */
static size_t find_image(const b2_sequence *sequences, size_t i) {
    size_t first = 0;
    if (sequences[i].sources == NULL) return i;
    while (sequences[first].sources == NULL || sequences[first].soft_tokens != sequences[i].soft_tokens) first++;
    return first;
}

/* Where the n sequences live: slots, n_past, and sources if one of them has positions elsewhere. */
static b2_cache_places places_of(b2_workspace *cpu, const b2_sequence *sequences, size_t n) {
    b2_text_lists *lists = &cpu->lists;
    const size_t stride = cpu->cache.capacity;
    bool is_shared = false;
    for (size_t i = 0; i < n; i++) {
        const b2_sequence *s = &sequences[i];
        lists->slots[i] = s->slot;
        lists->n_past[i] = s->n_past;
        for (size_t p = 0; p < s->n_past && s->sources != NULL && !is_shared; p++) is_shared = s->sources[p] != s->slot;
    }
    for (size_t i = 0; i < n && is_shared; i++)
        for (size_t p = 0; p < sequences[i].n_past; p++)
            lists->sources[i * stride + p] =
                sequences[i].sources != NULL ? sequences[i].sources[p] : (uint32_t)sequences[i].slot;
    return (b2_cache_places){.n = n,
                             .slots = lists->slots,
                             .n_past = lists->n_past,
                             .sources = is_shared ? lists->sources : NULL,
                             .stride = stride};
}

static void set_sources(b2_sequence *s, size_t first, size_t end, size_t slot) {
    for (size_t p = first; p < end && s->sources != NULL; p++) s->sources[p] = (uint32_t)slot;
}

void b2_opt_prefill(const b2_weights *w, b2_workspace *homes, b2_sequence *sequences, size_t n) {
    const size_t width = w->h.opt.width, n_soft = w->h.qformer.n_queries;
    b2_workspace *cpu = &homes[B2_HOME_CPU];
    size_t n_images = 0, rows = 0;
    for (size_t i = 0; i < n; i++) {
        const size_t image = find_image(sequences, i);
        set_sources(&sequences[i], 0, n_soft, sequences[image].slot);
        sequences[i].n_past = n_soft;
        rows = b2_max(rows, b2_prompt_rows(w, sequences[i].n_prompt));
        if (image != i) continue;
        embed_image(w, cpu, sequences[i].soft_tokens, cpu->text.x + n_images * n_soft * width);
        cpu->lists.image_slots[n_images++] = sequences[i].slot;
    }
    const size_t n_before = n_images * n_soft;
    for (size_t i = 0; i < n; i++)
        embed_prompt(w, cpu, &sequences[i], rows, cpu->text.x + (n_before + i * rows) * width);
    const b2_cache_places images = {.n = n_images, .slots = cpu->lists.image_slots, .n_past = cpu->lists.no_past};
    const text_rows all = {{{images, n_soft}, {places_of(cpu, sequences, n), rows}}, 2};
    b2_workspace *at = run_blocks(w, homes, &all);
    for (size_t i = 0; i < n; i++) {
        b2_sequence *s = &sequences[i];
        s->n_past = n_soft + s->n_prompt;
        set_sources(s, n_soft, s->n_past, s->slot);
        const float *last = at->text.x + (n_before + i * rows + s->n_prompt - 1) * width;
        b2_ops_copy_rows(at->ops, last, width, 1, width, at->text.last + i * width);
    }
    run_head(w, homes, at, at->text.last, n);
}

void b2_opt_step(const b2_weights *w, b2_workspace *homes, b2_sequence *sequences, const int32_t *ids, size_t n) {
    b2_workspace *cpu = &homes[B2_HOME_CPU];
    float *x = cpu->text.x;
    const text_rows all = {{{places_of(cpu, sequences, n), 1}}, 1};
    b2_ops_gather_rows(cpu->ops, &w->opt.token_embd, ids, n, x);
    b2_ops_add_rows(cpu->ops, x, positions(w), cpu->lists.n_past, n, w->h.opt.width, x);
    b2_workspace *at = run_blocks(w, homes, &all);
    run_head(w, homes, at, at->text.x, n);
    for (size_t i = 0; i < n; i++, sequences++) {
        set_sources(sequences, sequences->n_past, sequences->n_past + 1, sequences->slot);
        sequences->n_past++;
    }
}

void b2_opt_move_slots(const b2_weights *w, b2_workspace *homes, const b2_slot_move *moves, size_t n,
                       size_t n_positions) {
    for (uint32_t i = 0; i < w->h.opt.blocks; i++) {
        b2_workspace *at = &homes[b2_home(w, B2_STAGE_TEXT, i)];
        const b2_block_cache cache = block_cache(w, &at->cache, i);
        b2_ops_move_slots(at->ops, &cache, moves, n, n_positions);
    }
}
