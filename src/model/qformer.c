/* qformer.c: a BERT over learned queries, post-LN (transformers modeling_blip_2.py, Blip2QFormerModel).
 *
 *   x [K][Q] = LN(queries)
 *   each block:  x = LN(x + out(attention among the queries))
 *                x = LN(x + out(attention to the image))      every cross_frequency-th block
 *                x = LN(x + down(gelu(up x)))
 *   soft tokens [K][D] = proj(x) */
#include "model/qformer.h"

#include "quant/tensors.h"

static void attend_to_self(const b2_hparams *h, const b2_qformer_block *block, b2_ops *ops, b2_qformer_buffers *b,
                           size_t n) {
    const size_t k_len = h->qformer.n_queries, width = h->qformer.width, heads = h->qformer.heads;
    b2_ops_linear(ops, &block->attn_qkv, b->x, n, k_len, B2_EPILOGUE_STORE, b->hidden);
    const b2_head_rows q = {b->hidden, k_len * 3 * width, 3 * width};
    const b2_head_rows k = {b->hidden + width, q.batch_stride, q.row_stride};
    const b2_head_rows v = {b->hidden + 2 * width, q.batch_stride, q.row_stride};
    b2_ops_attend(ops, n, heads, width / heads, q, k_len, k, v, k_len, b->y);
    b2_ops_linear(ops, &block->attn_out, b->y, n, k_len, B2_EPILOGUE_ADD, b->x);
    b2_ops_layernorm(ops, &block->attn_norm, b->x, n * k_len, b->x);
}

static void attend_to_image(const b2_hparams *h, const b2_qformer_block *block, b2_ops *ops, b2_qformer_buffers *b,
                            const float *image, size_t n) {
    const size_t k_len = h->qformer.n_queries, n_tokens = b2_vision_tokens(h), width = h->qformer.width;
    const size_t heads = h->qformer.heads;
    b2_ops_linear(ops, &block->cross_q, b->x, n, k_len, B2_EPILOGUE_STORE, b->hidden);
    b2_ops_linear(ops, &block->cross_kv, image, n, n_tokens, B2_EPILOGUE_STORE, b->image);
    const b2_head_rows q = {b->hidden, k_len * width, width};
    const b2_head_rows k = {b->image, n_tokens * 2 * width, 2 * width};
    const b2_head_rows v = {b->image + width, k.batch_stride, k.row_stride};
    b2_ops_attend(ops, n, heads, width / heads, q, k_len, k, v, n_tokens, b->y);
    b2_ops_linear(ops, &block->cross_out, b->y, n, k_len, B2_EPILOGUE_ADD, b->x);
    b2_ops_layernorm(ops, &block->cross_norm, b->x, n * k_len, b->x);
}

static void feed_forward(const b2_hparams *h, const b2_qformer_block *block, b2_ops *ops, b2_qformer_buffers *b,
                         size_t n) {
    b2_ops_linear(ops, &block->ffn_up, b->x, n, h->qformer.n_queries, B2_EPILOGUE_GELU, b->hidden);
    b2_ops_linear(ops, &block->ffn_down, b->hidden, n, h->qformer.n_queries, B2_EPILOGUE_ADD, b->x);
    b2_ops_layernorm(ops, &block->ffn_norm, b->x, n * h->qformer.n_queries, b->x);
}

void b2_qformer_run(const b2_weights *w, b2_workspace *homes, size_t first, size_t n) {
    const b2_hparams *h = &w->h;
    const size_t k_len = h->qformer.n_queries, soft_values = k_len * h->opt.width;
    b2_workspace *cpu = &homes[B2_HOME_CPU], *at = &homes[b2_home(w, B2_STAGE_QFORMER, 0)];
    b2_ops *ops = at->ops;
    b2_qformer_buffers *b = &at->qformer;
    b2_ops_copy_rows(ops, w->qformer.query, 0, n, k_len * h->qformer.width, b->x);
    b2_ops_layernorm(ops, &w->qformer.ln, b->x, n * k_len, b->x);
    for (uint32_t i = 0; i < h->qformer.blocks && !b2_ops_is_stopped(ops); i++) {
        const b2_qformer_block *block = &w->qformer.blocks[i];
        attend_to_self(h, block, ops, b, n);
        if (b2_block_has_cross(h, i)) attend_to_image(h, block, ops, b, at->vision.x, n);
        feed_forward(h, block, ops, b, n);
    }
    float *soft_tokens = at->soft_tokens + first * soft_values;
    b2_ops_linear(ops, &w->qformer.proj, b->x, n, k_len, B2_EPILOGUE_STORE, soft_tokens);
    b2_ops_move(ops, soft_tokens, n * soft_values, cpu->ops, cpu->soft_tokens + first * soft_values);
}
