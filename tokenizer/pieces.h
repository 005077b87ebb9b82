/* pieces.h: finds tokens by their text. Needed only while a tokenizer is created: encoding works on ids. */
#ifndef B2_PIECES_H
#define B2_PIECES_H

#include "tokenizer/vocabulary.h"

typedef struct b2_piece_slot {
    uint32_t hash;
    int32_t id; /* -1: empty */
} b2_piece_slot;

/* A hash table with open addressing, at most half full. */
typedef struct b2_pieces {
    const b2_text *tokens;
    b2_piece_slot *slots;
    size_t mask; /* number of slots - 1; the number is a power of two */
} b2_pieces;

/* Indexes all tokens but the UNUSED. Errors: FORMAT (unknown type, no text, a token twice), LIMIT, MEMORY. */
blip2_status b2_pieces_create(const b2_vocabulary *vocabulary, b2_pieces *pieces, blip2_error *err);
void b2_pieces_free(b2_pieces *pieces);

/* The id of the token that reads left and then right; -1 when there is none. */
int32_t b2_pieces_find(const b2_pieces *pieces, b2_text left, b2_text right);

/* The smallest power of two that is at least 2 n, for a table that holds n things. */
size_t b2_table_slots(size_t n);

/* For sentences about a token: "%.*s" with this length shows its beginning. */
int b2_shown_len(b2_text text);

#endif
