#include "checkpoint/gguf_reader.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Far above what any model of ours needs; they bound the work that a hostile header can cause. */
enum { MAX_KEYS = 4096, MAX_TENSORS = 65536, MAX_KEY_BYTES = 65535 };
#define MAX_TENSOR_ELEMENTS ((uint64_t)1 << 44) /* all tensors together stay below 2^63 bytes */

/* The fewest bytes of a key (length, name, type, value) and of a tensor (length, name, n_dims, dim, type, offset). */
enum { MIN_KEY_BYTES = 8 + 1 + 4 + 1, MIN_TENSOR_BYTES = 8 + 1 + 4 + 8 + 4 + 8 };

/* ---- reading forward --------------------------------------------------------------------------------------- */

typedef struct cursor {
    const uint8_t *data;
    size_t size_bytes, at;
} cursor;

static size_t n_left(const cursor *c) { return c->size_bytes - c->at; }

/* The next n bytes; NULL and a sentence (BLIP2_FORMAT) when there are fewer. */
static const uint8_t *take_bytes(cursor *c, uint64_t n, const char *what, blip2_error *err) {
    if (n > n_left(c)) {
        b2_fail(err, BLIP2_FORMAT,
                "truncated or damaged: %s takes %" PRIu64 " bytes from byte %zu on, the file has %zu", what, n, c->at,
                c->size_bytes);
        return NULL;
    }
    const uint8_t *bytes = c->data + c->at;
    c->at += (size_t)n;
    return bytes;
}

/* An unsigned little-endian integer of n_bytes <= 8. */
static blip2_status take_int(cursor *c, size_t n_bytes, const char *what, uint64_t *out, blip2_error *err) {
    *out = 0;
    const uint8_t *bytes = take_bytes(c, n_bytes, what, err);
    if (bytes == NULL) return BLIP2_FORMAT;
    for (size_t i = 0; i < n_bytes; i++) *out |= (uint64_t)bytes[i] << (8 * i);
    return BLIP2_OK;
}

static blip2_status take_text(cursor *c, const char *what, b2_text *out, blip2_error *err) {
    uint64_t len;
    B2_TRY(take_int(c, 8, what, &len, err));
    const uint8_t *bytes = take_bytes(c, len, what, err);
    if (bytes == NULL) return BLIP2_FORMAT;
    *out = (b2_text){.data = (const char *)bytes, .len = (size_t)len};
    return BLIP2_OK;
}

/* Names are 1 to max bytes of printable ASCII, so that they can be searched for and printed. */
static blip2_status take_name(cursor *c, size_t max, const char *what, b2_text *out, blip2_error *err) {
    const size_t start = c->at;
    B2_TRY(take_text(c, what, out, err));
    bool ok = out->len >= 1 && out->len <= max;
    for (size_t i = 0; ok && i < out->len; i++) ok = out->data[i] > 0x20 && out->data[i] < 0x7F;
    if (ok) return BLIP2_OK;
    return b2_fail(err, BLIP2_FORMAT, "damaged: %s at byte %zu is not 1 to %zu bytes of printable ASCII", what, start,
                   max);
}

/* ---- names ---------------------------------------------------------------------------------------------------- */

static int compare_text(b2_text a, b2_text b) {
    const int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);
    if (order != 0) return order;
    return (a.len > b.len) - (a.len < b.len);
}

static int compare_entries(const void *a, const void *b) {
    return compare_text(((const b2_name_entry *)a)->name, ((const b2_name_entry *)b)->name);
}

/* Sorts; a name that occurs twice is an error. */
static blip2_status sort_names(b2_name_entry *entries, size_t n, const char *what, blip2_error *err) {
    if (n > 0) qsort(entries, n, sizeof *entries, compare_entries);
    for (size_t i = 1; i < n; i++)
        if (compare_text(entries[i - 1].name, entries[i].name) == 0)
            return b2_fail(err, BLIP2_FORMAT, "damaged: %s '%.*s' occurs twice", what, (int)entries[i].name.len,
                           entries[i].name.data);
    return BLIP2_OK;
}

static const b2_name_entry *find_name(const b2_name_entry *entries, size_t n, const char *name) {
    const b2_name_entry wanted = {.name = {.data = name, .len = strlen(name)}};
    return n == 0 ? NULL : bsearch(&wanted, entries, n, sizeof *entries, compare_entries);
}

/* ---- keys ------------------------------------------------------------------------------------------------------ */

