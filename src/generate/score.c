/* score.c: see score.h. The last id of a text is never read: nothing follows it. Steps are those of generation, so a
 * text that the model has written has the log-probabilities that it had then, to the bit. */
#include "generate/score.h"

#include "base/clock.h"

static float log_probability(const b2_decoder *d, size_t row, int32_t id) {
    return b2_ops_log_probability(d->head->ops, b2_decoder_logits(d, row), d->weights->h.opt.n_vocab, (size_t)id);
}

/* Request i is row i, all have read their prompts: what each text may begin with is known. */
static void begin_requests(b2_decoder *d, b2_score_request *requests, size_t n) {
    b2_decoder_reset(d);
    for (size_t i = 0; i < n; i++) {
        d->sequences[i] = requests[i].sequence;
        d->owners[i] = i;
        requests[i].n_begun = 0;
    }
    b2_decoder_begin(d, d->sequences, d->owners, n);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < requests[i].n_texts; k++)
            requests[i].texts[k].logprobs[0] = log_probability(d, i, requests[i].texts[k].tokens[0]);
}

/* The row goes back to the end of the prompt and on with the next text of its request that has more than one id; if
 * there is none, it ends. */
static void begin_text(b2_decoder *d, size_t row, b2_score_request *request, b2_score_row *at) {
    while (request->n_begun < request->n_texts && request->texts[request->n_begun].n_tokens < 2) request->n_begun++;
    if (request->n_begun == request->n_texts) {
        b2_decoder_end(d, row);
        return;
    }
    *at = (b2_score_row){&request->texts[request->n_begun++], 1};
    d->sequences[row].n_past = d->weights->h.qformer.n_queries + request->sequence.n_prompt;
    d->ids[row] = at->text->tokens[0];
}

void b2_score_run(b2_chooser *c, b2_score_request *requests, size_t n, size_t n_side_by_side, b2_score_row *rows,
                  b2_decode_report *report) {
    b2_decoder *d = &c->decoder;
    *report = (b2_decode_report){0};
    if (n == 0) return;
    const int64_t start = b2_clock_ns();
    begin_requests(d, requests, n);
    if (n_side_by_side > 1) b2_decoder_fork(d, n_side_by_side);
    for (size_t row = 0; row < d->n_rows; row++)
        begin_text(d, row, &requests[d->owners[row] / n_side_by_side], &rows[d->owners[row]]);
    const int64_t prefilled = b2_clock_ns();
    while (b2_workspace_status(d->homes, NULL) == BLIP2_OK && b2_decoder_step(d)) {
        report->n_steps++;
        for (size_t row = 0; row < d->n_rows; row++) {
            b2_score_row *at = &rows[d->owners[row]];
            const b2_score_text *text = at->text;
            text->logprobs[at->n_said] = log_probability(d, row, text->tokens[at->n_said]);
            if (++at->n_said < text->n_tokens) d->ids[row] = text->tokens[at->n_said - 1];
            else begin_text(d, row, &requests[d->owners[row] / n_side_by_side], at);
        }
    }
    report->prefill_ns = prefilled - start;
    report->decode_ns = b2_clock_ns() - prefilled;
}
