/* blip2_image.c: a picture, from a file, from bytes or from somebody's pixels, becomes the image that a model sees.
 *
 *   bytes -> RGB [height][width][3] -> resized [S][S][3] -> normalised [3][S][S] */
#include "blip2_image.h"

#include "abi.h"
#include "blip2_model.h"

#include <stdlib.h>
#include <string.h>

static blip2_image_options default_options(void) {
    const b2_picture_options defaults = b2_picture_options_default();
    return (blip2_image_options){
        .struct_bytes = sizeof(blip2_image_options),
        .apply_exif = defaults.apply_exif,
        .max_pixels = defaults.max_pixels,
        .max_side = defaults.max_side,
        .background = {defaults.background[0], defaults.background[1], defaults.background[2]}};
}

void blip2_image_options_init(blip2_image_options *options, size_t struct_bytes) {
    const blip2_image_options defaults = default_options();
    b2_struct_out(options, struct_bytes, &defaults, sizeof defaults);
}

static blip2_image_options complete_options(const blip2_image_options *options) {
    blip2_image_options all = default_options();
    if (options != NULL) b2_struct_in(&all, sizeof all, options);
    return all;
}

/* The square that the model takes, and the thumbnail, are made while the picture is decoded. */
static b2_picture_options picture_options(const blip2_model *model, const blip2_image_options *options) {
    b2_picture_options all = {.apply_exif = options->apply_exif,
                              .read_truncated = options->read_truncated,
                              .keep_hidden = options->keep_hidden,
                              .max_pixels = options->max_pixels,
                              .max_side = options->max_side,
                              .square = model->weights.h.image.size,
                              .thumbnail_side = options->thumbnail_side};
    memcpy(all.background, options->background, sizeof all.background);
    return all;
}

/* The square of a picture, and its thumbnail, which it takes over -> an image. */
static blip2_status make_image(const blip2_model *model, b2_picture *square, blip2_image **out, blip2_error *err) {
    const b2_hparams *h = &model->weights.h;
    const size_t size = h->image.size;
    blip2_image *image = calloc(1, sizeof *image);
    float *pixels = malloc(3 * size * size * sizeof *pixels);
    if (image == NULL || pixels == NULL) {
        free(image);
        free(pixels);
        b2_picture_free(square);
        return b2_fail(err, BLIP2_MEMORY, "no memory for an image of %zu x %zu pixels", size, size);
    }
    b2_normalisation normalisation;
    memcpy(normalisation.mean, h->image.mean, sizeof normalisation.mean);
    memcpy(normalisation.std, h->image.std, sizeof normalisation.std);
    b2_picture_normalise(square, &normalisation, pixels);
    *image = (blip2_image){.size = size,
                           .pixels = pixels,
                           .was_rotated = square->rotated,
                           .hint = square->hint,
                           .thumbnail = square->thumbnail};
    square->thumbnail.rgb = NULL;
    b2_picture_free(square);
    *out = image;
    return BLIP2_OK;
}

const char *blip2_image_kind_of_name(const char *path, bool *is_read) { return b2_picture_kind_of_name(path, is_read); }

blip2_status blip2_image_load(const blip2_model *model, const char *path, const blip2_image_options *options,
                              blip2_image **out, blip2_error *err) {
    const blip2_image_options all = complete_options(options);
    const b2_picture_options how = picture_options(model, &all);
    b2_picture square;
    *out = NULL;
    B2_TRY(b2_picture_load_file(path, &how, &square, err));
    return make_image(model, &square, out, err);
}

blip2_status blip2_image_load_memory(const blip2_model *model, const uint8_t *bytes, size_t n_bytes, const char *name,
                                     const blip2_image_options *options, blip2_image **out, blip2_error *err) {
    const blip2_image_options all = complete_options(options);
    const b2_picture_options how = picture_options(model, &all);
    b2_picture square;
    *out = NULL;
    B2_TRY(b2_picture_load_memory(bytes, n_bytes, name, &how, &square, err));
    return make_image(model, &square, out, err);
}

blip2_status blip2_image_from_rgb(const blip2_model *model, const uint8_t *rgb, size_t width, size_t height,
                                  size_t row_bytes, const blip2_image_options *options, blip2_image **out,
                                  blip2_error *err) {
    const blip2_image_options all = complete_options(options);
    *out = NULL;
    if (rgb == NULL || width == 0 || height == 0 || width > SIZE_MAX / 3 || row_bytes < 3 * width)
        return b2_fail(
            err, BLIP2_ARGUMENT,
            "pixels of %zu x %zu: expected at least one, in rows of at least 3 bytes a pixel, got rows of %zu "
            "bytes",
            width, height, row_bytes);
    const b2_picture_options how = picture_options(model, &all);
    b2_picture square;
    B2_TRY(b2_picture_from_rows(rgb, width, height, row_bytes, &how, &square, err));
    return make_image(model, &square, out, err);
}

void blip2_image_free(blip2_image **image) {
    if (image == NULL || *image == NULL) return;
    free((*image)->thumbnail.rgb);
    free((*image)->pixels);
    free(*image);
    *image = NULL;
}

bool blip2_image_was_rotated(const blip2_image *image) { return image->was_rotated; }
const char *blip2_image_hint(const blip2_image *image) { return image->hint; }
const float *blip2_image_pixels(const blip2_image *image) { return image->pixels; }

const uint8_t *blip2_image_thumbnail(const blip2_image *image, size_t *width, size_t *height) {
    *width = image->thumbnail.width;
    *height = image->thumbnail.height;
    return image->thumbnail.rgb;
}
