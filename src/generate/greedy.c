#include "generate/greedy.h"

#include "base/clock.h"

/* The rows still being written, packed: sequence i has its logits in row i. */
typedef struct active_rows {
    size_t n;
    b2_sequence sequences[B2_MAX_SEQUENCES];
    b2_greedy_row *rows[B2_MAX_SEQUENCES];
    int32_t ids[B2_MAX_SEQUENCES];
} active_rows;

/* Takes the best id of a row's logits; true when the row goes on. */
static bool choose_token(const b2_weights *w, const b2_ops *ops, const float *logits, size_t n_new_tokens,
                         b2_greedy_row *row) {
    size_t id;
    if (!b2_ops_argmax(ops, logits, w->h.n_vocab, &id)) {
        row->ending = B2_ENDING_NOT_FINITE;
        return false;
    }
    row->tokens[row->n_tokens] = (int32_t)id;
    row->logprobs[row->n_tokens] = b2_ops_log_probability(ops, logits, w->h.n_vocab, id);
    row->n_tokens++;
    row->ending = id == w->h.stop_id ? B2_ENDING_STOP : B2_ENDING_LENGTH;
    return row->ending != B2_ENDING_STOP && row->n_tokens < n_new_tokens;
}

/* Chooses for every active row and closes the gaps that ended rows leave. */
static void choose_tokens(const b2_weights *w, const b2_ops *ops, const b2_workspace *ws, size_t n_new_tokens,
                          active_rows *active) {
    size_t n_kept = 0;
    for (size_t i = 0; i < active->n; i++) {
        b2_greedy_row *row = active->rows[i];
        if (!choose_token(w, ops, ws->logits + i * w->h.n_vocab, n_new_tokens, row)) continue;
        active->sequences[n_kept] = active->sequences[i];
        active->rows[n_kept] = row;
        active->ids[n_kept++] = row->tokens[row->n_tokens - 1];
    }
    active->n = n_kept;
}

void b2_greedy_run(const b2_weights *w, b2_ops *ops, b2_workspace *ws, b2_greedy_row *rows, size_t n,
                   size_t n_new_tokens, b2_greedy_report *report) {
    active_rows active = {.n = n};
    for (size_t i = 0; i < n; i++) {
        rows[i].n_tokens = 0;
        rows[i].ending = B2_ENDING_LENGTH;
        active.rows[i] = &rows[i];
        active.sequences[i] = rows[i].sequence;
        active.sequences[i].slot = i;
    }
    const int64_t start = b2_clock_ns();
    *report = (b2_greedy_report){0};
    if (n == 0 || n_new_tokens == 0) return;
    b2_opt_prefill(w, ops, ws, active.sequences, n);
    const int64_t prefilled = b2_clock_ns();
    while (!b2_ops_is_cancelled(ops)) {
        choose_tokens(w, ops, ws, n_new_tokens, &active);
        if (active.n == 0) break;
        b2_opt_step(w, ops, ws, active.sequences, active.ids, active.n);
        report->n_steps++;
    }
    report->prefill_ns = prefilled - start;
    report->decode_ns = b2_clock_ns() - prefilled;
}
