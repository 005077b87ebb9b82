#include "convert/tokenizer_files.h"

#include "base/file.h"
#include "convert/json_file.h"
#include "convert/lookalike.h"
#include "base/path.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PADDING_NAME_BYTES = 20,
    MERGES_MAX_BYTES = 64 << 20,
    N_BYTES = 256,
    UNMADE_MAX = 64,
    SPECIALS_MAX = 1000 /* each is searched for among all pieces */
};

typedef struct builder {
    b2_tokenizer_files *files;
    size_t n_vocab;
    const char *bos_token; /* its text, as some file names it; NULL */
    int64_t bos_id;        /* as the post-processor of tokenizer.json has it; -1 */
    int add_bos;           /* 0, 1; -1 while no file says */
} builder;

static blip2_status complain_memory(const char *path, blip2_error *err) {
    return b2_fail(err, BLIP2_MEMORY, "%s: no memory for its vocabulary", path);
}

/* ---- pieces ---------------------------------------------------------------------------------------------------- */

/* Gives a row its piece. Several files may name one piece, but not differently. The text must outlive the result. */
static blip2_status set_piece(builder *b, const char *path, const json_t *id, const char *text, int32_t type,
                              blip2_error *err) {
    const json_int_t row = json_integer_value(id);
    if (!json_is_integer(id) || row < 0)
        return b2_fail(err, BLIP2_FORMAT, "%s: the id of a token is not a whole number from 0", path);
    if ((uint64_t)row >= b->n_vocab)
        return b2_fail(err, BLIP2_SHAPE, "%s: a token has id %" PRId64 ", the token embedding has only %zu rows", path,
                       (int64_t)row, b->n_vocab);
    b2_text *piece = &b->files->tokens[row];
    int32_t *known_type = &b->files->types[row];
    const size_t len = strlen(text);
    if (piece->data != NULL && (piece->len != len || memcmp(piece->data, text, len) != 0))
        return b2_fail(err, BLIP2_FORMAT, "%s: id %" PRId64 " stands for two different tokens", path, (int64_t)row);
    *piece = (b2_text){.data = text, .len = len};
    if (*known_type == B2_TOKEN_UNUSED || type == B2_TOKEN_CONTROL ||
        (type == B2_TOKEN_USER_DEFINED && *known_type == B2_TOKEN_NORMAL))
        *known_type = type;
    return BLIP2_OK;
}

/* {piece: id}: vocab.json, tokenizer.json's vocab, added_tokens.json. */
static blip2_status read_pieces(builder *b, const char *path, const json_t *map, int32_t type, blip2_error *err) {
    const char *text;
    json_t *id;
    if (!json_is_object(map)) return b2_fail(err, BLIP2_FORMAT, "%s: has no map of pieces to ids", path);
    json_object_foreach((json_t *)map, text, id) B2_TRY(set_piece(b, path, id, text, type, err));
    return BLIP2_OK;
}

/* {"content", "special", ...}: a literal that is cut out of a text before anything else happens. */
static blip2_status read_added(builder *b, const char *path, const json_t *id, const json_t *token, blip2_error *err) {
    static const char *const FLAGS[] = {"lstrip", "rstrip", "single_word"};
    const b2_json_section s = {.object = token, .path = path, .name = "an added token's "};
    const char *content = NULL;
    bool special = false;
    B2_TRY(b2_json_get_string(&s, "content", &content, err));
    B2_TRY(b2_json_get_bool(&s, "special", &special, err));
    if (content == NULL) return b2_json_complain(&s, "content", "a string", err);
    for (size_t i = 0; i < sizeof FLAGS / sizeof *FLAGS; i++) {
        bool flag = false;
        B2_TRY(b2_json_get_bool(&s, FLAGS[i], &flag, err));
        if (flag) return b2_json_refuse(&s, FLAGS[i], "false", err);
    }
    return set_piece(b, path, id, content, special ? B2_TOKEN_CONTROL : B2_TOKEN_USER_DEFINED, err);
}

