/* writer.h: one record in the format that its user chose. */
#ifndef B2_WRITER_H
#define B2_WRITER_H

#include "record/record.h"

#include <stdio.h>

/* "text", "jsonl", "csv", "tsv", "imagefolder". */
const char *b2_format_name(b2_format format);

/* The format of a name; false where none has it. */
bool b2_format_find(const char *name, b2_format *format);

/* The header line, where the format has one, flushed. False when the stream failed (errno tells why). */
bool b2_record_write_header(const b2_style *style, FILE *out);

/* The record's line, or lines where its format has one for each answer, flushed. False when the stream failed (errno
 * tells why) or memory ran out. */
bool b2_record_write(const b2_style *style, const b2_record *record, FILE *out);

#endif
