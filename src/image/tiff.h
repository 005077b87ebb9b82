/* tiff.h: between tiff.c, which gets samples out of a TIFF, and tiff_pixels.c, which makes RGB of them. */
#ifndef B2_IMAGE_TIFF_H
#define B2_IMAGE_TIFF_H

#include "image/decode.h"

typedef enum b2_tiff_kind { B2_TIFF_GREY, B2_TIFF_PALETTE, B2_TIFF_RGB, B2_TIFF_YCBCR, B2_TIFF_CMYK } b2_tiff_kind;
typedef enum b2_tiff_alpha { B2_TIFF_OPAQUE, B2_TIFF_STRAIGHT, B2_TIFF_PREMULTIPLIED } b2_tiff_alpha;

/* How the samples of a pixel are to be understood. */
typedef struct b2_tiff_layout {
    b2_tiff_kind kind;
    b2_tiff_alpha alpha; /* in the sample after the colours */
    unsigned n_bits;     /* of each sample: 1, 2, 4, 8, 12, 16 or 32 */
    unsigned n_samples;  /* of a pixel, those that are not looked at included */
    bool is_float, is_signed;
    bool is_inverted; /* grey: 0 is white */
    uint8_t palette[256][3];
} b2_tiff_layout;

/* One row of samples in the machine's byte order -> [width][4]. */
void b2_tiff_expand_row(const b2_tiff_layout *layout, const uint8_t *samples, size_t width, uint8_t *rgba);

#endif