/* The row of a piece; -1 when it is none. */
static int64_t find_piece(const builder *b, const char *text) {
    const size_t len = strlen(text);
    for (size_t id = 0; id < b->n_vocab; id++) {
        const b2_text *piece = &b->files->tokens[id];
        if (piece->data != NULL && piece->len == len && memcmp(piece->data, text, len) == 0) return (int64_t)id;
    }
    return -1;
}

/* A special token, as its text or as {"content": text}; NULL for anything else. */
static const char *special_text(const json_t *token) {
    return json_string_value(json_is_object(token) ? json_object_get(token, "content") : token);
}

/* What a role such as eos_token names is a literal as well, if it is a piece at all. */
static void mark_special(builder *b, const json_t *token) {
    const char *text = special_text(token);
    const int64_t id = text == NULL ? -1 : find_piece(b, text);
    if (id >= 0) b->files->types[id] = B2_TOKEN_CONTROL;
}

/* special_tokens_map.json, and the same keys in tokenizer_config.json. */
static blip2_status read_roles(builder *b, const char *path, const json_t *roles, blip2_error *err) {
    static const char *const KEYS[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                       "pad_token", "cls_token", "mask_token"};
    for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++) mark_special(b, json_object_get(roles, KEYS[i]));
    const json_t *others = json_object_get(roles, "additional_special_tokens");
    if (json_array_size(others) > SPECIALS_MAX)
        return b2_fail(err, BLIP2_LIMIT, "%s: %zu additional_special_tokens, expected at most %d", path,
                       json_array_size(others), (int)SPECIALS_MAX);
    for (size_t i = 0; i < json_array_size(others); i++) mark_special(b, json_array_get(others, i));
    if (b->bos_token == NULL) b->bos_token = special_text(json_object_get(roles, "bos_token"));
    return BLIP2_OK;
}

/* ---- merges ---------------------------------------------------------------------------------------------------- */

static blip2_status make_merges(builder *b, const char *path, size_t capacity, blip2_error *err) {
    if (capacity > B2_VOCABULARY_MAX)
        return b2_fail(err, BLIP2_LIMIT, "%s: %zu merges, expected at most %d", path, capacity, (int)B2_VOCABULARY_MAX);
    b->files->merges = calloc(capacity + 1, sizeof *b->files->merges);
    return b->files->merges == NULL ? complain_memory(path, err) : BLIP2_OK;
}

/* merges.txt: "#version: ..." first, then one "left right" a line. */
static blip2_status read_merges_text(builder *b, const char *path, blip2_error *err) {
    size_t len = 0, n_lines = 1;
    B2_TRY(b2_file_read(path, MERGES_MAX_BYTES, &b->files->merges_text, &len, err));
    B2_TRY(b2_lookalike_check(path, b->files->merges_text, len, err));
    char *line = b->files->merges_text;
    for (size_t i = 0; i < len; i++) n_lines += line[i] == '\n';
    B2_TRY(make_merges(b, path, n_lines, err));
    for (const char *end = line + len; line < end;) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        const char *next = newline == NULL ? end : newline + 1, *stop = newline == NULL ? end : newline;
        if (stop > line && stop[-1] == '\r') stop--;
        const b2_text merge = {.data = line, .len = (size_t)(stop - line)};
        const bool is_version = line == b->files->merges_text && strncmp(line, "#version", 8) == 0;
        if (merge.len > 0 && !is_version) b->files->merges[b->files->vocabulary.n_merges++] = merge;
        line += next - line;
    }
    return BLIP2_OK;
}

/* Joins the pairs ["left", "right"] of newer files to "left right". */
static blip2_status join_pairs(builder *b, const char *path, const json_t *merges, blip2_error *err) {
    size_t n_bytes = 1;
    for (size_t i = 0; i < json_array_size(merges); i++) {
        const json_t *pair = json_array_get(merges, i);
        if (json_array_size(pair) != 2 || !json_is_string(json_array_get(pair, 0)) ||
            !json_is_string(json_array_get(pair, 1)))
            return b2_fail(err, BLIP2_FORMAT, "%s: merge %zu is not a pair of strings", path, i);
        n_bytes += json_string_length(json_array_get(pair, 0)) + json_string_length(json_array_get(pair, 1)) + 2;
    }
    char *to = b->files->merges_text = malloc(n_bytes);
    if (to == NULL) return complain_memory(path, err);
    for (size_t i = 0; i < json_array_size(merges); i++) {
        const json_t *pair = json_array_get(merges, i);
        const size_t n_left = n_bytes - (size_t)(to - b->files->merges_text);
        const int len = snprintf(to, n_left, "%s %s", json_string_value(json_array_get(pair, 0)),
                                 json_string_value(json_array_get(pair, 1)));
        b->files->merges[i] = (b2_text){.data = to, .len = (size_t)len};
        to += len + 1;
    }
    return BLIP2_OK;
}

