/* decode.c: what every decoder uses: limits, where its rows go, and colours of four channels to three. */
#include "image/decode.h"

#include "base/arena.h"

#include <stdlib.h>
#include <string.h>

blip2_status b2_decoding_fail_damaged(const b2_decoding *d, const char *kind, const char *reason, blip2_error *err) {
    return b2_fail(err, BLIP2_FORMAT, "%s: damaged %s: %s", d->name, kind, reason);
}

blip2_status b2_decoding_fail_memory(const b2_decoding *d, blip2_error *err) {
    return b2_fail(err, BLIP2_MEMORY, "%s: no memory to read it", d->name);
}

blip2_status b2_decoding_check_size(const b2_decoding *d, const char *kind, size_t width, size_t height,
                                    blip2_error *err) {
    if (width == 0 || height == 0)
        return b2_fail(err, BLIP2_FORMAT, "%s: damaged %s: it says %zu x %zu pixels", d->name, kind, width, height);
    const size_t n_pixels = b2_size_multiply(width, height);
    if (n_pixels > d->options->max_pixels || n_pixels > SIZE_MAX / 16)
        return b2_fail(err, BLIP2_LIMIT, "%s: %s of %zu x %zu pixels, more than the limit of %zu pixels", d->name, kind,
                       width, height, d->options->max_pixels);
    if (width > d->options->max_side || height > d->options->max_side)
        return b2_fail(err, BLIP2_LIMIT, "%s: %s of %zu x %zu pixels, more than the limit of %zu pixels a side",
                       d->name, kind, width, height, d->options->max_side);
    return BLIP2_OK;
}

/* Of a copy whose longer side is at most side pixels; never larger than the picture. */
static void find_thumbnail_size(size_t width, size_t height, size_t side, size_t *w, size_t *h) {
    const size_t longer = width > height ? width : height;
    if (side > longer) side = longer;
    *w = width * side / longer;
    *h = height * side / longer;
    if (*w == 0) *w = 1;
    if (*h == 0) *h = 1;
}

/* Rows are resized as they come. */
static blip2_status begin_reducing(b2_decoding *d, blip2_error *err) {
    const size_t side = d->options->square, thumbnail_side = d->options->thumbnail_side;
    const bool lies = d->stored.orientation >= 5 && d->stored.orientation <= 8;
    d->row = calloc(d->stored.width, 3);
    d->square = b2_reducer_create(&d->stored, side, side);
    if (thumbnail_side > 0) {
        size_t w, h;
        find_thumbnail_size(lies ? d->stored.height : d->stored.width, lies ? d->stored.width : d->stored.height,
                            thumbnail_side, &w, &h);
        d->thumbnail = b2_reducer_create(&d->stored, w, h);
    }
    const bool ok = d->row != NULL && d->square != NULL && (thumbnail_side == 0 || d->thumbnail != NULL);
    return ok ? BLIP2_OK : b2_decoding_fail_memory(d, err);
}

blip2_status b2_decoding_begin(b2_decoding *d, const char *kind, size_t width, size_t height, b2_rows order,
                               blip2_error *err) {
    B2_TRY(b2_decoding_check_size(d, kind, width, height, err));
    const bool turns = d->options->apply_exif || d->turns_itself;
    d->stored = (b2_row_order){width, height, turns ? d->orientation : B2_UPRIGHT, order == B2_ROWS_UP};
    if (d->options->square > 0) return begin_reducing(d, err);
    uint8_t *rgb = malloc(3 * width * height);
    if (rgb == NULL) return b2_fail(err, BLIP2_MEMORY, "%s: no memory for %zu x %zu pixels", d->name, width, height);
    d->out->rgb = rgb;
    d->out->width = width;
    d->out->height = height;
    return BLIP2_OK;
}

uint8_t *b2_decoding_row(b2_decoding *d, size_t y) {
    if (d->row != NULL) return d->row;
    return d->out->rgb + 3 * d->stored.width * (d->stored.bottom_up ? d->stored.height - 1 - y : y);
}

void b2_decoding_put(b2_decoding *d, size_t y) {
    (void)y;
    if (d->row == NULL) return;
    b2_reducer_put(d->square, d->row);
    if (d->thumbnail != NULL) b2_reducer_put(d->thumbnail, d->row);
}

/* ---- colours ---- */

/* round(x / 255) for x up to 255 * 255 */
static unsigned divide_255(unsigned x) {
    x += 128;
    return (x + (x >> 8)) >> 8;
}

void b2_blend_rgba(const b2_picture_options *options, const uint8_t *rgba, size_t n, uint8_t *rgb) {
    for (size_t i = 0; i < n; i++, rgba += 4, rgb += 3) {
        const unsigned alpha = options->keep_hidden ? 255 : rgba[3];
        for (size_t c = 0; c < 3; c++)
            rgb[c] = (uint8_t)divide_255(rgba[c] * alpha + options->background[c] * (255 - alpha));
    }
}

void b2_convert_cmyk(const uint8_t *cmyk, size_t n, uint8_t *rgb) {
    for (size_t i = 0; i < n; i++, cmyk += 4, rgb += 3) {
        const unsigned light = 255u - cmyk[3]; /* what the black ink leaves */
        for (size_t c = 0; c < 3; c++) rgb[c] = (uint8_t)(light - divide_255(cmyk[c] * light));
    }
}
