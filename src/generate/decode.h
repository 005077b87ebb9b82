/* decode.h: rows of ids that grow together, one id a step, whoever chooses the ids. Ids only; text stays outside.
 *
 * A row is one sequence in flight: it takes a slot of the key/value cache when it begins; the slot is free again when
 * the row has ended and no other one reads there. Rows in flight are packed, so that a row that has ended costs
 * nothing; new rows may begin while others go on. A way to choose (the best id, a drawn one, beams) is a loop of: begin
 * rows, perhaps fork them, look at the logits of those that are fresh, give each an id or end it, step (run.h). */
#ifndef B2_DECODE_H
#define B2_DECODE_H

#include "model/lm.h"

typedef struct b2_decoder {
    const b2_weights *weights;
    b2_workspace *homes, *head; /* head: the home where the logits are */
    size_t n_rows, capacity;    /* rows in flight; as many as the cache has slots */
    b2_sequence *sequences;     /* [capacity] of row i */
    int32_t *ids;               /* [capacity] the id that row i reads next */
    size_t *owners;             /* [capacity] what row i belongs to: the caller's number */
    bool *has_ended;            /* [capacity] */
    size_t *logits_rows;        /* [capacity] which row of head->logits is that of the fresh row i */
    size_t *free_slots;         /* [capacity] */
    bool *is_read;              /* [capacity] of each slot: by a row in flight */
    size_t n_free;
    size_t n_positions;            /* of a slot */
    uint32_t *sources, *reordered; /* [capacity][n_positions] of the row in a slot; scratch */
    size_t first_fresh;            /* rows from here on have new logits */
} b2_decoder;

/* Memory for as many rows as the cache has slots. What it points to must outlive it. Errors: MEMORY. */
blip2_status b2_decoder_create(const b2_weights *weights, b2_workspace *homes, b2_decoder *decoder, blip2_error *err);
void b2_decoder_free(b2_decoder *decoder);

/* The same model, spread over the homes in another way. No rows are in flight afterwards. */
void b2_decoder_place(b2_decoder *decoder, const b2_weights *weights);

/* No rows in flight, all slots free. */
void b2_decoder_reset(b2_decoder *decoder);

/* Reads the prompts of n new rows; these are the fresh ones then. Soft tokens that several of them have are read once.
 * n <= capacity less the rows that go on, and at most the requests that the session was planned for. */
void b2_decoder_begin(b2_decoder *decoder, const b2_sequence *sequences, const size_t *owners, size_t n);

/* Right after begin, with no other rows in flight: each row becomes n rows side by side, which share what it has read
 * and its logits. Owner o becomes o * n .. o * n + n - 1. */
void b2_decoder_fork(b2_decoder *decoder, size_t n);

/* Rows first .. first + n - 1, equally long: row first + i goes on from what row first + parents[i] has read. */
void b2_decoder_reorder(b2_decoder *decoder, size_t first, const size_t *parents, size_t n);

/* Row i has ended; it leaves with the next step or begin. */
void b2_decoder_end(b2_decoder *decoder, size_t row);

/* Feeds ids[i] to each row i that goes on; all of them are fresh then. Their numbers change: look at owners again.
 * False when none goes on. */
bool b2_decoder_step(b2_decoder *decoder);

/* The logits of a fresh row, [n_vocab], for verbs of head->ops. */
const float *b2_decoder_logits(const b2_decoder *decoder, size_t row);

#endif
