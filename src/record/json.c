/* json.c: jansson writes whole documents; a line of ours goes out member by member, so it is written here. */
#include "record/json.h"

#include "base/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void b2_json_write_string(const char *text, FILE *out) { b2_json_write_text(text, strlen(text), out); }

void b2_json_write_member(const char *key, const char *value, FILE *out) {
    putc(',', out);
    b2_json_write_string(key, out);
    putc(':', out);
    b2_json_write_string(value, out);
}

void b2_json_write_ints(const char *key, const int32_t *values, size_t n, FILE *out) {
    fprintf(out, ",\"%s\":[", key);
    for (size_t i = 0; i < n; i++) fprintf(out, "%s%" PRId32, i > 0 ? "," : "", values[i]);
    putc(']', out);
}

void b2_json_write_number(double value, FILE *out) {
    if (isfinite(value)) fprintf(out, "%.9g", value);
    else fputs("null", out);
}

void b2_json_write_floats(const char *key, const float *values, size_t n, FILE *out) {
    fprintf(out, ",\"%s\":[", key);
    for (size_t i = 0; i < n; i++) {
        fputs(i > 0 ? "," : "", out);
        b2_json_write_number((double)values[i], out);
    }
    putc(']', out);
}

void b2_json_write_bytes(const char *key, const char *text, FILE *out) {
    b2_json_write_member(key, text, out);
    if (b2_is_utf8(text)) return;
    fprintf(out, ",\"%s_base64\":\"", key);
    b2_base64_write((const uint8_t *)text, strlen(text), out);
    putc('"', out);
}

/* ---- base64 (RFC 4648) ----------------------------------------------------------------------------------------- */

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
