/* blip2_generate.c: prompts as texts become ids, ids become texts; between them generate/ chooses. Then, where it is
 * wanted, what came back empty is generated again. */
#include "abi.h"
#include "blip2_answers.h"
#include "blip2_decoding.h"
#include "blip2_session.h"
#include "blip2_text.h"

blip2_request b2_request_at(const blip2_request *requests, size_t request_bytes, size_t i) {
    blip2_request request = {0};
    memcpy(&request, (const char *)requests + i * request_bytes, b2_min(request_bytes, sizeof request));
    return request;
}

blip2_status b2_session_read_request(blip2_session *s, const blip2_request *request, size_t i, blip2_error *err) {
    const b2_hparams *h = &s->model->weights.h;
    const size_t capacity = s->capacity.n_prompt_tokens;
    const float *soft_tokens = s->homes[B2_HOME_CPU].soft_tokens;
    char *prompt = s->prompts + i * s->prompt_bytes;
    int32_t *ids = s->prompt_ids + i * capacity;
    if (request->image >= s->n_seen)
        return b2_fail(err, BLIP2_ARGUMENT, "request about image %zu: %zu were seen", request->image, s->n_seen);
    if (request->prompt != NULL && request->question != NULL)
        return b2_fail(err, BLIP2_ARGUMENT, "a request has a prompt or a question, not both");
    if (request->n_turns > 0 && request->question == NULL)
        return b2_fail(err, BLIP2_ARGUMENT, "%zu earlier turns: they are read before a question, there is none",
                       request->n_turns);
    const size_t len = b2_text_wrap(request, prompt, s->prompt_bytes);
    if (len >= s->prompt_bytes)
        return b2_fail(err, BLIP2_LIMIT, "prompt of %zu bytes: the session was created for %zu tokens", len, capacity);
    size_t n_ids;
    B2_TRY(b2_tokenizer_encode(s->model->tokenizer, prompt, len, ids, capacity, &n_ids, err));
    s->requests[i] = (b2_decode_request){
        .sequence = {.soft_tokens = soft_tokens + request->image * h->qformer.n_queries * h->opt.width,
                     .prompt = ids,
                     .n_prompt = n_ids},
        .picture = request->picture_number,
        .prompt_number = request->prompt_number,
        .answers = s->answer_list != NULL ? b2_answers_after(s->answer_list, prompt) : NULL,
        .results = s->generations + i * s->max_results,
    };
    for (size_t k = i * s->max_results; k < (i + 1) * s->max_results; k++)
        s->generations[k] = (b2_generation){
            .tokens = s->tokens + k * s->capacity.n_new_tokens,
            .logprobs = s->logprobs + k * s->capacity.n_new_tokens,
            .processed = s->processed + k * s->capacity.n_new_tokens,
            .alternatives = s->alternatives + k * s->capacity.n_new_tokens * s->max_alternatives,
            .last_logits = s->logits != NULL ? s->logits + k * h->opt.n_vocab : NULL,
        };
    return BLIP2_OK;
}

blip2_status b2_session_read_requests(blip2_session *s, const blip2_request *requests, size_t request_bytes, size_t n,
                                      blip2_error *err) {
    s->n_requests = 0;
    s->timings.prefill_ns = s->timings.decode_ns = 0;
    s->timings.n_decode_steps = 0;
    if (n > s->capacity.n_requests)
        return b2_fail(err, BLIP2_ARGUMENT, "%zu requests: the session was created for %zu", n, s->capacity.n_requests);
    for (size_t i = 0; i < n; i++) {
        const blip2_request request = b2_request_at(requests, request_bytes, i);
        B2_TRY(b2_session_read_request(s, &request, i, err));
    }
    return BLIP2_OK;
}

/* What result i of all says so far, from its ids. */
static char *write_text(blip2_session *s, size_t i) {
    char *text = s->texts + i * s->text_bytes;
    b2_tokenizer_decode(s->model->tokenizer, s->generations[i].tokens, s->generations[i].n_tokens, text, s->text_bytes);
    return text;
}

