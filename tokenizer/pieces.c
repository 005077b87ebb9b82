/* pieces.c: the index from a token's text to its id. The hash lies in the slot, so that only a match, or one stranger
 * in four thousand million, touches the token's own bytes. */
#include "tokenizer/pieces.h"

#include <stdlib.h>
#include <string.h>

size_t b2_table_slots(size_t n) {
    size_t slots = 16;
    while (slots < 2 * n) slots *= 2;
    return slots;
}

int b2_shown_len(b2_text text) { return text.len < 64 ? (int)text.len : 64; }

/* FNV-1a; goes on from an earlier hash, so that two halves hash like the whole. */
static uint32_t hash_text(uint32_t hash, b2_text text) {
    for (size_t i = 0; i < text.len; i++) hash = (hash ^ (uint8_t)text.data[i]) * 16777619u;
    return hash;
}

static uint32_t hash_halves(b2_text left, b2_text right) {
    const uint32_t hash = hash_text(hash_text(2166136261u, left), right);
    return hash ^ hash >> 15; /* the table uses the low bits: let the high ones count too */
}

static bool reads(b2_text token, b2_text left, b2_text right) {
    if (token.len < left.len || token.len - left.len != right.len) return false;
    return memcmp(token.data, left.data, left.len) == 0 && memcmp(token.data + left.len, right.data, right.len) == 0;
}

/* The slot of that text, or the empty slot where it would go. */
static b2_piece_slot *find_slot(const b2_pieces *pieces, uint32_t hash, b2_text left, b2_text right) {
    for (size_t i = hash & pieces->mask;; i = (i + 1) & pieces->mask) {
        b2_piece_slot *slot = &pieces->slots[i];
        if (slot->id < 0 || (slot->hash == hash && reads(pieces->tokens[slot->id], left, right))) return slot;
    }
}

int32_t b2_pieces_find(const b2_pieces *pieces, b2_text left, b2_text right) {
    return find_slot(pieces, hash_halves(left, right), left, right)->id;
}

static blip2_status add_token(const b2_vocabulary *vocabulary, size_t id, b2_pieces *pieces, blip2_error *err) {
    const b2_text token = vocabulary->tokens[id], nothing = {"", 0};
    const int32_t type = vocabulary->token_types[id];
    if (type < B2_TOKEN_NORMAL || type > B2_TOKEN_BYTE)
        return b2_fail(err, BLIP2_FORMAT, "token %zu: expected a type from 1 to 6, got %d", id, (int)type);
    if (type == B2_TOKEN_UNUSED) return BLIP2_OK;
    if (token.len == 0) return b2_fail(err, BLIP2_FORMAT, "token %zu: expected some text, got none", id);
    const uint32_t hash = hash_halves(token, nothing);
    b2_piece_slot *slot = find_slot(pieces, hash, token, nothing);
    if (slot->id >= 0)
        return b2_fail(err, BLIP2_FORMAT, "token %zu \"%.*s\": token %d reads the same", id, b2_shown_len(token),
                       token.data, (int)slot->id);
    *slot = (b2_piece_slot){hash, (int32_t)id};
    return BLIP2_OK;
}

blip2_status b2_pieces_create(const b2_vocabulary *vocabulary, b2_pieces *pieces, blip2_error *err) {
    *pieces = (b2_pieces){.tokens = vocabulary->tokens};
    const size_t n = vocabulary->n_tokens;
    if (n > B2_VOCABULARY_MAX)
        return b2_fail(err, BLIP2_LIMIT, "a vocabulary of %zu tokens: at most %d can be", n, (int)B2_VOCABULARY_MAX);
    const size_t n_slots = b2_table_slots(n);
    pieces->slots = malloc(n_slots * sizeof *pieces->slots);
    if (pieces->slots == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory to index %zu tokens", n);
    pieces->mask = n_slots - 1;
    memset(pieces->slots, 0xFF, n_slots * sizeof *pieces->slots); /* all ids -1 */

    blip2_status status = BLIP2_OK;
    for (size_t id = 0; id < n && status == BLIP2_OK; id++) status = add_token(vocabulary, id, pieces, err);
    if (status != BLIP2_OK) b2_pieces_free(pieces);
    return status;
}

void b2_pieces_free(b2_pieces *pieces) {
    free(pieces->slots);
    *pieces = (b2_pieces){0};
}
