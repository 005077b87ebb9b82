/* image.h: from the bytes of a picture file to the numbers that the vision tower reads.
 *
 *   load        decode, apply the EXIF orientation, convert to RGB   [height][width][3]
 *   resize      to the model's square, as Pillow's BICUBIC does      [size][size][3]
 *   normalise   (u/255 - mean) / std                                 [3][size][size]
 *
 * Every step gives the bits that Pillow and transformers give: the model was trained on their pictures. */
#ifndef B2_IMAGE_H
#define B2_IMAGE_H

#include "base/status.h"

/* 256 Mi pixels: a square of 16384, 768 MiB as RGB, half as many again as the largest picture that Pillow opens. */
#define B2_PICTURE_MAX_PIXELS ((size_t)256 << 20)

/* No picture file that anybody captions is larger; what is larger is refused before it fills the memory. */
#define B2_PICTURE_MAX_FILE_BYTES ((size_t)1 << 30)

typedef struct b2_picture {
    uint8_t *rgb; /* [height][width][3], from malloc; NULL in an empty picture */
    size_t width, height;
    bool rotated; /* an EXIF orientation other than upright was applied */
} b2_picture;

typedef struct b2_picture_options {
    bool apply_exif;   /* turn the picture as its EXIF (or XMP) orientation says; default true */
    size_t max_pixels; /* refuse larger pictures before memory is taken; 0: the default, B2_PICTURE_MAX_PIXELS */
} b2_picture_options;

b2_picture_options b2_picture_options_default(void);

/* Reads a JPEG, PNG, BMP or PNM; the type is told by the content, never by the name. options may be NULL: defaults.
 * On failure *out is empty. Errors: BLIP2_IO (cannot be read), BLIP2_FORMAT (no picture, or a damaged one),
 * BLIP2_UNSUPPORTED (a type or variant not read here), BLIP2_LIMIT (too many pixels or bytes), BLIP2_MEMORY. */
blip2_status b2_picture_load_file(const char *path, const b2_picture_options *options, b2_picture *out,
                                  blip2_error *err);

/* The same from memory; name stands for the file in messages. */
blip2_status b2_picture_load_memory(const uint8_t *bytes, size_t n_bytes, const char *name,
                                    const b2_picture_options *options, b2_picture *out, blip2_error *err);

/* Frees the pixels and empties the picture; an empty one may be freed again. */
void b2_picture_free(b2_picture *picture);

/* Pillow's resize(width, height, BICUBIC) of the whole picture, bit for bit, into a new picture. out != in.
 * Errors: BLIP2_ARGUMENT (an empty picture or size), BLIP2_LIMIT, BLIP2_MEMORY; then *out is empty. */
blip2_status b2_picture_resize(const b2_picture *in, size_t width, size_t height, b2_picture *out, blip2_error *err);

/* What the checkpoint's preprocessor_config.json says, in the order red, green, blue. */
typedef struct b2_normalisation {
    float mean[3], std[3];
} b2_normalisation;

/* planes: [3][height][width]. */
void b2_picture_normalise(const b2_picture *in, const b2_normalisation *normalisation, float *planes);

#endif
