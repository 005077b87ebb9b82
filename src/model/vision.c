/* vision.c: EVA-CLIP's ViT, pre-LN (transformers modeling_blip_2.py, Blip2VisionModel).
 *
 *   pixels [3][S][S] -> patches [T-1][3 p p] -> x [T][V] = (class token, patches W^T + b) + positions
 *   each block:  x += out(attention(qkv(LN1 x)));   x += down(gelu(up(LN2 x)))
 *   finally      x = LN(x) */
#include "model/vision.h"

#include "quant/tensors.h"

/* x[n][T][V]: the class token first, then the patches, each plus its position. The products arrive in y[n][T-1][V]. */
static void embed_patches(const b2_weights *w, b2_ops *ops, b2_vision_buffers *b, const float *const *pixels,
                          size_t n) {
    const b2_hparams *h = &w->h;
    const size_t n_patches = b2_vision_tokens(h) - 1, width = h->vision.width;
    const float *class_position = w->vision.position_embd, *patch_positions = class_position + width;
    for (size_t i = 0; i < n; i++)
        b2_ops_cut_patches(ops, pixels[i], h->image.size, h->image.patch_size,
                           b->patches + i * n_patches * b2_patch_len(h));
    b2_ops_linear(ops, &w->vision.patch_embd, b->patches, n, n_patches, B2_EPILOGUE_STORE, b->y);
    for (size_t i = 0; i < n; i++) {
        float *x = b->x + i * (1 + n_patches) * width;
        b2_ops_add_rows(ops, w->vision.class_embd, class_position, NULL, 1, width, x);
        b2_ops_add_rows(ops, b->y + i * n_patches * width, patch_positions, NULL, n_patches, width, x + width);
    }
}

static void run_block(const b2_weights *w, const b2_vision_block *block, b2_ops *ops, b2_vision_buffers *b, size_t n) {
    const b2_hparams *h = &w->h;
    const size_t n_tokens = b2_vision_tokens(h), width = h->vision.width, rows = n * n_tokens;

    b2_ops_layernorm(ops, &block->ln1, b->x, rows, b->y);
    b2_ops_linear(ops, &block->attn_qkv, b->y, n, n_tokens, B2_EPILOGUE_STORE, b->hidden);
    const b2_head_rows q = {b->hidden, n_tokens * 3 * width, 3 * width};
    const b2_head_rows k = {b->hidden + width, q.batch_stride, q.row_stride};
    const b2_head_rows v = {b->hidden + 2 * width, q.batch_stride, q.row_stride};
    b2_ops_attend(ops, n, h->vision.heads, width / h->vision.heads, q, n_tokens, k, v, n_tokens, b->y);
    b2_ops_linear(ops, &block->attn_out, b->y, n, n_tokens, B2_EPILOGUE_ADD, b->x);

    b2_ops_layernorm(ops, &block->ln2, b->x, rows, b->y);
    b2_ops_linear(ops, &block->ffn_up, b->y, n, n_tokens, B2_EPILOGUE_GELU, b->hidden);
    b2_ops_linear(ops, &block->ffn_down, b->hidden, n, n_tokens, B2_EPILOGUE_ADD, b->x);
}

void b2_vision_run(const b2_weights *w, b2_workspace *homes, const float *const *pixels, size_t n) {
    const size_t rows = n * b2_vision_tokens(&w->h), n_values = rows * w->h.vision.width;
    b2_workspace *at = &homes[b2_home(w, B2_STAGE_VISION, 0)];
    embed_patches(w, at->ops, &at->vision, pixels, n);
    for (uint32_t i = 0; i < w->h.vision.blocks && !b2_ops_is_stopped(at->ops); i++) {
        /* x goes along where the home changes; between two blocks of one home the move does nothing. */
        b2_workspace *next = &homes[b2_home(w, B2_STAGE_VISION, i)];
        b2_ops_move(at->ops, at->vision.x, n_values, next->ops, next->vision.x);
        at = next;
        run_block(w, &w->vision.blocks[i], at->ops, &at->vision, n);
    }
    b2_ops_layernorm(at->ops, &w->vision.post_ln, at->vision.x, rows, at->vision.x);
    b2_workspace *end = &homes[b2_home(w, B2_STAGE_QFORMER, 0)];
    b2_ops_move(at->ops, at->vision.x, n_values, end->ops, end->vision.x);
}