static blip2_status read_merges_json(builder *b, const char *path, const json_t *merges, blip2_error *err) {
    const size_t n = json_array_size(merges);
    if (!json_is_array(merges)) return b2_fail(err, BLIP2_FORMAT, "%s: model.merges is not a list", path);
    B2_TRY(make_merges(b, path, n, err));
    b->files->vocabulary.n_merges = n;
    if (json_is_array(json_array_get(merges, 0))) return join_pairs(b, path, merges, err);
    for (size_t i = 0; i < n; i++) {
        const json_t *merge = json_array_get(merges, i);
        if (!json_is_string(merge)) return b2_fail(err, BLIP2_FORMAT, "%s: merge %zu is not a string", path, i);
        b->files->merges[i] = (b2_text){.data = json_string_value(merge), .len = json_string_length(merge)};
    }
    return BLIP2_OK;
}

/* ---- tokenizer.json -------------------------------------------------------------------------------------------- */

static blip2_status refuse_unless(bool good, const b2_json_section *s, const char *key, const char *expected,
                                  blip2_error *err) {
    return good ? BLIP2_OK : b2_json_refuse(s, key, expected, err);
}

/* Byte-level BPE as GPT-2 has it, and nothing else. */
static blip2_status check_algorithm(const b2_json_section *top, const b2_json_section *model, blip2_error *err) {
    b2_json_section pre;
    const char *type = "BPE", *prefix = "", *suffix = "", *pre_type = "";
    bool byte_fallback = false, ignore_merges = false, add_prefix_space = true, use_regex = true;
    float dropout = 0.0f;
    B2_TRY(b2_json_get_string(model, "type", &type, err));
    B2_TRY(refuse_unless(strcmp(type, "BPE") == 0, model, "type", "\"BPE\"", err));
    B2_TRY(b2_json_get_string(model, "continuing_subword_prefix", &prefix, err));
    B2_TRY(refuse_unless(*prefix == '\0', model, "continuing_subword_prefix", "\"\"", err));
    B2_TRY(b2_json_get_string(model, "end_of_word_suffix", &suffix, err));
    B2_TRY(refuse_unless(*suffix == '\0', model, "end_of_word_suffix", "\"\"", err));
    B2_TRY(b2_json_get_bool(model, "byte_fallback", &byte_fallback, err));
    B2_TRY(refuse_unless(!byte_fallback, model, "byte_fallback", "false", err));
    B2_TRY(b2_json_get_bool(model, "ignore_merges", &ignore_merges, err));
    B2_TRY(refuse_unless(!ignore_merges, model, "ignore_merges", "false", err));
    B2_TRY(b2_json_get_f32(model, "dropout", &dropout, err));
    B2_TRY(refuse_unless(dropout == 0.0f, model, "dropout", "null", err));

    const json_t *normalizer = json_object_get(top->object, "normalizer");
    B2_TRY(refuse_unless(normalizer == NULL || json_is_null(normalizer), top, "normalizer", "null", err));
    B2_TRY(b2_json_get_section(top, "pre_tokenizer", "pre_tokenizer.", &pre, err));
    B2_TRY(b2_json_get_string(&pre, "type", &pre_type, err));
    B2_TRY(refuse_unless(strcmp(pre_type, "ByteLevel") == 0, &pre, "type", "\"ByteLevel\"", err));
    B2_TRY(b2_json_get_bool(&pre, "add_prefix_space", &add_prefix_space, err));
    B2_TRY(refuse_unless(!add_prefix_space, &pre, "add_prefix_space", "false", err));
    B2_TRY(b2_json_get_bool(&pre, "use_regex", &use_regex, err));
    return refuse_unless(use_regex, &pre, "use_regex", "true", err);
}

