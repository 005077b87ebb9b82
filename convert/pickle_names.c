#include "convert/pickle_names.h"

#include <string.h>

bool b2_pickle_is_word(const b2_text *word, const char *text) {
    return word->len == strlen(text) && memcmp(word->data, text, word->len) == 0;
}

const char *b2_pickle_word_text(const b2_text *word, char text[B2_PICKLE_WORD_BYTES]) {
    if (word->len >= B2_PICKLE_WORD_BYTES) return "(a long name)";
    for (size_t i = 0; i < word->len; i++)
        if (word->data[i] < 0x20 || word->data[i] > 0x7E) return "(an unprintable name)";
    memcpy(text, word->data, word->len);
    text[word->len] = '\0';
    return text;
}

b2_pickle_function b2_pickle_find_function(const b2_text *module, const b2_text *name) {
    static const struct {
        const char *module, *name;
        b2_pickle_function id;
    } FUNCTIONS[] = {{"collections", "OrderedDict", B2_PICKLE_ORDERED_DICT},
                     {"torch._utils", "_rebuild_tensor", B2_PICKLE_REBUILD_TENSOR}, /* before PyTorch 0.4 */
                     {"torch._utils", "_rebuild_tensor_v2", B2_PICKLE_REBUILD_TENSOR},
                     {"torch._utils", "_rebuild_parameter", B2_PICKLE_REBUILD_PARAMETER}};
    for (size_t i = 0; i < sizeof FUNCTIONS / sizeof *FUNCTIONS; i++)
        if (b2_pickle_is_word(module, FUNCTIONS[i].module) && b2_pickle_is_word(name, FUNCTIONS[i].name))
            return FUNCTIONS[i].id;
    return B2_PICKLE_NO_FUNCTION;
}

const char *b2_pickle_find_storage_type(const b2_text *module, const b2_text *name) {
    static const char *const TYPES[] = {"FloatStorage", "HalfStorage", "BFloat16Storage", "DoubleStorage",
                                        "LongStorage",  "IntStorage",  "ShortStorage",    "CharStorage",
                                        "ByteStorage",  "BoolStorage"};
    if (!b2_pickle_is_word(module, "torch") && !b2_pickle_is_word(module, "torch.cuda")) return NULL;
    for (size_t i = 0; i < sizeof TYPES / sizeof *TYPES; i++)
        if (b2_pickle_is_word(name, TYPES[i])) return TYPES[i];
    return NULL;
}
