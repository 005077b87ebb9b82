#include "convert/safetensors.h"

#include "convert/json_file.h"
#include "convert/lookalike.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LENGTH_BYTES = 8 };

/* ---- header ---------------------------------------------------------------------------------------------------- */

/* What we read, and what may lie beside it unread (position_ids are I64). bitsandbytes stores I8 and a byte U8. */
static const struct {
    const char *name;
    size_t n_bytes; /* per element */
    b2_dtype dtype; /* of those without refusal */
    bool readable;
} TYPES[] = {
    {"F32", 4, B2_DTYPE_F32, true}, {"F16", 2, B2_DTYPE_F16, true}, {"BF16", 2, B2_DTYPE_BF16, true},
    {"F64", 8, 0, false},           {"I64", 8, 0, false},           {"U64", 8, 0, false},
    {"I32", 4, 0, false},           {"U32", 4, 0, false},           {"I16", 2, 0, false},
    {"U16", 2, 0, false},           {"I8", 1, B2_DTYPE_I8, true},   {"U8", 1, B2_DTYPE_I8, false},
    {"BOOL", 1, 0, false},          {"F8_E4M3", 1, 0, false},       {"F8_E5M2", 1, 0, false},
};

/* Bytes per element; 0 for a type that we do not know. */
static size_t set_type(b2_stored_tensor *t, const char *name) {
    snprintf(t->type_name, sizeof t->type_name, "%s", name);
    t->refusal = "its type is none of F32, F16 and BF16";
    for (size_t i = 0; i < sizeof TYPES / sizeof *TYPES; i++) {
        if (strcmp(name, TYPES[i].name) != 0) continue;
        t->dtype = TYPES[i].dtype;
        if (TYPES[i].readable) t->refusal = NULL;
        return TYPES[i].n_bytes;
    }
    return 0;
}

static bool read_u64(const json_t *value, uint64_t *out) {
    if (!json_is_integer(value) || json_integer_value(value) < 0) return false;
    *out = (uint64_t)json_integer_value(value);
    return true;
}

static bool read_shape(const json_t *shape, b2_stored_tensor *t) {
    if (!json_is_array(shape) || json_array_size(shape) > B2_STORED_DIMS_MAX) return false;
    t->n_dims = (uint32_t)json_array_size(shape);
    for (uint32_t i = 0; i < t->n_dims; i++)
        if (!read_u64(json_array_get(shape, i), &t->dims[i])) return false;
    return b2_stored_count(t->dims, t->n_dims, &t->n_elements);
}

typedef struct range {
    uint64_t begin, end; /* counted from the end of the header */
    const char *name;    /* the JSON's */
} range;

static blip2_status parse_tensor(const char *path, const char *name, const json_t *entry, uint64_t data_start,
                                 uint64_t file_bytes, b2_tensor_list *list, range *r, blip2_error *err) {
    b2_stored_tensor *t;
    B2_TRY(b2_tensor_list_add(list, path, name, strlen(name), &t, err));
    const json_t *type = json_object_get(entry, "dtype"), *offsets = json_object_get(entry, "data_offsets");
    r->name = name;
    if (!json_is_string(type) || !read_shape(json_object_get(entry, "shape"), t) || json_array_size(offsets) != 2 ||
        !read_u64(json_array_get(offsets, 0), &r->begin) || !read_u64(json_array_get(offsets, 1), &r->end) ||
        r->begin > r->end)
        return b2_fail(err, BLIP2_FORMAT, "%s: the header's entry of tensor %s is malformed", path, name);
    if (r->end > file_bytes - data_start)
        return b2_fail(err, BLIP2_FORMAT,
                       "%s: tensor %s ends at byte %" PRIu64 ", the file at %" PRIu64 ": an incomplete download?", path,
                       name, data_start + r->end, file_bytes);
    const size_t element_bytes = set_type(t, json_string_value(type));
    if (element_bytes != 0 && t->n_elements * element_bytes != r->end - r->begin)
        return b2_fail(err, BLIP2_FORMAT, "%s: tensor %s has %" PRIu64 " bytes, its shape demands %" PRIu64, path, name,
                       r->end - r->begin, t->n_elements * element_bytes);
    t->offset_bytes = data_start + r->begin;
    return BLIP2_OK;
}

