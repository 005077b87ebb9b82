#include "convert/tokenizer_files.h"

#include "convert/json_file.h"
#include "convert/paths.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PADDING_NAME_BYTES = 20, MERGES_MAX_BYTES = 64 << 20 };

typedef struct builder {
    b2_tokenizer_files *files;
    size_t n_vocab;
    const char *bos_token;    /* its text, as some file names it; NULL */
    int64_t template_bos;     /* its id, as the post-processor has it; -1 */
    bool has_template;
    int add_bos_flag;         /* tokenizer_config.json's add_bos_token; -1 when it says nothing */
} builder;

/* ---- pieces ---------------------------------------------------------------------------------------------------- */

static bool is_same(const b2_text *a, const char *text, size_t len) {
    return a->len == len && memcmp(a->data, text, len) == 0;
}

static blip2_status complain_memory(const char *path, blip2_error *err) {
    return b2_fail(err, BLIP2_MEMORY, "%s: no memory for its vocabulary", path);
}

/* Gives row id its piece. A piece may be named by several files, but not differently. */
static blip2_status set_token(builder *b, const char *path, json_int_t id, const json_t *text, int32_t type,
                              blip2_error *err) {
    if (id < 0 || (uint64_t)id >= b->n_vocab)
        return b2_fail(err, BLIP2_SHAPE, "%s: a token has id %" PRId64 ", the token embedding has %zu rows", path,
                       (int64_t)id, b->n_vocab);
    b2_text *token = &b->files->tokens[id];
    const char *data = json_string_value(text);
    const size_t len = json_string_length(text);
    if (token->data != NULL && !is_same(token, data, len))
        return b2_fail(err, BLIP2_FORMAT, "%s: id %" PRId64 " stands for two different tokens", path, (int64_t)id);
    *token = (b2_text){.data = data, .len = len};
    if (type != B2_TOKEN_NORMAL || b->files->types[id] == B2_TOKEN_UNUSED) b->files->types[id] = type;
    return BLIP2_OK;
}

/* {piece: id} of vocab.json, tokenizer.json or added_tokens.json. */
static blip2_status read_piece_map(builder *b, const char *path, const json_t *map, int32_t type, blip2_error *err) {
    if (!json_is_object(map)) return b2_fail(err, BLIP2_FORMAT, "%s: has no vocabulary of pieces and their ids", path);
    void *at = json_object_iter((json_t *)map);
    for (; at != NULL; at = json_object_iter_next((json_t *)map, at)) {
        /* A key is no json_t, so its text is borrowed by hand; pieces hold no NUL (a byte 0 is written U+0100). */
        const char *piece = json_object_iter_key(at);
        const json_t *id = json_object_iter_value(at);
        if (!json_is_integer(id)) return b2_fail(err, BLIP2_FORMAT, "%s: the id of a piece is no integer", path);
        const json_int_t row = json_integer_value(id);
        if (row < 0 || (uint64_t)row >= b->n_vocab)
            return b2_fail(err, BLIP2_SHAPE, "%s: a token has id %" PRId64 ", the token embedding has %zu rows", path,
                           (int64_t)row, b->n_vocab);
        b2_text *token = &b->files->tokens[row];
        if (token->data != NULL && !is_same(token, piece, strlen(piece)))
            return b2_fail(err, BLIP2_FORMAT, "%s: id %" PRId64 " stands for two different tokens", path, (int64_t)row);
        *token = (b2_text){.data = piece, .len = strlen(piece)};
        if (b->files->types[row] == B2_TOKEN_UNUSED) b->files->types[row] = type;
    }
    return BLIP2_OK;
}
