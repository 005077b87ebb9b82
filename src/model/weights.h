/* weights.h: the mapped file as the model sees it: every matrix and norm under the name of its job. Views only;
 * nothing is copied. The fields are those of the .def files in quant/. */
#ifndef B2_WEIGHTS_H
#define B2_WEIGHTS_H

#include "checkpoint/checkpoint.h"
#include "kernels/ops.h"
#include "quant/hparams.h"

/* Widths: V = vision.width, Q = qformer.width, D = opt.width; T = 1 + patches; F = the stage's feed-forward length. */
typedef struct b2_vision_block {
    b2_norm ln1;        /* [V] */
    b2_matrix attn_qkv; /* [3V][V]: rows q, then k, then v */
    b2_matrix attn_out; /* [V][V] */
    b2_norm ln2;        /* [V] */
    b2_matrix ffn_up;   /* [F][V] */
    b2_matrix ffn_down; /* [V][F] */
} b2_vision_block;

typedef struct b2_qformer_block {
    b2_matrix attn_qkv;  /* [3Q][Q] */
    b2_matrix attn_out;  /* [Q][Q] */
    b2_norm attn_norm;   /* [Q] */
    b2_matrix cross_q;   /* [Q][Q]; the four cross_ fields are empty in blocks that do not look at the image */
    b2_matrix cross_kv;  /* [2Q][V] */
    b2_matrix cross_out; /* [Q][Q] */
    b2_norm cross_norm;  /* [Q] */
    b2_matrix ffn_up;    /* [F][Q] */
    b2_matrix ffn_down;  /* [Q][F] */
    b2_norm ffn_norm;    /* [Q] */
} b2_qformer_block;

typedef struct b2_opt_block {
    b2_norm attn_norm;     /* [D] */
    b2_matrix attn_qkv;    /* [3D][D] */
    b2_matrix attn_output; /* [D][D] */
    b2_norm ffn_norm;      /* [D] */
    b2_matrix ffn_up;      /* [F][D] */
    b2_matrix ffn_down;    /* [D][F] */
} b2_opt_block;

typedef struct b2_vision_weights {
    const float *class_embd;    /* [V] */
    b2_matrix patch_embd;       /* [V][3 * patch * patch], columns channel, y, x */
    const float *position_embd; /* [T][V], row 0 for the class token */
    b2_vision_block *blocks;    /* [h.vision.blocks] */
    b2_norm post_ln;            /* [V] */
} b2_vision_weights;

typedef struct b2_qformer_weights {
    const float *query;       /* [n_queries][Q] */
    b2_norm ln;               /* [Q] */
    b2_qformer_block *blocks; /* [h.qformer.blocks] */
    b2_matrix proj;           /* [D][Q] */
} b2_qformer_weights;

typedef struct b2_opt_weights {
    b2_matrix token_embd;       /* [n_vocab][D] */
    const float *position_embd; /* [max_positions + 2][D] */
    b2_opt_block *blocks;       /* [h.opt.blocks] */
    b2_norm output_norm;        /* [D] */
    b2_matrix output;           /* [n_vocab][D]: the LM head; token_embd again unless the file holds its own */
} b2_opt_weights;

/* The homes that a model may be spread over. */
enum { B2_HOME_CPU, B2_HOME_DEVICE, B2_MAX_HOMES };

/* What is computed at one home: a block of the ViT, the Q-Former with its projection, the LM head, a block of the text
 * model. */
typedef enum b2_stage { B2_STAGE_VISION, B2_STAGE_QFORMER, B2_STAGE_HEAD, B2_STAGE_TEXT } b2_stage;

typedef struct b2_weights {
    b2_hparams h;
    b2_dtype dtype;  /* of the matrices: I8, F16 or F32 */
    uint32_t n_away; /* how many stand at B2_HOME_DEVICE: the first ones of the line that b2_home walks */
    b2_vision_weights vision;
    b2_qformer_weights qformer;
    b2_opt_weights opt;
} b2_weights;

/* The home of a block (0 for the Q-Former and the head). One line is walked: the ViT's blocks, the Q-Former, the LM
 * head, the text's blocks from the last one down; so a device holds the beginning of the ViT and the end of the text
 * model, and a picture, like a token, crosses once. The embedding of ids stays at the CPU. */
size_t b2_home(const b2_weights *w, b2_stage stage, uint32_t block);

/* How long that line is. */
uint32_t b2_home_line_len(const b2_weights *w);

/* Zeroed tables of blocks for each network of w->h.arch; of another `blocks` stays NULL. b2_weights_free either way.
 * Errors: MEMORY. */
blip2_status b2_weights_create_blocks(b2_weights *w, blip2_error *err);

/* Binds every tensor of the checkpoint, checking presence, type and shape of each; a tensor that no row of
 * parts.def names is an error too. The weights point into the checkpoint, which must outlive them. */
blip2_status b2_weights_bind(const b2_checkpoint *checkpoint, b2_weights *weights, blip2_error *err);
void b2_weights_free(b2_weights *weights);

/* Bytes that b2_weights_place will reserve at the device. Errors: MEMORY (of the host). */
blip2_status b2_weights_measure(const b2_weights *file, uint32_t n_away, b2_ops *device, size_t *n_bytes,
                                blip2_error *err);

/* Weights of which the first n_away of b2_home's line stand in memory of the device, the others where `file` has them:
 * measured, reserved in *arena (b2_ops_release it after the weights' last use), uploaded. Whether all arrived is said
 * by b2_ops_status(device). `file` is left as it is, and must outlive them. */
blip2_status b2_weights_place(const b2_weights *file, uint32_t n_away, b2_ops *device, b2_arena *arena,
                              b2_weights *placed, blip2_error *err);

#endif
