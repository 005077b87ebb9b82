/* terminal.c: see terminal.h. */
#define _GNU_SOURCE /* fopencookie */
#include "console/terminal.h"

#include "base/status.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct guard {
    FILE *terminal;
    char pending[B2_UTF8_MAX]; /* the bytes of a character that the last write cut through */
    size_t n_pending;
} guard;

/* Are the n bytes at s the beginning of a longer character, as far as they go? */
static bool is_cut(const char *s, size_t n) {
    const unsigned char lead = (unsigned char)s[0];
    const size_t want = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC2 ? 2 : 1;
    return n < want;
}

static void put_printable(guard *g, const char *s, size_t n) {
    for (size_t i = 0; i < n;) {
        const size_t len = b2_printable_length(s + i, n - i);
        if (len == 0 && n - i < B2_UTF8_MAX && is_cut(s + i, n - i)) {
            g->n_pending = n - i;
            memmove(g->pending, s + i, g->n_pending);
            return;
        }
        if (len > 0) fwrite(s + i, 1, len, g->terminal);
        else putc(s[i] == '\n' || s[i] == '\t' ? s[i] : '?', g->terminal);
        i += len > 0 ? len : 1;
    }
}

static ssize_t write_guarded(void *context, const char *bytes, size_t n) {
    guard *g = context;
    size_t n_joined = 0;
    while (g->n_pending > 0 && n_joined < n) { /* byte by byte until that character is whole, or none */
        char joined[B2_UTF8_MAX + 1];
        const size_t n_all = g->n_pending + 1;
        memcpy(joined, g->pending, g->n_pending);
        joined[g->n_pending] = bytes[n_joined++];
        g->n_pending = 0;
        put_printable(g, joined, n_all);
    }
    put_printable(g, bytes + n_joined, n - n_joined);
    return fflush(g->terminal) == 0 && !ferror(g->terminal) ? (ssize_t)n : 0;
}

static int close_guarded(void *context) {
    guard *g = context;
    if (g->n_pending > 0) putc('?', g->terminal);
    const int result = fclose(g->terminal);
    free(g);
    return result;
}

FILE *b2_terminal_guard(FILE *file, int fd) {
    if (file == NULL || isatty(fd) != 1) return file;
    guard *g = calloc(1, sizeof *g);
    FILE *front = g != NULL
                      ? fopencookie(g, "wb", (cookie_io_functions_t){.write = write_guarded, .close = close_guarded})
                      : NULL;
    if (front != NULL) {
        g->terminal = file;
        setvbuf(front, NULL, _IOLBF, BUFSIZ);
        return front;
    }
    free(g);
    fclose(file);
    return NULL;
}

void b2_print_text(const char *text, FILE *out) {
    while (*text != '\0') {
        const size_t len = b2_printable_length(text, B2_UTF8_MAX);
        if (len > 0) fwrite(text, 1, len, out);
        else putc('?', out);
        text += len > 0 ? len : 1;
    }
}