/* TemplateProcessing: "single" is the text alone, or one special token and the text. */
static blip2_status read_template(builder *b, const b2_json_section *s, blip2_error *err) {
    const json_t *single = json_object_get(s->object, "single");
    const size_t n = json_array_size(single);
    const json_t *first = json_object_get(json_array_get(single, 0), "SpecialToken");
    const json_t *text = json_object_get(json_array_get(single, n == 0 ? 0 : n - 1), "Sequence");
    b->add_bos = 0;
    if (n == 1 && text != NULL) return BLIP2_OK;
    const char *name = json_string_value(json_object_get(first, "id"));
    const json_t *token = name == NULL ? NULL : json_object_get(json_object_get(s->object, "special_tokens"), name);
    const json_t *ids = json_object_get(token, "ids"), *id = json_array_get(ids, 0);
    if (n != 2 || text == NULL || json_array_size(ids) != 1 || !json_is_integer(id))
        return b2_json_refuse(s, "single", "one special token, then the text", err);
    b->add_bos = 1;
    b->bos_id = (int64_t)json_integer_value(id);
    return BLIP2_OK;
}

/* ByteLevel (which only trims offsets) and TemplateProcessing, alone or in a row. */
static blip2_status read_post_processor(builder *b, const b2_json_section *s, blip2_error *err) {
    const char *type = "ByteLevel";
    B2_TRY(b2_json_get_string(s, "type", &type, err));
    if (strcmp(type, "ByteLevel") == 0) return BLIP2_OK;
    if (strcmp(type, "TemplateProcessing") == 0) return read_template(b, s, err);
    const json_t *list = json_object_get(s->object, "processors");
    if (strcmp(type, "Sequence") != 0 || !json_is_array(list))
        return b2_json_refuse(s, "type", "TemplateProcessing or ByteLevel", err);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const b2_json_section item = {.object = json_array_get(list, i), .path = s->path, .name = s->name};
        const char *item_type = json_string_value(json_object_get(item.object, "type"));
        if (item_type == NULL || strcmp(item_type, "Sequence") == 0)
            return b2_json_refuse(&item, "type", "TemplateProcessing or ByteLevel", err);
        B2_TRY(read_post_processor(b, &item, err));
    }
    return BLIP2_OK;
}

static blip2_status read_tokenizer_json(builder *b, const char *path, const json_t *root, blip2_error *err) {
    const b2_json_section top = {.object = root, .path = path, .name = ""};
    b2_json_section model, post;
    B2_TRY(b2_json_get_section(&top, "model", "model.", &model, err));
    B2_TRY(b2_json_get_section(&top, "post_processor", "post_processor.", &post, err));
    B2_TRY(check_algorithm(&top, &model, err));
    B2_TRY(read_post_processor(b, &post, err));
    B2_TRY(read_pieces(b, path, json_object_get(model.object, "vocab"), B2_TOKEN_NORMAL, err));
    B2_TRY(read_merges_json(b, path, json_object_get(model.object, "merges"), err));
    const json_t *added = json_object_get(root, "added_tokens");
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *token = json_array_get(added, i);
        B2_TRY(read_added(b, path, json_object_get(token, "id"), token, err));
    }
    return BLIP2_OK;
}

/* ---- the other files ------------------------------------------------------------------------------------------- */

static blip2_status read_tokenizer_config(builder *b, const char *path, const json_t *root, blip2_error *err) {
    const b2_json_section s = {.object = root, .path = path, .name = ""};
    bool add_prefix_space = false, add_bos = true;
    B2_TRY(b2_json_get_bool(&s, "add_prefix_space", &add_prefix_space, err));
    B2_TRY(refuse_unless(!add_prefix_space, &s, "add_prefix_space", "false", err));
    B2_TRY(b2_json_get_bool(&s, "add_bos_token", &add_bos, err));
    const bool says = json_is_boolean(json_object_get(root, "add_bos_token"));
    if (b->add_bos < 0 && says) b->add_bos = add_bos; /* a template of tokenizer.json counts more */

    const char *key;
    json_t *token;
    json_object_foreach(json_object_get(root, "added_tokens_decoder"), key, token) {
        char *end;
        const long long number = strtoll(key, &end, 10);
        json_t *id = *end == '\0' ? json_integer(number) : NULL;
        const blip2_status status = read_added(b, path, id, token, err);
        json_decref(id);
        B2_TRY(status);
    }
    return read_roles(b, path, root, err);
}

