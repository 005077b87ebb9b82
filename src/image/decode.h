/* decode.h: what load.c and the decoders share. A decoder turns the bytes of one file type into upright-as-stored RGB
 * and reports the orientation that the file asks for; it reads nothing beyond the bytes and takes no memory for
 * pixels before b2_picture_reserve() has checked their number. */
#ifndef B2_IMAGE_DECODE_H
#define B2_IMAGE_DECODE_H

#include "image/image.h"

typedef struct b2_picture_file {
    const uint8_t *bytes;
    size_t n_bytes;
    const char *name;  /* begins every message */
    size_t max_pixels; /* never 0 */
} b2_picture_file;

/* Checks the size against the limit and allocates out->rgb. kind is the name of the file type, for the message. */
blip2_status b2_picture_reserve(const b2_picture_file *file, const char *kind, size_t width, size_t height,
                                b2_picture *out, blip2_error *err);

/* One function per file type. *orientation: as in EXIF, 1 (upright) where the file does not say. On failure the caller
 * frees *out. */
typedef blip2_status b2_decode_fn(const b2_picture_file *file, b2_picture *out, int *orientation, blip2_error *err);
b2_decode_fn b2_jpeg_decode; /* jpeg.c, or stb.c where libjpeg is missing */
b2_decode_fn b2_png_decode;
b2_decode_fn b2_bmp_decode;
b2_decode_fn b2_pnm_decode;

/* ---- orientation: exif.c reads it, orient.c applies it ---- */

enum { B2_UPRIGHT = 1, B2_ORIENTATION_ABSENT = 0 };

/* Orientation of a TIFF block with or without "Exif\0\0" before it, as found in APP1 and eXIf; 0 where it has none. */
int b2_exif_find_orientation(const uint8_t *bytes, size_t n_bytes);
/* tiff:Orientation of an XMP packet; 0 where it has none. */
int b2_xmp_find_orientation(const uint8_t *bytes, size_t n_bytes);
/* Walks the segments of a JPEG file up to the first scan; 1 where they say nothing. */
int b2_jpeg_find_orientation(const uint8_t *bytes, size_t n_bytes);

/* Mirrors or turns the picture in place (its memory is replaced); 1 and unknown values change nothing. */
blip2_status b2_picture_orient(b2_picture *picture, int orientation, const char *name, blip2_error *err);

/* ---- png.c and png_pixels.c ---- */

typedef struct b2_png {
    size_t width, height;
    unsigned depth;  /* bits of a sample: 1, 2, 4, 8 or 16 */
    unsigned colour; /* 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha */
    bool interlaced;
    uint8_t palette[256][3]; /* entries that the file does not define are black */
} b2_png;

/* Bytes of all filtered rows of all passes; SIZE_MAX when that does not fit. */
size_t b2_png_count_raw_bytes(const b2_png *png);
/* raw: the filtered rows, undone in place. rgb: [height][width][3]. False when a row has an unknown filter. */
bool b2_png_expand(const b2_png *png, uint8_t *raw, uint8_t *rgb);

/* Inflates a zlib stream into out; returns the bytes written, or SIZE_MAX for a damaged or overlong stream. (stb.c) */
size_t b2_stb_inflate(const uint8_t *bytes, size_t n_bytes, uint8_t *out, size_t capacity_bytes);

/* ---- small readers ---- */

static inline uint32_t b2_read_be16(const uint8_t *p) { return (uint32_t)p[0] << 8 | p[1]; }
static inline uint32_t b2_read_be32(const uint8_t *p) { return b2_read_be16(p) << 16 | b2_read_be16(p + 2); }
static inline uint32_t b2_read_le16(const uint8_t *p) { return (uint32_t)p[1] << 8 | p[0]; }
static inline uint32_t b2_read_le32(const uint8_t *p) { return b2_read_le16(p + 2) << 16 | b2_read_le16(p); }

#endif
