/* decoding.h: how the next token is chosen, as decoding.def lists it: the values, and their way into JSON and back. */
#ifndef B2_DECODING_H
#define B2_DECODING_H

#include "blip2.h"

#include <jansson.h>

typedef struct b2_decoding_row {
    enum { B2_DECODING_SIZE, B2_DECODING_REAL, B2_DECODING_TEXT, B2_DECODING_FLAG, B2_DECODING_SEED } type;
    size_t offset; /* of the member, in blip2_decoding, or b2_spec (asking.def) */
    double low, high, fallback;
    const char *key, *flag, *help; /* flag and help: NULL in asking.def's */
} b2_decoding_row;

/* The rows of decoding.def, *n of them. */
const b2_decoding_row *b2_decoding_rows(size_t *n);

/* Every row at its fallback. */
blip2_decoding b2_decoding_fallback(void);

/* Whether the member is not at its fallback; whether two have the same. */
bool b2_decoding_differs(const b2_decoding_row *row, const void *values);
bool b2_decoding_is_same(const b2_decoding_row *row, const void *a, const void *b);

/* Sets the key of object to the member of values, for a first row that is a number (always) and each that is not at its
 * fallback: an older program can read what does not use what it does not know. */
void b2_decoding_to_json(const b2_decoding_row *rows, size_t n, const void *values, json_t *object);
/* Reads each row's member; a key that is absent is at its fallback. False when a value is not a
 * number within its range, or not a text. Texts live as long as the JSON. */
bool b2_decoding_from_json(const b2_decoding_row *rows, size_t n, const json_t *object, void *values);

#endif
