/* pnm.c: the portable bitmaps P1 to P6 (netpbm), plain and raw, with any maximum value. Samples are scaled as Pillow
 * scales them; greys of more than 8 bits are clipped, not scaled, because that is what Pillow's convert("RGB") does. */
#include "image/decode.h"

#include <math.h>
#include <string.h>

enum { BITMAP = 1, GREYMAP = 2, PIXMAP = 3 };

typedef struct pnm_reader {
    b2_decoding *d;
    size_t at;
    int kind;      /* of the three above */
    bool is_plain; /* numbers in text */
    unsigned maximum;
} pnm_reader;

static blip2_status fail_damaged(const pnm_reader *r, blip2_error *err, const char *reason) {
    return b2_decoding_fail_damaged(r->d, "PNM", reason, err);
}

static bool is_space(uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* White space and comments, which reach from # to the end of the line. */
static void skip_space(pnm_reader *r) {
    while (r->at < r->d->n_bytes) {
        const uint8_t c = r->d->bytes[r->at];
        if (c == '#') {
            while (r->at < r->d->n_bytes && r->d->bytes[r->at] != '\n' && r->d->bytes[r->at] != '\r') r->at++;
        } else if (is_space(c)) {
            r->at++;
        } else {
            return;
        }
    }
}

/* A decimal number of at most 9 digits that white space, a comment or the end follows. */
static bool read_number(pnm_reader *r, unsigned *value) {
    skip_space(r);
    const size_t start = r->at;
    *value = 0;
    while (r->at < r->d->n_bytes && r->at - start < 9) {
        const uint8_t c = r->d->bytes[r->at];
        if (c < '0' || c > '9') break;
        *value = *value * 10 + (unsigned)(c - '0');
        r->at++;
    }
    const bool ended = r->at == r->d->n_bytes || is_space(r->d->bytes[r->at]) || r->d->bytes[r->at] == '#';
    return r->at > start && ended;
}

static blip2_status read_header(pnm_reader *r, unsigned *width, unsigned *height, blip2_error *err) {
    const unsigned digit = (unsigned)(r->d->bytes[1] - '0');
    r->kind = (int)((digit - 1) % 3) + 1;
    r->is_plain = digit <= 3;
    r->maximum = 1;
    r->at = 2;
    if (r->at >= r->d->n_bytes || !(is_space(r->d->bytes[r->at]) || r->d->bytes[r->at] == '#'))
        return fail_damaged(r, err, "no white space after its first two letters");
    if (!read_number(r, width) || !read_number(r, height))
        return fail_damaged(r, err, "its width and height are not numbers");
    if (r->kind != BITMAP && (!read_number(r, &r->maximum) || r->maximum < 1 || r->maximum > 65535))
        return fail_damaged(r, err, "its maximum value is not from 1 to 65535");
    if (!r->is_plain) r->at++; /* the one white space before the samples */
    return BLIP2_OK;
}

static uint8_t scale(const pnm_reader *r, unsigned value) {
    if (r->kind == BITMAP) return value != 0 ? 0 : 255;
    if (r->maximum == 255) return (uint8_t)value;
    const unsigned top = r->kind == GREYMAP && r->maximum > 255 ? 65535 : 255;
    const double scaled = rint((double)value / (double)r->maximum * (double)top);
    return (uint8_t)(scaled > 255 ? 255 : scaled);
}

static void put(const pnm_reader *r, uint8_t *rgb, size_t sample, uint8_t value) {
    if (r->kind == PIXMAP) rgb[sample] = value;
    else rgb[3 * sample] = rgb[3 * sample + 1] = rgb[3 * sample + 2] = value;
}

/* False: a sample is missing or too large. */
static bool decode_plain_row(pnm_reader *r, size_t n_samples, uint8_t *rgb) {
    for (size_t i = 0; i < n_samples; i++) {
        unsigned value;
        if (r->kind == BITMAP) { /* digits may follow one another without white space */
            skip_space(r);
            value = r->at < r->d->n_bytes ? (unsigned)(r->d->bytes[r->at++] - '0') : 2;
        } else if (!read_number(r, &value)) {
            value = r->maximum + 1;
        }
        if (value > r->maximum) return false;
        put(r, rgb, i, scale(r, value));
    }
    return true;
}

/* False: the file ends within the row. */
static bool decode_raw_row(pnm_reader *r, size_t n_samples, uint8_t *rgb) {
    const size_t sample_bytes = r->maximum > 255 ? 2 : 1;
    const size_t row_bytes = r->kind == BITMAP ? (n_samples + 7) / 8 : n_samples * sample_bytes;
    if (r->at > r->d->n_bytes || row_bytes > r->d->n_bytes - r->at) return false;
    const uint8_t *row = r->d->bytes + r->at;
    for (size_t i = 0; i < n_samples; i++) {
        const unsigned value = r->kind == BITMAP   ? (unsigned)row[i / 8] >> (7 - i % 8) & 1
                               : sample_bytes == 2 ? b2_read_be16(row + 2 * i)
                                                   : row[i];
        put(r, rgb, i, scale(r, value));
    }
    r->at += row_bytes;
    return true;
}

/* A row takes at least so many bytes: what cannot be there is not given memory. */
static bool can_hold(const pnm_reader *r, size_t n_samples, size_t height) {
    const size_t least = r->is_plain || r->kind != BITMAP ? n_samples : n_samples / 8;
    return r->d->options->read_truncated || least <= r->d->n_bytes / height;
}

blip2_status b2_pnm_decode(b2_decoding *d, blip2_error *err) {
    pnm_reader r = {.d = d};
    unsigned width, height;
    B2_TRY(read_header(&r, &width, &height, err));
    const size_t n_samples = (size_t)width * (r.kind == PIXMAP ? 3 : 1);
    B2_TRY(b2_decoding_check_size(d, "PNM", width, height, err));
    if (!can_hold(&r, n_samples, height)) return fail_damaged(&r, err, "it ends within the pixels");
    B2_TRY(b2_decoding_begin(d, "PNM", width, height, B2_ROWS_DOWN, err));
    if (r.kind == GREYMAP && r.maximum > 255)
        d->out->hint = "16-bit grey: everything above 255 of 65535 shows as white, as Pillow shows it";
    for (size_t y = 0; y < height; y++) {
        uint8_t *rgb = b2_decoding_row(d, y);
        const bool ok = r.is_plain ? decode_plain_row(&r, n_samples, rgb) : decode_raw_row(&r, n_samples, rgb);
        if (!ok && !d->options->read_truncated)
            return fail_damaged(&r, err, r.is_plain ? "a sample is missing or too large" : "it ends within the pixels");
        if (!ok) memset(rgb, 0, (size_t)3 * width);
        b2_decoding_put(d, y);
    }
    return BLIP2_OK;
}
