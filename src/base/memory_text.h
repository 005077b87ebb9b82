/* memory_text.h: text that is printed into memory. Where it cannot grow, glibc's stream leaves bytes out and its error
 * flag alone: only errno tells, once; here it is asked in one place, so that no text is ever half. */
#ifndef B2_MEMORY_TEXT_H
#define B2_MEMORY_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

typedef struct b2_memory_text {
    FILE *file;
    char *text; /* after b2_memory_text_end(): NUL-terminated, from malloc, the caller's */
    size_t len;
    bool lacks_memory;
} b2_memory_text;

/* The stream to print to; NULL without memory (errno ENOMEM): then nothing is to be ended. It does not move. */
FILE *b2_memory_text_begin(b2_memory_text *memory);

/* Between the two, before a call that may clear errno. */
void b2_memory_text_note(b2_memory_text *memory);

/* Closes the stream. False: bytes are missing, text is NULL and errno ENOMEM. */
bool b2_memory_text_end(b2_memory_text *memory);

#endif
