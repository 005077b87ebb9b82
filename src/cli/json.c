#include "cli/json.h"

#include <stdlib.h>
#include <string.h>

size_t b2_utf8_length(const unsigned char *s) {
    if (s[0] < 0x80) return 1;
    const size_t n = s[0] >= 0xC2 && s[0] <= 0xDF ? 2 : s[0] >= 0xE0 && s[0] <= 0xEF ? 3 : s[0] >= 0xF0 && s[0] <= 0xF4 ? 4 : 0;
    const unsigned char low = s[0] == 0xE0 ? 0xA0 : s[0] == 0xF0 ? 0x90 : 0x80;
    const unsigned char high = s[0] == 0xED ? 0x9F : s[0] == 0xF4 ? 0x8F : 0xBF;
    if (n > 0 && (s[1] < low || s[1] > high)) return 0;
    for (size_t i = 2; i < n; i++)
        if ((s[i] & 0xC0) != 0x80) return 0;
    return n;
}

bool b2_is_utf8(const char *text) {
    for (const unsigned char *s = (const unsigned char *)text; *s != '\0';) {
        const size_t n = b2_utf8_length(s);
        if (n == 0) return false;
        s += n;
    }
    return true;
}

/* The inside of a JSON string, up to end. */
static void write_characters(const unsigned char *s, const unsigned char *end, FILE *out) {
    while (s < end) {
        const size_t n = b2_utf8_length(s);
        if (n == 0) fputs("\\ufffd", out);
        else if (*s == '"' || *s == '\\') fprintf(out, "\\%c", *s);
        else if (*s == '\n') fputs("\\n", out);
        else if (*s == '\r') fputs("\\r", out);
        else if (*s == '\t') fputs("\\t", out);
        else if (*s < 0x20) fprintf(out, "\\u%04x", *s);
        else fwrite(s, 1, n, out);
        s += n > 0 ? n : 1;
    }
}

static void write_part(const char *text, size_t len, FILE *out) {
    putc('"', out);
    write_characters((const unsigned char *)text, (const unsigned char *)text + len, out);
    putc('"', out);
}

void b2_json_write_string(const char *text, FILE *out) { write_part(text, strlen(text), out); }

void b2_json_write_list(const char *joined, const char *separator, FILE *out) {
    putc('[', out);
    for (const char *at = joined, *next; *at != '\0'; at = next) {
        const char *end = strstr(at, separator);
        next = end != NULL ? end + strlen(separator) : at + strlen(at);
        if (at > joined) putc(',', out);
        write_part(at, end != NULL ? (size_t)(end - at) : strlen(at), out);
    }
    putc(']', out);
}

/* ---- base64 (RFC 4648) ------------------------------------------------------------------------------------------------ */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void b2_base64_write(const uint8_t *bytes, size_t n, FILE *out) {
    for (size_t i = 0; i < n; i += 3) {
        uint32_t group = 0;
        for (size_t k = 0; k < 3; k++) group = group << 8 | (i + k < n ? bytes[i + k] : 0);
        for (size_t k = 0; k < 4; k++) putc(i + k <= n ? alphabet[group >> (18 - 6 * k) & 63] : '=', out);
    }
}

uint8_t *b2_base64_read(const char *text, size_t *n) {
    const size_t len = strlen(text);
    uint8_t *bytes = len % 4 == 0 ? malloc(len / 4 * 3 + 1) : NULL;
    if (bytes == NULL) return NULL;
    *n = 0;
    uint32_t group = 0;
    size_t n_data = 0;
    for (size_t i = 0; i < len; i++) {
        const char *at = text[i] == '=' ? alphabet : strchr(alphabet, text[i]);
        if (at == NULL || (text[i] == '=' && i + 2 < len) || (text[i] != '=' && i > 0 && text[i - 1] == '=')) {
            free(bytes);
            return NULL;
        }
        group = group << 6 | (uint32_t)(at - alphabet);
        n_data += text[i] != '=';
        if (i % 4 != 3) continue;
        for (size_t k = 0; k < 3; k++) bytes[(*n)++] = (uint8_t)(group >> (16 - 8 * k));
        group = 0;
    }
    *n = n_data * 3 / 4;
    bytes[*n] = '\0';
    return bytes;
}
