/* decode.c: see decode.h.
 *
 *   begin   prompts -> cache slots, logits [n new rows][n_vocab]
 *   step    ids -> one more position in each slot, logits [n_rows][n_vocab]
 *
 * Why packed: a step costs the reading of all weights whatever the number of rows, and each row a little more. */
#include "generate/decode.h"

#include <stdlib.h>
#include <string.h>

blip2_status b2_decoder_create(const b2_weights *weights, b2_workspace *homes, b2_decoder *d, blip2_error *err) {
    const size_t n = homes[B2_HOME_CPU].cache.n_sequences, n_positions = homes[B2_HOME_CPU].cache.capacity;
    *d = (b2_decoder){.weights = weights,
                      .homes = homes,
                      .head = b2_lm_head(weights, homes),
                      .capacity = n,
                      .n_positions = n_positions};
    d->sequences = calloc(n, sizeof *d->sequences);
    d->ids = calloc(n, sizeof *d->ids);
    d->owners = calloc(n, sizeof *d->owners);
    d->has_ended = calloc(n, sizeof *d->has_ended);
    d->logits_rows = calloc(n, sizeof *d->logits_rows);
    d->free_slots = calloc(n, sizeof *d->free_slots);
    d->is_read = calloc(n, sizeof *d->is_read);
    d->sources = calloc(n * n_positions, sizeof *d->sources);
    d->reordered = calloc(n * n_positions, sizeof *d->reordered);
    if (!d->sequences || !d->ids || !d->owners || !d->has_ended || !d->logits_rows || !d->free_slots || !d->is_read ||
        !d->sources || !d->reordered) {
        b2_decoder_free(d);
        return b2_fail(err, BLIP2_MEMORY, "no memory for %zu sequences", n);
    }
    b2_decoder_reset(d);
    return BLIP2_OK;
}

void b2_decoder_free(b2_decoder *d) {
    free(d->sequences);
    free(d->ids);
    free(d->owners);
    free(d->has_ended);
    free(d->logits_rows);
    free(d->free_slots);
    free(d->is_read);
    free(d->sources);
    free(d->reordered);
    *d = (b2_decoder){0};
}

void b2_decoder_place(b2_decoder *d, const b2_weights *weights) {
    d->weights = weights;
    d->head = b2_lm_head(weights, d->homes);
    b2_decoder_reset(d);
}

/* ---- slots ------------------------------------------------------------------------------------------------------- */

/* The slots that no row in flight reads; the lowest is taken first. */
static void find_free_slots(b2_decoder *d) {
    memset(d->is_read, 0, d->capacity * sizeof *d->is_read);
    for (size_t i = 0; i < d->n_rows; i++) {
        const b2_sequence *s = &d->sequences[i];
        d->is_read[s->slot] = true;
        for (size_t p = 0; p < s->n_past; p++) d->is_read[s->sources[p]] = true;
    }
    d->n_free = 0;
    for (size_t slot = d->capacity; slot-- > 0;)
        if (!d->is_read[slot]) d->free_slots[d->n_free++] = slot;
}

static void take_slot(b2_decoder *d, b2_sequence *s) {
    s->slot = d->free_slots[--d->n_free];
    s->sources = d->sources + s->slot * d->n_positions;
}

void b2_decoder_reset(b2_decoder *d) {
    d->n_rows = d->first_fresh = 0;
    find_free_slots(d);
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

/* Takes out the rows that have ended; the others move up, in order. */
static void close_gaps(b2_decoder *d) {
    size_t n_kept = 0;
    for (size_t i = 0; i < d->n_rows; i++) {
        if (d->has_ended[i]) continue;
        d->sequences[n_kept] = d->sequences[i];
        d->ids[n_kept] = d->ids[i];
        d->owners[n_kept] = d->owners[i];
        d->has_ended[n_kept++] = false;
    }
    if (n_kept == d->n_rows) return;
    d->n_rows = n_kept;
    find_free_slots(d);
}

void b2_decoder_begin(b2_decoder *d, const b2_sequence *sequences, const size_t *owners, size_t n) {
    close_gaps(d);
    d->first_fresh = d->n_rows;
    for (size_t i = 0; i < n; i++, d->n_rows++) {
        d->sequences[d->n_rows] = sequences[i];
        take_slot(d, &d->sequences[d->n_rows]);
        d->owners[d->n_rows] = owners[i];
        d->has_ended[d->n_rows] = false;
        d->logits_rows[d->n_rows] = i;
    }
    b2_lm_prefill(d->weights, d->homes, d->sequences + d->first_fresh, n);
}

void b2_decoder_fork(b2_decoder *d, size_t n) {
    const size_t n_before = d->n_rows;
    d->n_rows *= n;
    for (size_t i = n_before; i-- > 0;)
        for (size_t k = n; k-- > 0;) { /* from the end: row 0 of the n, which may be where row i was, comes last */
            b2_sequence *to = &d->sequences[i * n + k];
            *to = d->sequences[i];
            d->owners[i * n + k] = d->owners[i] * n + k;
            d->logits_rows[i * n + k] = d->logits_rows[i];
            d->has_ended[i * n + k] = false;
            if (k == 0) continue;
            take_slot(d, to);
            memcpy(to->sources, d->sequences[i].sources, to->n_past * sizeof *to->sources);
        }
}

void b2_decoder_reorder(b2_decoder *d, size_t first, const size_t *parents, size_t n) {
    const size_t n_past = d->sequences[first].n_past;
    for (size_t i = 0; i < n; i++)
        memcpy(d->reordered + i * d->n_positions, d->sequences[first + parents[i]].sources,
               n_past * sizeof *d->reordered);
    for (size_t i = 0; i < n; i++)
        memcpy(d->sequences[first + i].sources, d->reordered + i * d->n_positions, n_past * sizeof *d->reordered);
}

void b2_decoder_end(b2_decoder *d, size_t row) { d->has_ended[row] = true; }

bool b2_decoder_step(b2_decoder *d) {
    close_gaps(d);
    d->first_fresh = 0;
    if (d->n_rows == 0) return false;
    b2_lm_step(d->weights, d->homes, d->sequences, d->ids, d->n_rows);
    for (size_t i = 0; i < d->n_rows; i++) d->logits_rows[i] = i;
    return true;
}

const float *b2_decoder_logits(const b2_decoder *d, size_t row) {
    return d->head->logits + d->logits_rows[row] * d->weights->h.opt.n_vocab;
}
