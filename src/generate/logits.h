/* logits.h: rules that change the scores of the next id before one is chosen, in the order and over the ids of
 * transformers 5.24 (its logits processors). Pure functions on one row in host memory.
 *
 * A rule looks at the ids so far, as generate() of transformers >= 4.47 counts them: the image's placeholders, the
 * prompt with its leading </s>, and what was generated. */
#ifndef B2_LOGITS_H
#define B2_LOGITS_H

#include "generate/ids.h"
#include "generate/trie.h"

/* Zero and NULL everywhere: no rule. The names are transformers'. */
typedef struct b2_logits_rules {
    double repetition_penalty; /* 0 or 1: none */
    size_t no_repeat_ngram_size;
    size_t min_length; /* placeholders and prompt count */
    size_t min_new_tokens;
    const char *bad_words_ids, *suppress_tokens, *begin_suppress_tokens, *sequence_bias; /* texts of ids.h */
    const char *exponential_decay_length_penalty;
    int32_t forced_eos_token_id; /* 0: none */
    int32_t stop_id;
    size_t n_new_tokens; /* at most so many */
} b2_logits_rules;

/* The ids so far. */
typedef struct b2_history {
    int32_t image_id; /* the placeholder, n_image times */
    size_t n_image;
    const int32_t *prompt, *tokens; /* [n_prompt], [n_tokens] generated */
    size_t n_prompt, n_tokens;
    const b2_trie *answers; /* the tokens become one of these; NULL: anything */
} b2_history;

/* False when the rules change nothing. */
bool b2_logits_has_rules(const b2_logits_rules *rules);

/* scores[n_vocab], those of the id that follows the history, changed in place. What a rule forbids is -infinity. */
void b2_logits_process(const b2_logits_rules *rules, const b2_history *history, float *scores, size_t n_vocab);

/* log(sum of exp(scores[n])), in doubles made of + - * / alone: log-probabilities are scores less this. -infinity when
 * all are forbidden. */
double b2_logits_log_sum(const float *scores, size_t n);

/* Is any of scores[n] above -infinity? Rules may have left nothing. */
bool b2_logits_has_any(const float *scores, size_t n);

/* The largest of scores[n], the lowest one on a tie. */
size_t b2_logits_best(const float *scores, size_t n);

#endif
