/* blip2_result.c: what the last generate has left in a session: texts, ids, scores, and what could have been said. */
#include "abi.h"
#include "blip2_session.h"

size_t blip2_session_n_results(const blip2_session *s, size_t request) {
    return request < s->n_requests ? s->requests[request].n_results : 0;
}

bool blip2_session_result(const blip2_session *s, size_t request, size_t rank, blip2_result *result) {
    if (rank >= blip2_session_n_results(s, request)) return false;
    const size_t i = request * s->max_results + rank;
    const b2_generation *g = &s->generations[i];
    blip2_result all = {
        .text = s->answers[i],
        .ending = g->ending,
        .is_empty = s->answers[i][0] == '\0',
        .is_echo = s->is_echo[i],
        .n_tokens = g->n_tokens,
        .tokens = g->tokens,
        .token_logprobs = g->logprobs,
        .is_retried = g->is_retried,
        .prompt = s->prompts + request * s->prompt_bytes,
    };
    for (size_t t = 0; t < g->n_tokens; t++) all.logprob += (double)g->logprobs[t];
    if (s->has_processed) all.processed_logprobs = g->processed;
    for (size_t t = 0; s->has_processed && t < g->n_tokens; t++) all.processed_logprob += (double)g->processed[t];
    all.score = s->is_ordered_by_score ? (double)g->score : all.logprob;
    b2_struct_fill(result, &all, sizeof all);
    return true;
}

bool blip2_session_alternative(blip2_session *s, size_t request, size_t rank, size_t step, size_t k,
                               blip2_alternative *alternative) {
    if (rank >= blip2_session_n_results(s, request) || k >= s->n_alternatives) return false;
    const b2_generation *g = &s->generations[request * s->max_results + rank];
    if (step >= g->n_tokens) return false;
    const b2_alternative *a = &g->alternatives[step * s->n_alternatives + k];
    b2_tokenizer_decode(s->model->tokenizer, &a->id, 1, s->piece, 3 * s->model->max_piece_bytes + 1);
    const blip2_alternative all = {.id = a->id, .logprob = a->logprob, .text = s->piece};
    b2_struct_fill(alternative, &all, sizeof all);
    return true;
}

const float *blip2_session_logits(const blip2_session *s, size_t request, size_t rank, size_t *n) {
    *n = s->model->weights.h.opt.n_vocab;
    if (rank >= blip2_session_n_results(s, request) || s->is_ordered_by_score) return NULL;
    const b2_generation *g = &s->generations[request * s->max_results + rank];
    return g->n_tokens > 0 ? g->last_logits : NULL;
}
