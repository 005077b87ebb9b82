/* json_scan.h: JSON as Python writes and reads it (NaN, Infinity, integers of any size, lone surrogates), looked at
 * without taking it apart: what is carried through stays the bytes that it was. */
#ifndef B2_JSON_SCAN_H
#define B2_JSON_SCAN_H

#include "base/text.h"

typedef struct b2_json_cursor {
    const char *at, *end;
    const char *why; /* what is wrong at `at`, after a false; a literal */
} b2_json_cursor;

void b2_json_skip_white(b2_json_cursor *c);

/* Goes to the end of the value at the cursor. key NULL, or: of an object *text is the raw text between the quotes of
 * its member of that name, the last one if there are several; text->data is NULL where there is none or it is not a
 * string. False: no JSON value is there. */
bool b2_json_skip_value(b2_json_cursor *c, const char *key, b2_text *text);

/* Is all of it one value, white space apart? *why: what is wrong if not. key, text: as above. */
bool b2_json_is_value(b2_text json, const char *key, b2_text *text, const char **why);

/* The string that raw text between quotes means, from malloc, with its length. A surrogate that has lost its other half
 * is the byte that Python's surrogateescape made it of (U+DC80 to U+DCFF), else three bytes. NULL without memory. */
char *b2_json_unescape(b2_text raw, size_t *len);

#endif
