/* terminal.h: text on its way to a terminal, which obeys control characters: a file name, a caption or a field of a
 * list may hold any. */
#ifndef B2_TERMINAL_H
#define B2_TERMINAL_H

#include <stdio.h>

/* When file, which writes to fd, leads to a terminal: a stream in front of it, line by line, in which everything that
 * is not printable UTF-8, newline or tab becomes '?'. Closing it closes file. Otherwise file itself: bytes stay exact.
 * NULL without memory: file is closed then. file NULL: NULL. */
FILE *b2_terminal_guard(FILE *file, int fd);

/* Prints one line's worth of text, wherever it goes: '?' for everything that is not printable UTF-8. */
void b2_print_text(const char *text, FILE *out);

#endif
