/* csv.h: tables as their cells were written: separated by commas, semicolons or tabs. Quotes, quoted separators and
 * line ends stay part of the raw cell, so that every input cell can be written back byte for byte (RFC 4180; real files
 * bring CRLF, stray CR, a mark, UTF-16, blank lines, rows of any length). */
#ifndef B2_CSV_H
#define B2_CSV_H

#include "base/status.h"
#include "base/text.h"

#include <stdio.h>

/* How a table is written, and so how what is added to it is written. */
typedef struct b2_csv_style {
    char separator;
    bool quotes_all; /* every header cell is quoted, also those that need it not */
    const char *line_end;
} b2_csv_style;

extern const b2_csv_style b2_csv_plain; /* commas, quotes where they must be, "\n" */

/* A row that has not as many cells as the header. */
typedef struct b2_csv_ragged {
    const char *name; /* of its file */
    size_t line, n_cells;
} b2_csv_ragged;
enum { B2_CSV_RAGGED_MAX = 3 };

typedef struct b2_csv {
    bool no_header;         /* set before the first file: row 0 is a picture like the others */
    char **texts;           /* [n_texts], the files as UTF-8; rows point into them */
    size_t n_texts, n_rows; /* rows: blank lines dropped; of several files all rows in turn under one header */
    b2_text *rows;          /* raw, without their line ends; row 0 is the header */
    size_t n_columns;       /* cells of row 0 */
    size_t row_capacity, text_capacity;
    size_t n_blank;
    b2_csv_style style;                      /* of the first file */
    b2_text preamble;                        /* what stands before its first row: the mark, Excel's line "sep=;" */
    size_t n_ragged;                         /* rows longer or shorter than the first; */
    b2_csv_ragged ragged[B2_CSV_RAGGED_MAX]; /* the first of them */
} b2_csv;

/* Adds the rows of a file (path "-": stdin) to an empty table or one of the same kind. The header line tells what
 * separates the cells. After an error the table is only good for b2_csv_free(). Errors: BLIP2_IO, BLIP2_FORMAT (no
 * header, a quote that never ends, not text), BLIP2_ARGUMENT (another header or separator than the files before),
 * BLIP2_LIMIT (1 GiB), BLIP2_MEMORY. */
blip2_status b2_csv_add_file(b2_csv *csv, const char *path, blip2_error *err);
/* The same of bytes from malloc, which the csv takes over in any case; name is for messages and outlives the csv. */
blip2_status b2_csv_add_text(b2_csv *csv, char *bytes, size_t n_bytes, const char *name, blip2_error *err);
void b2_csv_free(b2_csv *csv);

/* The row that comes first after the header, and so the row of input 0. */
static inline size_t b2_csv_first(const b2_csv *csv) { return csv->no_header ? 0 : 1; }

/* Cell of a row, raw; an empty view where the row is shorter. Both read the row from its beginning. */
b2_text b2_csv_cell(const b2_csv *csv, size_t row, size_t column);
size_t b2_csv_n_cells(const b2_csv *csv, size_t row);

/* XXH3-64 of all cells in turn, begun with another hash. */
uint64_t b2_csv_hash(const b2_csv *csv, uint64_t hash);

/* The value that a raw cell means, from malloc: quotes undone, white space around it kept. NULL without memory. */
char *b2_csv_value(b2_text raw);

/* A column by its header or its number (from 1). BLIP2_ARGUMENT with the headers that there are. */
blip2_status b2_csv_find_column(const b2_csv *csv, const char *name, size_t *column, blip2_error *err);

/* "list.csv line 5 has 4 cells, ...": the rows that are not as long as the header; "" when all are. */
void b2_csv_print_ragged(const b2_csv *csv, char *text, size_t size);

/* ---- writing: a row is b2_csv_write_row() or values, and the style's line_end ------------------------------------ */

/* A row's cells as they were, as many as the header has (or more, where the row has more). */
void b2_csv_write_row(const b2_csv *csv, size_t row, FILE *out);
/* A value, quoted where it must be; after a separator unless it is the first of its line. */
void b2_csv_write_value(const b2_csv_style *style, const char *value, bool after_another, FILE *out);

#endif
