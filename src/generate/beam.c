/* beam.c: see beam.h. First what both forms share, then each of them: how candidates become beams and texts, and when a
 * request is done. Sums are floats, as in transformers. */
#include "generate/beam.h"

#include "base/size.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NEVER (-1e9f) /* transformers' score of what is not a beam yet */

blip2_status b2_beams_create(size_t n_rows, size_t n_beams, size_t n_new_tokens, size_t n_alternatives, b2_beams *b,
                             blip2_error *err) {
    const size_t n = n_beams > 1 ? n_rows : 0; /* without beams nothing is needed */
    *b = (b2_beams){.all = calloc(3 * n + 1, sizeof *b->all),
                    .n_finished = calloc(n + 1, sizeof *b->n_finished),
                    .candidates = calloc(2 * n_beams, sizeof *b->candidates),
                    .parents = calloc(n_beams, sizeof *b->parents),
                    .tokens = calloc(3 * n * n_new_tokens + 1, sizeof *b->tokens),
                    .logprobs = calloc(3 * n * n_new_tokens + 1, sizeof *b->logprobs),
                    .processed = calloc(3 * n * n_new_tokens + 1, sizeof *b->processed),
                    .alternatives = calloc(3 * n * n_new_tokens * n_alternatives + 1, sizeof *b->alternatives),
                    .fresh = calloc(n_beams * n_alternatives + 1, sizeof *b->fresh)};
    if (!b->all || !b->n_finished || !b->candidates || !b->parents || !b->tokens || !b->logprobs || !b->processed ||
        !b->alternatives || !b->fresh) {
        b2_beams_free(b);
        return b2_fail(err, BLIP2_MEMORY, "no memory for %zu beams", n);
    }
    b->running = b->all;
    b->next = b->all + n;
    b->finished = b->next + n;
    for (size_t i = 0; i < 3 * n; i++) {
        b->all[i].tokens = b->tokens + i * n_new_tokens;
        b->all[i].logprobs = b->logprobs + i * n_new_tokens;
        b->all[i].processed = b->processed + i * n_new_tokens;
        b->all[i].alternatives = b->alternatives + i * n_new_tokens * n_alternatives;
    }
    return BLIP2_OK;
}

void b2_beams_free(b2_beams *b) {
    free(b->all);
    free(b->n_finished);
    free(b->candidates);
    free(b->parents);
    free(b->tokens);
    free(b->logprobs);
    free(b->processed);
    free(b->alternatives);
    free(b->fresh);
    *b = (b2_beams){0};
}

/* ---- one request in one step ------------------------------------------------------------------------------------- */

typedef struct step {
    b2_chooser *chooser;
    b2_beams *beams;
    const b2_decode_options *options;
    const b2_decode_request *request;
    b2_stream stream;
    size_t n, n_vocab, first_row, length; /* n: beams; length: ids so far */
    b2_hypothesis *running, *next, *finished;
    size_t *n_finished;
    b2_candidate *candidates; /* [n_candidates] best first */
    size_t n_candidates, n_next;
    bool is_drawn, is_lavis;
} step;

/* running, all of one length, before there are any. Where lavis draws, all beams begin alike. */
void b2_beams_begin(b2_beams *b, const b2_decode_options *o, size_t n) {
    const bool begin_alike = o->beams->form == B2_BEAM_LAVIS && o->sampling != NULL;
    for (size_t i = 0; i < n * o->n_hypotheses; i++) {
        b->running[i].n = 0;
        b->running[i].score = i % o->n_hypotheses == 0 || begin_alike ? 0 : NEVER;
    }
    memset(b->n_finished, 0, n * sizeof *b->n_finished);
}

static bool is_stop(const step *s, int32_t id) {
    return id == (int32_t)s->chooser->decoder.weights->h.tokenizer.stop_id;
}

/* There are not yet so many beginnings, or rules left no other: what stands there is no beam. */
static bool is_alive(const b2_hypothesis *h) { return h->score > NEVER / 2; }

/* Log-probabilities of a beam's next id, as the model has them in raw, and in scores with the beam's own. False when
 * one is NaN. */
