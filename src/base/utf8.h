/* utf8.h: UTF-8 at every door: which bytes are characters, which characters they are, and how broken text
 * is repaired. */
#ifndef B2_UTF8_H
#define B2_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the valid character at s (Unicode table 3-7), of which at most n_bytes may be read; 0: none. For a
 * NUL-terminated string any n_bytes will do, B2_UTF8_MAX for instance. */
size_t b2_utf8_length(const void *s, size_t n_bytes);
enum { B2_UTF8_MAX = 4 };

/* The character at s, n_bytes > 0: its length, and its code point in *c. A byte that begins no valid character counts
 * as one: its length is 1 and *c is -1. */
size_t b2_utf8_decode(const void *s, size_t n_bytes, int32_t *c);

/* The number of leading bytes of text[len] that are whole characters: len when all of it is UTF-8. */
size_t b2_utf8_valid_len(const char *text, size_t len);
bool b2_is_utf8(const char *text);

/* Length of the byte-order mark that Windows' editors put before the first line: 3, or 0 where there is none. */
size_t b2_utf8_mark(const char *text, size_t len);

/* Takes bytes one at a time and writes characters; each broken sequence, as far as it could have become a character
 * (Unicode's "maximal subpart", the rule of Python's errors="replace"), becomes one U+FFFD. */
typedef struct b2_utf8_writer {
    char *text;
    size_t capacity;              /* of text, the final NUL included */
    size_t n_written;             /* bytes in text */
    size_t n_needed;              /* bytes of the whole text, written or not */
    uint8_t pending[B2_UTF8_MAX]; /* the character that has begun */
    size_t n_pending, n_missing;
    uint8_t low, high; /* what its next byte may be */
} b2_utf8_writer;

void b2_utf8_put(b2_utf8_writer *writer, uint8_t byte);

/* Ends an unfinished character and the text with NUL; returns n_needed. */
size_t b2_utf8_finish(b2_utf8_writer *writer);

#endif