/* 0 for strings, arrays and numbers that are not a type. */
static size_t type_bytes(uint64_t type) {
    static const uint8_t bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return type < sizeof bytes ? bytes[type] : 0;
}

static blip2_status out_of_memory(blip2_error *err) { return b2_fail(err, BLIP2_MEMORY, "no memory for the header"); }

/* An array needs item_bytes, or more, for each of its items. */
static blip2_status check_items(const cursor *c, const b2_gguf_key *key, uint64_t n_items, size_t item_bytes,
                                blip2_error *err) {
    if (n_items <= n_left(c) / item_bytes) return BLIP2_OK;
    return b2_fail(err, BLIP2_FORMAT,
                   "truncated or damaged: key '%.*s' has %" PRIu64 " items from byte %zu on, the file has %zu bytes",
                   (int)key->name.len, key->name.data, n_items, c->at, c->size_bytes);
}

/* Numbers lie in the file at any address: a copy can be used as an array. */
static blip2_status parse_numbers(cursor *c, b2_gguf_key *key, blip2_error *err) {
    const size_t n_bytes = key->n_items * type_bytes(key->type);
    const uint8_t *bytes = take_bytes(c, n_bytes, "a value", err);
    if (bytes == NULL) return BLIP2_FORMAT;
    key->items = malloc(n_bytes > 0 ? n_bytes : 1);
    if (key->items == NULL) return out_of_memory(err);
    memcpy(key->items, bytes, n_bytes);
    for (size_t i = 0; key->type == B2_GGUF_BOOL && i < n_bytes; i++)
        if (bytes[i] > 1)
            return b2_fail(err, BLIP2_FORMAT, "damaged: key '%.*s' is neither true nor false", (int)key->name.len,
                           key->name.data);
    return BLIP2_OK;
}

/* One string: the view and, after it, a copy that ends in NUL. */
static blip2_status parse_string(cursor *c, b2_gguf_key *key, blip2_error *err) {
    b2_text text;
    B2_TRY(take_text(c, "a string", &text, err));
    b2_text *item = malloc(sizeof *item + text.len + 1);
    if (item == NULL) return out_of_memory(err);
    char *copy = (char *)(item + 1);
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    *item = (b2_text){.data = copy, .len = text.len};
    key->items = item;
    key->value_offset += 8;
    return BLIP2_OK;
}

static blip2_status parse_strings(cursor *c, b2_gguf_key *key, blip2_error *err) {
    b2_text *items = calloc(key->n_items > 0 ? key->n_items : 1, sizeof *items);
    if (items == NULL) return out_of_memory(err);
    key->items = items;
    for (size_t i = 0; i < key->n_items; i++) B2_TRY(take_text(c, "a string", &items[i], err));
    return BLIP2_OK;
}

/* name, type, [item type, count,] value. Arrays of arrays are not for us: nothing here recurses. */
static blip2_status parse_key(cursor *c, b2_gguf_key *key, blip2_error *err) {
    uint64_t type, n_items = 1;
    B2_TRY(take_name(c, MAX_KEY_BYTES, "a key's name", &key->name, err));
    B2_TRY(take_int(c, 4, "a key's type", &type, err));
    key->is_array = type == B2_GGUF_ARRAY;
    if (key->is_array) {
        B2_TRY(take_int(c, 4, "an array's type", &type, err));
        B2_TRY(take_int(c, 8, "an array's length", &n_items, err));
    }
    if (type != B2_GGUF_STRING && type_bytes(type) == 0)
        return b2_fail(err, BLIP2_FORMAT, "damaged: key '%.*s' is of unknown type %" PRIu64, (int)key->name.len,
                       key->name.data, type);
    B2_TRY(check_items(c, key, n_items, type == B2_GGUF_STRING ? 8 : type_bytes(type), err));
    key->type = (b2_gguf_type)type;
    key->n_items = (size_t)n_items;
    key->value_offset = c->at;
    if (key->type != B2_GGUF_STRING) return parse_numbers(c, key, err);
    return key->is_array ? parse_strings(c, key, err) : parse_string(c, key, err);
}

