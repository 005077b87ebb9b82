/* rows.h: the rows of a finished output as they stand in it, so that a longer list's output has them again: for each
 * the name of its picture and what this program added to it, as bytes of its format. */
#ifndef B2_ROWS_H
#define B2_ROWS_H

#include "record/record.h"

/* How the output was written where that was another list's business. */
typedef struct b2_rows_layout {
    bool is_table; /* csv: the user's table, with columns added */
    bool no_header;
    const char *column; /* where its pictures are named; NULL: the first */
    bool only_text;     /* of one picture: its answers alone */
} b2_rows_layout;

/* One row: the picture's name as the output has it (NULL: the only one), and what the writers of style take as
 * record->taken. Returns OK to go on. */
typedef blip2_status b2_row_fn(void *context, const char *name, const char *taken, blip2_error *err);

/* Reads all rows of the output in their order; style: of the output to be written. *n_unreadable: those that are not as
 * this program writes them, which fn does not see. Errors: of fn; BLIP2_ARGUMENT (the output as a whole is not),
 * BLIP2_IO, BLIP2_FORMAT, BLIP2_LIMIT, BLIP2_MEMORY. */
blip2_status b2_rows_each(const b2_style *style, const b2_rows_layout *layout, const char *path, b2_row_fn *fn,
                          void *context, size_t *n_unreadable, blip2_error *err);

#endif
