/* blip2_score.c: texts that are given, as ids, and how likely the model holds them. Text and ids meet here. */
#include "abi.h"
#include "blip2_session.h"
#include "blip2_spelling.h"
#include "generate/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct blip2_texts {
    size_t n, max_requests, n_requests, most_ids; /* most_ids: of all texts in the longer spelling */
    b2_spellings spellings;
    float *logprobs;            /* [max_requests][most_ids] */
    b2_score_text *scored;      /* [max_requests][n] */
    b2_score_request *requests; /* [max_requests] */
    b2_score_row *rows;         /* [B2_MAX_SEQUENCES] */
};

static blip2_status spell_all(const blip2_model *model, const char *const *texts, blip2_texts *t, blip2_error *err) {
    B2_TRY(b2_spellings_create(model, texts, t->n, &t->spellings, err));
    t->most_ids = b2_max(t->spellings.first[B2_SPELLING_BARE][t->n], t->spellings.first[B2_SPELLING_SPACED][t->n]);
    t->logprobs = calloc(t->max_requests * t->most_ids, sizeof *t->logprobs);
    t->scored = calloc(t->max_requests * t->n, sizeof *t->scored);
    t->requests = calloc(t->max_requests, sizeof *t->requests);
    t->rows = calloc(B2_MAX_SEQUENCES, sizeof *t->rows);
    if (t->logprobs && t->scored && t->requests && t->rows) return BLIP2_OK;
    return b2_fail(err, BLIP2_MEMORY, "no memory for the scores of %zu texts", t->n);
}

blip2_status blip2_texts_create(const blip2_model *model, const char *const *texts, size_t n_texts, size_t max_requests,
                                blip2_texts **out, blip2_error *err) {
    *out = NULL;
    if (n_texts < 1 || n_texts > BLIP2_MAX_TEXTS)
        return b2_fail(err, BLIP2_ARGUMENT, "%zu texts: expected 1 to %d", n_texts, BLIP2_MAX_TEXTS);
    if (max_requests < 1 || max_requests > BLIP2_MAX_BATCH)
        return b2_fail(err, BLIP2_ARGUMENT, "max_requests: expected 1 to %d, got %zu", BLIP2_MAX_BATCH, max_requests);
    blip2_texts *t = calloc(1, sizeof *t);
    if (t == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for %zu texts", n_texts);
    t->n = n_texts;
    t->max_requests = max_requests;
    const blip2_status status = spell_all(model, texts, t, err);
    if (status == BLIP2_OK) *out = t;
    else blip2_texts_free(&t);
    return status;
}

void blip2_texts_free(blip2_texts **texts) {
    if (texts == NULL || *texts == NULL) return;
    blip2_texts *t = *texts;
    b2_spellings_free(&t->spellings);
    free(t->logprobs);
    free(t->scored);
    free(t->requests);
    free(t->rows);
    free(t);
    *texts = NULL;
}

size_t blip2_texts_max_tokens(const blip2_texts *t) { return t->spellings.max_tokens; }

/* ---- scores ------------------------------------------------------------------------------------------------------ */

/* Request i as the session has read it, and the texts as they follow its prompt. */
static void plan_request(const blip2_session *s, blip2_texts *t, size_t i) {
    const char *prompt = s->prompts + i * s->prompt_bytes;
    const b2_spelling spelling = b2_spelling_after(prompt);
    const size_t *firsts = t->spellings.first[spelling];
    b2_score_text *texts = t->scored + i * t->n;
    for (size_t k = 0; k < t->n; k++) {
        texts[k] = (b2_score_text){.tokens = t->spellings.ids[spelling] + firsts[k],
                                   .logprobs = t->logprobs + i * t->most_ids + firsts[k],
                                   .n_tokens = firsts[k + 1] - firsts[k]};
    }
    t->requests[i] = (b2_score_request){.sequence = s->requests[i].sequence, .texts = texts, .n_texts = t->n};
}

static blip2_status score_all(blip2_session *s, blip2_texts *t, size_t n, blip2_error *err) {
    const size_t room = s->capacity.n_sequences / n;
    b2_decode_report report;
    const int64_t before = b2_session_enter(s);
    b2_score_run(&s->runner.chooser, t->requests, n, b2_min(room, t->n), t->rows, &report);
    return b2_session_leave(s, before, &report, err);
}

blip2_status blip2_session_score_sized(blip2_session *s, const blip2_request *requests, size_t request_bytes,
                                       size_t n_requests, blip2_texts *t, blip2_error *err) {
    t->n_requests = 0;
    s->answer_list = NULL;
    B2_TRY(b2_session_read_requests(s, requests, request_bytes, n_requests, err));
    if (n_requests > t->max_requests)
        return b2_fail(err, BLIP2_ARGUMENT, "%zu requests: the texts were created for %zu", n_requests,
                       t->max_requests);
    if (t->spellings.max_tokens > s->capacity.n_new_tokens)
        return b2_fail(err, BLIP2_LIMIT, "a text of %zu ids: the session was created for %zu (max_new_tokens)",
                       t->spellings.max_tokens, s->capacity.n_new_tokens);
    if (n_requests == 0) return BLIP2_OK;
    for (size_t i = 0; i < n_requests; i++) plan_request(s, t, i);
    blip2_status status = score_all(s, t, n_requests, err);
    if (b2_session_drop_device(s)) status = score_all(s, t, n_requests, err);
    if (status == BLIP2_OK) t->n_requests = n_requests;
    return status;
}

static double sum_of(const b2_score_text *text, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)text->logprobs[i];
    return sum;
}

/* The probability of one of the texts, given that it is one of them. */
static double share_of(const b2_score_text *texts, size_t n, size_t which) {
    double sum = 0;
    const double own = sum_of(&texts[which], texts[which].n_tokens);
    for (size_t i = 0; i < n; i++) sum += exp(sum_of(&texts[i], texts[i].n_tokens) - own);
    return 1 / sum;
}

bool blip2_texts_score(const blip2_texts *t, size_t request, size_t text, blip2_score *score) {
    if (request >= t->n_requests || text >= t->n) return false;
    const b2_score_text *texts = t->scored + request * t->n, *scored = &texts[text];
    const double logprob = sum_of(scored, scored->n_tokens);
    const blip2_score all = {.n_tokens = scored->n_tokens,
                             .tokens = scored->tokens,
                             .token_logprobs = scored->logprobs,
                             .logprob = logprob,
                             .mean_logprob = logprob / (double)scored->n_tokens,
                             .text_logprob = sum_of(scored, scored->n_tokens - 1),
                             .probability = share_of(texts, t->n, text)};
    b2_struct_fill(score, &all, sizeof all);
    return true;
}
