/* vocabulary.h: what a tokenizer is made from: tokens, their types, merges. Every file of this room sees this one. */
#ifndef B2_VOCABULARY_H
#define B2_VOCABULARY_H

#include "base/status.h"
#include "base/text.h"

/* What a token is; the numbers are those of GGUF's tokenizer.ggml.token_type. */
enum {
    B2_TOKEN_NORMAL = 1,
    B2_TOKEN_UNKNOWN = 2,
    B2_TOKEN_CONTROL = 3,      /* a literal such as "</s>": cut out of the text, dropped by decode */
    B2_TOKEN_USER_DEFINED = 4, /* a literal too, but decode writes it */
    B2_TOKEN_UNUSED = 5,       /* a padding row: never encoded, dropped by decode */
    B2_TOKEN_BYTE = 6
};

enum { B2_VOCABULARY_MAX = 1 << 24 }; /* tokens, and merges */

/* Borrowed views that must outlive the tokenizer: they lie in the mapped model file. Except for the literals, a token
 * is written in GPT-2's printable alphabet, in which each byte is one character (a space is U+0120). */
typedef struct b2_vocabulary {
    size_t n_tokens;
    const b2_text *tokens;
    const int32_t *token_types;
    size_t n_merges;
    const b2_text *merges; /* "left right", the first in the list is the first to apply */
    int32_t bos_id;        /* of no meaning without add_bos */
    bool add_bos;
} b2_vocabulary;

#endif
