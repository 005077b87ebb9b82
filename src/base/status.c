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

static void flatten_control_characters(char *s) {
    for (; *s != '\0'; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7F) *s = '?';
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
    flatten_control_characters(err->message);
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
