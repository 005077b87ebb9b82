/* record.h: what is known about one picture when its turn is over, and how it is written. */
#ifndef B2_RECORD_H
#define B2_RECORD_H

#include "blip2.h"
#include "cli/csv.h"

#include <stdio.h>

typedef enum b2_format { B2_FORMAT_TEXT, B2_FORMAT_JSONL, B2_FORMAT_CSV, B2_FORMAT_TSV } b2_format;

/* One answer of the model: a caption, or the answer to one question. */
typedef struct b2_answer {
    const char *prompt, *question; /* at most one; NULL: a plain caption */
    char *text;                    /* from malloc */
    blip2_outcome outcome;
    size_t n_tokens;
    int32_t *tokens;   /* from malloc; NULL without --tokens */
    float *logprobs;   /* likewise */
    double logprob;
} b2_answer;

typedef struct b2_record {
    size_t index;       /* place in the whole list */
    const char *path;   /* as the user wrote it */
    const char *error;  /* NULL: the answers hold */
    bool rotated, is_ask;
    b2_answer *answers;
    size_t n_answers;
    bool has_timings;
    blip2_timings timings;
} b2_record;

/* How records are written. csv: the input table, whose cells are written back as they are; NULL without one. */
typedef struct b2_record_style {
    b2_format format;
    bool only_text; /* one picture and no format: the answer and nothing else */
    const b2_csv *csv;
} b2_record_style;

/* "error", "empty", "echo", "truncated" or "ok": the first that fits any answer. */
const char *b2_record_status(const b2_record *record);

/* The header line, where the format has one; answers name the columns. False when the stream failed. */
bool b2_record_write_header(const b2_record_style *style, const b2_record *first, FILE *out);

/* One record, flushed. False when the stream failed (errno tells). */
bool b2_record_write(const b2_record_style *style, const b2_record *record, FILE *out);

/* A JSON string, quotes included; bytes that are not UTF-8 become U+FFFD. */
void b2_json_write_string(const char *text, FILE *out);
bool b2_is_utf8(const char *text);

#endif
