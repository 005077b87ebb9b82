/* grown.h: a list that grew, or pictures that failed and are tried again: what a finished output has already goes into
 * the new job's journal, so that only the rest is work, and the output is built as always. */
#ifndef B2_GROWN_H
#define B2_GROWN_H

#include "job/state.h"

typedef struct b2_grown {
    const b2_inputs *inputs; /* the list as it is now */
    const b2_style *style;   /* of the output to be written */
    const char *output_path;
    b2_state *state;     /* of the output that is there */
    bool is_same_list;   /* it is the list of the state: its rows are known by their order */
    bool retries_failed; /* rows that failed are left to be done again */
} b2_grown;

/* Appends to the journal a record for each picture of the list that has none in places[inputs->n] and whose row stands
 * in the output and its state; a row is found by its picture's name, so the output may have been sorted or mended by
 * hand. Nothing is appended before the whole output has been read once. Errors: BLIP2_ARGUMENT (it has rows that are
 * not in this list, or not as this program writes them: they would be lost), BLIP2_IO, BLIP2_NO_SPACE,
 * BLIP2_FORMAT, BLIP2_LIMIT, BLIP2_MEMORY, BLIP2_CANCELLED. */
blip2_status b2_grown_take(const b2_grown *grown, b2_journal *journal, b2_record_location *places, blip2_error *err);

#endif
