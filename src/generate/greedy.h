/* greedy.h: the most probable next token, again and again. Ids only; no text comes here. */
#ifndef B2_GREEDY_H
#define B2_GREEDY_H

#include "model/opt.h"

typedef enum b2_ending {
    B2_ENDING_STOP,      /* the stop id came; it is the last token */
    B2_ENDING_LENGTH,    /* n_new_tokens reached */
    B2_ENDING_NOT_FINITE /* a logit was NaN: what came before is kept */
} b2_ending;

typedef struct b2_greedy_row {
    b2_sequence sequence; /* soft tokens and prompt set by the caller */
    int32_t *tokens;      /* [n_new_tokens], the caller's */
    float *logprobs;      /* [n_new_tokens], the caller's */
    size_t n_tokens;
    b2_ending ending;
} b2_greedy_row;

typedef struct b2_greedy_report {
    int64_t prefill_ns, decode_ns;
    size_t n_steps;
} b2_greedy_report;

/* Runs n rows (<= ws->cache.n_sequences) to their ends; a row that has ended no longer costs anything. The rows do not
 * influence one another. When ops is cancelled it returns early with rows unfinished. */
void b2_greedy_run(const b2_weights *w, b2_ops *ops, b2_workspace *ws, b2_greedy_row *rows, size_t n,
                   size_t n_new_tokens, b2_greedy_report *report);

#endif
