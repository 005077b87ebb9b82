/* status.c: a sentence is made safe where it is recorded, so that whoever prints it need not think: one line, valid
 * UTF-8, nothing that a terminal would obey. */
#include "base/status.h"

#include "base/utf8.h"

#include <errno.h>
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

size_t b2_printable_length(const void *s, size_t n_bytes) {
    const size_t len = b2_utf8_length(s, n_bytes);
    const unsigned char *c = s;
    const bool is_control = c[0] < 0x20 || c[0] == 0x7F || (len == 2 && c[0] == 0xC2 && c[1] < 0xA0);
    return is_control ? 0 : len;
}

void b2_make_printable(char *s) {
    while (*s != '\0') {
        const size_t len = b2_printable_length(s, B2_UTF8_MAX);
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
    b2_make_printable(err->message);
    return status;
}

blip2_status b2_fail_write(blip2_error *err, const char *name, const char *what) {
    const int why = errno;
    const bool is_full = why == ENOSPC || why == EDQUOT || why == EFBIG || why == EIO;
    return b2_fail(err,
                   is_full         ? BLIP2_NO_SPACE
                   : why == ENOMEM ? BLIP2_MEMORY
                                   : BLIP2_IO,
                   "%s: %s: %s", name, what, strerror(why));
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

const char *blip2_status_name(blip2_status status) {
    static const char *const names[] = {"OK",        "IO",          "FORMAT",   "OTHER_VERSION", "CHECKSUM",
                                        "SHAPE",     "UNSUPPORTED", "ARGUMENT", "LIMIT",         "MEMORY",
                                        "CANCELLED", "NO_SPACE",    "DEVICE"};
    const size_t i = (size_t)status;
    return i < sizeof names / sizeof names[0] ? names[i] : "UNKNOWN";
}
