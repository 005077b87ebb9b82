/* blip2_decoding.c: how ids are chosen: what a caller may say about it, checked before any work. */
#include "blip2_decoding.h"

#include "abi.h"
#include "blip2_answers.h"

#include <string.h>

static const blip2_decoding default_decoding = {.struct_bytes = sizeof(blip2_decoding),
                                                .num_beams = 1,
                                                .num_return_sequences = 1,
                                                .length_penalty = 1,
                                                .temperature = 1,
                                                .top_k = 50,
                                                .top_p = 1,
                                                .typical_p = 1};

void blip2_decoding_init(blip2_decoding *decoding, size_t struct_bytes) {
    b2_struct_out(decoding, struct_bytes, &default_decoding, sizeof default_decoding);
}

blip2_decoding b2_decoding_complete(const blip2_decoding *decoding) {
    blip2_decoding d = default_decoding;
    if (decoding != NULL) b2_struct_in(&d, sizeof d, decoding);
    return d;
}

b2_logits_rules b2_decoding_rules(const blip2_decoding *d, const blip2_model *model, size_t n_new_tokens) {
    return (b2_logits_rules){
        .repetition_penalty = d->repetition_penalty,
        .no_repeat_ngram_size = d->no_repeat_ngram_size,
        .min_length = d->min_length,
        .min_new_tokens = d->min_new_tokens,
        .bad_words_ids = d->bad_words_ids,
        .suppress_tokens = d->suppress_tokens,
        .begin_suppress_tokens = d->begin_suppress_tokens,
        .sequence_bias = d->sequence_bias,
        .exponential_decay_length_penalty = d->exponential_decay_length_penalty,
        .forced_eos_token_id = (int32_t)d->forced_eos_token_id,
        .stop_id = (int32_t)model->weights.h.tokenizer.stop_id,
        .n_new_tokens = n_new_tokens,
    };
}

size_t b2_decoding_hypotheses(const blip2_decoding *d) {
    return d->num_beams > 1 ? d->num_beams : b2_max(d->num_return_sequences, 1);
}

b2_sampling b2_decoding_sampling(const blip2_decoding *d) {
    return (b2_sampling){.temperature = d->temperature,
                         .top_k = d->top_k,
                         .top_p = d->top_p,
                         .min_p = d->min_p,
                         .typical_p = d->typical_p,
                         .epsilon_cutoff = d->epsilon_cutoff,
                         .eta_cutoff = d->eta_cutoff,
                         .n_kept = d->num_beams > 1 ? 2 : 1,
                         .seed = d->seed};
}

static const char *const early_names[] = {
    [B2_EARLY_FALSE] = "false", [B2_EARLY_TRUE] = "true", [B2_EARLY_NEVER] = "never", NULL};
static const char *const form_names[] = {
    [B2_BEAM_CURRENT] = "current", [B2_BEAM_CLASSIC] = "classic", [B2_BEAM_LAVIS] = "lavis", NULL};

static const char *const see_names[] = {
    [B2_SEE_ALL] = "all", [B2_SEE_ANSWER] = "answer", [B2_SEE_LAVIS] = "lavis", NULL};

/* NULL is the first name; the list's end: none of them. */
static int find_name(const char *const *names, const char *name) {
    int i = 0;
    while (names[i] != NULL && name != NULL && strcmp(names[i], name) != 0) i++;
    return i;
}

b2_beam_options b2_decoding_beams(const blip2_decoding *d) {
    return (b2_beam_options){.form = (b2_beam_form)find_name(form_names, d->beam_search),
                             .early_stopping = (b2_early_stopping)find_name(early_names, d->early_stopping),
                             .length_penalty = d->length_penalty};
}

b2_rules_see b2_decoding_rules_see(const blip2_decoding *d) { return (b2_rules_see)find_name(see_names, d->rules_see); }

/* ---- checks ------------------------------------------------------------------------------------------------------ */

static const char *const examples[] = {
    [B2_IDS] = "[12,34]",
    [B2_IDS_LISTS] = "[[12,34],[56]]",
    [B2_IDS_BIASED] = "[[[12,34],-2.0],[[56],1.5]]",
    [B2_IDS_DECAY] = "[10,1.5]",
};

static blip2_status check_ids(const blip2_model *model, const char *name, const char *text, b2_ids_kind kind,
                              blip2_error *err) {
    const size_t n_vocab = model->weights.h.opt.n_vocab;
    size_t n_items = 0;
    b2_ids w = b2_ids_walk(text, kind);
    for (; b2_ids_next(&w); n_items++)
        for (size_t i = 0; i < w.n && kind != B2_IDS_DECAY; i++)
            if ((size_t)w.ids[i] >= n_vocab)
                return b2_fail(err, BLIP2_ARGUMENT, "%s: id %d: the model has ids below %zu", name, (int)w.ids[i],
                               n_vocab);
    if (text == NULL || (!w.is_wrong && (n_items == 1 || kind != B2_IDS_DECAY))) return BLIP2_OK;
    const bool has_sequences = kind == B2_IDS_LISTS || kind == B2_IDS_BIASED;
    return b2_fail(err, BLIP2_ARGUMENT, "%s: expected something like %s%s, got '%.100s'", name, examples[kind],
                   has_sequences ? ", at most 32 ids in a sequence" : "", text);
}

