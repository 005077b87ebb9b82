/* bpe.h: text to token ids and back: the byte-level BPE of GPT-2, as OPT uses it.
 *
 * Ids are those that `tokenizers` and transformers give for the same vocabulary and text. README.md tells how. */
#ifndef B2_BPE_H
#define B2_BPE_H

#include "tokenizer/vocabulary.h"

enum {
    B2_TEXT_MAX_BYTES = 64 << 20, /* one text to encode */
    B2_PIECE_FREE_BYTES = 512     /* encode takes no memory for words up to this length */
};

/* Immutable after creation: any number of threads may use one. */
typedef struct b2_tokenizer b2_tokenizer;

/* Checks the vocabulary and builds the tables. The tokenizer is the caller's; *out is NULL on failure.
 * Errors: FORMAT (a byte without token, a token twice or empty, a malformed or unknown merge, a bad type or id), LIMIT,
 * MEMORY. */
blip2_status b2_tokenizer_create(const b2_vocabulary *vocabulary, b2_tokenizer **out, blip2_error *err);
void b2_tokenizer_free(b2_tokenizer *tokenizer);

/* No text of text_len bytes makes more ids than this. */
size_t b2_tokenizer_encode_bound(const b2_tokenizer *tokenizer, size_t text_len);

/* Writes the ids of text (UTF-8, may hold NUL) to ids[capacity] and their number to *n_ids; bos comes first.
 * Errors: ARGUMENT (text is not UTF-8), LIMIT (more than capacity ids: *n_ids says how many; text too long), MEMORY. */
blip2_status b2_tokenizer_encode(const b2_tokenizer *tokenizer, const char *text, size_t len, int32_t *ids,
                                 size_t capacity, size_t *n_ids, blip2_error *err);

/* Writes what the ids say to text: always UTF-8 (broken sequences become U+FFFD, as Python's errors="replace" has it),
 * cut between characters where it does not fit, NUL-terminated unless capacity is 0. CONTROL and UNUSED tokens and ids
 * out of range say nothing. Returns the length of the whole text without the NUL; takes no memory, cannot fail. */
size_t b2_tokenizer_decode(const b2_tokenizer *tokenizer, const int32_t *ids, size_t n_ids, char *text,
                           size_t capacity);

#endif
