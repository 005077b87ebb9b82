/* pickle_names.h: the names of Python things that a checkpoint's pickle may use. All others are refused. */
#ifndef B2_PICKLE_NAMES_H
#define B2_PICKLE_NAMES_H

#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>

typedef enum b2_pickle_function {
    B2_PICKLE_NO_FUNCTION,
    B2_PICKLE_ORDERED_DICT,
    B2_PICKLE_REBUILD_TENSOR,
    B2_PICKLE_REBUILD_PARAMETER
} b2_pickle_function;

b2_pickle_function b2_pickle_find_function(const b2_text *module, const b2_text *name);

/* "FloatStorage" and the like, static; NULL: none. */
const char *b2_pickle_find_storage_type(const b2_text *module, const b2_text *name);

bool b2_pickle_is_word(const b2_text *word, const char *text);

/* For sentences: a word out of the pickle, or what is wrong with it. */
enum { B2_PICKLE_WORD_BYTES = 101 };
const char *b2_pickle_word_text(const b2_text *word, char text[B2_PICKLE_WORD_BYTES]);

#endif
