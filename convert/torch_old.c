#include "convert/torch_old.h"

#include "base/retry.h"

#include "convert/pickle.h"
#include "convert/torch_types.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Protocol 2, a long of ten bytes, the end. */
static const uint8_t MAGIC[] = {0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46,
                                0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, '.'};
/* The version 1001. */
static const uint8_t VERSION[] = {0x80, 0x02, 'M', 0xe9, 0x03, '.'};

enum { FIRST_READ_BYTES = 1 << 20 }; /* the pickles of a BLIP-2's shard have less */

bool b2_torch_old_is(const char *path) {
    uint8_t start[sizeof MAGIC];
    return b2_file_start(path, start, sizeof start) == sizeof start && memcmp(start, MAGIC, sizeof MAGIC) == 0;
}

/* What the pickles say, and where they end in the file. */
typedef struct contents {
    uint8_t *bytes; /* the start of the file; the texts below point into it */
    size_t n_bytes, at;
    b2_pickle_tensors tensors;
    b2_pickle_words keys;
} contents;

static void free_contents(contents *c) {
    b2_pickle_tensors_free(&c->tensors);
    b2_pickle_words_free(&c->keys);
    free(c->bytes);
    *c = (contents){0};
}

/* The machine's description has no use but one: files of big-endian machines say so. */
static blip2_status skip_description(contents *c, const char *path, blip2_error *err) {
    static const char WORD[] = "little_endian";
    const size_t start = c->at;
    b2_pickle_words none;
    size_t n_used = 0;
    B2_TRY(b2_pickle_read_words(path, c->bytes + start, c->n_bytes - start, &n_used, &none, err));
    b2_pickle_words_free(&none);
    c->at += n_used;
    for (size_t i = start; i + sizeof WORD + 2 < c->at; i++) {
        if (memcmp(c->bytes + i, WORD, sizeof WORD - 1) != 0) continue;
        const uint8_t *value = c->bytes + i + sizeof WORD - 1; /* q <cell> may come before it */
        if (value[0] == 'q') value += 2;
        if (value[0] == 0x89) return b2_fail(err, BLIP2_UNSUPPORTED, "%s: its byte order is not little", path);
    }
    return BLIP2_OK;
}

static blip2_status parse(contents *c, const char *path, blip2_error *err) {
    size_t n_used = 0;
    c->at = sizeof MAGIC + sizeof VERSION;
    if (c->n_bytes < c->at || memcmp(c->bytes + sizeof MAGIC, VERSION, sizeof VERSION) != 0)
        return b2_fail(err, BLIP2_UNSUPPORTED, "%s: is of another version of PyTorch's old format than 1001", path);
    B2_TRY(skip_description(c, path, err));
    B2_TRY(b2_pickle_read(path, c->bytes + c->at, c->n_bytes - c->at, &n_used, &c->tensors, err));
    c->at += n_used;
    B2_TRY(b2_pickle_read_words(path, c->bytes + c->at, c->n_bytes - c->at, &n_used, &c->keys, err));
    c->at += n_used;
    return BLIP2_OK;
}

/* How long the pickles are stands nowhere: more is read as long as they do not end. */
static blip2_status read_contents(const b2_flat_file *file, contents *c, blip2_error *err) {
    for (uint64_t n = FIRST_READ_BYTES;; n *= 4) {
        const uint64_t most = file->n_bytes < B2_PICKLE_MAX_BYTES ? file->n_bytes : B2_PICKLE_MAX_BYTES;
        *c = (contents){.n_bytes = (size_t)(n < most ? n : most)};
        c->bytes = malloc(c->n_bytes + 1);
        if (c->bytes == NULL) return b2_fail(err, BLIP2_MEMORY, "%s: no memory for its list of tensors", file->path);
        blip2_status status = b2_flat_file_read(file, 0, c->n_bytes, c->bytes, err);
        if (status == BLIP2_OK) status = parse(c, file->path, err);
        if (status == BLIP2_OK) return BLIP2_OK;
        free_contents(c);
        if (status != BLIP2_FORMAT || n >= most) return status;
    }
}

