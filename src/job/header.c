/* header.c: the header of a journal as JSON, back, and beside another one. */
#include "job/header.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JOURNAL_VERSION = 1, MAX_COUNT = 1000000000 };

static void set_text(json_t *header, const char *key, const char *text) {
    if (text != NULL) json_object_set_new(header, key, json_string(text));
}

json_t *b2_header_to_json(const b2_header *h) {
    json_t *header = json_object(), *shard = json_array();
    json_object_set_new(header, "blip2_journal", json_integer(JOURNAL_VERSION));
    json_object_set_new(header, "count", json_integer((json_int_t)h->count));
    json_object_set_new(header, "list", b2_hash_to_json(h->list_hash));
    json_array_append_new(shard, json_integer((json_int_t)h->shard.i));
    json_array_append_new(shard, json_integer((json_int_t)h->shard.n));
    json_object_set_new(header, "shard", shard);
    json_object_set_new(header, "model", b2_hash_to_json(h->model_hash));
    json_object_set_new(header, "options", b2_spec_to_json(&h->spec));
    set_text(header, "csv", h->csv);
    set_text(header, "jsonl", h->jsonl);
    set_text(header, "column", h->column);
    set_text(header, "base_dir", h->base_folder);
    if (h->lists != NULL) json_object_set_new(header, "lists", json_deep_copy(h->lists));
    if (h->no_header) json_object_set_new(header, "no_header", json_true());
    if (h->is_stream) json_object_set_new(header, "stream", json_true());
    if (h->is_growing) json_object_set_new(header, "growing", json_true());
    return header;
}

blip2_status b2_header_from_json(const json_t *json, const char *name, b2_header *h, blip2_error *err) {
    const json_t *version = json_object_get(json, "blip2_journal"), *shard = json_object_get(json, "shard");
    const json_int_t count = json_integer_value(json_object_get(json, "count"));
    if (!json_is_integer(version)) return b2_fail(err, BLIP2_FORMAT, "%s: not a blip2 journal", name);
    if (json_integer_value(version) != JOURNAL_VERSION)
        return b2_fail(err, BLIP2_OTHER_VERSION, "%s: a journal of version %d, expected %d", name,
                       (int)json_integer_value(version), JOURNAL_VERSION);
    *h = (b2_header){.count = (size_t)count,
                     .list_hash = b2_hash_from_json(json_object_get(json, "list")),
                     .model_hash = b2_hash_from_json(json_object_get(json, "model")),
                     .shard = {(size_t)json_integer_value(json_array_get(shard, 0)),
                               (size_t)json_integer_value(json_array_get(shard, 1))},
                     .csv = json_string_value(json_object_get(json, "csv")),
                     .jsonl = json_string_value(json_object_get(json, "jsonl")),
                     .column = json_string_value(json_object_get(json, "column")),
                     .base_folder = json_string_value(json_object_get(json, "base_dir")),
                     .lists = json_object_get(json, "lists"),
                     .is_growing = json_is_true(json_object_get(json, "growing")),
                     .no_header = json_is_true(json_object_get(json, "no_header")),
                     .is_stream = json_is_true(json_object_get(json, "stream"))};
    if ((h->is_stream ? count == 0 : count >= 1) && count <= MAX_COUNT &&
        b2_spec_from_json(json_object_get(json, "options"), &h->spec))
        return BLIP2_OK;
    return b2_fail(err, BLIP2_FORMAT, "%s: its first line does not say which job it belongs to", name);
}

bool b2_header_may_begin(const char *bytes, size_t n) {
    static const char start[] = "{\"blip2_journal\":";
    const size_t len = sizeof start - 1;
    return memcmp(bytes, start, n < len ? n : len) == 0;
}

/* ---- two of them ----------------------------------------------------------------------------------------------- */

static void show(const json_t *value, char *out, size_t size) {
    char *text = value != NULL ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    snprintf(out, size, "%s", text != NULL ? text : "none");
    free(text);
}

/* Compared as this program writes them: an option that an older one did not know is at its default. */
static bool find_other_option(const b2_spec *a, const b2_spec *b, char *difference, size_t size) {
    json_t *sides[2] = {b2_spec_to_json(a), b2_spec_to_json(b)};
    bool is_found = false;
    for (int side = 0; side < 2 && !is_found; side++) {
        const char *key;
        json_t *value;
        json_object_foreach(sides[side], key, value) {
            if (is_found || json_equal(value, json_object_get(sides[1 - side], key))) continue;
            char is[100], other[100];
            show(json_object_get(sides[0], key), is, sizeof is);
            show(json_object_get(sides[1], key), other, sizeof other);
            snprintf(difference, size, "its %s is %s, not %s", key, is, other);
            is_found = true;
        }
    }
    json_decref(sides[0]);
    json_decref(sides[1]);
    return is_found;
}

bool b2_header_is_same_work(const b2_header *a, const b2_header *b, char *difference, size_t size) {
    if (a->model_hash == b->model_hash) return !find_other_option(&a->spec, &b->spec, difference, size);
    snprintf(difference, size, "its model is another one");
    return false;
}

bool b2_header_is_same_job(const b2_header *a, const b2_header *b, bool compares_shard, char *difference, size_t size) {
    if (a->count != b->count) snprintf(difference, size, "its list has %zu pictures, not %zu", a->count, b->count);
    else if (a->list_hash != b->list_hash) snprintf(difference, size, "its list of pictures is another one");
    else if (compares_shard && (a->shard.i != b->shard.i || a->shard.n != b->shard.n))
        snprintf(difference, size, "it is shard %zu/%zu, not %zu/%zu", a->shard.i, a->shard.n, b->shard.i, b->shard.n);
    else return b2_header_is_same_work(a, b, difference, size);
    return false;
}