static blip2_status read_added_tokens(builder *b, const char *path, const json_t *root, blip2_error *err) {
    return read_pieces(b, path, root, B2_TOKEN_USER_DEFINED, err);
}

static blip2_status read_vocab(builder *b, const char *path, const json_t *root, blip2_error *err) {
    return read_pieces(b, path, root, B2_TOKEN_NORMAL, err);
}

typedef blip2_status document_fn(builder *b, const char *path, const json_t *root, blip2_error *err);

/* Reads one file; the result keeps its JSON. */
static blip2_status read_document(builder *b, const char *folder, const char *name, document_fn *read,
                                  blip2_error *err) {
    char *path = b2_path_join(folder, name);
    json_t *root = NULL;
    if (path == NULL) return complain_memory(folder, err);
    blip2_status status = b2_json_load(path, &root, err);
    if (status == BLIP2_OK) {
        b->files->documents[b->files->n_documents++] = root;
        status = read(b, path, root, err);
    }
    free(path);
    return status;
}

static blip2_status read_merges(builder *b, const char *folder, blip2_error *err) {
    char *path = b2_path_join(folder, "merges.txt");
    if (path == NULL) return complain_memory(folder, err);
    const blip2_status status = read_merges_text(b, path, err);
    free(path);
    return status;
}

