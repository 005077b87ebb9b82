/* json_string.c: see json_string.h. */
#include "base/json_string.h"

#include "base/utf8.h"

void b2_json_write_text(const char *text, size_t len, FILE *out) {
    putc('"', out);
    for (const unsigned char *s = (const unsigned char *)text, *end = s + len; s < end;) {
        const size_t n = b2_utf8_length(s, (size_t)(end - s));
        if (n == 0) fputs("\\ufffd", out);
        else if (*s == '"' || *s == '\\') fprintf(out, "\\%c", *s);
        else if (*s == '\n') fputs("\\n", out);
        else if (*s == '\r') fputs("\\r", out);
        else if (*s == '\t') fputs("\\t", out);
        else if (*s < 0x20) fprintf(out, "\\u%04x", *s);
        else fwrite(s, 1, n, out);
        s += n > 0 ? n : 1;
    }
    putc('"', out);
}
