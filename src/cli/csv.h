/* csv.h: a CSV file as its cells were written. Quotes, quoted commas and line ends stay part of the raw cell, so that every
 * input cell can be written back byte for byte (RFC 4180; real files bring CRLF, stray CR, a BOM, blank lines). */
#ifndef B2_CSV_H
#define B2_CSV_H

#include "base/status.h"
#include "base/text.h"

#include <stdio.h>

typedef struct b2_csv {
    char *bytes;       /* the file; cells point into it */
    b2_text *cells;    /* all cells, row after row, raw */
    size_t *row_start; /* [n_rows + 1], indexes into cells; row 0 is the header */
    size_t n_rows;     /* blank lines dropped */
    size_t n_blank;
    bool had_bom;
} b2_csv;

/* path "-": stdin. Errors: BLIP2_IO, BLIP2_FORMAT (no header, a quote that never ends, NUL bytes), BLIP2_LIMIT (1 GiB), BLIP2_MEMORY. */
blip2_status b2_csv_load(const char *path, b2_csv *csv, blip2_error *err);
/* The same of bytes from malloc, which the csv takes over; name is for messages. */
blip2_status b2_csv_parse(char *bytes, size_t n_bytes, const char *name, b2_csv *csv, blip2_error *err);
void b2_csv_free(b2_csv *csv);

/* Cell of a row, raw; an empty view where the row is shorter. */
b2_text b2_csv_cell(const b2_csv *csv, size_t row, size_t column);

/* The value that a raw cell means, from malloc: quotes undone, white space around it kept. NULL without memory. */
char *b2_csv_value(b2_text raw);

/* A column by its header or its number (from 1). BLIP2_ARGUMENT with the headers that there are. */
blip2_status b2_csv_find_column(const b2_csv *csv, const char *name, size_t *column, blip2_error *err);

/* A row's cells as they were, as many as the header has (or more, where the row has more). */
void b2_csv_write_row(const b2_csv *csv, size_t row, FILE *out);
/* A value, quoted where it must be; behind a comma unless it is the first of its line. */
void b2_csv_write_value(const char *value, bool behind_comma, FILE *out);

#endif