static bool score_beam(const step *s, size_t beam) {
    b2_chooser *c = s->chooser;
    const b2_decoder *d = &c->decoder;
    const b2_hypothesis *h = &s->running[beam];
    b2_ops *cpu = d->homes[B2_HOME_CPU].ops;
    b2_ops_fetch(d->head->ops, b2_decoder_logits(d, s->first_row + beam), s->n_vocab, c->raw);
    b2_ops_log_softmax(cpu, c->raw, s->n_vocab, c->raw);
    if (isnan(c->raw[0])) return false;
    memcpy(c->scores, c->raw, s->n_vocab * sizeof *c->scores);
    b2_chooser_apply_rules(c, s->options, s->request, h->tokens, h->n);
    const bool is_warped = s->is_drawn && b2_logits_has_any(c->scores, s->n_vocab);
    if (is_warped && !s->is_lavis) b2_sample_warp(s->options->sampling, c->scores, s->n_vocab, &c->scratch);
    for (size_t i = 0; i < s->n_vocab; i++) c->scores[i] += h->score;
    if (is_warped && s->is_lavis) b2_sample_warp(s->options->sampling, c->scores, s->n_vocab, &c->scratch);
    return true;
}

/* What a candidate is ordered by: its score; where they are drawn, its score and a Gumbel number of its own: so the
 * best ones are draws without replacement. */
static double key_of(const step *s, size_t beam, size_t id, float score) {
    if (!s->is_drawn) return score;
    const double draw = b2_stream_draw(&s->stream, beam, s->length, id);
    return (double)score - b2_log_f64(-b2_log_f64(draw));
}

/* Puts a candidate among the best. */
static void take_candidate(step *s, b2_candidate c) {
    size_t at = s->n_candidates;
    if (at == 2 * s->n && !(c.key > s->candidates[at - 1].key)) return;
    if (at == 2 * s->n) at--;
    else s->n_candidates++;
    for (; at > 0 && c.key > s->candidates[at - 1].key; at--) s->candidates[at] = s->candidates[at - 1];
    s->candidates[at] = c;
}

/* By score, after they were drawn by other keys. */
static void order_candidates(step *s) {
    for (size_t i = 1; i < s->n_candidates; i++) {
        const b2_candidate c = s->candidates[i];
        size_t at = i;
        for (; at > 0 && c.score > s->candidates[at - 1].score; at--) s->candidates[at] = s->candidates[at - 1];
        s->candidates[at] = c;
    }
}

/* False when a logit is NaN. */
static bool find_candidates(step *s) {
    const float *scores = s->chooser->scores, *raw = s->chooser->raw;
    const size_t n_alternatives = s->options->n_alternatives;
    s->n_candidates = 0;
    for (size_t beam = 0; beam < s->n; beam++) {
        if (!is_alive(&s->running[beam])) continue;
        if (!score_beam(s, beam)) return false;
        const double all = s->options->wants_processed ? b2_logits_log_sum(scores, s->n_vocab) : 0;
        b2_alternatives_find(raw, s->n_vocab, s->beams->fresh + beam * n_alternatives, n_alternatives);
        for (size_t id = 0; id < s->n_vocab; id++) {
            if (!(scores[id] > -INFINITY)) continue;
            if (!s->is_drawn && s->n_candidates == 2 * s->n && scores[id] <= s->candidates[2 * s->n - 1].score)
                continue;
            take_candidate(s, (b2_candidate){.key = key_of(s, beam, id, scores[id]),
                                             .score = scores[id],
                                             .logprob = raw[id],
                                             .processed = (float)((double)scores[id] - all),
                                             .beam = beam,
                                             .id = (int32_t)id});
        }
    }
    if (s->is_drawn) order_candidates(s);
    return true;
}

/* length ^ penalty, as a float: sums are divided by it. */
static float norm_of(const step *s, size_t length) {
    return (float)b2_exp_f64(s->options->beams->length_penalty * b2_log_f64((double)length));
}

static void copy_hypothesis(const step *s, const b2_hypothesis *from, b2_hypothesis *to) {
    const size_t n_alternatives = from->n * s->options->n_alternatives;
    memcpy(to->tokens, from->tokens, from->n * sizeof *to->tokens);
    memcpy(to->logprobs, from->logprobs, from->n * sizeof *to->logprobs);
    memcpy(to->processed, from->processed, from->n * sizeof *to->processed);
    memcpy(to->alternatives, from->alternatives, n_alternatives * sizeof *to->alternatives);
    to->n = from->n;
}

