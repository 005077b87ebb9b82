/* hparams.h: the numbers that make a BLIP-2 the one it is. Written by convert/, read by src/: one list of keys
 * (hparams.def), so that neither side can forget one. Nothing in here is guessed at run time. */
#ifndef B2_HPARAMS_H
#define B2_HPARAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct b2_hparams {
    /* image: RGB, square, image_size pixels a side, cut into patches of patch_size pixels a side */
    uint32_t image_size, patch_size;
    float image_mean[3], image_std[3];

    /* vision: pre-LN ViT over T = 1 + (image_size / patch_size)^2 tokens */
    uint32_t vision_blocks, vision_width, vision_ff, vision_heads;
    float vision_eps;

    /* qformer: post-LN BERT over n_queries learned queries; block i looks at the image when i % cross_frequency == 0 */
    uint32_t n_queries;
    uint32_t qformer_blocks, qformer_width, qformer_ff, qformer_heads, cross_frequency;
    float qformer_eps;

    /* text: OPT decoder; max_positions counts usable positions (the table has two rows more) */
    uint32_t text_blocks, text_width, text_ff, text_heads, max_positions;
    float text_eps;
    uint32_t n_vocab;       /* rows of the token embedding, padding rows included */
    uint32_t bos_id, stop_id, pad_id;
    bool add_bos;
} b2_hparams;

/* OPT looks position p up in row p + 2 of its table (transformers modeling_opt.py, OPTLearnedPositionalEmbedding). */
enum { B2_OPT_POSITION_OFFSET = 2 };

#endif
