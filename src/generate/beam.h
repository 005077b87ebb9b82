/* beam.h: beam search: for each request the n best beginnings of a text go on together. As transformers has done it
 * since 4.50 (generation/utils.py, _beam_search), or in the older form (BeamSearchScorer), with its length of
 * hypotheses since 4.36 or before. The beams of a request are neighbouring rows of the decoder; a beam's keys and
 * values stay where they were written, only the list of its ancestors' slots is copied.
 *
 *   scores of a beam [n_vocab] = rules(log-softmax(logits)) + sum so far     for each beam
 *   candidates [2 n]           = the best of all, or drawn from them
 *   next beams [n], finished texts [n], best first                           the form's own */
#ifndef B2_BEAM_H
#define B2_BEAM_H

#include "generate/task.h"

/* A beginning of a text, or a finished one. */
typedef struct b2_hypothesis {
    int32_t *tokens;              /* [n_new_tokens] */
    float *logprobs, *processed;  /* the model's own; those that rules and cuts leave */
    b2_alternative *alternatives; /* [n_new_tokens][n_alternatives] */
    size_t n;
    float score; /* the sum of what rules made of them; of a finished one over its length */
} b2_hypothesis;

/* How one of them may go on. */
typedef struct b2_candidate {
    double key; /* what they are ordered by */
    float score, logprob, processed;
    size_t beam;
    int32_t id;
} b2_candidate;

/* Memory of all requests, request i from hypothesis i * n on. */
typedef struct b2_beams {
    b2_hypothesis *all;                       /* [3][n_rows]: these, of which the first two change places */
    b2_hypothesis *running, *next, *finished; /* [n_rows] */
    size_t *n_finished;                       /* [n_rows] of request i */
    b2_candidate *candidates;                 /* [2 n_beams] of one request at a time */
    size_t *parents;                          /* [n_beams] */
    int32_t *tokens;                          /* [3][n_rows][n_new_tokens] */
    float *logprobs, *processed;              /* the same */
    b2_alternative *alternatives;             /* [3][n_rows][n_new_tokens][n_alternatives] */
    b2_alternative *fresh;                    /* [n_beams][n_alternatives] of one request at a time */
} b2_beams;

/* Errors: MEMORY. */
blip2_status b2_beams_create(size_t n_rows, size_t n_beams, size_t n_new_tokens, size_t n_alternatives, b2_beams *beams,
                             blip2_error *err);
void b2_beams_free(b2_beams *beams);

/* The rows of n requests have begun. */
void b2_beams_begin(b2_beams *beams, const b2_decode_options *options, size_t n);

/* One id for each row; requests that are done get their results and leave. */
void b2_beams_take_ids(b2_beams *beams, b2_chooser *chooser, const b2_decode_options *options,
                       b2_decode_request *requests);

#endif
