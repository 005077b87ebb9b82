/* opt.h: the language model, for several sequences at once. */
#ifndef B2_OPT_H
#define B2_OPT_H

#include "model/workspace.h"

/* One sequence in flight: its slot in the cache and how many positions it holds there. */
typedef struct b2_sequence {
    const float *soft_tokens; /* [K][D] of its image */
    const int32_t *prompt;    /* ids, the leading </s> included */
    size_t n_prompt;
    size_t slot, n_past;
} b2_sequence;

/* Reads soft tokens and prompt of each sequence into the cache; logits[i] (n_vocab floats, rows of ws->logits) are those
 * after the last prompt id of sequence i. Sets n_past. n <= n_sequences of the workspace. */
void b2_opt_prefill(const b2_weights *w, b2_ops *ops, b2_workspace *ws, b2_sequence *sequences, size_t n);

/* Feeds one id to each sequence; logits as above. */
void b2_opt_step(const b2_weights *w, b2_ops *ops, b2_workspace *ws, b2_sequence *sequences, const int32_t *ids,
                 size_t n);

#endif
