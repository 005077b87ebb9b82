/* task.h: what is to be written and how ids are chosen, for every way of choosing; and what they all work with: rows in
 * flight, and scratch for one row of scores. */
#ifndef B2_TASK_H
#define B2_TASK_H

#include "generate/decode.h"
#include "generate/logits.h"
#include "generate/sample.h"

typedef enum b2_beam_form { B2_BEAM_CURRENT, B2_BEAM_CLASSIC, B2_BEAM_LAVIS } b2_beam_form;
typedef enum b2_early_stopping { B2_EARLY_FALSE, B2_EARLY_TRUE, B2_EARLY_NEVER } b2_early_stopping;

typedef struct b2_beam_options {
    b2_beam_form form;
    b2_early_stopping early_stopping;
    double length_penalty;
} b2_beam_options;

/* An id that could have come, and the model's own log-probability of it. */
typedef struct b2_alternative {
    int32_t id;
    float logprob;
} b2_alternative;

/* Which ids the rules look at: image, prompt and answer, as transformers has it since 4.47; the answer alone (4.38 to
 * 4.46); the leading </s> and the answer (before). */
typedef enum b2_rules_see { B2_SEE_ALL, B2_SEE_ANSWER, B2_SEE_LAVIS } b2_rules_see;

/* One text that is being written. */
typedef struct b2_generation {
    int32_t *tokens;  /* [n_new_tokens], the caller's */
    float *logprobs;  /* [n_new_tokens], the caller's: the model's own, whatever rules say */
    float *processed; /* [n_new_tokens], the caller's: those of the distribution that rules and cuts leave */
    b2_alternative *alternatives; /* [n_new_tokens][n_alternatives], the caller's */
    float *last_logits;           /* [n_vocab], the caller's: those of the last id; NULL: not wanted; never of beams */
    size_t n_tokens;
    bool is_kept, is_retried; /* this run leaves it as it is; it is being written a second time: the caller's */
    blip2_ending ending;
    float score; /* of beams */
} b2_generation;

/* What is to be written about one prompt. */
typedef struct b2_decode_request {
    b2_sequence sequence;            /* soft tokens and prompt */
    uint64_t picture, prompt_number; /* what draws depend on, beside the seed */
    const b2_trie *answers;          /* a text is one of these; NULL: anything. Then options->rules are there */
    b2_generation *results;          /* [n_hypotheses], the caller's */
    size_t n_results;                /* how many of them there are, set here */
} b2_decode_request;

typedef struct b2_decode_options {
    size_t n_new_tokens;
    size_t n_hypotheses;          /* of each request side by side: beams or samples */
    size_t n_results;             /* wanted of each request, at most n_hypotheses */
    const b2_logits_rules *rules; /* NULL: none */
    int32_t image_id;             /* the placeholder in the history that rules look at */
    const b2_sampling *sampling;  /* NULL: nothing is drawn */
    const b2_beam_options *beams; /* NULL: each text by itself */
    b2_rules_see rules_see;
    bool wants_processed;
    size_t n_alternatives; /* the most probable ids of each step, at most n_vocab; 0: none */
    bool (*on_token)(void *context, size_t request, size_t result); /* after each id of a text by itself; false ends it;
                                                                     * NULL: never */
    void *context;
} b2_decode_options;

/* What the ways to choose share. */
typedef struct b2_chooser {
    b2_decoder decoder;
    float *raw, *scores;       /* [n_vocab] logits or log-probabilities; the same after rules and cuts */
    b2_sample_scratch scratch; /* [n_vocab] */
} b2_chooser;

/* What it points to must outlive it. Errors: MEMORY. */
blip2_status b2_chooser_create(const b2_weights *weights, b2_workspace *homes, b2_chooser *chooser, blip2_error *err);
void b2_chooser_free(b2_chooser *chooser);

/* best[n] = the ids with the largest of logprobs[n_vocab], best first, the lower one on a tie; n <= n_vocab. */
void b2_alternatives_find(const float *logprobs, size_t n_vocab, b2_alternative *best, size_t n);

/* chooser->scores becomes what the rules make of them; tokens: the n_tokens ids so far. */
void b2_chooser_apply_rules(b2_chooser *chooser, const b2_decode_options *options, const b2_decode_request *request,
                            const int32_t *tokens, size_t n_tokens);

#endif
