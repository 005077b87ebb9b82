/* tables.h: records as rows: CSV, where the user's own table is given back with columns added, tab-separated
 * values, and plain text. */
#ifndef B2_TABLES_H
#define B2_TABLES_H

#include "record/record.h"

#include <stdio.h>

/* CSV. The header; a record's row. False without memory. */
void b2_table_write_header(const b2_style *style, FILE *out);
bool b2_table_write(const b2_style *style, const b2_record *record, FILE *out);

/* path<TAB>answer..., with \t, \n, \r and \\ for what would break the row. False without memory. */
bool b2_tsv_write(const b2_style *style, const b2_record *record, FILE *out);

/* The answers alone for one picture, otherwise as b2_tsv_write. False without memory. */
bool b2_text_write(const b2_style *style, const b2_record *record, FILE *out);

#endif
