/* bpe.c: the tokenizer: created from a vocabulary, encodes and decodes. The steps are in files of their own:
 *     text -> specials and what lies between (specials) -> words (pretokenize) -> symbols, merged (bpe_merge) -> ids
 *     ids -> the tokens' bytes (alphabet) -> UTF-8, repaired (base/utf8) */
#include "tokenizer/bpe.h"

#include "base/utf8.h"
#include "tokenizer/alphabet.h"
#include "tokenizer/bpe_merge.h"
#include "tokenizer/pretokenize.h"
#include "tokenizer/specials.h"

#include <stdlib.h>

struct b2_tokenizer {
    b2_vocabulary vocabulary; /* borrowed */
    int32_t byte_ids[256];    /* the token of each single byte */
    b2_merge_table merges;
    b2_specials specials;
};

/* ---- creation ---------------------------------------------------------------------------------------------------- */

/* Every byte has a token: then there is no text that cannot be encoded. */
static blip2_status find_bytes(const b2_pieces *pieces, int32_t byte_ids[256], blip2_error *err) {
    for (unsigned byte = 0; byte < 256; byte++) {
        char character[2];
        const b2_text text = {character, b2_alphabet_encode((uint8_t)byte, character)}, nothing = {"", 0};
        byte_ids[byte] = b2_pieces_find(pieces, text, nothing);
        if (byte_ids[byte] < 0)
            return b2_fail(err, BLIP2_FORMAT, "vocabulary: expected a token for every byte, none for 0x%02X \"%.*s\"",
                           byte, (int)text.len, text.data);
    }
    return BLIP2_OK;
}

static blip2_status build_tables(b2_tokenizer *tokenizer, blip2_error *err) {
    const b2_vocabulary *v = &tokenizer->vocabulary;
    b2_pieces pieces;
    B2_TRY(b2_pieces_create(v, &pieces, err));
    blip2_status status = find_bytes(&pieces, tokenizer->byte_ids, err);
    if (status == BLIP2_OK) status = b2_merge_table_create(v, &pieces, &tokenizer->merges, err);
    if (status == BLIP2_OK) status = b2_specials_create(v, &tokenizer->specials, err);
    b2_pieces_free(&pieces);
    if (status == BLIP2_OK && v->add_bos && (v->bos_id < 0 || (size_t)v->bos_id >= v->n_tokens))
        status = b2_fail(err, BLIP2_FORMAT, "bos id: expected 0 to %zu, got %d", v->n_tokens - 1, (int)v->bos_id);
    return status;
}

