/* record.h: what is known about one picture when its turn is over, and the one line of each format that says it. */
#ifndef B2_RECORD_H
#define B2_RECORD_H

#include "blip2.h"
#include "cli/inputs.h"
#include "cli/match.h"

#include <stdio.h>

typedef enum b2_format { B2_FORMAT_TEXT, B2_FORMAT_JSONL, B2_FORMAT_CSV, B2_FORMAT_TSV, B2_FORMAT_IMAGEFOLDER } b2_format;
enum { B2_N_FORMATS = 5 };
const char *b2_format_name(b2_format format);

/* One thing to say about every picture: at most one of prompt and question; neither: a plain caption. */
typedef struct b2_ask {
    const char *prompt, *question;
    const char *column; /* its name in tables; NULL: chosen */
} b2_ask;

/* One answer of the model, to the ask of the same place. */
typedef struct b2_answer {
    char *text; /* from malloc */
    blip2_outcome outcome;
    size_t n_tokens;
    int32_t *tokens;   /* from malloc; NULL without --tokens */
    float *logprobs;   /* likewise */
    double logprob;
} b2_answer;

typedef struct b2_record {
    size_t index;      /* place in the whole list */
    char *path;        /* as the user wrote it; from malloc */
    char *error;       /* from malloc, valid UTF-8; NULL: the answers hold */
    bool rotated, is_skipped;
    b2_answer *answers; /* from malloc */
    size_t n_answers;
    bool has_timings;
    blip2_timings timings;
    char *thumbnail;   /* a JPEG in base64, for reports; from malloc; NULL: none */
    size_t thumbnail_width, thumbnail_height;
} b2_record;

void b2_record_free(b2_record *record);

/* "error", "skipped", "empty", "echo", "truncated" or "ok": the first that fits any answer. */
const char *b2_record_status(const b2_record *record);
/* The sentence of a record whose status is "error"; "" otherwise. */
const char *b2_record_why(const b2_record *record);
const char *b2_outcome_name(blip2_outcome outcome);

/* How records are written. */
typedef struct b2_style {
    b2_format format;
    bool only_text;           /* one picture and no format: the answer and nothing else */
    const b2_ask *asks;
    size_t n_asks;
    const b2_inputs *inputs;  /* the table or JSON lines whose cells and lines are written back; may be NULL */
    const b2_words *words;    /* to look for in every answer; NULL: none */
    b2_match_mode match_mode;
    const char *output_path;  /* of imagefolder: names are relative to its folder */
} b2_style;

/* The name of ask i in tables: what the user said, else "caption", "answer", or the question where there are several. */
const char *b2_style_column(const b2_style *style, size_t i);

/* Columns that matching adds for each answer, and their names: the lists', "dropped", "ambiguous". */
size_t b2_match_columns(const b2_words *words, b2_match_mode mode);
const char *b2_match_column_name(const b2_words *words, size_t i);
/* Finds the words of a text and joins those of column i; from malloc, NULL without memory. */
char *b2_match_column(const b2_words *words, b2_match_mode mode, const char *text, const b2_matches *matches, size_t i);

/* The header line, where the format has one; and one record, flushed. False when the stream failed (errno tells). */
bool b2_record_write_header(const b2_style *style, FILE *out);
bool b2_record_write(const b2_style *style, const b2_record *record, FILE *out);

#endif
