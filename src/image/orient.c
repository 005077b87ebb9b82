/* orient.c: turns or mirrors a picture as its EXIF orientation says.
 *
 * Every orientation is a walk over the source with two constant steps: one source pixel further for each pixel of a
 * row of the result, another distance for each of its rows. Values 5 to 8 exchange width and height. */
#include "image/decode.h"

#include <stdlib.h>

enum { TILE = 32 }; /* pixels: a tile's rows and columns stay in the first-level cache while it is transposed */

typedef struct walk {
    size_t width, height;     /* of the result */
    size_t origin;            /* source pixel that becomes the result's first */
    ptrdiff_t step_x, step_y; /* in source pixels */
} walk;

static walk plan_walk(const b2_pixels *in, int orientation) {
    const size_t w = in->width, h = in->height, top_right = w - 1, bottom_left = w * (h - 1), last = w * h - 1;
    const ptrdiff_t row = (ptrdiff_t)w;
    switch (orientation) {
    case 2: return (walk){w, h, top_right, -1, row};   /* mirrored left to right */
    case 3: return (walk){w, h, last, -1, -row};       /* upside down */
    case 4: return (walk){w, h, bottom_left, 1, -row}; /* mirrored top to bottom */
    case 5: return (walk){h, w, 0, row, 1};            /* transposed */
    case 6: return (walk){h, w, bottom_left, -row, 1}; /* to be turned clockwise */
    case 7: return (walk){h, w, last, -row, -1};       /* transposed about the other diagonal */
    default: return (walk){h, w, top_right, row, -1};  /* 8: to be turned counter-clockwise */
    }
}

static void copy_tile(const uint8_t *in, const walk *way, size_t x0, size_t y0, uint8_t *out) {
    const size_t x1 = x0 + TILE < way->width ? x0 + TILE : way->width;
    const size_t y1 = y0 + TILE < way->height ? y0 + TILE : way->height;
    for (size_t y = y0; y < y1; y++) {
        uint8_t *to = out + 3 * (y * way->width + x0);
        for (size_t x = x0; x < x1; x++, to += 3) {
            const ptrdiff_t from = (ptrdiff_t)way->origin + (ptrdiff_t)y * way->step_y + (ptrdiff_t)x * way->step_x;
            to[0] = in[3 * from];
            to[1] = in[3 * from + 1];
            to[2] = in[3 * from + 2];
        }
    }
}

bool b2_pixels_orient(b2_pixels *pixels, int orientation) {
    if (orientation < 2 || orientation > 8) return true;
    const walk way = plan_walk(pixels, orientation);
    uint8_t *turned = malloc(3 * pixels->width * pixels->height);
    if (turned == NULL) return false;
    for (size_t y = 0; y < way.height; y += TILE)
        for (size_t x = 0; x < way.width; x += TILE) copy_tile(pixels->rgb, &way, x, y, turned);
    free(pixels->rgb);
    *pixels = (b2_pixels){turned, way.width, way.height};
    return true;
}
