/* run.c: see run.h. */
#include "generate/run.h"

#include "base/clock.h"
#include "generate/greedy.h"

#include <math.h>
#include <stdlib.h>

blip2_status b2_runner_create(const b2_weights *weights, b2_workspace *homes, size_t n_new_tokens, size_t n_beams,
                              size_t n_alternatives, b2_runner *r, blip2_error *err) {
    *r = (b2_runner){0};
    B2_TRY(b2_chooser_create(weights, homes, &r->chooser, err));
    const size_t capacity = r->chooser.decoder.capacity;
    blip2_status status = b2_beams_create(capacity, n_beams, n_new_tokens, n_alternatives, &r->beams, err);
    r->sequences = calloc(capacity, sizeof *r->sequences);
    if (status == BLIP2_OK && r->sequences == NULL)
        status = b2_fail(err, BLIP2_MEMORY, "no memory for %zu sequences", capacity);
    if (status != BLIP2_OK) b2_runner_free(r);
    return status;
}

void b2_runner_free(b2_runner *r) {
    b2_chooser_free(&r->chooser);
    b2_beams_free(&r->beams);
    free(r->sequences);
    r->sequences = NULL;
}

/* ---- one id at a time ------------------------------------------------------------------------------------------- */

/* The text of a row: result `rank` of request `request`. */
typedef struct row_owner {
    b2_decode_request *request;
    b2_generation *generation;
    size_t n, rank;
} row_owner;

static row_owner owner_of(const b2_decoder *d, const b2_decode_options *o, b2_decode_request *requests, size_t row) {
    row_owner owner = {.n = d->owners[row] / o->n_hypotheses, .rank = d->owners[row] % o->n_hypotheses};
    owner.request = &requests[owner.n];
    owner.generation = &owner.request->results[owner.rank];
    return owner;
}

/* The most probable ids that the row could go on with. */
static void find_alternatives(b2_chooser *c, const float *logits, size_t n_vocab, b2_alternative *best, size_t n) {
    b2_ops_fetch(c->decoder.head->ops, logits, n_vocab, c->raw);
    b2_ops_log_softmax(c->decoder.homes[B2_HOME_CPU].ops, c->raw, n_vocab, c->raw);
    b2_alternatives_find(c->raw, n_vocab, best, n);
}

/* The next id of a row and its log-probabilities: the model's own whatever the rules say, and what they leave. False
 * when a logit is NaN, or the rules left no id that an answer has. */
static bool choose_id(b2_chooser *c, const b2_decode_options *o, size_t row, const row_owner *owner) {
    b2_decoder *d = &c->decoder;
    const b2_generation *g = owner->generation;
    const float *logits = b2_decoder_logits(d, row);
    const size_t n_vocab = d->weights->h.opt.n_vocab;
    float *logprob = &g->logprobs[g->n_tokens];
    if (o->rules == NULL && o->sampling == NULL) {
        const bool is_chosen = b2_greedy_choose(d->head->ops, logits, n_vocab, &d->ids[row], logprob);
        if (o->wants_processed) g->processed[g->n_tokens] = *logprob;
        return is_chosen;
    }
    b2_ops_fetch(d->head->ops, logits, n_vocab, c->scores);
    b2_chooser_apply_rules(c, o, owner->request, g->tokens, g->n_tokens);
    if (owner->request->answers != NULL && !b2_logits_has_any(c->scores, n_vocab)) return false;
    if (o->sampling != NULL) {
        const b2_stream stream =
            b2_stream_of(o->sampling->seed, owner->request->picture, owner->request->prompt_number);
        b2_sample_warp(o->sampling, c->scores, n_vocab, &c->scratch);
        const double draw = b2_stream_draw(&stream, owner->rank, g->n_tokens, 0);
        d->ids[row] = (int32_t)b2_sample_draw(c->scores, n_vocab, draw);
    } else {
        d->ids[row] = (int32_t)b2_logits_best(c->scores, n_vocab);
    }
    *logprob = b2_ops_log_probability(d->head->ops, logits, n_vocab, (size_t)d->ids[row]);
    if (o->wants_processed)
        g->processed[g->n_tokens] = (float)((double)c->scores[d->ids[row]] - b2_logits_log_sum(c->scores, n_vocab));
    return isfinite(*logprob);
}

