/* match.h: which terms of the word lists a text holds. */
#ifndef B2_MATCH_H
#define B2_MATCH_H

#include "words/words.h"

typedef enum b2_match_mode {
    /* whole words and their inflections, longest term first, what describes the background dropped */
    B2_MATCH_WORD,
    /* a term counts wherever its letters stand; white never beside "background": the rule of the study whose results
     * this mode reproduces */
    B2_MATCH_SUBSTRING
} b2_match_mode;

typedef struct b2_match {
    size_t start, len; /* bytes of the text */
    size_t term;       /* of words->terms */
    bool is_dropped;   /* describes the background */
} b2_match;

/* In the order of the text (word) or of the lists (substring); from malloc. */
typedef struct b2_matches {
    b2_match *items;
    size_t n, capacity;
} b2_matches;

/* Errors: BLIP2_MEMORY. The caller frees *out with b2_matches_free. */
blip2_status b2_match_text(const b2_words *words, b2_match_mode mode, const char *text, b2_matches *out,
                           blip2_error *err);
void b2_matches_free(b2_matches *matches);

/* ---- columns ----------------------------------------------------------------------------------------------------- */

/* What is said about a text: a column for each category and, in word mode, "dropped" (words that describe the
 * background) and "ambiguous" (words that have another common meaning). Number and names: */
size_t b2_match_columns(const b2_words *words, b2_match_mode mode);
const char *b2_match_column_name(const b2_words *words, size_t column);

typedef void b2_match_fn(void *context, const char *word);

/* Calls fn for each word of a column, in the order of the matches: the names of the terms, in word mode each once; two
 * of one hyphenated word give their compound too, also once. False without memory. */
bool b2_match_each(const b2_words *words, b2_match_mode mode, const char *text, const b2_matches *matches,
                   size_t column, b2_match_fn *fn, void *context);

/* The words of a column for a cell of a table, joined by "; " or, in substring mode, by ", " as in the study. From
 * malloc; NULL without memory. */
char *b2_match_join(const b2_words *words, b2_match_mode mode, const char *text, const b2_matches *matches,
                    size_t column);

#endif
