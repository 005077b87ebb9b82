/* blip2_answers.c: answers from a list: their ids in both spellings, each spelling a trie. */
#include "blip2_answers.h"

#include "base/size.h"
#include "blip2_model.h"
#include "blip2_spelling.h"

#include <stdlib.h>

struct blip2_answers {
    uint64_t content_hash; /* of the model whose ids these are */
    b2_spellings spellings;
    b2_trie tries[B2_N_SPELLINGS];
};

/* The stop id stands at the end of a text alone: generation would end in the middle. */
static blip2_status check_ids(const blip2_answers *a, int spelling, int32_t stop_id, blip2_error *err) {
    for (size_t i = 0; i < a->spellings.n; i++)
        for (size_t k = a->spellings.first[spelling][i]; k + 1 < a->spellings.first[spelling][i + 1]; k++)
            if (a->spellings.ids[spelling][k] == stop_id)
                return b2_fail(err, BLIP2_ARGUMENT, "answer %zu holds the id %d, which ends an answer", i + 1, stop_id);
    return BLIP2_OK;
}

static blip2_status build_trie(blip2_answers *a, int spelling, int32_t stop_id, blip2_error *err) {
    const b2_spellings *s = &a->spellings;
    b2_trie *trie = &a->tries[spelling];
    B2_TRY(check_ids(a, spelling, stop_id, err));
    *trie = (b2_trie){.texts = malloc(s->n * sizeof *trie->texts), .n = s->n};
    if (trie->texts == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for %zu answers", s->n);
    for (size_t i = 0; i < s->n; i++) {
        const size_t first = s->first[spelling][i];
        trie->texts[i] = (b2_trie_text){s->ids[spelling] + first, s->first[spelling][i + 1] - first};
    }
    b2_trie_sort(trie);
    return BLIP2_OK;
}

blip2_status blip2_answers_create(const blip2_model *model, const char *const *answers, size_t n, blip2_answers **out,
                                  blip2_error *err) {
    *out = NULL;
    if (n < 1 || n > BLIP2_MAX_ANSWERS)
        return b2_fail(err, BLIP2_ARGUMENT, "%zu answers: expected 1 to %d", n, BLIP2_MAX_ANSWERS);
    blip2_answers *a = calloc(1, sizeof *a);
    if (a == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for %zu answers", n);
    a->content_hash = b2_checkpoint_content_hash(model->checkpoint);
    blip2_status status = b2_spellings_create(model, answers, n, &a->spellings, err);
    for (int spelling = 0; status == BLIP2_OK && spelling < B2_N_SPELLINGS; spelling++)
        status = build_trie(a, spelling, (int32_t)model->weights.h.tokenizer.stop_id, err);
    if (status == BLIP2_OK) *out = a;
    else blip2_answers_free(&a);
    return status;
}

void blip2_answers_free(blip2_answers **answers) {
    if (answers == NULL || *answers == NULL) return;
    blip2_answers *a = *answers;
    for (int spelling = 0; spelling < B2_N_SPELLINGS; spelling++) free(a->tries[spelling].texts);
    b2_spellings_free(&a->spellings);
    free(a);
    *answers = NULL;
}

size_t blip2_answers_max_tokens(const blip2_answers *a) { return a->spellings.max_tokens; }

blip2_status b2_answers_check(const blip2_answers *a, const blip2_model *model, size_t n_results, blip2_error *err) {
    const size_t n = b2_min(a->tries[B2_SPELLING_BARE].n, a->tries[B2_SPELLING_SPACED].n);
    if (a->content_hash != b2_checkpoint_content_hash(model->checkpoint))
        return b2_fail(err, BLIP2_ARGUMENT, "the answers were made for another model");
    if (n_results > n)
        return b2_fail(err, BLIP2_ARGUMENT, "num_return_sequences: expected at most the %zu answers there are, got %zu",
                       n, n_results);
    return BLIP2_OK;
}

blip2_status b2_answers_fit(const blip2_answers *a, size_t n_most, size_t *n_new_tokens, blip2_error *err) {
    *n_new_tokens = a->spellings.max_tokens;
    if (*n_new_tokens <= n_most) return BLIP2_OK;
    return b2_fail(err, BLIP2_LIMIT, "an answer of %zu ids: the session was created for %zu (max_new_tokens)",
                   *n_new_tokens, n_most);
}

const b2_trie *b2_answers_after(const blip2_answers *a, const char *prompt) {
    return &a->tries[b2_spelling_after(prompt)];
}
