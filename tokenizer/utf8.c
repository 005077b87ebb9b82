/* utf8.c: see utf8.h. */
#include "tokenizer/utf8.h"

#include <string.h>
#include <utf8proc.h>

size_t b2_utf8_valid_len(const char *text, size_t len) {
    size_t i = 0;
    while (i < len) {
        utf8proc_int32_t c;
        const utf8proc_ssize_t n =
            utf8proc_iterate((const utf8proc_uint8_t *)text + i, (utf8proc_ssize_t)(len - i), &c);
        if (n <= 0) break;
        i += (size_t)n;
    }
    return i;
}

/* All of the character or none of it: what is written stays valid when it is cut. */
static void write_character(b2_utf8_writer *w, const void *bytes, size_t n) {
    w->n_needed += n;
    if (w->n_needed >= w->capacity) return;
    memcpy(w->text + w->n_written, bytes, n);
    w->n_written = w->n_needed;
}

static void write_replacement(b2_utf8_writer *w) {
    write_character(w, "\xEF\xBF\xBD", 3);
    w->n_pending = w->n_missing = 0;
}

/* The second byte's range keeps out overlong forms (E0, F0), surrogates (ED) and what lies beyond U+10FFFF (F4). */
static void begin_character(b2_utf8_writer *w, uint8_t byte) {
    if (byte < 0x80) {
        write_character(w, &byte, 1);
    } else if (byte >= 0xC2 && byte <= 0xF4) {
        w->pending[0] = byte;
        w->n_pending = 1;
        w->n_missing = byte < 0xE0 ? 1 : byte < 0xF0 ? 2 : 3;
        w->low = byte == 0xE0 ? 0xA0 : byte == 0xF0 ? 0x90 : 0x80;
        w->high = byte == 0xED ? 0x9F : byte == 0xF4 ? 0x8F : 0xBF;
    } else {
        write_replacement(w);
    }
}

void b2_utf8_put(b2_utf8_writer *w, uint8_t byte) {
    if (w->n_missing > 0 && byte >= w->low && byte <= w->high) {
        w->pending[w->n_pending++] = byte;
        w->low = 0x80;
        w->high = 0xBF;
        if (--w->n_missing > 0) return;
        write_character(w, w->pending, w->n_pending);
        w->n_pending = 0;
        return;
    }
    if (w->n_missing > 0) write_replacement(w);
    begin_character(w, byte);
}

size_t b2_utf8_finish(b2_utf8_writer *w) {
    if (w->n_missing > 0) write_replacement(w);
    if (w->capacity > 0) w->text[w->n_written] = '\0';
    return w->n_needed;
}
