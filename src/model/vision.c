/* vision.c: EVA-CLIP's ViT, pre-LN (transformers modeling_blip_2.py, Blip2VisionModel).
 *
 *   pixels [3][S][S] -> patches [T-1][3 p p] -> x [T][V] = (class token, patches W^T + b) + positions
 *   each block:  x += out(attention(qkv(LN1 x)));   x += down(gelu(up(LN2 x)))
 *   finally      x = LN(x) */
#include "model/vision.h"

#include "quant/tensors.h"

#include <string.h>

/* Patch (r, c) becomes a row of channel, y, x: the order of the convolution's weights. Pixels that fill no whole patch
 * at the right and bottom are left out, as a convolution without padding does. */
static void cut_patches(const b2_hparams *h, const float *pixels, float *patches) {
    const size_t size = h->image_size, p = h->patch_size, side = size / p;
    for (size_t r = 0; r < side; r++)
        for (size_t c = 0; c < side; c++)
            for (size_t channel = 0; channel < 3; channel++)
                for (size_t y = 0; y < p; y++, patches += p)
                    memcpy(patches, pixels + (channel * size + r * p + y) * size + c * p, p * sizeof *patches);
}

/* x[n][T][V]: the class token first, then the patches, each plus its position. The products arrive in y[n][T-1][V]. */
static void embed_patches(const b2_weights *w, b2_ops *ops, b2_vision_buffers *b, const float *const *pixels, size_t n) {
    const b2_hparams *h = &w->h;
    const size_t n_tokens = b2_vision_tokens(h), n_patches = n_tokens - 1, width = h->vision_width;
    for (size_t i = 0; i < n; i++) cut_patches(h, pixels[i], b->patches + i * n_patches * b2_patch_len(h));
    b2_ops_linear(ops, &w->v_patch_embd, b->patches, n, n_patches, B2_EPILOGUE_STORE, b->y);
    for (size_t i = 0; i < n; i++)
        for (size_t t = 0; t < n_tokens; t++) {
            const float *token = t == 0 ? w->v_class_embd : b->y + (i * n_patches + t - 1) * width;
            const float *position = w->v_position_embd + t * width;
            float *x = b->x + (i * n_tokens + t) * width;
            for (size_t d = 0; d < width; d++) x[d] = token[d] + position[d];
        }
}

static void run_block(const b2_weights *w, const b2_vision_block *block, b2_ops *ops, b2_vision_buffers *b, size_t n) {
    const b2_hparams *h = &w->h;
    const size_t n_tokens = b2_vision_tokens(h), width = h->vision_width, rows = n * n_tokens;

    b2_ops_layernorm(ops, &block->ln1, b->x, rows, b->y);
    b2_ops_linear(ops, &block->attn_qkv, b->y, n, n_tokens, B2_EPILOGUE_STORE, b->hidden);
    const b2_head_rows q = {b->hidden, n_tokens * 3 * width, 3 * width};
    const b2_head_rows k = {b->hidden + width, q.batch_stride, q.row_stride};
    const b2_head_rows v = {b->hidden + 2 * width, q.batch_stride, q.row_stride};
    b2_ops_attend(ops, n, h->vision_heads, width / h->vision_heads, q, n_tokens, k, v, n_tokens, b->y);
    b2_ops_linear(ops, &block->attn_out, b->y, n, n_tokens, B2_EPILOGUE_ADD, b->x);

    b2_ops_layernorm(ops, &block->ln2, b->x, rows, b->y);
    b2_ops_linear(ops, &block->ffn_up, b->y, n, n_tokens, B2_EPILOGUE_GELU, b->hidden);
    b2_ops_linear(ops, &block->ffn_down, b->hidden, n, n_tokens, B2_EPILOGUE_ADD, b->x);
}

void b2_vision_run(const b2_weights *w, b2_ops *ops, b2_vision_buffers *b, const float *const *pixels, size_t n) {
    embed_patches(w, ops, b, pixels, n);
    for (uint32_t i = 0; i < w->h.vision_blocks && !b2_ops_is_cancelled(ops); i++)
        run_block(w, &w->vision[i], ops, b, n);
    b2_ops_layernorm(ops, &w->v_post_ln, b->x, n * b2_vision_tokens(&w->h), b->x);
}
