#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A sentence that was cut must not end inside a UTF-8 sequence. */
static void trim_partial_utf8(char *s) {
    size_t len = strlen(s), start = len;
    while (start > 0 && ((unsigned char)s[start - 1] & 0xC0) == 0x80) start--;
    if (start == 0) return;
    const unsigned char lead = (unsigned char)s[start - 1];
    const size_t want = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    if (len - (start - 1) < want) s[start - 1] = '\0';
}

/* Length of the UTF-8 character at s, without those that move a terminal's cursor; 0 when there is none. */
static size_t printable_len(const unsigned char *s) {
    if (s[0] < 0x80) return s[0] >= 0x20 && s[0] != 0x7F;
    const size_t len = s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
    const unsigned char low = s[0] == 0xC2 ? 0xA0 : s[0] == 0xE0 ? 0xA0 : s[0] == 0xF0 ? 0x90 : 0x80;
    const unsigned char high = s[0] == 0xED ? 0x9F : s[0] == 0xF4 ? 0x8F : 0xBF;
    if (s[0] < 0xC2 || s[0] > 0xF4 || s[1] < low || s[1] > high) return 0;
    for (size_t i = 2; i < len; i++)
        if ((s[i] & 0xC0) != 0x80) return 0;
    return len;
}

/* Sentences quote names and pieces of files: whatever is no printable UTF-8 in them becomes '?'. */
static void flatten_unprintable(char *s) {
    while (*s != '\0') {
        const size_t len = printable_len((const unsigned char *)s);
        if (len == 0) *s = '?';
        s += len > 0 ? len : 1;
    }
}

blip2_status b2_fail(blip2_error *err, blip2_status status, const char *format, ...) {
    if (err == NULL) return status;
    err->status = status;
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    if (n < 0) err->message[0] = '\0';
    if ((size_t)n >= sizeof err->message) trim_partial_utf8(err->message);
    flatten_unprintable(err->message);
    return status;
}

void b2_error_prefix(blip2_error *err, const char *format, ...) {
    if (err == NULL) return;
    char prefix[BLIP2_ERROR_BYTES], sentence[BLIP2_ERROR_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);
    memcpy(sentence, err->message, sizeof sentence);
    b2_fail(err, err->status, "%s: %s", prefix, sentence);
}
