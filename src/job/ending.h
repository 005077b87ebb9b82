/* ending.h: a journal that has all of a job's records becomes its output. */
#ifndef B2_ENDING_H
#define B2_ENDING_H

#include "job/assemble.h"
#include "job/plan.h"

/* What ends, of a plan that keeps a journal or a shard. */
typedef struct b2_ending {
    b2_plan *plan;
    const b2_inputs *inputs;
    const b2_style *style;
    size_t n;                /* records of the whole list */
    bool is_stream;          /* n was not known beforehand; */
    bool keeps_state;        /* false: and the state of such a job would help nobody */
    const char *report_path; /* NULL: none */
} b2_ending;

/* Built in the order of the list, so that a job interrupted or not, in batches or not, ends in the same bytes: the
 * report, the output, its state; then the journal goes. A shard's journal stays one, under its own name.
 * Errors: BLIP2_FORMAT (the journal was changed meanwhile), BLIP2_IO, BLIP2_NO_SPACE, BLIP2_MEMORY, BLIP2_CANCELLED:
 * then all records are still in the journal. */
blip2_status b2_ending_write(const b2_ending *ending, blip2_error *err);

/* The output was there already: says so, and removes its state where none is wanted. Errors: BLIP2_IO, BLIP2_MEMORY. */
blip2_status b2_ending_accept(const b2_plan *plan, bool keeps_no_state, blip2_error *err);

/* Of n pictures, those whose records are safe: counted in the journal, because others can write to the same disk.
 * False: it cannot be read now. */
bool b2_ending_count_safe(b2_plan *plan, size_t n, size_t *n_safe);

#endif
