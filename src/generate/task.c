/* task.c: see task.h. */
#include "generate/task.h"

#include <stdlib.h>

blip2_status b2_chooser_create(const b2_weights *weights, b2_workspace *homes, b2_chooser *c, blip2_error *err) {
    const size_t n_vocab = weights->h.opt.n_vocab;
    *c = (b2_chooser){0};
    B2_TRY(b2_decoder_create(weights, homes, &c->decoder, err));
    c->raw = calloc(n_vocab, sizeof *c->raw);
    c->scores = calloc(n_vocab, sizeof *c->scores);
    c->scratch.heap = calloc(n_vocab, sizeof *c->scratch.heap);
    c->scratch.keys = calloc(n_vocab, sizeof *c->scratch.keys);
    if (c->raw && c->scores && c->scratch.heap && c->scratch.keys) return BLIP2_OK;
    b2_chooser_free(c);
    return b2_fail(err, BLIP2_MEMORY, "no memory for the scores of %zu ids", n_vocab);
}

void b2_chooser_free(b2_chooser *c) {
    b2_decoder_free(&c->decoder);
    free(c->raw);
    free(c->scores);
    free(c->scratch.heap);
    free(c->scratch.keys);
    *c = (b2_chooser){0};
}

void b2_alternatives_find(const float *logprobs, size_t n_vocab, b2_alternative *best, size_t n) {
    size_t n_best = 0;
    for (size_t id = 0; id < n_vocab && n > 0; id++) {
        size_t at = n_best;
        if (at == n && !(logprobs[id] > best[at - 1].logprob)) continue;
        if (at == n) at--;
        else n_best++;
        for (; at > 0 && logprobs[id] > best[at - 1].logprob; at--) best[at] = best[at - 1];
        best[at] = (b2_alternative){(int32_t)id, logprobs[id]};
    }
}

void b2_chooser_apply_rules(b2_chooser *c, const b2_decode_options *o, const b2_decode_request *request,
                            const int32_t *tokens, size_t n_tokens) {
    const b2_hparams *h = &c->decoder.weights->h;
    const bool sees_all = o->rules_see == B2_SEE_ALL;
    const b2_history history = {.image_id = o->image_id,
                                .n_image = sees_all ? h->qformer.n_queries : 0,
                                .prompt = request->sequence.prompt, /* </s> is its first id */
                                .n_prompt = sees_all ? request->sequence.n_prompt : o->rules_see == B2_SEE_LAVIS,
                                .tokens = tokens,
                                .n_tokens = n_tokens,
                                .answers = request->answers};
    if (o->rules != NULL) b2_logits_process(o->rules, &history, c->scores, h->opt.n_vocab);
}
