/* words.h: lists of terms to look for, by category: colours, textures, patterns, materials, and the user's own. */
#ifndef B2_WORDS_H
#define B2_WORDS_H

#include "base/status.h"

enum { B2_MAX_CATEGORIES = 12, B2_MAX_TERM_WORDS = 6 };

/* One form of a term: "sky blue" and "baby blue" are two forms, the first gives the term its name. */
typedef struct b2_form {
    const char *words[B2_MAX_TERM_WORDS]; /* lower case, NUL-terminated */
    size_t n_words;
    size_t term;
    bool is_exact;          /* no inflections */
    bool not_after_sibling; /* does not count right after another term of its category */
    bool needs_preposition; /* of a background: only after "on", "against" and the like */
} b2_form;

typedef struct b2_term {
    const char *name;   /* as the list spells it */
    const char *colour; /* "#rrggbb" for reports; NULL */
    size_t category;
    bool is_homograph;
} b2_term;

typedef struct b2_category {
    const char *name;
    size_t first_term, n_terms; /* in list order */
} b2_category;

typedef struct b2_words {
    b2_category categories[B2_MAX_CATEGORIES]; /* those to report, in the order in which the user named them */
    size_t n_categories;
    b2_term *terms;
    b2_form *forms;
    size_t n_terms, n_forms, term_capacity, form_capacity;
    b2_form *backgrounds; /* nouns that a description may belong to instead of the thing */
    size_t n_backgrounds;
    char **texts; /* from malloc: the lists' bytes, which names and words point into */
    size_t n_texts, text_capacity;
} b2_words;

/* Adds categories by name, separated by commas ("colors,textures"; "all"): those that are compiled in.
 * Errors: BLIP2_ARGUMENT (with the names that there are), BLIP2_MEMORY. */
blip2_status b2_words_add_builtin(b2_words *words, const char *names, blip2_error *err);
/* Adds "FILE" or "NAME=FILE" as one category, named NAME or as the file without its ending.
 * Errors: BLIP2_IO, BLIP2_FORMAT, BLIP2_ARGUMENT (a name twice), BLIP2_LIMIT, BLIP2_MEMORY. */
blip2_status b2_words_add_file(b2_words *words, const char *name_and_path, blip2_error *err);
/* The same of a list in memory; data/words/README.md has the form. */
blip2_status b2_words_add_list(b2_words *words, const char *name, const char *list, size_t n_bytes, blip2_error *err);
void b2_words_free(b2_words *words);

/* Lower case of UTF-8, from malloc. origin, if not NULL, gets an array from malloc: for each byte of the result, and
 * for its end, the place in text of the character that it comes from. NULL without memory. */
char *b2_lower(const char *text, size_t **origin);

#endif
