/* weights.h: the mapped file as the model sees it: every matrix and norm under the name of its job. Views only;
 * nothing is copied. The fields are those of quant/tensors.def. */
#ifndef B2_WEIGHTS_H
#define B2_WEIGHTS_H

#include "checkpoint/checkpoint.h"
#include "kernels/ops.h"
#include "quant/hparams.h"

/* Widths: V = vision_width, Q = qformer_width, D = text_width; T = 1 + patches; F = the stage's feed-forward length. */
typedef struct b2_vision_block {
    b2_norm ln1;         /* [V] */
    b2_matrix attn_qkv;  /* [3V][V]: rows q, then k, then v */
    b2_matrix attn_out;  /* [V][V] */
    b2_norm ln2;         /* [V] */
    b2_matrix ffn_up;    /* [F][V] */
    b2_matrix ffn_down;  /* [V][F] */
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

typedef struct b2_text_block {
    b2_norm attn_norm;     /* [D] */
    b2_matrix attn_qkv;    /* [3D][D] */
    b2_matrix attn_output; /* [D][D] */
    b2_norm ffn_norm;      /* [D] */
    b2_matrix ffn_up;      /* [F][D] */
    b2_matrix ffn_down;    /* [D][F] */
} b2_text_block;

typedef struct b2_weights {
    b2_hparams h;
    b2_dtype dtype; /* of the matrices: I8, F16 or F32 */

    const float *v_class_embd;    /* [V] */
    b2_matrix v_patch_embd;       /* [V][3 * patch * patch], columns channel, y, x */
    const float *v_position_embd; /* [T][V], row 0 for the class token */
    b2_vision_block *vision;      /* [vision_blocks] */
    b2_norm v_post_ln;            /* [V] */

    const float *qf_query;        /* [n_queries][Q] */
    b2_norm qf_ln;                /* [Q] */
    b2_qformer_block *qformer;    /* [qformer_blocks] */
    b2_matrix proj;               /* [D][Q] */

    b2_matrix token_embd;         /* [n_vocab][D] */
    const float *position_embd;   /* [max_positions + 2][D] */
    b2_text_block *text;          /* [text_blocks] */
    b2_norm output_norm;          /* [D] */
    b2_matrix output;             /* [n_vocab][D]: the LM head; token_embd again unless the file holds its own */
} b2_weights;

/* Binds every tensor of the checkpoint, checking presence, type and shape of each; a tensor that no row of
 * tensors.def asks for is an error too. The weights point into the checkpoint, which must outlive them. */
blip2_status b2_weights_bind(const b2_checkpoint *checkpoint, b2_weights *weights, blip2_error *err);
void b2_weights_free(b2_weights *weights);

#endif
