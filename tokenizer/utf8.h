/* utf8.h: UTF-8 at both doors: what comes in must be valid, what goes out is made valid. */
#ifndef B2_UTF8_H
#define B2_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* The number of leading bytes of text[len] that are whole characters: len when all of it is UTF-8. */
size_t b2_utf8_valid_len(const char *text, size_t len);

/* Takes bytes one at a time and writes characters; each broken sequence, as far as it could have become a character
 * (Unicode's "maximal subpart", the rule of Python's errors="replace"), becomes one U+FFFD. */
typedef struct b2_utf8_writer {
    char *text;
    size_t capacity;    /* of text, the final NUL included */
    size_t n_written;   /* bytes in text */
    size_t n_needed;    /* bytes of the whole text, written or not */
    uint8_t pending[4]; /* the character that has begun */
    unsigned n_pending, n_missing;
    uint8_t low, high; /* what its next byte may be */
} b2_utf8_writer;

void b2_utf8_put(b2_utf8_writer *writer, uint8_t byte);

/* Ends an unfinished character and the text with NUL; returns n_needed. */
size_t b2_utf8_finish(b2_utf8_writer *writer);

#endif
