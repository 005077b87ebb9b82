#include "convert/torch_types.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *storage, *name;
    size_t n_bytes; /* per element */
    b2_dtype dtype;
    bool readable;
} TYPES[] = {
    {"FloatStorage", "F32", 4, B2_DTYPE_F32, true},
    {"HalfStorage", "F16", 2, B2_DTYPE_F16, true},
    {"BFloat16Storage", "BF16", 2, B2_DTYPE_BF16, true},
    {"DoubleStorage", "F64", 8, 0, false},
    {"LongStorage", "I64", 8, 0, false},
    {"IntStorage", "I32", 4, 0, false},
    {"ShortStorage", "I16", 2, 0, false},
    {"CharStorage", "I8", 1, B2_DTYPE_I8, true},
    {"ByteStorage", "U8", 1, B2_DTYPE_I8, false},
    {"BoolStorage", "BOOL", 1, 0, false},
};

/* Bytes per element of a storage type that pickle.c lets through. */
static size_t set_type(b2_stored_tensor *t, const char *storage) {
    for (size_t i = 0; i < sizeof TYPES / sizeof *TYPES; i++) {
        if (strcmp(storage, TYPES[i].storage) != 0) continue;
        snprintf(t->type_name, sizeof t->type_name, "%s", TYPES[i].name);
        t->refusal = TYPES[i].readable ? NULL : "its type is none of F32, F16 and BF16";
        t->dtype = TYPES[i].dtype;
        return TYPES[i].n_bytes;
    }
    return 0;
}

blip2_status b2_torch_describe(const char *path, const b2_pickle_tensor *p, b2_tensor_list *list,
                               b2_stored_tensor **out, size_t *element_bytes, blip2_error *err) {
    b2_stored_tensor *t = NULL;
    B2_TRY(b2_tensor_list_add(list, path, p->name.data, p->name.len, &t, err));
    *element_bytes = set_type(t, p->type_name);
    if (!p->is_contiguous) t->refusal = "its strides are not those of a tensor stored row by row inside its storage";
    t->n_dims = p->n_dims;
    memcpy(t->dims, p->dims, sizeof t->dims);
    t->n_elements = p->n_elements;
    t->offset_bytes = p->offset * *element_bytes;
    *out = t;
    return BLIP2_OK;
}
