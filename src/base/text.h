/* text.h: a view of bytes that are meant as text, not NUL-terminated, owned by somebody else. */
#ifndef B2_TEXT_H
#define B2_TEXT_H

#include <stddef.h>

typedef struct b2_text {
    const char *data;
    size_t len;
} b2_text;

#endif
