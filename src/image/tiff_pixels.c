/* tiff_pixels.c: TIFF's samples to red, green, blue and alpha, as Pillow converts its modes: grey below 8 bits is
 * spread over 0..255, above 8 bits clipped (not scaled); of 16-bit colours the high byte counts; premultiplied colours
 * are divided by their alpha again. */
#if B2_HAVE_TIFF

#include "image/tiff.h"

#include <string.h>

static uint8_t clip(int64_t value) { return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value); }

static uint16_t get_16(const uint8_t *p) {
    uint16_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

static uint8_t clip_32(const b2_tiff_layout *layout, const uint8_t *p) {
    int32_t integer;
    float real;
    memcpy(&integer, p, sizeof integer);
    memcpy(&real, p, sizeof real);
    if (!layout->is_float) return clip(integer); /* unsigned ones above 2^31 count as negative, as in Pillow */
    return real >= 255.0f ? 255 : real > 0.0f ? (uint8_t)real : 0; /* NaN: 0 */
}

static unsigned get_12(const uint8_t *samples, size_t x) {
    const uint8_t *pair = samples + x / 2 * 3;
    return x % 2 == 0 ? (unsigned)pair[0] << 4 | pair[1] >> 4 : (unsigned)(pair[1] & 15) << 8 | pair[2];
}

static unsigned get_small(const uint8_t *samples, size_t i, unsigned n_bits) {
    const size_t bit = i * n_bits;
    return (unsigned)samples[bit / 8] >> (8 - n_bits - bit % 8) & ((1u << n_bits) - 1);
}

static uint8_t get_grey(const b2_tiff_layout *layout, const uint8_t *samples, size_t i) {
    const unsigned n_bits = layout->n_bits;
    if (n_bits == 32) return clip_32(layout, samples + 4 * i);
    if (n_bits == 16) {
        const uint16_t value = get_16(samples + 2 * i);
        return layout->is_signed ? clip((int16_t)value) : clip(value);
    }
    if (n_bits == 12) return clip(get_12(samples, i));
    const unsigned value = n_bits == 8 ? samples[i] : get_small(samples, i, n_bits) * (255 / ((1u << n_bits) - 1));
    return (uint8_t)(layout->is_inverted ? 255 - value : value);
}

/* The high byte of sample i. */
static uint8_t get_high(const b2_tiff_layout *layout, const uint8_t *samples, size_t i) {
    return layout->n_bits == 16 ? (uint8_t)(get_16(samples + 2 * i) >> 8) : samples[i];
}

static void put_alpha(const b2_tiff_layout *layout, uint8_t alpha, uint8_t *pixel) {
    pixel[3] = layout->alpha == B2_TIFF_OPAQUE ? 255 : alpha;
    if (layout->alpha != B2_TIFF_PREMULTIPLIED || alpha == 255) return;
    for (size_t c = 0; c < 3; c++) pixel[c] = alpha == 0 ? 0 : clip(pixel[c] * 255 / alpha);
}

/* factor * (value - 128) in 64ths, rounded as Pillow's tables are. */
static int scale(double factor, uint8_t value) { return (int)(factor * (value - 128) * 64 + 0.5); }

/* Uncompressed and of full resolution; the other kinds go through libtiff. */
static void convert_ycbcr(const uint8_t *in, uint8_t *rgb) {
    rgb[0] = clip(in[0] + (scale(1.402, in[2]) >> 6));
    rgb[1] = clip(in[0] + ((scale(-0.34414, in[1]) + scale(-0.71414, in[2])) >> 6));
    rgb[2] = clip(in[0] + (scale(1.772, in[1]) >> 6));
}

void b2_tiff_expand_row(const b2_tiff_layout *layout, const uint8_t *samples, size_t width, uint8_t *rgba) {
    const size_t n = layout->n_samples;
    const bool has_alpha = layout->alpha != B2_TIFF_OPAQUE;
    for (size_t x = 0; x < width; x++, rgba += 4) {
        const size_t first = x * n;
        switch (layout->kind) {
        case B2_TIFF_GREY:
            memset(rgba, get_grey(layout, samples, first), 3);
            put_alpha(layout, has_alpha ? get_high(layout, samples, first + 1) : 255, rgba);
            break;
        case B2_TIFF_PALETTE:
            memcpy(rgba,
                   layout->palette[layout->n_bits == 8 ? samples[first] : get_small(samples, first, layout->n_bits)],
                   3);
            put_alpha(layout, has_alpha ? get_high(layout, samples, first + 1) : 255, rgba);
            break;
        case B2_TIFF_RGB:
            for (size_t c = 0; c < 3; c++) rgba[c] = get_high(layout, samples, first + c);
            put_alpha(layout, has_alpha ? get_high(layout, samples, first + 3) : 255, rgba);
            break;
        case B2_TIFF_YCBCR:
            convert_ycbcr(samples + first, rgba);
            rgba[3] = 255;
            break;
        case B2_TIFF_CMYK: {
            uint8_t inks[4];
            for (size_t c = 0; c < 4; c++) inks[c] = get_high(layout, samples, first + c);
            b2_convert_cmyk(inks, 1, rgba);
            rgba[3] = 255;
            break;
        }
        }
    }
}

#else
typedef int b2_tiff_pixels_are_left_out; /* a translation unit must declare something */
#endif