void b2_session_finish(blip2_session *s, const blip2_request *request, size_t i) {
    for (size_t k = i * s->max_results; k < i * s->max_results + s->requests[i].n_results; k++) {
        s->answers[k] = b2_text_strip(write_text(s, k));
        s->is_echo[k] = request->question != NULL && b2_text_is_echo(request->question, s->answers[k]);
    }
}

/* Ids that were told before a device failed come a second time: they are not told again, the answer is known. */
static bool tell_token(void *context, size_t decoded, size_t rank) {
    const b2_choosing *choosing = context;
    blip2_session *s = choosing->session;
    const blip2_decoding *decoding = &choosing->decoding;
    const size_t request = s->numbers[decoded], i = request * s->max_results + rank;
    const b2_generation *g = &s->generations[i];
    if (g->n_tokens <= s->n_told[i]) return g->n_tokens < s->n_told[i] || !s->is_ended_by_caller[i];
    const bool goes_on =
        decoding->on_token(decoding->token_context, request, rank, g->tokens[g->n_tokens - 1], write_text(s, i));
    s->n_told[i] = g->n_tokens;
    s->is_ended_by_caller[i] = !goes_on;
    return goes_on;
}

static blip2_status decode_once(blip2_session *s, const b2_decode_options *options, b2_decode_request *requests,
                                size_t n, blip2_error *err) {
    b2_decode_report report;
    const int64_t before = b2_session_enter(s);
    b2_decode_run(&s->runner, options, requests, n, &report);
    return b2_session_leave(s, before, &report, err);
}

static blip2_status decode(blip2_session *s, const b2_decode_options *options, b2_decode_request *requests, size_t n,
                           blip2_error *err) {
    const blip2_status status = decode_once(s, options, requests, n, err);
    return b2_session_drop_device(s) ? decode_once(s, options, requests, n, err) : status;
}

/* ---- what is empty ----------------------------------------------------------------------------------------------- */

static bool is_empty(blip2_session *s, size_t i) {
    const blip2_ending ending = s->generations[i].ending;
    return (ending == BLIP2_ENDED_STOP || ending == BLIP2_ENDED_LENGTH) && b2_text_strip(write_text(s, i))[0] == '\0';
}

/* Lists request i where a result of it is empty. Beams compete, so all of them are done again; of samples those that
 * are empty. */
static void list_empty(blip2_session *s, size_t i, size_t *n) {
    const size_t first = i * s->max_results, end = first + s->requests[i].n_results;
    size_t n_empty = 0;
    for (size_t k = first; k < end; k++) {
        s->generations[k].is_kept = !is_empty(s, k);
        n_empty += !s->generations[k].is_kept;
    }
    if (n_empty == 0) return;
    for (size_t k = first; k < first + s->max_results; k++) {
        b2_generation *g = &s->generations[k];
        g->is_kept = g->is_kept && !s->is_ordered_by_score;
        g->is_retried = !g->is_kept;
        if (g->is_retried) s->n_told[k] = 0;
    }
    s->retries[*n] = s->requests[i];
    s->numbers[(*n)++] = i;
}

/* Every text has at least one id before the stop id then. */
static blip2_status retry_empty(blip2_session *s, const b2_decode_options *options, const b2_logits_rules *rules,
                                size_t n_requests, blip2_error *err) {
    b2_logits_rules longer = *rules;
    b2_decode_options again = *options;
    size_t n = 0;
    longer.min_new_tokens = 1;
    again.rules = &longer;
    for (size_t i = 0; i < n_requests; i++) list_empty(s, i, &n);
    if (n == 0) return BLIP2_OK;
    const blip2_status status = decode(s, &again, s->retries, n, err);
    for (size_t k = 0; k < n; k++) s->requests[s->numbers[k]].n_results = s->retries[k].n_results;
    return status;
}

/* ---- all requests ------------------------------------------------------------------------------------------------ */

