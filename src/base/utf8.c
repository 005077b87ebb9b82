/* utf8.c: the table of valid sequences stands once, in `begin`; reading whole characters and repairing a stream of
 * bytes both follow it. */
#include "base/utf8.h"

#include <string.h>

/* How many bytes a character has that begins with this byte (0: none does), and what its second byte may be. That range
 * keeps out overlong forms (E0, F0), surrogates (ED) and what lies beyond U+10FFFF (F4). */
static size_t begin(uint8_t byte, uint8_t *low, uint8_t *high) {
    *low = byte == 0xE0 ? 0xA0 : byte == 0xF0 ? 0x90 : 0x80;
    *high = byte == 0xED ? 0x9F : byte == 0xF4 ? 0x8F : 0xBF;
    if (byte < 0x80) return 1;
    if (byte < 0xC2 || byte > 0xF4) return 0;
    return byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

size_t b2_utf8_length(const void *s, size_t n_bytes) {
    const uint8_t *bytes = s;
    uint8_t low, high;
    if (n_bytes == 0) return 0;
    const size_t n = begin(bytes[0], &low, &high);
    if (n > n_bytes) return 0;
    for (size_t i = 1; i < n; i++, low = 0x80, high = 0xBF)
        if (bytes[i] < low || bytes[i] > high) return 0;
    return n;
}

size_t b2_utf8_decode(const void *s, size_t n_bytes, int32_t *c) {
    static const uint8_t lead_bits[B2_UTF8_MAX + 1] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    const uint8_t *bytes = s;
    const size_t n = b2_utf8_length(s, n_bytes);
    *c = n > 0 ? bytes[0] & lead_bits[n] : -1;
    for (size_t i = 1; i < n; i++) *c = *c << 6 | (bytes[i] & 0x3F);
    return n > 0 ? n : 1;
}

size_t b2_utf8_valid_len(const char *text, size_t len) {
    size_t i = 0;
    for (size_t n; (n = b2_utf8_length(text + i, len - i)) > 0;) i += n;
    return i;
}

bool b2_is_utf8(const char *text) {
    const size_t len = strlen(text);
    return b2_utf8_valid_len(text, len) == len;
}

size_t b2_utf8_mark(const char *text, size_t len) { return len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0; }

/* ---- repair ---------------------------------------------------------------------------------------------------- */

/* All of the character or none of it: what is written stays valid when it is cut. */
static void write_character(b2_utf8_writer *w, const void *bytes, size_t n) {
    w->n_pending = w->n_missing = 0;
    w->n_needed += n;
    if (w->n_needed >= w->capacity) return;
    memcpy(w->text + w->n_written, bytes, n);
    w->n_written = w->n_needed;
}

static void write_replacement(b2_utf8_writer *w) { write_character(w, "\xEF\xBF\xBD", 3); }

void b2_utf8_put(b2_utf8_writer *w, uint8_t byte) {
    if (w->n_missing > 0 && (byte < w->low || byte > w->high)) write_replacement(w);
    if (w->n_missing > 0) {
        w->n_missing--;
        w->low = 0x80;
        w->high = 0xBF;
    } else {
        const size_t n = begin(byte, &w->low, &w->high);
        if (n == 0) {
            write_replacement(w);
            return;
        }
        w->n_missing = n - 1;
    }
    w->pending[w->n_pending++] = byte;
    if (w->n_missing == 0) write_character(w, w->pending, w->n_pending);
}

size_t b2_utf8_finish(b2_utf8_writer *w) {
    if (w->n_missing > 0) write_replacement(w);
    if (w->capacity > 0) w->text[w->n_written] = '\0';
    return w->n_needed;
}
