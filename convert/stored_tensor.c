#include "convert/stored_tensor.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Names end up in sentences and are compared with ours, which are plain ASCII. */
static bool is_plain(const char *name, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (name[i] <= 0x20 || name[i] > 0x7E) return false;
    return len > 0;
}

static blip2_status grow(b2_tensor_list *list, const char *path, blip2_error *err) {
    if (list->n < list->capacity) return BLIP2_OK;
    if (list->n >= B2_STORED_TENSORS_MAX)
        return b2_fail(err, BLIP2_LIMIT, "%s: more than %d tensors", path, (int)B2_STORED_TENSORS_MAX);
    const size_t capacity = 2 * list->capacity + 256;
    b2_stored_tensor *items = realloc(list->items, capacity * sizeof *items);
    if (items == NULL) return b2_fail(err, BLIP2_MEMORY, "%s: no memory for its list of tensors", path);
    list->items = items;
    list->capacity = capacity;
    return BLIP2_OK;
}

blip2_status b2_tensor_list_add(b2_tensor_list *list, const char *path, const char *name, size_t name_len,
                                b2_stored_tensor **out, blip2_error *err) {
    if (name_len > B2_STORED_NAME_MAX || !is_plain(name, name_len))
        return b2_fail(err, BLIP2_FORMAT, "%s: the name of tensor %zu is not 1 to %d printable ASCII characters", path,
                       list->n, (int)B2_STORED_NAME_MAX);
    B2_TRY(grow(list, path, err));
    char *copy = malloc(name_len + 1);
    if (copy == NULL) return b2_fail(err, BLIP2_MEMORY, "%s: no memory for its list of tensors", path);
    memcpy(copy, name, name_len);
    copy[name_len] = '\0';
    *out = &list->items[list->n++];
    **out = (b2_stored_tensor){.name = copy};
    return BLIP2_OK;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(((const b2_stored_tensor *)a)->name, ((const b2_stored_tensor *)b)->name);
}

blip2_status b2_tensor_list_sort(b2_tensor_list *list, blip2_error *err) {
    if (list->n > 0) qsort(list->items, list->n, sizeof *list->items, compare_names);
    for (size_t i = 1; i < list->n; i++)
        if (compare_names(&list->items[i - 1], &list->items[i]) == 0)
            return b2_fail(err, BLIP2_FORMAT, "tensor %s occurs twice in the checkpoint", list->items[i].name);
    return BLIP2_OK;
}

void b2_tensor_list_free(b2_tensor_list *list) {
    for (size_t i = 0; i < list->n; i++) free(list->items[i].name);
    free(list->items);
    *list = (b2_tensor_list){0};
}

bool b2_stored_count(const uint64_t *dims, uint32_t n_dims, uint64_t *n_elements) {
    const uint64_t limit = (uint64_t)1 << 56;
    uint64_t n = 1;
    for (uint32_t i = 0; i < n_dims; i++) {
        if (dims[i] > limit || (dims[i] != 0 && n > limit / dims[i])) return false;
        n *= dims[i];
    }
    *n_elements = n;
    return true;
}

void b2_stored_print_shape(const uint64_t *dims, uint32_t n_dims, char text[B2_SHAPE_TEXT_BYTES]) {
    size_t len = (size_t)snprintf(text, B2_SHAPE_TEXT_BYTES, "[");
    for (uint32_t i = 0; i < n_dims && len < B2_SHAPE_TEXT_BYTES; i++)
        len += (size_t)snprintf(text + len, B2_SHAPE_TEXT_BYTES - len, "%s%" PRIu64, i > 0 ? ", " : "", dims[i]);
    if (len < B2_SHAPE_TEXT_BYTES) snprintf(text + len, B2_SHAPE_TEXT_BYTES - len, "]");
}
