/* image.h: from the bytes of a picture file to the numbers that the vision tower reads.
 *
 *   load        decode, lay transparency over a background, turn as EXIF says, convert to RGB   [height][width][3]
 *   resize      to the model's square, as Pillow's BICUBIC does                                 [size][size][3]
 *   normalise   (u/255 - mean) / std                                                            [3][size][size]
 *
 * Every step gives the bits that Pillow and transformers give: the model was trained on their pictures. Loading can
 * resize while it decodes: then only a few rows of the picture are in memory at a time. */
#ifndef B2_IMAGE_H
#define B2_IMAGE_H

#include "base/status.h"

/* 256 Mi pixels: a square of 16384, 768 MiB as RGB, half as many again as the largest picture that Pillow opens. */
#define B2_PICTURE_MAX_PIXELS ((size_t)256 << 20)

/* The longest side: a file of a few KB may claim a picture of one row and 2^28 columns. */
#define B2_PICTURE_MAX_SIDE ((size_t)1 << 17)

/* No picture file that anybody captions is larger; what is larger is refused before it fills the memory. */
#define B2_PICTURE_MAX_FILE_BYTES ((size_t)1 << 30)

/* From malloc; NULL in an empty one. */
typedef struct b2_pixels {
    uint8_t *rgb; /* [height][width][3] */
    size_t width, height;
} b2_pixels;

typedef struct b2_picture {
    uint8_t *rgb; /* [height][width][3], from malloc; NULL in an empty picture */
    size_t width, height;
    bool rotated;        /* an orientation other than upright was applied */
    const char *hint;    /* what of the file's information is lost, "16-bit grey is clipped ..."; NULL: nothing */
    b2_pixels thumbnail; /* empty unless the options ask for one */
} b2_picture;

typedef struct b2_picture_options {
    bool apply_exif;       /* turn the picture as its EXIF (or XMP) orientation says; default true */
    bool read_truncated;   /* of a file that is cut or damaged show what is there, the rest black; default false */
    bool keep_hidden;      /* drop the alpha channel: transparent pixels show the colour they hide; default false */
    uint8_t background[3]; /* else transparent pixels show this; default white */
    size_t max_pixels;     /* refuse larger pictures before memory is taken; 0: the default, B2_PICTURE_MAX_PIXELS */
    size_t max_side;       /* the same for the longer side; 0: B2_PICTURE_MAX_SIDE */
    size_t square;         /* default 0: as large as the file says; else resized to square x square, as
                               b2_picture_resize does, while rows arrive */
    size_t thumbnail_side; /* with square: also a copy that keeps the proportions, its longer side at most this;
                               0: none */
} b2_picture_options;

b2_picture_options b2_picture_options_default(void);

/* Reads one picture; the type is told by the content, never by the name (types.c). Of several pictures in a file
 * (frames, pages) the first. options may be NULL: defaults.
 * On failure *out is empty. Errors: BLIP2_IO (cannot be read), BLIP2_FORMAT (no picture, or a damaged one),
 * BLIP2_UNSUPPORTED (a type or variant not read here), BLIP2_LIMIT (too many pixels or bytes), BLIP2_MEMORY. */
blip2_status b2_picture_load_file(const char *path, const b2_picture_options *options, b2_picture *out,
                                  blip2_error *err);

/* The same from memory; name stands for the file in messages. */
blip2_status b2_picture_load_memory(const uint8_t *bytes, size_t n_bytes, const char *name,
                                    const b2_picture_options *options, b2_picture *out, blip2_error *err);

/* The same for pixels that are decoded already: rows of width times red, green and blue, row_bytes apart; they stay
 * the caller's. Errors: BLIP2_LIMIT, BLIP2_MEMORY. */
blip2_status b2_picture_from_rows(const uint8_t *rgb, size_t width, size_t height, size_t row_bytes,
                                  const b2_picture_options *options, b2_picture *out, blip2_error *err);

/* Frees the pixels and empties the picture; an empty one may be freed again. */
void b2_picture_free(b2_picture *picture);

/* What the ending of a file's name promises: the short name of a type of pictures, "WebP"; NULL: no picture. *is_read:
 * this build reads that type. */
const char *b2_picture_kind_of_name(const char *path, bool *is_read);

/* Pillow's resize(width, height, BICUBIC) of the whole picture, bit for bit, into a new picture. out != in.
 * Errors: BLIP2_ARGUMENT (an empty picture or size), BLIP2_MEMORY; then *out is empty. */
blip2_status b2_picture_resize(const b2_picture *in, size_t width, size_t height, b2_picture *out, blip2_error *err);

/* What the checkpoint's preprocessor_config.json says, in the order red, green, blue. */
typedef struct b2_normalisation {
    float mean[3], std[3];
} b2_normalisation;

/* planes: [3][height][width]. */
void b2_picture_normalise(const b2_picture *in, const b2_normalisation *normalisation, float *planes);

#endif
