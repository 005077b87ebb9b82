#include "convert/tensor_source.h"

#include "convert/json_file.h"
#include "base/path.h"
#include "convert/lookalike.h"
#include "convert/safetensors.h"
#include "convert/torch_old.h"
#include "convert/torch_zip.h"
#include "quant/half.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHARDS_MAX = 1000, COMPARE_ELEMENTS = 1 << 18 };

typedef struct shard {
    char *path;
    b2_torch_zip *zip; /* or, when it is NULL: */
    b2_flat_file flat;
} shard;

struct b2_tensor_source {
    char *list_path; /* the file or index that names all tensors */
    shard *shards;
    size_t n_shards;
    b2_tensor_list tensors;
};

/* ---- opening --------------------------------------------------------------------------------------------------- */

/* The two families of files. */
typedef struct family {
    const char *single, *index;
    bool is_bin;
} family;

static const family FAMILIES[] = {
    {"model.safetensors", "model.safetensors.index.json", false},
    {"pytorch_model.bin", "pytorch_model.bin.index.json", true},
};
enum { N_FAMILIES = sizeof FAMILIES / sizeof *FAMILIES };

/* Opens one more file, whose tensors join the list. Takes path. */
static blip2_status add_shard(b2_tensor_source *s, char *path, bool is_bin, blip2_error *err) {
    shard *shards = path == NULL ? NULL : realloc(s->shards, (s->n_shards + 1) * sizeof *shards);
    if (shards == NULL) {
        free(path);
        return b2_fail(err, BLIP2_MEMORY, "no memory for a list of files");
    }
    s->shards = shards;
    shard *new_shard = &shards[s->n_shards];
    *new_shard = (shard){.path = path, .flat = {.fd = -1}};
    const size_t first = s->tensors.n;
    s->n_shards++;
    if (!is_bin) B2_TRY(b2_safetensors_open(path, &new_shard->flat, &s->tensors, err));
    else if (b2_torch_old_is(path)) B2_TRY(b2_torch_old_open(path, &new_shard->flat, &s->tensors, err));
    else B2_TRY(b2_torch_zip_open(path, &new_shard->zip, &s->tensors, err));
    for (size_t i = first; i < s->tensors.n; i++) s->tensors.items[i].shard = s->n_shards - 1;
    return BLIP2_OK;
}

