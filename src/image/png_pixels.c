/* png_pixels.c: from PNG's filtered rows to RGB. Samples become bytes as Pillow's convert("RGB") makes them: alpha is
 * dropped and nothing is blended, grey below 8 bits is spread over 0..255, 16-bit colour keeps the high byte, 16-bit
 * grey is clipped (not scaled) to 255. */
#include "image/decode.h"

#include "base/arena.h"

#include <stdlib.h>

enum { N_PASSES = 7 };

/* Pixels (x0 + i dx, y0 + j dy): interlaced files hold seven ever finer grids, plain ones a single full one. */
typedef struct png_pass {
    size_t x0, y0, dx, dy;
} png_pass;

static const png_pass plain = {0, 0, 1, 1};
static const png_pass interlaced[N_PASSES] = {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4},
                                          {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}};

static size_t count_steps(size_t size, size_t first, size_t step) {
    return size > first ? (size - first + step - 1) / step : 0;
}

static unsigned count_channels(const b2_png *png) {
    switch (png->colour) {
    case 2: return 3;
    case 4: return 2;
    case 6: return 4;
    default: return 1;
    }
}

static size_t count_row_bytes(const b2_png *png, size_t width) {
    const size_t bits_per_pixel = (size_t)count_channels(png) * png->depth; /* at most 64 */
    return b2_size_multiply(width, bits_per_pixel) / 8 + (width * bits_per_pixel % 8 != 0);
}

static size_t count_pass_bytes(const b2_png *png, const png_pass *pass) {
    const size_t width = count_steps(png->width, pass->x0, pass->dx);
    const size_t height = count_steps(png->height, pass->y0, pass->dy);
    return width == 0 ? 0 : b2_size_multiply(height, 1 + count_row_bytes(png, width)); /* 1: the filter's number */
}

size_t b2_png_count_raw_bytes(const b2_png *png) {
    if (!png->interlaced) return count_pass_bytes(png, &plain);
    size_t sum = 0;
    for (int i = 0; i < N_PASSES; i++) {
        const size_t bytes = count_pass_bytes(png, &interlaced[i]);
        if (bytes > SIZE_MAX - sum) return SIZE_MAX;
        sum += bytes;
    }
    return sum;
}

/* ---- filters: each byte was stored as its difference from a guess ---- */

/* The one of left, up and up-left that is nearest to left + up - up-left. */
static uint8_t guess_paeth(int left, int up, int up_left) {
    const int to_left = abs(up - up_left), to_up = abs(left - up_left), to_up_left = abs(left + up - 2 * up_left);
    if (to_left <= to_up && to_left <= to_up_left) return (uint8_t)left;
    return (uint8_t)(to_up <= to_up_left ? up : up_left);
}

/* row and above: n_bytes each; above is NULL in a pass's first row. step: bytes from a pixel to the next, at least 1. */
static bool undo_filter(int filter, uint8_t *row, const uint8_t *above, size_t n_bytes, size_t step) {
    switch (filter) {
    case 0: return true;
    case 1:
        for (size_t i = step; i < n_bytes; i++) row[i] = (uint8_t)(row[i] + row[i - step]);
        return true;
    case 2:
        for (size_t i = 0; above != NULL && i < n_bytes; i++) row[i] = (uint8_t)(row[i] + above[i]);
        return true;
    case 3:
        for (size_t i = 0; i < n_bytes; i++) {
            const int left = i >= step ? row[i - step] : 0, up = above != NULL ? above[i] : 0;
            row[i] = (uint8_t)(row[i] + (left + up) / 2);
        }
        return true;
    case 4:
        for (size_t i = 0; i < n_bytes; i++) {
            const int left = i >= step ? row[i - step] : 0, up = above != NULL ? above[i] : 0;
            const int up_left = i >= step && above != NULL ? above[i - step] : 0;
            row[i] = (uint8_t)(row[i] + guess_paeth(left, up, up_left));
        }
        return true;
    default: return false;
    }
}

/* ---- samples to RGB; rgb advances by stride bytes a pixel ---- */

static void put_grey(uint8_t *rgb, unsigned value) { rgb[0] = rgb[1] = rgb[2] = (uint8_t)value; }

/* Depths of 1 to 8 bits: grey values or palette entries, the first in the highest bits. */
static void expand_single(const b2_png *png, const uint8_t *row, size_t width, uint8_t *rgb, size_t stride) {
    const unsigned depth = png->depth, largest = (1u << depth) - 1;
    for (size_t x = 0; x < width; x++, rgb += stride) {
        const size_t bit = x * depth;
        const unsigned value = (unsigned)row[bit / 8] >> (8 - depth - bit % 8) & largest;
        if (png->colour == 0) {
            put_grey(rgb, value * (255 / largest));
        } else {
            rgb[0] = png->palette[value][0];
            rgb[1] = png->palette[value][1];
            rgb[2] = png->palette[value][2];
        }
    }
}

static void expand_grey_16(const uint8_t *row, size_t width, uint8_t *rgb, size_t stride) {
    for (size_t x = 0; x < width; x++, rgb += stride) put_grey(rgb, row[2 * x] != 0 ? 255 : row[2 * x + 1]);
}

/* Whole bytes, the first of each sample counts: grey and alpha, RGB, RGB and alpha. */
static void expand_bytes(const b2_png *png, const uint8_t *row, size_t width, uint8_t *rgb, size_t stride) {
    const size_t sample = png->depth / 8, pixel = sample * count_channels(png);
    const size_t green = png->colour == 4 ? 0 : sample, blue = png->colour == 4 ? 0 : 2 * sample;
    for (size_t x = 0; x < width; x++, rgb += stride, row += pixel) {
        rgb[0] = row[0];
        rgb[1] = row[green];
        rgb[2] = row[blue];
    }
}

static void expand_row(const b2_png *png, const uint8_t *row, size_t width, uint8_t *rgb, size_t stride) {
    if (png->colour == 3 || (png->colour == 0 && png->depth <= 8)) expand_single(png, row, width, rgb, stride);
    else if (png->colour == 0) expand_grey_16(row, width, rgb, stride);
    else expand_bytes(png, row, width, rgb, stride);
}

static bool expand_pass(const b2_png *png, const png_pass *pass, uint8_t *raw, uint8_t *rgb) {
    const size_t width = count_steps(png->width, pass->x0, pass->dx);
    const size_t height = count_steps(png->height, pass->y0, pass->dy);
    const size_t row_bytes = count_row_bytes(png, width), bits_per_pixel = (size_t)count_channels(png) * png->depth;
    const size_t step = bits_per_pixel >= 8 ? bits_per_pixel / 8 : 1;
    const uint8_t *above = NULL;
    for (size_t j = 0; width != 0 && j < height; j++) {
        uint8_t *row = raw + j * (1 + row_bytes) + 1;
        if (!undo_filter(row[-1], row, above, row_bytes, step)) return false;
        uint8_t *out = rgb + 3 * ((pass->y0 + j * pass->dy) * png->width + pass->x0);
        expand_row(png, row, width, out, 3 * pass->dx);
        above = row;
    }
    return true;
}

bool b2_png_expand(const b2_png *png, uint8_t *raw, uint8_t *rgb) {
    if (!png->interlaced) return expand_pass(png, &plain, raw, rgb);
    for (int i = 0; i < N_PASSES; i++) {
        if (!expand_pass(png, &interlaced[i], raw, rgb)) return false;
        raw += count_pass_bytes(png, &interlaced[i]);
    }
    return true;
}
