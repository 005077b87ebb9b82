/* png_text.c: which way up a PNG is. Besides its own chunk (eXIf) programs keep EXIF in text, as ImageMagick's "Raw
 * profile type exif" in hexadecimal digits, and XMP, each compressed or not; Pillow looks at all of them, also after
 * the pixels. Of several the last counts. What cannot be read counts as absent. */
#include "image/decode.h"

#include <stdlib.h>
#include <string.h>

enum { LARGEST_TEXT = 1 << 20 }; /* inflated; Pillow refuses larger ones */

typedef struct text {
    const uint8_t *bytes;
    size_t n_bytes;
    uint8_t *inflated; /* from malloc, or NULL */
} text;

static int hex_digit(uint8_t c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "\nexif\n    LENGTH\n" and lines of hexadecimal digits. */
static int find_in_raw_profile(const text *t) {
    size_t at = 0, n = 0;
    for (int lines = 0; lines < 3 && at < t->n_bytes; at++) lines += t->bytes[at] == '\n';
    uint8_t *block = malloc(t->n_bytes - at + 1);
    if (block == NULL) return B2_ORIENTATION_ABSENT;
    for (int high = -1; at < t->n_bytes; at++) {
        const int digit = hex_digit(t->bytes[at]);
        if (digit < 0) continue;
        if (high < 0) high = digit;
        else {
            block[n++] = (uint8_t)(high << 4 | digit);
            high = -1;
        }
    }
    const int orientation = b2_exif_find_orientation(block, n);
    free(block);
    return orientation;
}

static bool inflate(text *t) {
    uint8_t *out = malloc(LARGEST_TEXT);
    const size_t n = out != NULL ? b2_stb_inflate(t->bytes, t->n_bytes, out, LARGEST_TEXT) : SIZE_MAX;
    if (n == SIZE_MAX) {
        free(out);
        return false;
    }
    *t = (text){out, n, out};
    return true;
}

/* Behind a keyword and its NUL. tEXt: text. zTXt: method, compressed text. iTXt: compressed?, method, language, 0,
 * translated keyword, 0, text. */
static bool open_text(const b2_png_chunk *c, size_t keyword_bytes, text *t) {
    *t = (text){c->data + keyword_bytes, c->n_bytes - keyword_bytes, NULL};
    if (b2_png_has_type(c, "tEXt")) return true;
    if (t->n_bytes < 1) return false;
    const bool compressed = b2_png_has_type(c, "zTXt") || t->bytes[0] != 0;
    size_t skip = b2_png_has_type(c, "zTXt") ? 1 : 2;
    for (int strings = 0; b2_png_has_type(c, "iTXt") && strings < 2 && skip < t->n_bytes; skip++)
        strings += t->bytes[skip] == 0;
    if (skip > t->n_bytes) return false;
    t->bytes += skip;
    t->n_bytes -= skip;
    return !compressed || inflate(t);
}

static bool has_keyword(const b2_png_chunk *c, const char *keyword) {
    const size_t len = strlen(keyword) + 1; /* with its NUL */
    return c->n_bytes >= len && memcmp(c->data, keyword, len) == 0;
}

void b2_png_search_text(const b2_png_chunk *c, b2_png_text *found) {
    static const char raw_profile[] = "Raw profile type exif", packet[] = "XML:com.adobe.xmp", plain[] = "exif";
    if (b2_png_has_type(c, "eXIf")) {
        found->exif = b2_exif_find_orientation(c->data, c->n_bytes);
        found->exif_seen = true;
        return;
    }
    if (!b2_png_has_type(c, "tEXt") && !b2_png_has_type(c, "zTXt") && !b2_png_has_type(c, "iTXt")) return;
    const char *keyword = has_keyword(c, raw_profile)                           ? raw_profile
                          : has_keyword(c, packet)                              ? packet
                          : b2_png_has_type(c, "tEXt") && has_keyword(c, plain) ? plain
                                                                                : NULL;
    text t;
    if (keyword == NULL || !open_text(c, strlen(keyword) + 1, &t)) return;
    if (keyword == raw_profile) found->profile = find_in_raw_profile(&t);
    if (keyword == packet) found->xmp = b2_xmp_find_orientation(t.bytes, t.n_bytes);
    if (keyword == plain) {
        found->exif = b2_exif_find_orientation(t.bytes, t.n_bytes);
        found->exif_seen = true;
    }
    free(t.inflated);
}

int b2_png_choose_orientation(const b2_png_text *found) {
    return b2_choose_orientation(found->exif_seen ? found->exif : found->profile, found->xmp);
}
