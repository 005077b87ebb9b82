/* workspace.h: the one block of memory of a session, planned and placed by the same function.
 *
 *   | scratch of the verbs | soft tokens | key/value cache | logits | stage buffers, overlaid:             |
 *   |                      |             |                 |        |   vision and Q-Former, or  OPT       |
 *
 * The stages never live together: OPT begins when every image of the batch has become soft tokens. */
#ifndef B2_WORKSPACE_H
#define B2_WORKSPACE_H

#include "base/arena.h"
#include "model/weights.h"

/* Images go through the ViT in parts of at most this many: more would save no weight traffic worth the memory. */
enum { B2_VISION_BATCH = 4, B2_MAX_SEQUENCES = 256 };

/* What a session is sized for. */
typedef struct b2_capacity {
    size_t n_images;         /* images of a batch: soft tokens kept */
    size_t n_sequences;      /* texts generated at once */
    size_t n_prompt_tokens;  /* ids of a prompt, the leading </s> included */
    size_t n_new_tokens;     /* ids generated */
} b2_capacity;

/* T = tokens of an image, V its width; N = images at once. */
typedef struct b2_vision_buffers {
    size_t n_images;  /* N */
    float *patches;   /* [N][T-1][3 * patch * patch] */
    float *x;         /* [N][T][V] the residual stream */
    float *y;         /* [N][T][V] a normalised copy, then attention's output */
    float *hidden;    /* [N][T][max(3V, F)] qkv, then the feed-forward's inside */
} b2_vision_buffers;

/* K = queries, Q their width. */
typedef struct b2_qformer_buffers {
    float *x;      /* [N][K][Q] the residual stream */
    float *y;      /* [N][K][Q] attention's output */
    float *hidden; /* [N][K][max(3Q, F)] */
    float *image;  /* [N][T][2Q] keys and values of the image */
} b2_qformer_buffers;

/* S sequences, R rows at once (K + prompt while prefilling, 1 while decoding), D their width. */
typedef struct b2_text_buffers {
    float *x;      /* [S][R][D] */
    float *y;      /* [S][R][D] */
    float *hidden; /* [S][R][max(3D, F)] */
    float *last;   /* [S][D] the last row of each sequence, normalised */
} b2_text_buffers;

/* The text's keys and values: [text_blocks][n_sequences][heads]{[head_len][capacity], [capacity][head_len]}. */
typedef struct b2_kvcache {
    float *keys, *values;
    size_t n_sequences, capacity; /* capacity in positions, a multiple of 16 */
    size_t block_values;          /* floats of one block's keys (or values) */
} b2_kvcache;

typedef struct b2_workspace {
    b2_arena arena;
    float *soft_tokens; /* [n_images][K][D] */
    float *logits;      /* [S][n_vocab] */
    b2_kvcache cache;
    b2_vision_buffers vision;
    b2_qformer_buffers qformer;
    b2_text_buffers text;
} b2_workspace;

/* Bytes by purpose, as b2_workspace_create will reserve them. */
typedef struct b2_workspace_bytes {
    size_t scratch, soft_tokens, cache, logits, stages, total;
} b2_workspace_bytes;

/* ops->team must be set; its scratch is planned here too. Nothing is allocated. */
b2_workspace_bytes b2_workspace_measure(const b2_weights *w, const b2_capacity *capacity, int n_threads);

/* Reserves the memory and places everything, the scratch of ops included. */
blip2_status b2_workspace_create(const b2_weights *w, const b2_capacity *capacity, b2_ops *ops, b2_workspace *workspace,
                                 blip2_error *err);
void b2_workspace_free(b2_workspace *workspace);

#endif
