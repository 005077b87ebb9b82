#include "checkpoint/checkpoint.h"

#include "checkpoint/profile.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

struct b2_checkpoint {
    b2_mapfile map;
    bool owns_map;
    b2_gguf gguf;
    b2_hparams h;
};

static blip2_status parse(b2_checkpoint *c, blip2_error *err) {
    b2_gguf *g = &c->gguf;
    if (!b2_host_is_little_endian())
        return b2_fail(err, BLIP2_UNSUPPORTED, "model files are little endian, this machine is not");
    B2_TRY(b2_gguf_parse_keys(c->map.data, c->map.size_bytes, g, err));
    B2_TRY(b2_profile_check_kind(g, err));
    B2_TRY(b2_gguf_parse_tensors(g, err));
    return b2_profile_read(g, &c->h, err);
}

static blip2_status create(b2_mapfile map, bool owns_map, b2_checkpoint **out, blip2_error *err) {
    b2_checkpoint *c = calloc(1, sizeof *c);
    if (c == NULL) {
        if (owns_map) b2_mapfile_close(&map);
        return b2_fail(err, BLIP2_MEMORY, "no memory for a checkpoint");
    }
    c->map = map;
    c->owns_map = owns_map;
    const blip2_status status = parse(c, err);
    if (status == BLIP2_OK) *out = c;
    else b2_checkpoint_close(c);
    return status;
}

blip2_status b2_checkpoint_parse(const uint8_t *data, size_t size_bytes, b2_checkpoint **out, blip2_error *err) {
    *out = NULL;
    return create((b2_mapfile){.data = data, .size_bytes = size_bytes}, false, out, err);
}

/* What people give a program instead of its own file. NULL when the bytes look like nothing known. */
static const char *recognise(const b2_mapfile *map) {
    const uint8_t *b = map->data;
    if (map->size_bytes >= 4 && memcmp(b, "GGUF", 4) == 0) return NULL;
    if (map->size_bytes >= 4 && (memcmp(b, "PK\3\4", 4) == 0 || memcmp(b, "\x80\2", 2) == 0))
        return "a PyTorch checkpoint";
    if (map->size_bytes >= 10 && b[6] == 0 && b[7] == 0 && b[8] == '{') return "a safetensors checkpoint";
    if (map->size_bytes >= 1 && b[0] == '{') return "a JSON file";
    return NULL;
}

blip2_status b2_checkpoint_open(const char *path, b2_checkpoint **out, blip2_error *err) {
    *out = NULL;
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return b2_fail(err, BLIP2_FORMAT,
                       "%s: is a folder, expected a model file; `blip2 convert %s -o FILE.gguf` makes one", path, path);
    b2_mapfile map;
    B2_TRY(b2_mapfile_open(path, &map, err));
    const char *other = recognise(&map);
    if (other != NULL) {
        b2_mapfile_close(&map);
        return b2_fail(err, BLIP2_FORMAT,
                       "%s: is %s, expected a model file; `blip2 convert FOLDER -o FILE.gguf` makes one of its folder",
                       path, other);
    }
    const blip2_status status = create(map, true, out, err);
    if (status != BLIP2_OK) b2_error_prefix(err, "%s", path);
    return status;
}

void b2_checkpoint_close(b2_checkpoint *c) {
    if (c == NULL) return;
    b2_gguf_free(&c->gguf);
    if (c->owns_map) b2_mapfile_close(&c->map);
    free(c);
}

/* ---- what the others ask for ------------------------------------------------------------------------------------ */

const b2_hparams *b2_checkpoint_hparams(const b2_checkpoint *c) { return &c->h; }
const b2_mapfile *b2_checkpoint_map(const b2_checkpoint *c) { return &c->map; }
size_t b2_checkpoint_n_tensors(const b2_checkpoint *c) { return c->gguf.n_tensors; }
const b2_tensor *b2_checkpoint_tensor(const b2_checkpoint *c, size_t i) { return &c->gguf.tensors[i]; }

const b2_tensor *b2_checkpoint_find(const b2_checkpoint *c, const char *name) {
    return b2_gguf_find_tensor(&c->gguf, name);
}

/* NULL when the key is absent or of another form. */
static const void *peek_items(const b2_checkpoint *c, const char *name, b2_gguf_type type, bool is_array, size_t *n) {
    const void *items = b2_gguf_get_items(&c->gguf, name, type, is_array, 0, NULL);
    if (n != NULL) *n = items == NULL ? 0 : b2_gguf_find_key(&c->gguf, name)->n_items;
    return items;
}

const b2_text *b2_checkpoint_strings(const b2_checkpoint *c, const char *key, size_t *n) {
    return peek_items(c, key, B2_GGUF_STRING, true, n);
}

const int32_t *b2_checkpoint_i32s(const b2_checkpoint *c, const char *key, size_t *n) {
    return peek_items(c, key, B2_GGUF_I32, true, n);
}

const char *b2_checkpoint_string(const b2_checkpoint *c, const char *key) {
    const b2_text *text = peek_items(c, key, B2_GGUF_STRING, false, NULL);
    return text == NULL ? NULL : text->data;
}

uint64_t b2_checkpoint_content_hash(const b2_checkpoint *c) {
    uint64_t hash; /* a value in the file lies where it lies: unaligned */
    memcpy(&hash, peek_items(c, B2_KEY_HEADER_HASH, B2_GGUF_U64, false, NULL), sizeof hash);
    return hash;
}

/* ---- every byte after the header, against the hashes in it ----------------------------------------------------- */

static blip2_status verify_tensor(const b2_tensor *t, uint64_t expected, blip2_error *err) {
    const uint8_t *bytes = t->data;
    const uint64_t got = XXH3_64bits(bytes, t->n_bytes);
    if (got != expected)
        return b2_fail(err, BLIP2_CHECKSUM, "tensor %.*s: its checksum is %016" PRIx64 ", expected %016" PRIx64,
                       (int)t->name.len, t->name.data, got, expected);
    for (size_t i = t->n_bytes; i < b2_padded_bytes(t->n_bytes); i++)
        if (bytes[i] != 0)
            return b2_fail(err, BLIP2_CHECKSUM, "tensor %.*s: byte %zu of its padding is %d, expected 0",
                           (int)t->name.len, t->name.data, i - t->n_bytes, (int)bytes[i]);
    /* the kernels' integer sums rely on it; no writer of ours makes one */
    if (t->dtype == B2_DTYPE_I8 && memchr(bytes, 0x80, t->n_bytes) != NULL)
        return b2_fail(err, BLIP2_FORMAT, "tensor %.*s: holds -128, expected -127 to 127", (int)t->name.len,
                       t->name.data);
    return BLIP2_OK;
}

blip2_status b2_checkpoint_verify(const b2_checkpoint *c, blip2_progress_fn *progress, void *context,
                                  blip2_error *err) {
    const b2_gguf *g = &c->gguf;
    const uint64_t *hashes = b2_gguf_get_items(g, B2_KEY_TENSOR_HASHES, B2_GGUF_U64, true, g->n_tensors, err);
    if (hashes == NULL) return BLIP2_FORMAT;
    uint64_t done_bytes = g->data_start;
    for (size_t i = 0; i < g->n_tensors; i++) {
        B2_TRY(verify_tensor(&g->tensors[i], hashes[i], err));
        done_bytes += b2_padded_bytes(g->tensors[i].n_bytes);
        if (progress != NULL) progress(context, done_bytes, g->size_bytes);
    }
    return BLIP2_OK;
}
