/* decode.h: what load.c and the decoders share. A decoder turns the bytes of one file type into rows of RGB as stored;
 * it reads nothing beyond the bytes and takes no memory for pixels before b2_decoding_begin() has checked their number.
 *
 * It sets orientation, calls b2_decoding_begin(), then for each row b2_decoding_row(), fills it, b2_decoding_put(). */
#ifndef B2_IMAGE_DECODE_H
#define B2_IMAGE_DECODE_H

#include "image/image.h"
#include "image/resize.h"

enum { B2_UPRIGHT = 1, B2_ORIENTATION_ABSENT = 0 };

typedef struct b2_decoding {
    const uint8_t *bytes;
    size_t n_bytes;
    const char *name;                  /* begins every message */
    const b2_picture_options *options; /* every limit is set */

    int orientation;   /* as in EXIF; 1 (upright) where the file does not say */
    bool turns_itself; /* the codec or the format turns the picture whatever the caller wants */
    b2_picture *out;

    /* of b2_decoding_begin(): either out->rgb, or */
    b2_reducer *square, *thumbnail;
    uint8_t *row; /* one row, which the reducers take */
    b2_row_order stored;
} b2_decoding;

/* Rows come once each: the top one first, or the bottom one, which is then row 0. */
typedef enum b2_rows { B2_ROWS_DOWN, B2_ROWS_UP } b2_rows;

/* Checks the size against the limits and prepares for rows. kind is the name of the file type, for the message. */
blip2_status b2_decoding_begin(b2_decoding *d, const char *kind, size_t width, size_t height, b2_rows order,
                               blip2_error *err);
/* The limits alone, for decoders that need memory of their own first. */
blip2_status b2_decoding_check_size(const b2_decoding *d, const char *kind, size_t width, size_t height,
                                    blip2_error *err);
/* Could a JPEG of so many bytes hold so many pixels? Huffman codes take at least a bit for each block of 8 x 8: a short
 * file that claims a large picture is not given memory for it. */
bool b2_jpeg_can_hold(const b2_decoding *d, size_t width, size_t height);
/* Where row y is to be written, [width][3]. */
uint8_t *b2_decoding_row(b2_decoding *d, size_t y);
/* Row y is written. */
void b2_decoding_put(b2_decoding *d, size_t y);

/* The sentences that decoders share: "NAME: damaged KIND: reason" and "NAME: no memory to read it". */
blip2_status b2_decoding_fail_damaged(const b2_decoding *d, const char *kind, const char *reason, blip2_error *err);
blip2_status b2_decoding_fail_memory(const b2_decoding *d, blip2_error *err);

/* n pixels of red, green, blue and alpha over the background, as Pillow's alpha_composite rounds. */
void b2_blend_rgba(const b2_picture_options *options, const uint8_t *rgba, size_t n, uint8_t *rgb);
/* n pixels of cyan, magenta, yellow and black, as Pillow's convert("RGB") does without profiles. */
void b2_convert_cmyk(const uint8_t *cmyk, size_t n, uint8_t *rgb);

/* One function per file type. On failure the caller frees everything. */
typedef blip2_status b2_decode_fn(b2_decoding *d, blip2_error *err);
b2_decode_fn b2_jpeg_decode; /* jpeg.c, or stb.c where libjpeg is missing */
b2_decode_fn b2_png_decode;
b2_decode_fn b2_bmp_decode;
b2_decode_fn b2_pnm_decode;
b2_decode_fn b2_webp_decode;
b2_decode_fn b2_tiff_decode;
b2_decode_fn b2_gif_decode;
b2_decode_fn b2_heif_decode;
b2_decode_fn b2_avif_decode;
b2_decode_fn b2_jxl_decode;

/* ---- types.c ---- */

/* The decoder for these bytes; NULL: err says what they are instead, and *status how it is to be called. */
b2_decode_fn *b2_find_decoder(const uint8_t *bytes, size_t n_bytes, const char *name, blip2_status *status,
                              blip2_error *err);

/* ---- orientation: exif.c reads it, orient.c applies it ---- */

/* Orientation of a TIFF block with or without "Exif\0\0" before it, as found in APP1 and eXIf; 0 where it has none. */
int b2_exif_find_orientation(const uint8_t *bytes, size_t n_bytes);
/* tiff:Orientation of an XMP packet; 0 where it has none. */
int b2_xmp_find_orientation(const uint8_t *bytes, size_t n_bytes);
/* EXIF wins, then XMP; 1 where both are absent. */
int b2_choose_orientation(int exif, int xmp);
/* Walks the segments of a JPEG file up to the first scan; 1 where they say nothing. *n_components: colours of the
 * picture, 0 where no frame header comes. */
