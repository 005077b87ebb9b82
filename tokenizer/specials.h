/* specials.h: the tokens that are literal strings, such as "</s>", and where they stand in a text. */
#ifndef B2_SPECIALS_H
#define B2_SPECIALS_H

#include "tokenizer/vocabulary.h"

typedef struct b2_special {
    b2_text text;
    int32_t id;
} b2_special;

/* Sorted by first byte, then the longer before the shorter: the first that matches is the longest. */
typedef struct b2_specials {
    b2_special *items;
    uint32_t first[257]; /* items[first[b] .. first[b + 1] - 1] start with byte b */
} b2_specials;

/* Collects the CONTROL and USER_DEFINED tokens, none of them empty. Errors: FORMAT (not UTF-8), MEMORY. */
blip2_status b2_specials_create(const b2_vocabulary *vocabulary, b2_specials *specials, blip2_error *err);
void b2_specials_free(b2_specials *specials);

/* The leftmost special in text[len], the longest where several start at one place: its start in *at. NULL: none. */
const b2_special *b2_specials_find(const b2_specials *specials, const char *text, size_t len, size_t *at);

#endif