/* Takes the next id of a row; false when its text has ended with it. */
static bool take_id(b2_chooser *c, const b2_decode_options *o, size_t row, b2_decode_request *requests) {
    b2_decoder *d = &c->decoder;
    const row_owner owner = owner_of(d, o, requests, row);
    b2_generation *g = owner.generation;
    const size_t n_vocab = d->weights->h.opt.n_vocab;
    if (g->is_kept) return false;
    if (!choose_id(c, o, row, &owner)) {
        g->ending = BLIP2_ENDED_NOT_FINITE;
        return false;
    }
    if (o->n_alternatives > 0)
        find_alternatives(c, b2_decoder_logits(d, row), n_vocab, g->alternatives + g->n_tokens * o->n_alternatives,
                          o->n_alternatives);
    g->tokens[g->n_tokens++] = d->ids[row];
    if (g->last_logits != NULL) b2_ops_fetch(d->head->ops, b2_decoder_logits(d, row), n_vocab, g->last_logits);
    const bool is_stop = d->ids[row] == (int32_t)d->weights->h.tokenizer.stop_id;
    g->ending = is_stop ? BLIP2_ENDED_STOP : BLIP2_ENDED_LENGTH;
    if (o->on_token != NULL && !o->on_token(o->context, owner.n, owner.rank) && !is_stop) {
        g->ending = BLIP2_ENDED_CALLER;
        return false;
    }
    return !is_stop && g->n_tokens < o->n_new_tokens;
}

static void take_ids(b2_chooser *c, const b2_decode_options *o, b2_decode_request *requests) {
    for (size_t row = c->decoder.first_fresh; row < c->decoder.n_rows; row++)
        if (!take_id(c, o, row, requests)) b2_decoder_end(&c->decoder, row);
}

/* ---- the loop ---------------------------------------------------------------------------------------------------- */

static void clear_results(const b2_decode_options *o, b2_decode_request *request) {
    request->n_results = o->n_results;
    for (size_t k = 0; k < o->n_hypotheses; k++) {
        if (request->results[k].is_kept) continue;
        request->results[k].n_tokens = 0;
        request->results[k].ending = BLIP2_ENDED_LENGTH;
        request->results[k].score = 0;
    }
}

/* Request i is owner i * n_hypotheses and those after it. */
static void begin_all(b2_decoder *d, const b2_decode_options *o, b2_decode_request *requests, size_t n) {
    b2_decoder_reset(d);
    for (size_t i = 0; i < n; i++) {
        d->sequences[i] = requests[i].sequence;
        d->owners[i] = i;
    }
    b2_decoder_begin(d, d->sequences, d->owners, n);
    if (o->n_hypotheses > 1) b2_decoder_fork(d, o->n_hypotheses);
}

void b2_decode_run(b2_runner *r, const b2_decode_options *options, b2_decode_request *requests, size_t n,
                   b2_decode_report *report) {
    *report = (b2_decode_report){0};
    for (size_t i = 0; i < n; i++) clear_results(options, &requests[i]);
    if (n == 0 || options->n_new_tokens == 0) return;
    const int64_t start = b2_clock_ns();
    begin_all(&r->chooser.decoder, options, requests, n);
    if (options->beams != NULL) b2_beams_begin(&r->beams, options, n);
    const int64_t prefilled = b2_clock_ns();
    while (b2_workspace_status(r->chooser.decoder.homes, NULL) == BLIP2_OK) {
        if (options->beams != NULL) b2_beams_take_ids(&r->beams, &r->chooser, options, requests);
        else take_ids(&r->chooser, options, requests);
        if (!b2_decoder_step(&r->chooser.decoder)) break;
        report->n_steps++;
    }
    report->prefill_ns = prefilled - start;
    report->decode_ns = b2_clock_ns() - prefilled;
}

/* ---- bit by bit -------------------------------------------------------------------------------------------------- */

/* Logits that a stopped home has left are no numbers to choose by. */
static void take_fresh_ids(b2_runner *r, const b2_decode_options *options, b2_decode_request *requests) {
    if (b2_workspace_status(r->chooser.decoder.homes, NULL) == BLIP2_OK) take_ids(&r->chooser, options, requests);
}

void b2_decode_begin(b2_runner *r, const b2_decode_options *options, b2_decode_request *requests, const size_t *which,
                     size_t n, b2_decode_report *report) {
    const int64_t start = b2_clock_ns();
    for (size_t i = 0; i < n; i++) {
        clear_results(options, &requests[which[i]]);
        r->sequences[i] = requests[which[i]].sequence;
    }
    b2_decoder_begin(&r->chooser.decoder, r->sequences, which, n);
    take_fresh_ids(r, options, requests);
    report->prefill_ns += b2_clock_ns() - start;
}

void b2_decode_step(b2_runner *r, const b2_decode_options *options, b2_decode_request *requests,
                    b2_decode_report *report) {
    const int64_t start = b2_clock_ns();
    if (!b2_decoder_step(&r->chooser.decoder)) return;
    take_fresh_ids(r, options, requests);
    report->decode_ns += b2_clock_ns() - start;
    report->n_steps++;
}