/* to = the candidate's beam and its id. */
static void follow(const step *s, const b2_candidate *c, b2_hypothesis *to) {
    const size_t n_alternatives = s->options->n_alternatives;
    copy_hypothesis(s, &s->running[c->beam], to);
    memcpy(to->alternatives + to->n * n_alternatives, s->beams->fresh + c->beam * n_alternatives,
           n_alternatives * sizeof *to->alternatives);
    to->tokens[to->n] = c->id;
    to->processed[to->n] = c->processed;
    to->logprobs[to->n++] = c->logprob;
    to->score = c->score;
}

static void add_next(step *s, const b2_candidate *c) {
    s->beams->parents[s->n_next] = c->beam;
    follow(s, c, &s->next[s->n_next++]);
}

/* All beams have rows: where candidates are too few, the rest is none. */
static void fill_next(step *s) {
    const b2_candidate none = {.score = NEVER, .id = (int32_t)s->chooser->decoder.weights->h.tokenizer.stop_id};
    while (s->n_next < s->n) add_next(s, &none);
}

/* The place of a finished text with this score among the n best, whose last one goes; NULL: it is not one of them.
 * goes_first: before others with the same score. */
static b2_hypothesis *place_finished(step *s, float score, bool goes_first) {
    b2_hypothesis *f = s->finished;
    if (*s->n_finished == s->n && !(score > f[s->n - 1].score)) return NULL;
    if (*s->n_finished < s->n) ++*s->n_finished;
    size_t at = *s->n_finished - 1;
    const b2_hypothesis room = f[at];
    for (; at > 0 && (goes_first ? score >= f[at - 1].score : score > f[at - 1].score); at--) f[at] = f[at - 1];
    f[at] = room;
    f[at].score = score;
    return &f[at];
}

static void finish(step *s, const b2_candidate *c, float score, bool goes_first) {
    b2_hypothesis *to = place_finished(s, score, goes_first);
    if (to == NULL) return;
    follow(s, c, to);
    to->score = score;
}

/* ---- transformers since 4.50 ------------------------------------------------------------------------------------- */

/* True when the request is done. */
static bool advance_current(step *s) {
    const b2_beam_options *o = s->options->beams;
    const size_t length = s->length + 1, n_new = s->options->n_new_tokens;
    const bool is_last = length == n_new;
    const bool is_full = o->early_stopping == B2_EARLY_TRUE && *s->n_finished == s->n;
    for (size_t i = 0; i < s->n_candidates; i++) {
        const b2_candidate *c = &s->candidates[i];
        const bool ends = is_last || is_stop(s, c->id);
        if (!ends && s->n_next < s->n) add_next(s, c);
        const float score = c->score / norm_of(s, length);
        if (ends && i < s->n && !is_full && score > NEVER) finish(s, c, score, false);
    }
    if (is_last || s->n_next == 0) return true;
    if (o->early_stopping == B2_EARLY_TRUE && *s->n_finished == s->n) return true;
    const bool hopes = o->early_stopping == B2_EARLY_NEVER && o->length_penalty > 0;
    const float best = s->next[0].score / norm_of(s, hopes ? n_new : length);
    return !(best > (*s->n_finished == s->n ? s->finished[s->n - 1].score : NEVER));
}

/* ---- before 4.50 ------------------------------------------------------------------------------------------------- */

/* Before 4.36 the ids began with a start token, which counted. */
static bool is_done_classic(const step *s) {
    const b2_beam_options *o = s->options->beams;
    if (*s->n_finished < s->n) return false;
    if (o->early_stopping == B2_EARLY_TRUE) return true;
    const bool hopes = o->early_stopping == B2_EARLY_NEVER && o->length_penalty > 0;
    const size_t length = (hopes ? s->options->n_new_tokens : s->length + 1) + s->is_lavis;
    if (s->n_candidates == 0) return true;
    return s->finished[s->n - 1].score >= s->candidates[0].score / norm_of(s, length);
}

