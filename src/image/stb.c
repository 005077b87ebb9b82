/* stb.c: the only file that sees stb_image. Of it we use the inflater (compressed remarks of PNG), and its decoders
 * where libspng or libjpeg are missing. PNG's container, BMP and PNM are read by our own short parsers: stb_image 2.27
 * checks no checksums, reads truncated BMP and PNM files as if they were whole, ignores PNM's maximum value, and rounds
 * 15-bit colours and 16-bit greys differently from Pillow. */
#include "image/decode.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_PNG
#if !B2_HAVE_JPEG
#define STBI_ONLY_JPEG
#endif
#define STBI_NO_STDIO
/* Zeros: a JPEG may use Huffman tables that it never defines. */
#define STBI_MALLOC(n_bytes) calloc(1, n_bytes)
#define STBI_REALLOC(p, n_bytes) realloc(p, n_bytes)
#define STBI_FREE(p) free(p)
#define STBI_MAX_DIMENSIONS (1 << 24)
#pragma GCC diagnostic ignored "-Wunused-function" /* reported at the end of this file, hence not popped */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#include <stb/stb_image.h>
#pragma GCC diagnostic pop

size_t b2_stb_inflate(const uint8_t *bytes, size_t n_bytes, uint8_t *out, size_t capacity_bytes) {
    if (n_bytes > INT_MAX || capacity_bytes > INT_MAX) return SIZE_MAX;
    const int n = stbi_zlib_decode_buffer((char *)out, (int)capacity_bytes, (const char *)bytes, (int)n_bytes);
    return n < 0 ? SIZE_MAX : (size_t)n;
}

#if !B2_HAVE_JPEG || !B2_HAVE_SPNG
static blip2_status fail_damaged(const b2_decoding *d, const char *kind, blip2_error *err) {
    const char *reason = stbi_failure_reason();
    if (reason != NULL && (strcmp(reason, "outofmem") == 0 || strcmp(reason, "Out of memory") == 0))
        return b2_decoding_fail_memory(d, err);
    return b2_decoding_fail_damaged(d, kind, reason != NULL && reason[0] != '\0' ? reason : "it ends early", err);
}

static blip2_status check_len(const b2_decoding *d, blip2_error *err) {
    if (d->n_bytes <= INT_MAX) return BLIP2_OK;
    return b2_fail(err, BLIP2_LIMIT, "%s: %zu bytes, more than %d", d->name, d->n_bytes, INT_MAX);
}
#endif

#if !B2_HAVE_JPEG
/* stb_image 2.27 writes beyond a Huffman table where a DHT segment says that it has more than 256 codes. p: n_bytes of
 * the segment, n_left of the file; like stb_image it reads the last table whole, whatever the segment's length. */
static bool table_fits(const uint8_t *p, size_t n_bytes, size_t n_left) {
    while (n_bytes > 0) {
        size_t n_codes = 0;
        for (size_t i = 1; i <= 16 && i < n_left; i++) n_codes += p[i]; /* beyond the end it reads zeros */
        if (n_codes > 256) return false;
        if (17 + n_codes >= n_bytes || 17 + n_codes >= n_left) break;
        p += 17 + n_codes;
        n_bytes -= 17 + n_codes;
        n_left -= 17 + n_codes;
    }
    return true;
}

/* Of every DHT segment, wherever one may be taken for one. */
static bool tables_fit(const b2_decoding *d) {
    for (size_t at = 2; at <= d->n_bytes && d->n_bytes - at >= 4;) {
        const uint8_t *p = d->bytes + at, marker = p[1];
        const bool has_length = p[0] == 0xFF && marker >= 0xC0 && marker != 0xFF && (marker < 0xD0 || marker > 0xD9);
        const size_t len = b2_read_be16(p + 2);
        if (has_length && marker == 0xC4 && len > 2 && !table_fits(p + 4, len - 2, d->n_bytes - at - 4)) return false;
        at += has_length ? 2 + len : 1;
    }
    return true;
}