static blip2_status read_folder(builder *b, const char *folder, blip2_error *err) {
    static const struct {
        const char *name;
        document_fn *read;
    } EXTRAS[] = {{"tokenizer_config.json", read_tokenizer_config},
                  {"added_tokens.json", read_added_tokens},
                  {"special_tokens_map.json", read_roles}};
    if (b2_path_has(folder, "tokenizer.json")) {
        B2_TRY(read_document(b, folder, "tokenizer.json", read_tokenizer_json, err));
    } else {
        if (!b2_path_has(folder, "vocab.json") || !b2_path_has(folder, "merges.txt"))
            return b2_fail(err, BLIP2_IO, "%s: holds neither tokenizer.json nor both of vocab.json and merges.txt",
                           folder);
        B2_TRY(read_document(b, folder, "vocab.json", read_vocab, err));
        B2_TRY(read_merges(b, folder, err));
    }
    for (size_t i = 0; i < sizeof EXTRAS / sizeof *EXTRAS; i++)
        if (b2_path_has(folder, EXTRAS[i].name)) B2_TRY(read_document(b, folder, EXTRAS[i].name, EXTRAS[i].read, err));
    return BLIP2_OK;
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */

static blip2_status start(builder *b, const char *path, blip2_error *err) {
    b2_tokenizer_files *f = b->files;
    f->tokens = calloc(b->n_vocab, sizeof *f->tokens);
    f->types = calloc(b->n_vocab, sizeof *f->types);
    if (f->tokens == NULL || f->types == NULL) return complain_memory(path, err);
    for (size_t id = 0; id < b->n_vocab; id++) f->types[id] = B2_TOKEN_UNUSED;
    return BLIP2_OK;
}

/* Rows of the embedding that no piece claims: it was padded to a multiple of 64, or cut from a larger one. */
static blip2_status name_padding(builder *b, const char *path, blip2_error *err) {
    b2_tokenizer_files *f = b->files;
    f->padding_text = malloc(b->n_vocab * PADDING_NAME_BYTES);
    if (f->padding_text == NULL) return complain_memory(path, err);
    for (size_t id = 0; id < b->n_vocab; id++) {
        if (f->tokens[id].data != NULL) continue;
        char *name = f->padding_text + id * PADDING_NAME_BYTES;
        const int len = snprintf(name, PADDING_NAME_BYTES, "[PAD%zu]", id);
        f->tokens[id] = (b2_text){.data = name, .len = (size_t)len};
    }
    return BLIP2_OK;
}

/* Which token goes in front of a text. OPT has always had one, so files that say nothing mean yes. */
static blip2_status choose_bos(builder *b, const char *path, uint32_t default_bos, blip2_error *err) {
    b2_vocabulary *v = &b->files->vocabulary;
    int64_t id = b->bos_id;
    if (id < 0 && b->bos_token != NULL) id = find_piece(b, b->bos_token);
    if (id < 0) id = default_bos;
    v->add_bos = b->add_bos != 0;
    if ((uint64_t)id >= b->n_vocab || b->files->tokens[id].data == NULL)
        return b2_fail(err, BLIP2_FORMAT, "%s: id %" PRId64 ", which begins every text, is not a token", path, id);
    v->bos_id = (int32_t)id;
    return BLIP2_OK;
}

/* Every piece but the bytes is what some merge makes, a few literals that are listed as pieces apart (OPT has 9). A
 * list of merges that was cut short would give other ids, and nobody would notice. */
static blip2_status check_merges_make_pieces(const b2_vocabulary *v, const char *path, blip2_error *err) {
    size_t n_pieces = 0;
    for (size_t id = 0; id < v->n_tokens; id++) n_pieces += v->token_types[id] == B2_TOKEN_NORMAL;
    if (n_pieces <= v->n_merges + N_BYTES + UNMADE_MAX) return BLIP2_OK;
    return b2_fail(err, BLIP2_FORMAT, "%s: %zu pieces, but only %zu merges to make them: an incomplete download?", path,
                   n_pieces, v->n_merges);
}

/* The runtime's own judge. */
static blip2_status check_vocabulary(const b2_vocabulary *v, const char *path, blip2_error *err) {
    b2_tokenizer *tokenizer;
    const blip2_status status = b2_tokenizer_create(v, &tokenizer, err);
    if (status != BLIP2_OK) b2_error_prefix(err, "%s", path);
    b2_tokenizer_free(tokenizer);
    return status;
}

static blip2_status finish(builder *b, const char *path, uint32_t default_bos, blip2_error *err) {
    b2_tokenizer_files *f = b->files;
    B2_TRY(choose_bos(b, path, default_bos, err));
    B2_TRY(name_padding(b, path, err));
    f->vocabulary.n_tokens = b->n_vocab;
    f->vocabulary.tokens = f->tokens;
    f->vocabulary.token_types = f->types;
    f->vocabulary.merges = f->merges;
    B2_TRY(check_merges_make_pieces(&f->vocabulary, path, err));
    return check_vocabulary(&f->vocabulary, path, err);
}

blip2_status b2_tokenizer_files_load(const char *folder, size_t n_vocab, uint32_t default_bos, b2_tokenizer_files *out,
                                     blip2_error *err) {
    *out = (b2_tokenizer_files){0};
    builder b = {.files = out, .n_vocab = n_vocab, .bos_id = -1, .add_bos = -1};
    blip2_status status = start(&b, folder, err);
    if (status == BLIP2_OK) status = read_folder(&b, folder, err);
    if (status == BLIP2_OK) status = finish(&b, folder, default_bos, err);
    if (status != BLIP2_OK) b2_tokenizer_files_free(out);
    return status;
}

blip2_status b2_tokenizer_files_parse(const char *path, json_t *tokenizer, size_t n_vocab, uint32_t default_bos,
                                      b2_tokenizer_files *out, blip2_error *err) {
    *out = (b2_tokenizer_files){0};
    builder b = {.files = out, .n_vocab = n_vocab, .bos_id = -1, .add_bos = -1};
    blip2_status status = start(&b, path, err);
    if (status == BLIP2_OK) status = read_tokenizer_json(&b, path, tokenizer, err);
    if (status == BLIP2_OK) status = finish(&b, path, default_bos, err);
    if (status != BLIP2_OK) b2_tokenizer_files_free(out);
    return status;
}

void b2_tokenizer_files_free(b2_tokenizer_files *files) {
    for (size_t i = 0; i < files->n_documents; i++) json_decref(files->documents[i]);
    free(files->tokens);
    free(files->merges);
    free(files->types);
    free(files->merges_text);
    free(files->padding_text);
    *files = (b2_tokenizer_files){0};
}