/* "GGUF", version, how many tensors, how many keys. */
static blip2_status parse_start(cursor *c, b2_gguf *g, blip2_error *err) {
    uint64_t magic, version, n_tensors, n_keys;
    B2_TRY(take_int(c, 4, "the magic", &magic, err));
    if (magic != B2_GGUF_MAGIC)
        return b2_fail(err, BLIP2_FORMAT, "not a blip2 model file: expected it to begin with 'GGUF'");
    B2_TRY(take_int(c, 4, "the version", &version, err));
    if (version != B2_GGUF_VERSION)
        return b2_fail(err, BLIP2_OTHER_VERSION, "GGUF version %" PRIu64 "%s, expected %d", version,
                       (version & 0xFFFF) == 0 ? " (a big-endian file?)" : "", (int)B2_GGUF_VERSION);
    B2_TRY(take_int(c, 8, "the number of tensors", &n_tensors, err));
    B2_TRY(take_int(c, 8, "the number of keys", &n_keys, err));
    if (n_keys > MAX_KEYS || n_tensors > MAX_TENSORS)
        return b2_fail(err, BLIP2_LIMIT, "%" PRIu64 " keys and %" PRIu64 " tensors, expected at most %d and %d", n_keys,
                       n_tensors, MAX_KEYS, MAX_TENSORS);
    if (n_keys > n_left(c) / MIN_KEY_BYTES || n_tensors > n_left(c) / MIN_TENSOR_BYTES)
        return b2_fail(err, BLIP2_FORMAT,
                       "truncated: %" PRIu64 " keys and %" PRIu64 " tensors do not fit in a file of %zu bytes", n_keys,
                       n_tensors, c->size_bytes);
    g->n_keys = (size_t)n_keys;
    g->n_tensors = (size_t)n_tensors;
    return BLIP2_OK;
}

static blip2_status parse_keys(b2_gguf *g, blip2_error *err) {
    cursor c = {.data = g->data, .size_bytes = g->size_bytes};
    B2_TRY(parse_start(&c, g, err));
    g->keys = calloc(g->n_keys + 1, sizeof *g->keys);
    g->keys_by_name = calloc(g->n_keys + 1, sizeof *g->keys_by_name);
    if (g->keys == NULL || g->keys_by_name == NULL) return out_of_memory(err);
    for (size_t i = 0; i < g->n_keys; i++) {
        B2_TRY(parse_key(&c, &g->keys[i], err));
        g->keys_by_name[i] = (b2_name_entry){.name = g->keys[i].name, .index = i};
    }
    g->infos_start = c.at;
    return sort_names(g->keys_by_name, g->n_keys, "key", err);
}

blip2_status b2_gguf_parse_keys(const uint8_t *data, size_t size_bytes, b2_gguf *g, blip2_error *err) {
    *g = (b2_gguf){.data = data, .size_bytes = size_bytes};
    const blip2_status status = parse_keys(g, err);
    if (status != BLIP2_OK) b2_gguf_free(g);
    return status;
}

/* ---- tensors -------------------------------------------------------------------------------------------------- */

static blip2_status parse_shape(cursor *c, b2_tensor *t, uint64_t *n_bytes, blip2_error *err) {
    uint64_t n_dims, dtype, n_elements = 1;
    B2_TRY(take_int(c, 4, "a tensor's number of dimensions", &n_dims, err));
    if (n_dims < 1 || n_dims > B2_GGUF_DIMS_MAX)
        return b2_fail(err, BLIP2_FORMAT, "tensor %.*s: expected 1 to %d dimensions, got %" PRIu64, (int)t->name.len,
                       t->name.data, (int)B2_GGUF_DIMS_MAX, n_dims);
    t->n_dims = (uint32_t)n_dims;
    for (size_t i = 0; i < B2_GGUF_DIMS_MAX; i++) {
        t->ne[i] = 1;
        if (i < n_dims) B2_TRY(take_int(c, 8, "a tensor's dimension", &t->ne[i], err));
        if (t->ne[i] == 0 || n_elements > MAX_TENSOR_ELEMENTS / t->ne[i])
            return b2_fail(err, BLIP2_FORMAT, "tensor %.*s: dimension %zu is impossible: %" PRIu64, (int)t->name.len,
                           t->name.data, i, t->ne[i]);
        n_elements *= t->ne[i];
    }
    B2_TRY(take_int(c, 4, "a tensor's type", &dtype, err));
    const size_t item_bytes = dtype > INT16_MAX ? 0 : b2_dtype_bytes((b2_dtype)dtype);
    if (item_bytes == 0)
        return b2_fail(err, BLIP2_FORMAT, "tensor %.*s: expected type f32, f16, bf16 or i8, got number %" PRIu64,
                       (int)t->name.len, t->name.data, dtype);
    t->dtype = (b2_dtype)dtype;
    *n_bytes = n_elements * item_bytes;
    return BLIP2_OK;
}

/* *data_bytes: the padded sizes so far, which is where the next tensor must begin: no gaps, no overlaps. They are
 * summed before the file's size is looked at, so that a cut file can be told how long it was. */