blip2_status b2_jpeg_decode(b2_decoding *d, blip2_error *err) {
    int width = 0, height = 0, n_components = 0;
    B2_TRY(check_len(d, err));
    const int len = (int)d->n_bytes;
    d->orientation = b2_jpeg_find_orientation(d->bytes, d->n_bytes, &n_components);
    if (n_components == 4)
        return b2_fail(err, BLIP2_UNSUPPORTED, "%s: JPEG of four inks (CMYK); this program was built without libjpeg",
                       d->name);
    if (!tables_fit(d)) return b2_decoding_fail_damaged(d, "JPEG", "a Huffman table has more than 256 codes", err);
    if (!stbi_info_from_memory(d->bytes, len, &width, &height, &n_components)) return fail_damaged(d, "JPEG", err);
    B2_TRY(b2_decoding_check_size(d, "JPEG", (size_t)width, (size_t)height, err));
    if (!b2_jpeg_can_hold(d, (size_t)width, (size_t)height))
        return b2_decoding_fail_damaged(d, "JPEG", "its bytes cannot hold its pixels", err);
    B2_TRY(b2_decoding_begin(d, "JPEG", (size_t)width, (size_t)height, B2_ROWS_DOWN, err));
    stbi_uc *pixels = stbi_load_from_memory(d->bytes, len, &width, &height, &n_components, 3);
    if (pixels == NULL) return fail_damaged(d, "JPEG", err);
    for (size_t y = 0; y < d->stored.height; y++) {
        memcpy(b2_decoding_row(d, y), pixels + 3 * d->stored.width * y, 3 * d->stored.width);
        b2_decoding_put(d, y);
    }
    stbi_image_free(pixels);
    return BLIP2_OK;
}
#endif

#if !B2_HAVE_SPNG
/* stb_image has resolved palette and transparency: 1 to 4 channels of 8 bits, or of 16 where grey must be clipped. */
static void put_rows(b2_decoding *d, const void *pixels, size_t n_channels, bool has_16_bits, uint8_t *rgba) {
    const size_t width = d->stored.width;
    const stbi_uc *p8 = pixels;
    const stbi_us *p16 = pixels;
    for (size_t y = 0; y < d->stored.height; y++) {
        for (size_t x = 0; x < width; x++) {
            uint8_t v[4] = {0};
            for (size_t c = 0; c < n_channels; c++) {
                const size_t at = (y * width + x) * n_channels + c;
                v[c] = !has_16_bits ? p8[at] : p16[at] > 255 ? 255 : (uint8_t)p16[at];
            }
            const bool has_colour = n_channels >= 3;
            const uint8_t pixel[4] = {v[0], v[has_colour ? 1 : 0], v[has_colour ? 2 : 0],
                                      n_channels % 2 == 0 ? v[n_channels - 1] : 255};
            memcpy(rgba + 4 * x, pixel, 4);
        }
        b2_blend_rgba(d->options, rgba, width, b2_decoding_row(d, y));
        b2_decoding_put(d, y);
    }
}

static int read_png(void *user, char *to, int n) {
    b2_png_source *s = user;
    return (int)b2_png_source_read(s, (uint8_t *)to, (size_t)n);
}

static void skip_png(void *user, int n) {
    uint8_t skipped[64];
    while (n > 0) {
        const int step = n < (int)sizeof skipped ? n : (int)sizeof skipped;
        if (read_png(user, (char *)skipped, step) < step) break;
        n -= step;
    }
}

static int is_at_end(void *user) {
    const b2_png_source *s = user;
    return s->next == B2_PNG_END && s->left == 0;
}

blip2_status b2_png_decode(b2_decoding *d, blip2_error *err) {
    static const stbi_io_callbacks io = {read_png, skip_png, is_at_end};
    b2_png_source source = {.d = d, .with_transparency = true};
    b2_png png;
    int width = 0, height = 0, n_channels = 0;
    B2_TRY(check_len(d, err));
    B2_TRY(b2_png_parse(d, &png, err));
    B2_TRY(b2_decoding_begin(d, "PNG", png.width, png.height, B2_ROWS_DOWN, err));
    const bool has_16_bits = png.colour == 0 && png.depth == 16;
    void *pixels = has_16_bits ? (void *)stbi_load_16_from_callbacks(&io, &source, &width, &height, &n_channels, 0)
                               : (void *)stbi_load_from_callbacks(&io, &source, &width, &height, &n_channels, 0);
    if (pixels == NULL) return fail_damaged(d, "PNG", err);
    uint8_t *rgba = malloc(4 * png.width);
    if (rgba != NULL) put_rows(d, pixels, (size_t)n_channels, has_16_bits, rgba);
    free(rgba);
    stbi_image_free(pixels);
    return rgba != NULL ? BLIP2_OK : b2_decoding_fail_memory(d, err);
}
#endif