blip2_status b2_tokenizer_create(const b2_vocabulary *vocabulary, b2_tokenizer **out, blip2_error *err) {
    *out = NULL;
    b2_tokenizer *tokenizer = calloc(1, sizeof *tokenizer);
    if (tokenizer == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for a tokenizer");
    tokenizer->vocabulary = *vocabulary;
    const blip2_status status = build_tables(tokenizer, err);
    if (status == BLIP2_OK) *out = tokenizer;
    else b2_tokenizer_free(tokenizer);
    return status;
}

void b2_tokenizer_free(b2_tokenizer *tokenizer) {
    if (tokenizer == NULL) return;
    b2_merge_table_free(&tokenizer->merges);
    b2_specials_free(&tokenizer->specials);
    free(tokenizer);
}

/* ---- encoding ---------------------------------------------------------------------------------------------------- */

/* One call's output and scratch. Words up to B2_PIECE_FREE_BYTES are merged in the call's own frame. */
typedef struct encoding {
    const b2_tokenizer *tokenizer;
    int32_t *ids;
    size_t capacity, n_ids; /* n_ids goes on counting beyond capacity */
    b2_merge_work work;
    size_t work_len;     /* the longest word that work has room for */
    uint64_t *allocated; /* NULL while the frame's arrays serve */
} encoding;

static void put_id(encoding *e, int32_t id) {
    if (e->n_ids < e->capacity) e->ids[e->n_ids] = id;
    e->n_ids++;
}

/* One block: 2 len queue entries, then len symbols. */
static blip2_status reserve_work(encoding *e, size_t len, blip2_error *err) {
    if (len <= e->work_len) return BLIP2_OK;
    const size_t room = len + len / 2; /* few growths when words come in rising length */
    free(e->allocated);
    e->work_len = 0;
    e->allocated = malloc(room * (2 * sizeof *e->work.queue + sizeof *e->work.symbols));
    if (e->allocated == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory to encode a word of %zu bytes", len);
    e->work.queue = e->allocated;
    e->work.symbols = (b2_symbol *)(e->allocated + 2 * room);
    e->work_len = room;
    return BLIP2_OK;
}

/* Text without specials. */
static blip2_status encode_span(encoding *e, const char *text, size_t len, blip2_error *err) {
    for (size_t i = 0, n; i < len; i += n) {
        n = b2_pretokenize_next(text + i, len - i);
        B2_TRY(reserve_work(e, n, err));
        b2_merge_word(&e->tokenizer->merges, e->tokenizer->byte_ids, text + i, n, &e->work);
        for (uint32_t s = 0; s != B2_NO_SYMBOL; s = e->work.symbols[s].next) put_id(e, e->work.symbols[s].id);
    }
    return BLIP2_OK;
}

static blip2_status encode_text(encoding *e, const char *text, size_t len, blip2_error *err) {
    const b2_special *special;
    size_t at;
    if (e->tokenizer->vocabulary.add_bos) put_id(e, e->tokenizer->vocabulary.bos_id);
    while ((special = b2_specials_find(&e->tokenizer->specials, text, len, &at)) != NULL) {
        B2_TRY(encode_span(e, text, at, err));
        put_id(e, special->id);
        text += at + special->text.len;
        len -= at + special->text.len;
    }
    return encode_span(e, text, len, err);
}

size_t b2_tokenizer_encode_bound(const b2_tokenizer *tokenizer, size_t text_len) {
    const size_t n_bos = tokenizer->vocabulary.add_bos ? 1 : 0; /* every other id stands for at least one byte */
    return text_len > SIZE_MAX - n_bos ? SIZE_MAX : text_len + n_bos;
}

blip2_status b2_tokenizer_encode(const b2_tokenizer *tokenizer, const char *text, size_t len, int32_t *ids,
                                 size_t capacity, size_t *n_ids, blip2_error *err) {
    b2_symbol symbols[B2_PIECE_FREE_BYTES];
    uint64_t queue[2 * B2_PIECE_FREE_BYTES];
    *n_ids = 0;
    if (len > B2_TEXT_MAX_BYTES)
        return b2_fail(err, BLIP2_LIMIT, "text to encode: expected at most %d bytes, got %zu", (int)B2_TEXT_MAX_BYTES,
                       len);
    const size_t valid_len = b2_utf8_valid_len(text, len);
    if (valid_len < len)
        return b2_fail(err, BLIP2_ARGUMENT, "text to encode: expected UTF-8, got byte 0x%02X at offset %zu",
                       (unsigned)(uint8_t)text[valid_len], valid_len);
    encoding e = {.tokenizer = tokenizer,
                  .ids = ids,
                  .capacity = capacity,
                  .work_len = B2_PIECE_FREE_BYTES,
                  .work = {.symbols = symbols, .queue = queue}};
    const blip2_status status = encode_text(&e, text, len, err);
    free(e.allocated);
    if (status != BLIP2_OK) return status;
    *n_ids = e.n_ids;
    if (e.n_ids > capacity)
        return b2_fail(err, BLIP2_LIMIT, "text to encode: expected at most %zu tokens, got %zu", capacity, e.n_ids);
    return BLIP2_OK;
}

/* ---- decoding ---------------------------------------------------------------------------------------------------- */

/* As `tokenizers` has it: one character outside the alphabet, and the token means its own UTF-8 bytes. */
static bool is_in_alphabet(b2_text token) {
    uint8_t byte;
    for (size_t i = 0, n; i < token.len; i += n)
        if ((n = b2_alphabet_decode(token.data + i, token.len - i, &byte)) == 0) return false;
    return true;
}

static void write_token(b2_utf8_writer *writer, b2_text token) {
    const bool in_alphabet = is_in_alphabet(token);
    for (size_t i = 0, n = 1; i < token.len; i += n) {
        uint8_t byte = (uint8_t)token.data[i];
        if (in_alphabet) n = b2_alphabet_decode(token.data + i, token.len - i, &byte);
        b2_utf8_put(writer, byte);
    }
}

size_t b2_tokenizer_decode(const b2_tokenizer *tokenizer, const int32_t *ids, size_t n_ids, char *text,
                           size_t capacity) {
    const b2_vocabulary *v = &tokenizer->vocabulary;
    b2_utf8_writer writer = {.text = text, .capacity = capacity};
    for (size_t i = 0; i < n_ids; i++) {
        const int32_t id = ids[i];
        if (id < 0 || (size_t)id >= v->n_tokens) continue;
        if (v->token_types[id] == B2_TOKEN_CONTROL || v->token_types[id] == B2_TOKEN_UNUSED) continue;
        write_token(&writer, v->tokens[id]);
    }
    return b2_utf8_finish(&writer);
}
