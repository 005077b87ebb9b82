/* logits.c: see logits.h. One function a rule, in the order in which they are applied. */
#include "generate/logits.h"

#include "generate/random.h"

#include <math.h>

static size_t history_length(const b2_history *h) { return h->n_image + h->n_prompt + h->n_tokens; }

static int32_t id_at(const b2_history *h, size_t i) {
    if (i < h->n_image) return h->image_id;
    i -= h->n_image;
    return i < h->n_prompt ? h->prompt[i] : h->tokens[i - h->n_prompt];
}

/* The n ids from `from` on are those before the next one. */
static bool ends_with(const b2_history *h, size_t from, size_t n) {
    const size_t end = history_length(h) - n;
    for (size_t i = 0; i < n; i++)
        if (id_at(h, from + i) != id_at(h, end + i)) return false;
    return true;
}

static bool ends_with_ids(const b2_history *h, const int32_t *ids, size_t n) {
    if (n > history_length(h)) return false;
    const size_t end = history_length(h) - n;
    for (size_t i = 0; i < n; i++)
        if (ids[i] != id_at(h, end + i)) return false;
    return true;
}

/* Ids beyond the rows (a placeholder of old checkpoints) cannot be generated. */
static void forbid(float *scores, size_t n_vocab, int32_t id) {
    if ((size_t)id < n_vocab) scores[id] = -INFINITY;
}

/* ---- the rules --------------------------------------------------------------------------------------------------- */

/* Adds the bias of each sequence that the next id would complete. */
static void bias_sequences(const char *text, const b2_history *h, float *scores, size_t n_vocab) {
    for (b2_ids w = b2_ids_walk(text, B2_IDS_BIASED); b2_ids_next(&w);) {
        const int32_t last = w.ids[w.n - 1];
        if ((size_t)last < n_vocab && ends_with_ids(h, w.ids, w.n - 1)) scores[last] += (float)w.number;
    }
}

/* Each id that occurs, once. The placeholders are one id. */
static void penalise_repetition(double penalty, const b2_history *h, float *scores, size_t n_vocab) {
    const size_t n = history_length(h), first = h->n_image > 0 ? h->n_image - 1 : 0;
    for (size_t i = first; i < n; i++) {
        const int32_t id = id_at(h, i);
        bool is_new = (size_t)id < n_vocab;
        for (size_t k = first; k < i && is_new; k++) is_new = id_at(h, k) != id;
        if (is_new) scores[id] = scores[id] < 0 ? scores[id] * (float)penalty : scores[id] / (float)penalty;
    }
}

/* Forbids what would be an n-gram for the second time. */
static void forbid_ngrams(size_t n, const b2_history *h, float *scores, size_t n_vocab) {
    for (size_t i = 0; i + n <= history_length(h); i++)
        if (ends_with(h, i, n - 1)) forbid(scores, n_vocab, id_at(h, i + n - 1));
}

/* The stop id alone is never a bad word. */
static void forbid_words(const b2_logits_rules *r, const b2_history *h, float *scores, size_t n_vocab) {
    for (b2_ids w = b2_ids_walk(r->bad_words_ids, B2_IDS_LISTS); b2_ids_next(&w);) {
        const int32_t last = w.ids[w.n - 1];
        if ((w.n > 1 || last != r->stop_id) && ends_with_ids(h, w.ids, w.n - 1)) forbid(scores, n_vocab, last);
    }
}

static void force(float *scores, size_t n_vocab, int32_t id) {
    for (size_t i = 0; i < n_vocab; i++) scores[i] = -INFINITY;
    scores[id] = 0;
}

/* Beyond `start` new ids the stop id gains, more with each. */
static void decay_length(const b2_logits_rules *r, size_t n_tokens, float *scores) {
    b2_ids w = b2_ids_walk(r->exponential_decay_length_penalty, B2_IDS_DECAY);
    if (!b2_ids_next(&w) || n_tokens <= (size_t)w.ids[0] || !isfinite(scores[r->stop_id])) return;
    double factor = 1;
    for (size_t i = (size_t)w.ids[0]; i < n_tokens; i++) factor *= w.number;
    scores[r->stop_id] += fabsf(scores[r->stop_id]) * (float)(factor - 1);
}

static void suppress(const char *text, float *scores, size_t n_vocab) {
    for (b2_ids w = b2_ids_walk(text, B2_IDS); b2_ids_next(&w);) forbid(scores, n_vocab, w.ids[0]);
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

static bool has_penalty(const b2_logits_rules *r) { return r->repetition_penalty > 0 && r->repetition_penalty != 1; }

bool b2_logits_has_rules(const b2_logits_rules *r) {
    return has_penalty(r) || r->no_repeat_ngram_size > 0 || r->min_length > 0 || r->min_new_tokens > 0 ||
           r->bad_words_ids != NULL || r->suppress_tokens != NULL || r->begin_suppress_tokens != NULL ||
           r->sequence_bias != NULL || r->exponential_decay_length_penalty != NULL || r->forced_eos_token_id > 0;
}

void b2_logits_process(const b2_logits_rules *r, const b2_history *h, float *scores, size_t n_vocab) {
    bias_sequences(r->sequence_bias, h, scores, n_vocab);
    if (has_penalty(r)) penalise_repetition(r->repetition_penalty, h, scores, n_vocab);
    if (r->no_repeat_ngram_size > 0) forbid_ngrams(r->no_repeat_ngram_size, h, scores, n_vocab);
    forbid_words(r, h, scores, n_vocab);
    if (history_length(h) < r->min_length || h->n_tokens < r->min_new_tokens) forbid(scores, n_vocab, r->stop_id);
    if (h->answers != NULL) b2_trie_process(h->answers, h->tokens, h->n_tokens, scores, n_vocab);
    if (r->forced_eos_token_id > 0 && h->n_tokens + 1 == r->n_new_tokens)
        force(scores, n_vocab, r->forced_eos_token_id);
    decay_length(r, h->n_tokens, scores);
    suppress(r->suppress_tokens, scores, n_vocab);
    if (h->n_tokens == 0) suppress(r->begin_suppress_tokens, scores, n_vocab);
}

double b2_logits_log_sum(const float *scores, size_t n) {
    const double max = (double)scores[b2_logits_best(scores, n)];
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        if (scores[i] > -INFINITY) sum += b2_exp_f64((double)scores[i] - max);
    return sum > 0 ? max + b2_log_f64(sum) : -INFINITY;
}

bool b2_logits_has_any(const float *scores, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (scores[i] > -INFINITY) return true;
    return false;
}

size_t b2_logits_best(const float *scores, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (scores[i] > scores[best]) best = i;
    return best;
}
