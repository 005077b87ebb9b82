/* stored_tensor.h: a tensor as a checkpoint lists it, whatever the container. */
#ifndef B2_STORED_TENSOR_H
#define B2_STORED_TENSOR_H

#include "base/status.h"
#include "quant/dtype.h"

enum {
    B2_STORED_DIMS_MAX = 8,
    B2_STORED_NAME_MAX = 255, /* bytes; the longest name of a BLIP-2 has 74 */
    B2_STORED_TYPE_BYTES = 16,
    B2_STORED_TENSORS_MAX = 100000 /* a BLIP-2 has 1248 */
};

typedef struct b2_stored_tensor {
    char *name;
    char type_name[B2_STORED_TYPE_BYTES]; /* as the container spells it, cut */
    const char *refusal;                  /* why it cannot be read ("its type is"...); NULL when it can */
    b2_dtype dtype;                       /* F32, F16, BF16 or I8; with a refusal, only its size counts */
    uint32_t n_dims;
    uint64_t dims[B2_STORED_DIMS_MAX];
    uint64_t n_elements;
    size_t shard;                 /* which file of the checkpoint */
    uint64_t entry, offset_bytes; /* where its first element lies: entry of the container, byte inside it */
} b2_stored_tensor;

typedef struct b2_tensor_list {
    b2_stored_tensor *items;
    size_t n, capacity;
} b2_tensor_list;

/* Appends a tensor of this name, all else zero. path is only named in errors.
 * Errors: BLIP2_FORMAT (a name that is empty, too long or not printable ASCII), BLIP2_LIMIT, BLIP2_MEMORY. */
blip2_status b2_tensor_list_add(b2_tensor_list *list, const char *path, const char *name, size_t name_len,
                                b2_stored_tensor **out, blip2_error *err);

/* Sorts by name. Errors: BLIP2_FORMAT when a name occurs twice. */
blip2_status b2_tensor_list_sort(b2_tensor_list *list, blip2_error *err);

void b2_tensor_list_free(b2_tensor_list *list);

/* Product of the dimensions; false when it does not fit 2^56 (then times 8 bytes it still fits 64 bits). */
bool b2_stored_count(const uint64_t *dims, uint32_t n_dims, uint64_t *n_elements);

/* "[4224, 1408]", as Python prints it. */
enum { B2_SHAPE_TEXT_BYTES = 96 };
void b2_stored_print_shape(const uint64_t *dims, uint32_t n_dims, char text[B2_SHAPE_TEXT_BYTES]);

#endif