/* strip (any number of times) + rest -> prefix + rest. */
static blip2_status rename_tensor(b2_stored_tensor *t, const char *strip, const char *prefix, blip2_error *err) {
    const char *rest = t->name;
    while (strncmp(rest, strip, strlen(strip)) == 0) rest += strlen(strip);
    const size_t capacity = strlen(prefix) + strlen(rest) + 1;
    char *name = malloc(capacity);
    if (name == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for a list of tensors");
    snprintf(name, capacity, "%s%s", prefix, rest);
    free(t->name);
    t->name = name;
    return BLIP2_OK;
}

blip2_status b2_tensor_source_add(b2_tensor_source *s, char *path, const char *strip, const char *prefix,
                                  blip2_error *err) {
    const size_t first = s->tensors.n, len = path == NULL ? 0 : strlen(path);
    const bool is_bin = len > 4 && strcmp(path + len - 4, ".bin") == 0;
    B2_TRY(add_shard(s, path, is_bin, err));
    for (size_t i = first; i < s->tensors.n; i++) B2_TRY(rename_tensor(&s->tensors.items[i], strip, prefix, err));
    return b2_tensor_list_sort(&s->tensors, err);
}

static size_t find_shard(const b2_tensor_source *s, const char *file) {
    size_t i = 0;
    while (i < s->n_shards && strcmp(b2_path_base(s->shards[i].path), file) != 0) i++;
    return i;
}

/* Opens each file that the index names, once. */
static blip2_status open_shards(b2_tensor_source *s, const char *folder, bool is_bin, const json_t *weight_map,
                                blip2_error *err) {
    const char *name;
    json_t *file;
    json_object_foreach((json_t *)weight_map, name, file) {
        if (!json_is_string(file) || !b2_path_is_component(json_string_value(file)))
            return b2_fail(err, BLIP2_FORMAT, "%s: weight_map names no file of this folder for a tensor", s->list_path);
        const char *base = json_string_value(file);
        if (find_shard(s, base) < s->n_shards) continue;
        if (s->n_shards == SHARDS_MAX)
            return b2_fail(err, BLIP2_LIMIT, "%s: names more than %d files", s->list_path, (int)SHARDS_MAX);
        if (!b2_path_has(folder, base))
            return b2_fail(err, BLIP2_IO, "%s/%s: is missing, although %s names it: an incomplete download?", folder,
                           base, b2_path_base(s->list_path));
        B2_TRY(add_shard(s, b2_path_join(folder, base), is_bin, err));
    }
    return BLIP2_OK;
}

/* Each tensor of the index must be in its file. (What a file holds beyond that is judged by name like all others.) */
static blip2_status check_index(const b2_tensor_source *s, const json_t *weight_map, blip2_error *err) {
    const char *name;
    json_t *file;
    json_object_foreach((json_t *)weight_map, name, file) {
        const b2_stored_tensor *t = b2_tensor_source_find(s, name);
        if (t != NULL && t->shard == find_shard(s, json_string_value(file))) continue;
        return b2_fail(err, BLIP2_FORMAT, "%s: tensor %s is not in %s, where it should be", s->list_path, name,
                       json_string_value(file));
    }
    return BLIP2_OK;
}

static blip2_status open_indexed(b2_tensor_source *s, const char *folder, bool is_bin, blip2_error *err) {
    json_t *index;
    B2_TRY(b2_json_load(s->list_path, &index, err));
    const json_t *weight_map = json_object_get(index, "weight_map"); /* metadata.total_size is often wrong: unread */
    blip2_status status = BLIP2_OK;
    if (json_object_size(weight_map) == 0) status = b2_fail(err, BLIP2_FORMAT, "%s: has no weight_map", s->list_path);
    if (status == BLIP2_OK) status = open_shards(s, folder, is_bin, weight_map, err);
    if (status == BLIP2_OK) status = b2_tensor_list_sort(&s->tensors, err);
    if (status == BLIP2_OK) status = check_index(s, weight_map, err);
    json_decref(index);
    return status;
}

static blip2_status open_any(b2_tensor_source *s, const char *folder, blip2_error *err) {
    for (size_t i = 0; i < N_FAMILIES; i++) {
        const family *f = &FAMILIES[i];
        const bool is_single = b2_path_has(folder, f->single);
        if (!is_single && !b2_path_has(folder, f->index)) continue;
        s->list_path = b2_path_join(folder, is_single ? f->single : f->index);
        if (s->list_path == NULL) return b2_fail(err, BLIP2_MEMORY, "%s: no memory", folder);
        if (!is_single) return open_indexed(s, folder, f->is_bin, err);
        B2_TRY(add_shard(s, strdup(s->list_path), f->is_bin, err));
        return b2_tensor_list_sort(&s->tensors, err);
    }
    return b2_lookalike_folder(folder, "model.safetensors or pytorch_model.bin, nor an index of either,", err);
}

blip2_status b2_tensor_source_open(const char *folder, b2_tensor_source **out, blip2_error *err) {
    *out = NULL;
    b2_tensor_source *s = calloc(1, sizeof *s);
    if (s == NULL) return b2_fail(err, BLIP2_MEMORY, "%s: no memory", folder);
    const blip2_status status = open_any(s, folder, err);
    if (status == BLIP2_OK) *out = s;
    else b2_tensor_source_close(s);
    return status;
}

void b2_tensor_source_close(b2_tensor_source *s) {
    if (s == NULL) return;
    for (size_t i = 0; i < s->n_shards; i++) {
        b2_torch_zip_close(s->shards[i].zip);
        b2_flat_file_close(&s->shards[i].flat);
        free(s->shards[i].path);
    }
    b2_tensor_list_free(&s->tensors);
    free(s->shards);
    free(s->list_path);
    free(s);
}

/* ---- the list -------------------------------------------------------------------------------------------------- */

size_t b2_tensor_source_count(const b2_tensor_source *s) { return s->tensors.n; }
const b2_stored_tensor *b2_tensor_source_get(const b2_tensor_source *s, size_t i) { return &s->tensors.items[i]; }

static int compare_name(const void *name, const void *tensor) {
    return strcmp(name, ((const b2_stored_tensor *)tensor)->name);
}

const b2_stored_tensor *b2_tensor_source_find(const b2_tensor_source *s, const char *name) {
    if (s->tensors.n == 0) return NULL;
    return bsearch(name, s->tensors.items, s->tensors.n, sizeof *s->tensors.items, compare_name);
}

const char *b2_tensor_source_file(const b2_tensor_source *s, const b2_stored_tensor *tensor) {
    return tensor == NULL ? s->list_path : s->shards[tensor->shard].path;
}

/* ---- reading --------------------------------------------------------------------------------------------------- */

void b2_stored_widen(b2_dtype dtype, const void *stored, size_t n, float *out) {
    switch (dtype) {
    case B2_DTYPE_F16: b2_f16_to_f32_row(stored, n, out); return;
    case B2_DTYPE_BF16: b2_bf16_to_f32_row(stored, n, out); return;
    case B2_DTYPE_F32: memcpy(out, stored, n * sizeof *out); return;
    case B2_DTYPE_I8:
        for (size_t i = 0; i < n; i++) out[i] = ((const int8_t *)stored)[i];
        return;
    }
}

blip2_status b2_tensor_source_read(b2_tensor_source *s, const b2_stored_tensor *tensor, uint64_t first, size_t n,
                                   void *out, blip2_error *err) {
    shard *file = &s->shards[tensor->shard];
    const size_t element_bytes = b2_dtype_bytes(tensor->dtype);
    const uint64_t offset_bytes = tensor->offset_bytes + first * element_bytes;
    if (file->zip != NULL)
        return b2_torch_zip_read(file->zip, tensor->entry, offset_bytes, n * element_bytes, out, err);
    return b2_flat_file_read(&file->flat, offset_bytes, n * element_bytes, out, err);
}

blip2_status b2_tensor_source_read_f32(b2_tensor_source *s, const b2_stored_tensor *tensor, uint64_t first, size_t n,
                                       float *out, blip2_error *err) {
    if (tensor->dtype == B2_DTYPE_F32) return b2_tensor_source_read(s, tensor, first, n, out, err);
    uint16_t *stored = malloc(n * sizeof *stored + 1);
    if (stored == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory to read tensor %s", tensor->name);
    const blip2_status status = b2_tensor_source_read(s, tensor, first, n, stored, err);
    if (status == BLIP2_OK) b2_stored_widen(tensor->dtype, stored, n, out);
    free(stored);
    return status;
}

static blip2_status compare_blocks(b2_tensor_source *s, const b2_stored_tensor *a, const b2_stored_tensor *b, float *x,
                                   float *y, bool *equal, blip2_error *err) {
    *equal = true;
    for (uint64_t at = 0; *equal && at < a->n_elements; at += COMPARE_ELEMENTS) {
        const uint64_t n_left = a->n_elements - at;
        const size_t n = n_left < COMPARE_ELEMENTS ? (size_t)n_left : COMPARE_ELEMENTS;
        B2_TRY(b2_tensor_source_read_f32(s, a, at, n, x, err));
        B2_TRY(b2_tensor_source_read_f32(s, b, at, n, y, err));
        *equal = memcmp(x, y, n * sizeof *x) == 0;
    }
    return BLIP2_OK;
}

blip2_status b2_tensor_source_compare(b2_tensor_source *s, const b2_stored_tensor *a, const b2_stored_tensor *b,
                                      bool *equal, blip2_error *err) {
    *equal = a->shard == b->shard && a->entry == b->entry && a->offset_bytes == b->offset_bytes;
    if (*equal && a->n_elements == b->n_elements) return BLIP2_OK; /* tied tensors share one storage */
    float *x = malloc(COMPARE_ELEMENTS * sizeof *x), *y = malloc(COMPARE_ELEMENTS * sizeof *y);
    const blip2_status status = x == NULL || y == NULL ? b2_fail(err, BLIP2_MEMORY, "no memory to compare tensors")
                                                       : compare_blocks(s, a, b, x, y, equal, err);
    free(x);
    free(y);
    return status;
}
