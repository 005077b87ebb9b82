/* jsonl.h: records as JSON lines: our own, and those of Hugging Face's ImageFolder. */
#ifndef B2_JSONL_H
#define B2_JSONL_H

#include "record/record.h"

#include <stdio.h>

/* One line for each answer; a picture without answers has one line. False without memory. */
bool b2_jsonl_write(const b2_style *style, const b2_record *record, FILE *out);

/* What ImageFolder reads beside the pictures; it knows no pictures without a text, so those have no line. */
bool b2_imagefolder_write(const b2_style *style, const b2_record *record, FILE *out);

/* The member ,"matches":{"colors":["red"],...}: the words that a text holds, list by list. A term is one string,
 * whatever it is made of. False without memory. */
bool b2_jsonl_write_matches(const b2_words *words, b2_match_mode mode, const char *text, const b2_matches *matches,
                            FILE *out);

#endif