/* What a session has room for. */
static blip2_status check_room(const blip2_session *s, const blip2_decoding *d, blip2_error *err) {
    const size_t n_hypotheses = b2_decoding_hypotheses(d);
    if (n_hypotheses > s->max_results)
        return b2_fail(err, BLIP2_ARGUMENT, "%zu beams or samples: the session was created for %zu (max_results)",
                       n_hypotheses, s->max_results);
    if (d->max_new_tokens > s->capacity.n_new_tokens)
        return b2_fail(err, BLIP2_ARGUMENT, "%zu new tokens: the session was created for %zu", d->max_new_tokens,
                       s->capacity.n_new_tokens);
    if (b2_min(d->alternatives, s->model->weights.h.opt.n_vocab) > s->max_alternatives)
        return b2_fail(err, BLIP2_ARGUMENT, "%zu alternatives: the session was created for %zu (max_alternatives)",
                       d->alternatives, s->max_alternatives);
    return BLIP2_OK;
}

blip2_status b2_session_choose(blip2_session *s, const blip2_decoding *decoding, b2_choosing *c, blip2_error *err) {
    c->session = s;
    c->decoding = b2_decoding_complete(decoding);
    const blip2_decoding *d = &c->decoding;
    B2_TRY(blip2_decoding_check(s->model, d, err));
    B2_TRY(check_room(s, d, err));
    size_t n_new_tokens = d->max_new_tokens > 0 ? d->max_new_tokens : s->capacity.n_new_tokens;
    if (d->answers != NULL) B2_TRY(b2_answers_fit(d->answers, s->capacity.n_new_tokens, &n_new_tokens, err));
    s->answer_list = d->answers;
    c->rules = b2_decoding_rules(d, s->model, n_new_tokens);
    c->sampling = b2_decoding_sampling(d);
    c->beams = b2_decoding_beams(d);
    s->is_ordered_by_score = d->num_beams > 1;
    s->has_processed = d->output_scores;
    s->n_alternatives = b2_min(d->alternatives, s->model->weights.h.opt.n_vocab);
    c->options = (b2_decode_options){
        .n_new_tokens = n_new_tokens,
        .n_hypotheses = b2_decoding_hypotheses(d),
        .n_results = b2_max(d->num_return_sequences, 1),
        .sampling = d->do_sample ? &c->sampling : NULL,
        .beams = d->num_beams > 1 ? &c->beams : NULL,
        .rules = b2_logits_has_rules(&c->rules) || d->answers != NULL ? &c->rules : NULL,
        .rules_see = b2_decoding_rules_see(d),
        .wants_processed = s->has_processed,
        .n_alternatives = s->n_alternatives,
        .image_id = s->model->image_id,
        .on_token = d->on_token != NULL ? tell_token : NULL,
        .context = c,
    };
    c->retries = d->retry_empty && d->min_new_tokens == 0;
    memset(s->n_told, 0, s->capacity.n_sequences * sizeof *s->n_told);
    for (size_t i = 0; i < s->capacity.n_requests; i++) s->numbers[i] = i;
    return BLIP2_OK;
}

blip2_status blip2_session_generate_sized(blip2_session *s, const blip2_request *requests, size_t request_bytes,
                                          size_t n_requests, const blip2_decoding *decoding, blip2_error *err) {
    b2_choosing c;
    s->n_requests = 0;
    B2_TRY(b2_session_choose(s, decoding, &c, err));
    B2_TRY(b2_session_read_requests(s, requests, request_bytes, n_requests, err));
    B2_TRY(decode(s, &c.options, s->requests, n_requests, err));
    if (c.retries) B2_TRY(retry_empty(s, &c.options, &c.rules, n_requests, err));
    for (size_t i = 0; i < n_requests; i++) {
        const blip2_request request = b2_request_at(requests, request_bytes, i);
        b2_session_finish(s, &request, i);
    }
    s->n_requests = n_requests;
    return BLIP2_OK;
}
