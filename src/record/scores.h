/* scores.h: how likely texts are that the user gave, as a record has them: in `taken`, whatever the format. */
#ifndef B2_SCORES_H
#define B2_SCORES_H

#include "record/record.h"

#include <stdio.h>

/* What is scored with one picture: a row's own text, or texts that all pictures have in common. */
typedef struct b2_scored {
    const b2_style *style; /* JSON lines, CSV or text; its first ask is the prompt or question */
    const char *path;      /* of the picture, as the user wrote it */
    size_t n_pictures;     /* of the list: a single one is not named in text */
    bool is_common;        /* then each text has a probability among them */
} b2_scored;

/* Adds one text's line (of CSV: cells of its row) to what becomes b2_record.taken; is_first: of its picture. */
void b2_scores_write(const b2_scored *scored, const char *text, const blip2_score *score, bool is_first, FILE *taken);

/* The same for a picture, or a row, that failed. In text nothing: the sentence goes to stderr. */
void b2_scores_write_failure(const b2_scored *scored, const char *why, FILE *taken);

/* Is this what the functions above write, as far as its form goes? A journal's bytes are anybody's. False also without
 * memory: then errno is ENOMEM. */
bool b2_scores_hold(b2_format format, const char *taken);

/* Their columns of CSV, between those of the user's table and the status. */
void b2_scores_write_header(const b2_csv_style *csv, FILE *out);

#endif