static blip2_status check_range(const char *name, double value, double most, blip2_error *err) {
    if (value >= 0 && value <= most) return BLIP2_OK;
    return b2_fail(err, BLIP2_ARGUMENT, "%s: expected a number from 0 to %g, got %g", name, most, value);
}

static blip2_status check_sampling(const blip2_decoding *d, blip2_error *err) {
    B2_TRY(check_range("temperature", d->temperature, 1e30, err));
    B2_TRY(check_range("top_p", d->top_p, 1, err));
    B2_TRY(check_range("min_p", d->min_p, 1, err));
    B2_TRY(check_range("typical_p", d->typical_p, 1, err));
    B2_TRY(check_range("epsilon_cutoff", d->epsilon_cutoff, 1, err));
    return check_range("eta_cutoff", d->eta_cutoff, 1, err);
}

static blip2_status check_beams(const blip2_decoding *d, blip2_error *err) {
    const size_t n_beams = b2_max(d->num_beams, 1), n_results = b2_max(d->num_return_sequences, 1);
    if (n_beams > BLIP2_MAX_RESULTS || n_results > BLIP2_MAX_RESULTS)
        return b2_fail(err, BLIP2_ARGUMENT, "num_beams, num_return_sequences: expected at most %d, got %zu and %zu",
                       BLIP2_MAX_RESULTS, n_beams, n_results);
    if (n_results > n_beams && !(d->do_sample && n_beams == 1))
        return b2_fail(err, BLIP2_ARGUMENT,
                       "num_return_sequences: expected at most num_beams (%zu), got %zu; do_sample without beams gives "
                       "any number",
                       n_beams, n_results);
    if (!(d->length_penalty >= -10 && d->length_penalty <= 10)) /* beyond, sums leave the range of floats */
        return b2_fail(err, BLIP2_ARGUMENT, "length_penalty: expected a number from -10 to 10, got %g",
                       d->length_penalty);
    if (early_names[find_name(early_names, d->early_stopping)] == NULL)
        return b2_fail(err, BLIP2_ARGUMENT, "early_stopping: expected true, false or never, got '%.100s'",
                       d->early_stopping);
    if (form_names[find_name(form_names, d->beam_search)] == NULL)
        return b2_fail(err, BLIP2_ARGUMENT, "beam_search: expected current, classic or lavis, got '%.100s'",
                       d->beam_search);
    return BLIP2_OK;
}

blip2_status blip2_decoding_check(const blip2_model *model, const blip2_decoding *decoding, blip2_error *err) {
    const blip2_decoding d = b2_decoding_complete(decoding);
    if (!(d.repetition_penalty >= 0))
        return b2_fail(err, BLIP2_ARGUMENT, "repetition_penalty: expected a positive number, got %g",
                       d.repetition_penalty);
    if (d.forced_eos_token_id >= model->weights.h.opt.n_vocab)
        return b2_fail(err, BLIP2_ARGUMENT, "forced_eos_token_id: id %zu: the model has ids below %u",
                       d.forced_eos_token_id, model->weights.h.opt.n_vocab);
    if (see_names[find_name(see_names, d.rules_see)] == NULL)
        return b2_fail(err, BLIP2_ARGUMENT, "rules_see: expected all, answer or lavis, got '%.100s'", d.rules_see);
    if (d.alternatives > BLIP2_MAX_ALTERNATIVES)
        return b2_fail(err, BLIP2_ARGUMENT, "alternatives: expected 0 to %d, got %zu", BLIP2_MAX_ALTERNATIVES,
                       d.alternatives);
    if (d.answers != NULL && (d.min_length > 0 || d.min_new_tokens > 0 || d.forced_eos_token_id > 0 || d.retry_empty))
        return b2_fail(err, BLIP2_ARGUMENT,
                       "answers from a list end where they end: no min_length, min_new_tokens, forced_eos_token_id, "
                       "retry_empty");
    B2_TRY(check_beams(&d, err));
    if (d.answers != NULL) B2_TRY(b2_answers_check(d.answers, model, b2_max(d.num_return_sequences, 1), err));
    B2_TRY(check_sampling(&d, err));
    B2_TRY(check_ids(model, "bad_words_ids", d.bad_words_ids, B2_IDS_LISTS, err));
    B2_TRY(check_ids(model, "suppress_tokens", d.suppress_tokens, B2_IDS, err));
    B2_TRY(check_ids(model, "begin_suppress_tokens", d.begin_suppress_tokens, B2_IDS, err));
    B2_TRY(check_ids(model, "sequence_bias", d.sequence_bias, B2_IDS_BIASED, err));
    return check_ids(model, "exponential_decay_length_penalty", d.exponential_decay_length_penalty, B2_IDS_DECAY, err);
}
