/* blip2_spelling.h: given texts as ids, as the model would write them: after a prompt a text begins with a space,
 * without one it does not. */
#ifndef B2_BLIP2_SPELLING_H
#define B2_BLIP2_SPELLING_H

#include "blip2.h"

/* Two spellings of each text: as it is, for a request without a prompt; and after a space, for one that continues a
 * prompt. */
typedef enum b2_spelling { B2_SPELLING_BARE, B2_SPELLING_SPACED, B2_N_SPELLINGS } b2_spelling;

typedef struct b2_spellings {
    size_t n, max_tokens;          /* max_tokens: of the longest text in either spelling */
    int32_t *ids[B2_N_SPELLINGS];  /* all texts' ids, one text after the other, each with the stop id */
    size_t *first[B2_N_SPELLINGS]; /* [n + 1] where each begins */
} b2_spellings;

/* Errors: ARGUMENT (a text is not UTF-8), MEMORY; then there is nothing to be freed. */
blip2_status b2_spellings_create(const blip2_model *model, const char *const *texts, size_t n, b2_spellings *out,
                                 blip2_error *err);
void b2_spellings_free(b2_spellings *spellings);

/* Which one follows a prompt, as the model reads it. */
b2_spelling b2_spelling_after(const char *prompt);

#endif
