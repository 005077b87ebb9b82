/* pickle.h: reads the data.pkl of a PyTorch checkpoint without being able to execute anything.
 *
 * A pickle is a program for a stack machine whose opcodes can call any Python function. This machine knows the 32
 * opcodes that torch.save writes for a dictionary of tensors, and three functions: OrderedDict() makes a dictionary,
 * _rebuild_tensor_v2 a tensor, _rebuild_parameter hands its tensor through. Anything else is refused by name. */
#ifndef B2_PICKLE_H
#define B2_PICKLE_H

#include "base/text.h"
#include "convert/stored_tensor.h"

enum { B2_PICKLE_MAX_BYTES = 64 << 20 }; /* that of a BLIP-2 has 200 KB */

/* One entry of the outermost dictionary. Texts point into the pickle. */
typedef struct b2_pickle_tensor {
    b2_text name, key;         /* key: which storage; several tensors may share one */
    const char *type_name;     /* "FloatStorage": static */
    uint64_t storage_elements; /* of the storage */
    uint64_t offset;           /* of the tensor's first element in it */
    uint32_t n_dims;
    uint64_t dims[B2_STORED_DIMS_MAX];
    uint64_t n_elements;
    bool is_contiguous; /* row-major without gaps, and inside its storage */
} b2_pickle_tensor;

typedef struct b2_pickle_tensors {
    b2_pickle_tensor *items;
    size_t n;
} b2_pickle_tensors;

/* path is only named in errors, which say opcode or function and position. n_used may be NULL: where the pickle ends.
 * Errors: BLIP2_FORMAT (broken), BLIP2_UNSUPPORTED (would have to execute something), BLIP2_LIMIT, BLIP2_MEMORY. */
blip2_status b2_pickle_read(const char *path, const uint8_t *data, size_t size, size_t *n_used, b2_pickle_tensors *out,
                            blip2_error *err);
void b2_pickle_tensors_free(b2_pickle_tensors *tensors);

/* A list of strings; any other result gives an empty one. Texts point into the pickle. */
typedef struct b2_pickle_words {
    b2_text *items;
    size_t n;
} b2_pickle_words;

/* The same for the small pickles around the dictionary in files from before PyTorch 1.6 (torch_old.h). */
blip2_status b2_pickle_read_words(const char *path, const uint8_t *data, size_t size, size_t *n_used,
                                  b2_pickle_words *out, blip2_error *err);
void b2_pickle_words_free(b2_pickle_words *words);

#endif