static int compare_ranges(const void *a, const void *b) {
    const range *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

static blip2_status check_overlap(const char *path, range *ranges, size_t n, blip2_error *err) {
    if (n > 0) qsort(ranges, n, sizeof *ranges, compare_ranges);
    for (size_t i = 1; i < n; i++)
        if (ranges[i].begin < ranges[i - 1].end)
            return b2_fail(err, BLIP2_FORMAT, "%s: tensors %s and %s overlap", path, ranges[i - 1].name,
                           ranges[i].name);
    return BLIP2_OK;
}

static blip2_status parse_entries(const char *path, json_t *root, uint64_t data_start, uint64_t file_bytes,
                                  b2_tensor_list *list, blip2_error *err) {
    range *ranges = calloc(json_object_size(root) + 1, sizeof *ranges);
    if (ranges == NULL) return b2_fail(err, BLIP2_MEMORY, "%s: no memory for its header", path);
    blip2_status status = BLIP2_OK;
    size_t n = 0;
    const char *name;
    json_t *entry;
    json_object_foreach(root, name, entry) {
        if (strcmp(name, "__metadata__") == 0) continue;
        status = parse_tensor(path, name, entry, data_start, file_bytes, list, &ranges[n++], err);
        if (status != BLIP2_OK) break;
    }
    if (status == BLIP2_OK) status = check_overlap(path, ranges, n, err);
    free(ranges);
    return status;
}

blip2_status b2_safetensors_parse(const char *path, const char *header, size_t header_len, uint64_t file_bytes,
                                  b2_tensor_list *list, blip2_error *err) {
    const uint64_t data_start = LENGTH_BYTES + (uint64_t)header_len;
    if (data_start > file_bytes) return b2_fail(err, BLIP2_FORMAT, "%s: ends within its header", path);
    json_t *root;
    B2_TRY(b2_json_parse(path, header, header_len, &root, err));
    const blip2_status status = parse_entries(path, root, data_start, file_bytes, list, err);
    json_decref(root);
    return status;
}

/* ---- file ------------------------------------------------------------------------------------------------------ */

static blip2_status read_header(const b2_flat_file *file, b2_tensor_list *list, blip2_error *err) {
    uint8_t length[LENGTH_BYTES];
    if (file->n_bytes < LENGTH_BYTES)
        return b2_fail(err, BLIP2_FORMAT, "%s: has %" PRIu64 " bytes, too few for a safetensors file", file->path,
                       file->n_bytes);
    B2_TRY(b2_flat_file_read(file, 0, sizeof length, length, err));
    uint64_t header_len = 0;
    for (int i = LENGTH_BYTES - 1; i >= 0; i--) header_len = header_len << 8 | length[i];
    if (header_len == 0 || header_len > file->n_bytes - LENGTH_BYTES) {
        B2_TRY(b2_lookalike_check_file(file->path, err));
        return b2_fail(err, BLIP2_FORMAT,
                       "%s: not a safetensors file, or cut short: its header claims %" PRIu64
                       " bytes, the file has %" PRIu64,
                       file->path, header_len, file->n_bytes);
    }
    if (header_len > B2_SAFETENSORS_HEADER_MAX_BYTES)
        return b2_fail(err, BLIP2_LIMIT, "%s: its header has %" PRIu64 " bytes, expected at most %d", file->path,
                       header_len, (int)B2_SAFETENSORS_HEADER_MAX_BYTES);
    char *header = malloc((size_t)header_len + 1);
    if (header == NULL) return b2_fail(err, BLIP2_MEMORY, "%s: no memory for its header", file->path);
    blip2_status status = b2_flat_file_read(file, LENGTH_BYTES, (size_t)header_len, header, err);
    if (status == BLIP2_OK)
        status = b2_safetensors_parse(file->path, header, (size_t)header_len, file->n_bytes, list, err);
    free(header);
    return status;
}

blip2_status b2_safetensors_open(const char *path, b2_flat_file *file, b2_tensor_list *list, blip2_error *err) {
    B2_TRY(b2_flat_file_open(path, file, err));
    const blip2_status status = read_header(file, list, err);
    if (status != BLIP2_OK) b2_flat_file_close(file);
    return status;
}
