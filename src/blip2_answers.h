/* blip2_answers.h: answers from a list, as a session uses them. */
#ifndef B2_BLIP2_ANSWERS_H
#define B2_BLIP2_ANSWERS_H

#include "blip2.h"
#include "generate/trie.h"

/* Errors: ARGUMENT (answers of another model; fewer than the results that each request is to have). */
blip2_status b2_answers_check(const blip2_answers *answers, const blip2_model *model, size_t n_results,
                              blip2_error *err);

/* *n_new_tokens: of the longest. Errors: LIMIT (longer than the n_most new tokens that a session was created for). */
blip2_status b2_answers_fit(const blip2_answers *answers, size_t n_most, size_t *n_new_tokens, blip2_error *err);

/* As they are spelled after a prompt. */
const b2_trie *b2_answers_after(const blip2_answers *answers, const char *prompt);

#endif
