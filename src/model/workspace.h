/* workspace.h: the one block of memory that a session has at a home, planned and placed by the same function.
 *
 *   | scratch of the verbs | lists | soft tokens | key/value cache | logits | stage buffers, overlaid:             |
 *   |                      |       |             |                 |        |   vision and Q-Former, or text       |
 *
 * The stages never live together: the text begins when every image of the batch has become soft tokens. All of it is
 * the home's memory, to be touched by its verbs only; the lists are the CPU's. */
#ifndef B2_WORKSPACE_H
#define B2_WORKSPACE_H

#include "base/arena.h"
#include "model/weights.h"

/* Images go through the ViT in parts of at most this many: more would save no weight traffic worth the memory. */
enum { B2_VISION_BATCH = 4 };

/* Slots of a cache: requests times the hypotheses of each. */
enum { B2_MAX_SEQUENCES = 4096 };

/* What a session is sized for. */
typedef struct b2_capacity {
    size_t n_images;        /* images of a batch: soft tokens kept */
    size_t n_requests;      /* prompts read at once */
    size_t n_sequences;     /* texts that grow at once: requests times the hypotheses of each */
    size_t n_prompt_tokens; /* ids of a prompt, the leading </s> included */
    size_t n_new_tokens;    /* ids generated */
} b2_capacity;

/* T = tokens of an image, V its width; N = images at once. */
typedef struct b2_vision_buffers {
    size_t n_images; /* N */
    float *patches;  /* [N][T-1][3 * patch * patch] */
    float *x;        /* [N][T][V] the residual stream */
    float *y;        /* [N][T][V] a normalised copy, then attention's output */
    float *hidden;   /* [N][T][max(3V, F)] qkv, then the feed-forward's inside */
} b2_vision_buffers;

/* K = queries, Q their width. */
typedef struct b2_qformer_buffers {
    float *x;      /* [N][K][Q] the residual stream */
    float *y;      /* [N][K][Q] attention's output */
    float *hidden; /* [N][K][max(3Q, F)] */
    float *image;  /* [N][T][2Q] keys and values of the image */
} b2_qformer_buffers;

/* R rows at once (while prefilling: K for each image, then the prompts; while decoding one for each sequence), S
 * sequences, D their width. */
typedef struct b2_text_buffers {
    float *x;      /* [R][D] */
    float *y;      /* [R][D] */
    float *hidden; /* [R][max(3D, F)] */
    float *last;   /* [S][D] the last row of each sequence, normalised */
} b2_text_buffers;

/* The text's keys and values, of the blocks that live at this home:
 * [opt.blocks - first_block][n_sequences][heads]{[head_len][capacity], [capacity][head_len]}. */
typedef struct b2_kvcache {
    float *keys, *values;
    uint32_t first_block;
    size_t n_sequences, capacity; /* capacity in positions, a multiple of 16 */
    size_t block_values;          /* floats of one block's keys (or values) */
} b2_kvcache;

/* What a call of the text model tells the verbs about its sequences; at the CPU's home only. */
typedef struct b2_text_lists {
    size_t *slots, *n_past;        /* [S] of sequence i */
    size_t *image_slots, *no_past; /* [requests] where each image's soft tokens go; zeros */
    uint32_t *sources;             /* [S][capacity of the cache] */
    int32_t *ids;                  /* [n_prompt_tokens] of one prompt, then padding */
    b2_slot_move *moves;           /* [2 S] */
} b2_text_lists;

typedef struct b2_workspace {
    b2_ops *ops; /* the home; NULL: the session has none there */
    b2_arena arena;
    b2_text_lists lists;
    float *soft_tokens; /* [n_images][K][D] */
    float *logits;      /* [S][n_vocab] */
    b2_kvcache cache;
    b2_vision_buffers vision;
    b2_qformer_buffers qformer;
    b2_text_buffers text;
} b2_workspace;

/* Rows that a prompt of n ids takes: in f32 and f16 files one more than a single row, which would be computed another
 * way than a row among others. */
size_t b2_prompt_rows(const b2_weights *w, size_t n);

/* Bytes by purpose, as b2_workspace_create will reserve them. */
typedef struct b2_workspace_bytes {
    size_t scratch, soft_tokens, cache, logits, stages, total;
} b2_workspace_bytes;

/* What a session of this capacity needs at `home` (B2_HOME_...), computed by ops. The CPU has room for the whole
 * model, whatever lives elsewhere: it takes over when a device fails. Nothing is allocated; but no workspace may use
 * ops yet, since its scratch is planned too. */
b2_workspace_bytes b2_workspace_measure(const b2_weights *w, const b2_capacity *capacity, size_t home, b2_ops *ops);

/* Reserves the memory and places everything, the scratch of ops included. ops stays the caller's. Errors: MEMORY,
 * LIMIT. */
blip2_status b2_workspace_create(const b2_weights *w, const b2_capacity *capacity, size_t home, b2_ops *ops,
                                 b2_workspace *workspace, blip2_error *err);
void b2_workspace_free(b2_workspace *workspace);

/* How the work at homes[B2_MAX_HOMES] went: OK, the first failure, or BLIP2_CANCELLED. */
blip2_status b2_workspace_status(const b2_workspace *homes, blip2_error *err);

#endif