int b2_jpeg_find_orientation(const uint8_t *bytes, size_t n_bytes, int *n_components);
/* Mirrors or turns pixels in place (their memory is replaced); 1 and unknown values change nothing. False: no
 * memory. */
bool b2_pixels_orient(b2_pixels *pixels, int orientation);

/* ---- png_chunks.c: the container of PNG, which libspng and stb_image read too trustingly ---- */

typedef struct b2_png_chunk {
    const uint8_t *type; /* 4 letters */
    const uint8_t *data;
    size_t n_bytes; /* of data that are in the file */
    bool is_cut;    /* the file ends within the chunk */
} b2_png_chunk;

/* Finds the chunk at offset *at of a PNG file and moves on. False at the end of the file. */
bool b2_png_next_chunk(const b2_decoding *d, size_t *at, b2_png_chunk *chunk);
bool b2_png_has_type(const b2_png_chunk *chunk, const char *type);

/* png_source.c: what is left of the file for a decoder, and some bytes of ours between its parts. Begins all zero but
 * for d, with_transparency and n_rows. */
typedef struct b2_png_source {
    const b2_decoding *d;
    bool with_transparency; /* tRNS, too */
    size_t n_rows;          /* that the header shall say; 0: the file's own */
    size_t at;              /* of the next chunk */
    enum { B2_PNG_SIGNATURE, B2_PNG_FRAME, B2_PNG_DATA, B2_PNG_CHECKSUM, B2_PNG_END } next;
    b2_png_chunk chunk;
    uint8_t frame[8];
    uint8_t header[13];
    const uint8_t *part; /* what is being read */
    size_t left;
} b2_png_source;
/* Returns the bytes read, fewer than n_bytes only at the end. Checksums in it are not to be looked at. */
size_t b2_png_source_read(b2_png_source *s, uint8_t *out, size_t n_bytes);

typedef struct b2_png {
    size_t width, height;
    unsigned depth;  /* bits of a sample: 1, 2, 4, 8 or 16 */
    unsigned colour; /* 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha */
    bool interlaced;
    uint8_t palette[256][4];     /* red, green, blue, alpha; what the file does not define is black and opaque */
    bool has_palette, has_alpha; /* alpha: in the samples, in the palette, or by one transparent colour */
    bool has_key;
    unsigned key[3];     /* the transparent colour, as tRNS stores it */
    size_t n_data_bytes; /* of all IDAT chunks */
    bool has_changed;    /* a checksum of IDAT does not hold */
} b2_png;

/* Everything but the pixels: checks, limits, palette, transparency, orientation. */
blip2_status b2_png_parse(b2_decoding *d, b2_png *png, blip2_error *err);
/* Where the chunks of a PNG say which way is up (png_text.c). */
typedef struct b2_png_text {
    bool exif_seen;
    int exif, profile, xmp; /* orientations, or B2_ORIENTATION_ABSENT */
} b2_png_text;
void b2_png_search_text(const b2_png_chunk *chunk, b2_png_text *found);
int b2_png_choose_orientation(const b2_png_text *found);

/* One row of unfiltered samples as the file stores them (16 bits: big-endian) -> [width][3]. rgba: [width][4],
 * scratch. */
void b2_png_expand_row(const b2_decoding *d, const b2_png *png, const uint8_t *samples, uint8_t *rgba, uint8_t *rgb);
/* Bytes of such a row. */
size_t b2_png_count_row_bytes(const b2_png *png);

/* Inflates a zlib stream into out; returns the bytes written, or SIZE_MAX for a damaged or overlong stream. (stb.c) */
size_t b2_stb_inflate(const uint8_t *bytes, size_t n_bytes, uint8_t *out, size_t capacity_bytes);

/* ---- small readers ---- */

static inline uint32_t b2_read_be16(const uint8_t *p) { return (uint32_t)p[0] << 8 | p[1]; }
static inline uint32_t b2_read_be32(const uint8_t *p) { return b2_read_be16(p) << 16 | b2_read_be16(p + 2); }
static inline uint32_t b2_read_le16(const uint8_t *p) { return (uint32_t)p[1] << 8 | p[0]; }
static inline uint32_t b2_read_le32(const uint8_t *p) { return b2_read_le16(p + 2) << 16 | b2_read_le16(p); }

#endif