static bool advance_classic(step *s) {
    const size_t length = s->length + 1;
    for (size_t i = 0; i < s->n_candidates && s->n_next < s->n; i++) {
        const b2_candidate *c = &s->candidates[i];
        if (!is_stop(s, c->id)) add_next(s, c);
        else if (i < s->n) finish(s, c, c->score / norm_of(s, length), true);
    }
    if (is_done_classic(s)) return true;
    if (length < s->options->n_new_tokens && s->n_next > 0) return false;
    for (size_t i = 0; i < s->n_next; i++) { /* the limit: what is unfinished counts as it is */
        b2_hypothesis *to = place_finished(s, s->next[i].score / norm_of(s, length + s->is_lavis), true);
        if (to != NULL) copy_hypothesis(s, &s->next[i], to);
    }
    return true;
}

/* ---- all requests ------------------------------------------------------------------------------------------------ */

static void write_result(const step *s, const b2_hypothesis *h, blip2_ending ending, b2_generation *g) {
    memcpy(g->tokens, h->tokens, h->n * sizeof *g->tokens);
    memcpy(g->logprobs, h->logprobs, h->n * sizeof *g->logprobs);
    memcpy(g->processed, h->processed, h->n * sizeof *g->processed);
    if (s->options->n_alternatives > 0)
        memcpy(g->alternatives, h->alternatives, h->n * s->options->n_alternatives * sizeof *g->alternatives);
    g->n_tokens = h->n;
    g->score = h->score;
    g->ending = ending;
}

static void write_results(const step *s, b2_decode_request *request) {
    request->n_results = b2_min(s->options->n_results, *s->n_finished);
    for (size_t i = 0; i < request->n_results; i++) {
        const b2_hypothesis *f = &s->finished[i];
        const bool ends = f->n > 0 && is_stop(s, f->tokens[f->n - 1]);
        write_result(s, f, ends ? BLIP2_ENDED_STOP : BLIP2_ENDED_LENGTH, &request->results[i]);
    }
}

/* A logit is NaN, or rules left nothing that could go on: one result says so, with the best beginning. */
static void write_failure(const step *s, b2_decode_request *request) {
    write_result(s, &s->running[0], BLIP2_ENDED_NOT_FINITE, &request->results[0]);
    request->n_results = 1;
}

/* True when the request is done; else its rows have their next ids and ancestors. */
static bool advance(step *s, b2_decode_request *request) {
    b2_decoder *d = &s->chooser->decoder;
    if (!find_candidates(s)) {
        write_failure(s, request);
        return true;
    }
    const bool is_done = s->options->beams->form == B2_BEAM_CURRENT ? advance_current(s) : advance_classic(s);
    if (is_done) {
        if (*s->n_finished > 0) write_results(s, request);
        else write_failure(s, request);
        return true;
    }
    fill_next(s);
    b2_decoder_reorder(d, s->first_row, s->beams->parents, s->n);
    for (size_t i = 0; i < s->n; i++) d->ids[s->first_row + i] = s->next[i].tokens[s->next[i].n - 1];
    return false;
}

void b2_beams_take_ids(b2_beams *b, b2_chooser *c, const b2_decode_options *o, b2_decode_request *requests) {
    const size_t n = o->n_hypotheses;
    b2_decoder *d = &c->decoder;
    for (size_t row = 0; row < d->n_rows; row += n) {
        const size_t i = d->owners[row] / n;
        step s = {.chooser = c,
                  .beams = b,
                  .options = o,
                  .request = &requests[i],
                  .n = n,
                  .n_vocab = d->weights->h.opt.n_vocab,
                  .first_row = row,
                  .length = b->running[i * n].n,
                  .running = b->running + i * n,
                  .next = b->next + i * n,
                  .finished = b->finished + i * n,
                  .n_finished = &b->n_finished[i],
                  .candidates = b->candidates,
                  .is_drawn = o->sampling != NULL,
                  .is_lavis = o->beams->form == B2_BEAM_LAVIS};
        if (s.is_drawn) s.stream = b2_stream_of(o->sampling->seed, requests[i].picture, requests[i].prompt_number);
        const bool is_done = advance(&s, &requests[i]);
        for (size_t k = 0; k < n && is_done; k++) b2_decoder_end(d, row + k);
    }
    b2_hypothesis *const before = b->running;
    b->running = b->next;
    b->next = before;
}
