/* json_scan.c: one pass without recursion, however deep the brackets go. */
#include "lists/json_scan.h"

#include "base/utf8.h"

#include <stdlib.h>

enum { MAX_DEPTH = 2048 };

static bool fail(b2_json_cursor *c, const char *why) {
    c->why = why;
    return false;
}

static bool is_at(const b2_json_cursor *c, char byte) { return c->at < c->end && *c->at == byte; }

void b2_json_skip_white(b2_json_cursor *c) {
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r')) c->at++;
}

/* ---- strings --------------------------------------------------------------------------------------------------- */

/* Four hexadecimal digits; -1: they are none. */
static int32_t read_hex(const char *at, const char *end) {
    int32_t value = 0;
    if (end - at < 4) return -1;
    for (int i = 0; i < 4; i++) {
        const char d = at[i];
        const int digit = d >= '0' && d <= '9'   ? d - '0'
                          : d >= 'a' && d <= 'f' ? d - 'a' + 10
                          : d >= 'A' && d <= 'F' ? d - 'A' + 10
                                                 : -1;
        if (digit < 0) return -1;
        value = value << 4 | digit;
    }
    return value;
}

static bool skip_escape(b2_json_cursor *c) {
    const char letter = c->at + 1 < c->end ? c->at[1] : '\0';
    if (letter == 'u' && read_hex(c->at + 2, c->end) >= 0) c->at += 6;
    else if (letter != '\0' && strchr("\"\\/bfnrt", letter) != NULL) c->at += 2;
    else return fail(c, "an escape that JSON does not have");
    return true;
}

/* *raw: what stands between the quotes. */
static bool skip_string(b2_json_cursor *c, b2_text *raw) {
    const char *start = ++c->at;
    while (c->at < c->end && *c->at != '"') {
        const unsigned char byte = (unsigned char)*c->at;
        if (byte == '\\') {
            if (!skip_escape(c)) return false;
            continue;
        }
        const size_t n = byte < 0x80 ? 1 : b2_utf8_length(c->at, (size_t)(c->end - c->at));
        if (byte < 0x20) return fail(c, "a control character in a string");
        if (n == 0) return fail(c, "bytes that are not UTF-8");
        c->at += n;
    }
    if (c->at == c->end) return fail(c, "a string that never ends");
    *raw = (b2_text){start, (size_t)(c->at++ - start)};
    return true;
}

static size_t write_utf8(int32_t c, char *out) {
    size_t n = 0;
    if (c < 0x80) out[n++] = (char)c;
    else if (c < 0x800) out[n++] = (char)(0xC0 | c >> 6);
    else if (c < 0x10000) out[n++] = (char)(0xE0 | c >> 12);
    else {
        out[n++] = (char)(0xF0 | c >> 18);
        out[n++] = (char)(0x80 | (c >> 12 & 0x3F));
    }
    if (c >= 0x800) out[n++] = (char)(0x80 | (c >> 6 & 0x3F));
    if (c >= 0x80) out[n++] = (char)(0x80 | (c & 0x3F));
    return n;
}

