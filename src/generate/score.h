/* score.h: how likely the model holds texts that are given: it is made to say them (teacher forcing). The prompt of a
 * request is read once; texts stand side by side as rows over it, and a row that has said one goes on with the next. */
#ifndef B2_SCORE_H
#define B2_SCORE_H

#include "generate/run.h"

typedef struct b2_score_text {
    const int32_t *tokens; /* [n_tokens], at least one */
    float *logprobs;       /* [n_tokens] of each id after those before it, the caller's; NaN where a logit was */
    size_t n_tokens;
} b2_score_text;

/* What one row of a request is at. */
typedef struct b2_score_row {
    const b2_score_text *text;
    size_t n_said;
} b2_score_row;

typedef struct b2_score_request {
    b2_sequence sequence; /* soft tokens and prompt */
    b2_score_text *texts; /* [n_texts] */
    size_t n_texts, n_begun;
} b2_score_request;

/* Fills the logprobs of all texts of n requests. n_side_by_side: rows of each request, n * n_side_by_side at most the
 * decoder's capacity; rows[n * n_side_by_side]: scratch. A text has at most as many ids as the cache was planned for
 * new tokens, plus one. When a home is stopped it returns early. */
void b2_score_run(b2_chooser *chooser, b2_score_request *requests, size_t n, size_t n_side_by_side, b2_score_row *rows,
                  b2_decode_report *report);

#endif
