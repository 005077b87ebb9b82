/* opt.c: OPT decoder, pre-LN (transformers modeling_opt.py).
 *
 *   x [R][D] = (soft tokens, embeddings of ids) + position[index + 2]
 *   each block:  x += output(causal attention over the cache(qkv(LN x)));   x += down(relu(up(LN x)))
 *   logits = token_embd LN(last row of x)
 *
 * Prompts of different length go through together: shorter ones are filled up with padding rows behind them, which no
 * earlier row sees and whose place in the cache the first generated tokens take over. */
#include "model/opt.h"

#include "quant/tensors.h"

#include <string.h>

static b2_block_cache block_cache(const b2_weights *w, const b2_kvcache *cache, uint32_t block) {
    return (b2_block_cache){
        .keys = cache->keys + block * cache->block_values,
        .values = cache->values + block * cache->block_values,
        .capacity = cache->capacity,
        .n_heads = w->h.text_heads,
        .head_len = w->h.text_width / w->h.text_heads,
    };
}

/* x[d] = token[d] + the position's row */
static void add_position(const b2_weights *w, const float *token, size_t position, float *x) {
    const float *row = w->position_embd + (position + B2_OPT_POSITION_OFFSET) * w->h.text_width;
    for (size_t d = 0; d < w->h.text_width; d++) x[d] = token[d] + row[d];
}

static void embed_id(const b2_weights *w, const b2_ops *ops, int32_t id, size_t position, float *x) {
    b2_ops_gather_row(ops, &w->token_embd, (size_t)id, x);
    add_position(w, x, position, x);
}

/* The blocks on x[n][rows][D], rows new positions of each sequence. */
static void run_blocks(const b2_weights *w, b2_ops *ops, b2_workspace *ws, const size_t *slots, const size_t *n_past,
                       size_t n, size_t rows) {
    b2_text_buffers *b = &ws->text;
    for (uint32_t i = 0; i < w->h.text_blocks && !b2_ops_is_cancelled(ops); i++) {
        const b2_text_block *block = &w->text[i];
        const b2_block_cache cache = block_cache(w, &ws->cache, i);
        b2_ops_layernorm(ops, &block->attn_norm, b->x, n * rows, b->y);
        b2_ops_linear(ops, &block->attn_qkv, b->y, n, rows, B2_EPILOGUE_STORE, b->hidden);
        b2_ops_attend_cached(ops, &cache, b->hidden, n, rows, slots, n_past, b->y);
        b2_ops_linear(ops, &block->attn_output, b->y, n, rows, B2_EPILOGUE_ADD, b->x);

        b2_ops_layernorm(ops, &block->ffn_norm, b->x, n * rows, b->y);
        b2_ops_linear(ops, &block->ffn_up, b->y, n, rows, B2_EPILOGUE_RELU, b->hidden);
        b2_ops_linear(ops, &block->ffn_down, b->hidden, n, rows, B2_EPILOGUE_ADD, b->x);
    }
}

/* logits[n][n_vocab] from last[n][D], in place normalised first */
static void run_head(const b2_weights *w, b2_ops *ops, b2_workspace *ws, size_t n) {
    b2_ops_layernorm(ops, &w->output_norm, ws->text.last, n, ws->text.last);
    b2_ops_linear(ops, &w->output, ws->text.last, n, 1, B2_EPILOGUE_STORE, ws->logits);
}

void b2_opt_prefill(const b2_weights *w, b2_ops *ops, b2_workspace *ws, b2_sequence *sequences, size_t n) {
    const size_t width = w->h.text_width, n_soft = w->h.n_queries;
    size_t rows = 0, slots[B2_MAX_SEQUENCES] = {0}, n_past[B2_MAX_SEQUENCES] = {0};
    for (size_t i = 0; i < n; i++)
        if (n_soft + sequences[i].n_prompt > rows) rows = n_soft + sequences[i].n_prompt;
    for (size_t i = 0; i < n; i++) {
        const b2_sequence *s = &sequences[i];
        slots[i] = s->slot;
        for (size_t r = 0; r < rows; r++) {
            float *x = ws->text.x + (i * rows + r) * width;
            if (r < n_soft) add_position(w, s->soft_tokens + r * width, r, x);
            else embed_id(w, ops, r - n_soft < s->n_prompt ? s->prompt[r - n_soft] : (int32_t)w->h.pad_id, r, x);
        }
    }
    run_blocks(w, ops, ws, slots, n_past, n, rows);
    for (size_t i = 0; i < n; i++) {
        sequences[i].n_past = n_soft + sequences[i].n_prompt;
        memcpy(ws->text.last + i * width, ws->text.x + (i * rows + sequences[i].n_past - 1) * width,
               width * sizeof *ws->text.last);
    }
    run_head(w, ops, ws, n);
}

void b2_opt_step(const b2_weights *w, b2_ops *ops, b2_workspace *ws, b2_sequence *sequences, const int32_t *ids,
                 size_t n) {
    const size_t width = w->h.text_width;
    size_t slots[B2_MAX_SEQUENCES] = {0}, n_past[B2_MAX_SEQUENCES] = {0};
    for (size_t i = 0; i < n; i++) {
        slots[i] = sequences[i].slot;
        n_past[i] = sequences[i].n_past++;
        embed_id(w, ops, ids[i], n_past[i], ws->text.x + i * width);
    }
    run_blocks(w, ops, ws, slots, n_past, n, 1);
    memcpy(ws->text.last, ws->text.x, n * width * sizeof *ws->text.last);
    run_head(w, ops, ws, n);
}
