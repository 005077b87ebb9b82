/* match.h: which terms of the word lists a text holds. */
#ifndef B2_MATCH_H
#define B2_MATCH_H

#include "cli/words.h"

typedef enum b2_match_mode {
    B2_MATCH_WORD,     /* whole words and their inflections, longest term first, what describes the background dropped */
    B2_MATCH_SUBSTRING /* a term counts wherever its letters stand; white never beside "background": the rule of the study
                        * whose results this mode reproduces */
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
blip2_status b2_match_text(const b2_words *words, b2_match_mode mode, const char *text, b2_matches *out, blip2_error *err);
void b2_matches_free(b2_matches *matches);

/* What is said about a text beside its categories. */
enum { B2_MATCH_DROPPED = B2_MAX_CATEGORIES, B2_MATCH_AMBIGUOUS };

/* The names for one column, joined, from malloc: those of a category (each once in word mode; two of one hyphenated word
 * give their compound too), or of B2_MATCH_DROPPED or B2_MATCH_AMBIGUOUS. The separator is "; " or, in substring mode,
 * ", " as in the study. NULL without memory. */
char *b2_match_join(const b2_words *words, b2_match_mode mode, const char *text, const b2_matches *matches, size_t column);

#endif