/* The escape at *at, which goes to its end. */
static size_t write_escape(const char **at, const char *end, char *out) {
    static const char letters[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
    const char letter = (*at)[1];
    if (letter != 'u') {
        *at += 2;
        out[0] = means[strchr(letters, letter) - letters];
        return 1;
    }
    int32_t c = read_hex(*at + 2, end);
    *at += 6;
    const bool has_second = c >= 0xD800 && c < 0xDC00 && end - *at >= 6 && (*at)[0] == '\\' && (*at)[1] == 'u';
    const int32_t second = has_second ? read_hex(*at + 2, end) : -1;
    if (second >= 0xDC00 && second < 0xE000) {
        c = 0x10000 + ((c - 0xD800) << 10) + (second - 0xDC00);
        *at += 6;
    } else if (c >= 0xDC80 && c <= 0xDCFF) {
        out[0] = (char)(c - 0xDC00);
        return 1;
    }
    return write_utf8(c, out);
}

char *b2_json_unescape(b2_text raw, size_t *len) {
    char *text = malloc(raw.len + 1); /* an escape is never shorter than what it means */
    *len = 0;
    if (text == NULL) return NULL;
    for (const char *at = raw.data, *end = at + raw.len; at < end;) {
        if (*at == '\\') *len += write_escape(&at, end, text + *len);
        else text[(*len)++] = *at++;
    }
    text[*len] = '\0';
    return text;
}

static bool is_key(b2_text raw, const char *key) {
    if (memchr(raw.data, '\\', raw.len) == NULL) return raw.len == strlen(key) && memcmp(raw.data, key, raw.len) == 0;
    size_t len;
    char *text = b2_json_unescape(raw, &len);
    const bool is_same = text != NULL && len == strlen(key) && memcmp(text, key, len) == 0;
    free(text);
    return is_same;
}

/* ---- values ---------------------------------------------------------------------------------------------------- */

static size_t skip_digits(b2_json_cursor *c) {
    const char *start = c->at;
    while (c->at < c->end && *c->at >= '0' && *c->at <= '9') c->at++;
    return (size_t)(c->at - start);
}

static bool skip_number(b2_json_cursor *c) {
    static const char what[] = "expected a value";
    c->at += is_at(c, '-');
    const bool is_zero = is_at(c, '0');
    if (is_zero) c->at++;
    else if (skip_digits(c) == 0) return fail(c, what);
    if (is_at(c, '.')) {
        c->at++;
        if (skip_digits(c) == 0) return fail(c, "a number without digits after its point");
    }
    if (is_at(c, 'e') || is_at(c, 'E')) {
        c->at++;
        c->at += is_at(c, '+') || is_at(c, '-');
        if (skip_digits(c) == 0) return fail(c, "a number without digits in its exponent");
    }
    return true;
}

/* Anything but an object or an array. */
static bool skip_scalar(b2_json_cursor *c, b2_text *raw) {
    static const char *const words[] = {"null", "true", "false", "NaN", "Infinity", "-Infinity"};
    *raw = (b2_text){NULL, 0};
    if (is_at(c, '"')) return skip_string(c, raw);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        const size_t n = strlen(words[i]);
        if ((size_t)(c->end - c->at) < n || memcmp(c->at, words[i], n) != 0) continue;
        c->at += n;
        return true;
    }
    return skip_number(c);
}

/* The name of a member and its colon; *is_wanted: it is the key. */
static bool skip_name(b2_json_cursor *c, const char *key, bool *is_wanted) {
    b2_text raw;
    b2_json_skip_white(c);
    if (!is_at(c, '"')) return fail(c, "expected a member's name in quotes");
    if (!skip_string(c, &raw)) return false;
    b2_json_skip_white(c);
    if (!is_at(c, ':')) return fail(c, "expected ':' after a member's name");
    c->at++;
    *is_wanted = key != NULL && is_key(raw, key);
    return true;
}

bool b2_json_skip_value(b2_json_cursor *c, const char *key, b2_text *text) {
    bool is_object[MAX_DEPTH + 1]; /* from 1: what each open bracket is */
    bool is_wanted = false;        /* the value that comes is the key's */
    if (text != NULL) *text = (b2_text){NULL, 0};
    for (size_t depth = 0;;) {
        b2_text raw = {NULL, 0};
        b2_json_skip_white(c);
        bool has_value = true;
        if (is_at(c, '{') || is_at(c, '[')) {
            if (depth == MAX_DEPTH) return fail(c, "brackets nested too deep");
            is_object[++depth] = *c->at++ == '{';
            b2_json_skip_white(c);
            has_value = is_at(c, is_object[depth] ? '}' : ']'); /* it is empty: its end is met below */
            if (is_wanted && depth == 2) *text = raw;
            is_wanted = false;
            if (!has_value && is_object[depth] && !skip_name(c, depth == 1 ? key : NULL, &is_wanted)) return false;
        } else if (!skip_scalar(c, &raw)) {
            return false;
        } else if (is_wanted) {
            *text = raw;
        }
        while (has_value) { /* after a value: its brackets end, or another value comes */
            if (depth == 0) return true;
            b2_json_skip_white(c);
            const bool goes_on = is_at(c, ',');
            if (!goes_on && !is_at(c, is_object[depth] ? '}' : ']'))
                return fail(c, "expected ',' or a closing bracket");
            c->at++;
            if (!goes_on) {
                depth--;
                continue;
            }
            has_value = is_wanted = false;
            if (is_object[depth] && !skip_name(c, depth == 1 ? key : NULL, &is_wanted)) return false;
        }
    }
}

bool b2_json_is_value(b2_text json, const char *key, b2_text *text, const char **why) {
    b2_json_cursor c = {.at = json.data, .end = json.data + json.len};
    bool is_one = b2_json_skip_value(&c, key, text);
    b2_json_skip_white(&c);
    if (is_one && c.at < c.end) is_one = fail(&c, "something after its end");
    *why = c.why;
    return is_one;
}