/* ---- storages -------------------------------------------------------------------------------------------------- */

static int compare_words(const void *a, const void *b) {
    const b2_text *x = a, *y = b;
    const int order = memcmp(x->data, y->data, x->len < y->len ? x->len : y->len);
    return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

static int compare_keys(const void *a, const void *b) {
    return compare_words(&((const b2_pickle_tensor *)a)->key, &((const b2_pickle_tensor *)b)->key);
}

/* The first of the tensors, sorted by key, that lies in storage `key`; NULL: none, the storage's type is unknown. */
static const b2_pickle_tensor *find_first(const b2_pickle_tensors *tensors, const b2_text *key) {
    size_t low = 0, high = tensors->n;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (compare_words(&tensors->items[middle].key, key) < 0) low = middle + 1;
        else high = middle;
    }
    return low < tensors->n && compare_words(&tensors->items[low].key, key) == 0 ? &tensors->items[low] : NULL;
}

/* One storage, which begins at *at: all tensors in it join the list. */
static blip2_status add_storage(const b2_flat_file *file, const contents *c, const b2_text *key, uint64_t *at,
                                size_t *n_added, b2_tensor_list *list, blip2_error *err) {
    uint8_t count[8];
    const b2_pickle_tensor *p = find_first(&c->tensors, key);
    if (p == NULL) return b2_fail(err, BLIP2_FORMAT, "%s: holds a storage that no tensor lies in", file->path);
    if (file->n_bytes - *at < sizeof count)
        return b2_fail(err, BLIP2_FORMAT, "%s: ends before the numbers of all its tensors: an incomplete download?",
                       file->path);
    B2_TRY(b2_flat_file_read(file, *at, sizeof count, count, err));
    const b2_pickle_tensor *first = p, *end = c->tensors.items + c->tensors.n;
    uint64_t n_elements = 0;
    for (int i = 7; i >= 0; i--) n_elements = n_elements << 8 | count[i];
    *at += sizeof count;
    for (; p < end && compare_words(&p->key, key) == 0; p++, ++*n_added) {
        b2_stored_tensor *t = NULL;
        size_t element_bytes = 0;
        B2_TRY(b2_torch_describe(file->path, p, list, &t, &element_bytes, err));
        if (n_elements != p->storage_elements || p->type_name != first->type_name)
            return b2_fail(err, BLIP2_FORMAT,
                           "%s: the storage of tensor %s has %" PRIu64 " elements, expected %" PRIu64, file->path,
                           t->name, n_elements, p->storage_elements);
        if (n_elements > (file->n_bytes - *at) / element_bytes)
            return b2_fail(err, BLIP2_FORMAT, "%s: ends within tensor %s: an incomplete download?", file->path,
                           t->name);
        t->offset_bytes += *at;
        if (p + 1 == end || compare_words(&p[1].key, key) != 0) *at += n_elements * element_bytes;
    }
    return BLIP2_OK;
}

static blip2_status add_tensors(const b2_flat_file *file, contents *c, b2_tensor_list *list, blip2_error *err) {
    uint64_t at = c->at;
    size_t n_added = 0;
    if (c->tensors.n > 0) qsort(c->tensors.items, c->tensors.n, sizeof *c->tensors.items, compare_keys);
    for (size_t i = 0; i < c->keys.n; i++) B2_TRY(add_storage(file, c, &c->keys.items[i], &at, &n_added, list, err));
    if (n_added == c->tensors.n) return BLIP2_OK;
    return b2_fail(err, BLIP2_FORMAT, "%s: holds %zu of the %zu tensors that it lists", file->path, n_added,
                   c->tensors.n);
}

blip2_status b2_torch_old_open(const char *path, b2_flat_file *file, b2_tensor_list *list, blip2_error *err) {
    contents c = {0};
    B2_TRY(b2_flat_file_open(path, file, err));
    blip2_status status = read_contents(file, &c, err);
    if (status == BLIP2_OK) status = add_tensors(file, &c, list, err);
    free_contents(&c);
    if (status != BLIP2_OK) b2_flat_file_close(file);
    return status;
}
