/* list_text.c: see list_text.h. Two passes: the first counts, so that the text is allocated once. */
#include "lists/list_text.h"

#include "base/file.h"

#include <stdlib.h>
#include <string.h>

bool b2_utf16_has_mark(const char *text, size_t n_bytes) {
    return n_bytes >= 2 && (memcmp(text, "\xFF\xFE", 2) == 0 || memcmp(text, "\xFE\xFF", 2) == 0);
}

/* A character's bytes in out (NULL: counted only); how many they are. */
static size_t encode(uint32_t c, uint8_t *out) {
    const size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const uint8_t leads[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = n; out != NULL && i-- > 0; c >>= 6)
        out[i] = i == 0 ? (uint8_t)(leads[n] | c) : (uint8_t)(0x80 | (c & 0x3F));
    return n;
}

/* UTF-16 bytes as UTF-8 in out (NULL: counted only); how many bytes that are. A last odd byte is half a unit. */
static size_t convert(const uint8_t *text, size_t n_bytes, uint8_t *out) {
    const size_t high = text[0] == 0xFF ? 1 : 0, low = 1 - high;
    uint32_t lead = 0; /* the first half of a pair */
    size_t n = 0;
    for (size_t i = 0; i < n_bytes; i += 2) {
        const bool is_whole = i + 1 < n_bytes;
        const uint32_t unit = is_whole ? (uint32_t)text[i + high] << 8 | text[i + low] : 0xFFFD;
        const bool is_trail = unit >= 0xDC00 && unit < 0xE000;
        if (lead != 0 && !is_trail) n += encode(0xFFFD, out != NULL ? out + n : NULL);
        if (unit >= 0xD800 && unit < 0xDC00) {
            lead = unit;
            continue;
        }
        const uint32_t c = !is_trail ? unit : lead != 0 ? 0x10000 + ((lead - 0xD800) << 10) + (unit - 0xDC00) : 0xFFFD;
        n += encode(c, out != NULL ? out + n : NULL);
        lead = 0;
    }
    return lead != 0 ? n + encode(0xFFFD, out != NULL ? out + n : NULL) : n;
}

blip2_status b2_list_to_utf8(char **text, size_t *n_bytes, const char *name, blip2_error *err) {
    if (!b2_utf16_has_mark(*text, *n_bytes)) return BLIP2_OK;
    const uint8_t *units = (const uint8_t *)*text;
    const size_t n = convert(units, *n_bytes, NULL);
    char *utf8 = malloc(n + 1);
    if (utf8 == NULL) return b2_fail(err, BLIP2_MEMORY, "%s: no memory to read it", name);
    convert(units, *n_bytes, (uint8_t *)utf8);
    utf8[n] = '\0';
    free(*text);
    *text = utf8;
    *n_bytes = n;
    return BLIP2_OK;
}

blip2_status b2_list_read(const char *path, char **text, size_t *n_bytes, blip2_error *err) {
    B2_TRY(b2_input_read(path, text, n_bytes, err));
    const blip2_status status = b2_list_to_utf8(text, n_bytes, path, err);
    if (status == BLIP2_OK) return BLIP2_OK;
    free(*text);
    *text = NULL;
    return status;
}

size_t b2_list_line(const char *text, const char *place) {
    size_t n = 1;
    for (; text < place; text++) n += *text == '\n';
    return n;
}