static blip2_status parse_tensor(cursor *c, b2_tensor *t, uint64_t *data_bytes, blip2_error *err) {
    uint64_t offset, n_bytes = 0;
    B2_TRY(take_name(c, B2_GGUF_NAME_MAX, "a tensor's name", &t->name, err));
    B2_TRY(parse_shape(c, t, &n_bytes, err));
    B2_TRY(take_int(c, 8, "a tensor's offset", &offset, err));
    if (offset != *data_bytes)
        return b2_fail(err, BLIP2_FORMAT, "tensor %.*s: expected at byte %" PRIu64 " of the data, got %" PRIu64,
                       (int)t->name.len, t->name.data, *data_bytes, offset);
    t->n_bytes = (size_t)n_bytes; /* fits: parse_tensors compares the sum with the file's size */
    *data_bytes += b2_padded_bytes(n_bytes);
    return BLIP2_OK;
}

static blip2_status parse_tensors(b2_gguf *g, blip2_error *err) {
    cursor c = {.data = g->data, .size_bytes = g->size_bytes, .at = g->infos_start};
    g->tensors = calloc(g->n_tensors + 1, sizeof *g->tensors);
    g->tensors_by_name = calloc(g->n_tensors + 1, sizeof *g->tensors_by_name);
    if (g->tensors == NULL || g->tensors_by_name == NULL) return out_of_memory(err);
    uint64_t data_bytes = 0;
    for (size_t i = 0; i < g->n_tensors; i++) {
        B2_TRY(parse_tensor(&c, &g->tensors[i], &data_bytes, err));
        g->tensors_by_name[i] = (b2_name_entry){.name = g->tensors[i].name, .index = i};
    }
    B2_TRY(sort_names(g->tensors_by_name, g->n_tensors, "tensor", err));

    const uint64_t want_bytes = b2_padded_bytes(c.at) + data_bytes;
    if (g->size_bytes != want_bytes)
        return b2_fail(err, BLIP2_FORMAT, "%s: expected %" PRIu64 " bytes, got %zu",
                       g->size_bytes < want_bytes ? "truncated" : "something follows the last tensor", want_bytes,
                       g->size_bytes);
    g->data_start = (size_t)b2_padded_bytes(c.at);
    const uint8_t *data = g->data + g->data_start;
    for (size_t i = 0; i < g->n_tensors; i++) {
        g->tensors[i].data = data;
        data += b2_padded_bytes(g->tensors[i].n_bytes);
    }
    return BLIP2_OK;
}

blip2_status b2_gguf_parse_tensors(b2_gguf *g, blip2_error *err) {
    const blip2_status status = parse_tensors(g, err);
    if (status != BLIP2_OK) b2_gguf_free(g);
    return status;
}

void b2_gguf_free(b2_gguf *g) {
    for (size_t i = 0; g->keys != NULL && i < g->n_keys; i++) free(g->keys[i].items);
    free(g->keys);
    free(g->keys_by_name);
    free(g->tensors);
    free(g->tensors_by_name);
    *g = (b2_gguf){0};
}

const b2_gguf_key *b2_gguf_find_key(const b2_gguf *g, const char *name) {
    const b2_name_entry *entry = find_name(g->keys_by_name, g->n_keys, name);
    return entry == NULL ? NULL : &g->keys[entry->index];
}

const b2_tensor *b2_gguf_find_tensor(const b2_gguf *g, const char *name) {
    const b2_name_entry *entry = find_name(g->tensors_by_name, g->n_tensors, name);
    return entry == NULL ? NULL : &g->tensors[entry->index];
}

const void *b2_gguf_get_items(const b2_gguf *g, const char *name, b2_gguf_type type, bool is_array, size_t n_items,
                              blip2_error *err) {
    const b2_gguf_key *key = b2_gguf_find_key(g, name);
    if (key == NULL) {
        b2_fail(err, BLIP2_FORMAT, "key '%s' is missing", name);
        return NULL;
    }
    if (key->type != type || key->is_array != is_array) {
        b2_fail(err, BLIP2_FORMAT, "key '%s': expected %s of type %d, got %s of type %d", name,
                is_array ? "an array" : "a value", (int)type, key->is_array ? "an array" : "a value", (int)key->type);
        return NULL;
    }
    if (n_items != 0 && key->n_items != n_items) {
        b2_fail(err, BLIP2_FORMAT, "key '%s': expected %zu items, got %zu", name, n_items, key->n_items);
        return NULL;
    }
    return key->items;
}
