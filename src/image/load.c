/* load.c: the way in. Reads the file, finds its decoder (types.c), lets it work, turns the result upright. */
#include "image/decode.h"

#include "base/arena.h"
#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

b2_picture_options b2_picture_options_default(void) {
    return (b2_picture_options){.apply_exif = true,
                                .background = {255, 255, 255},
                                .max_pixels = B2_PICTURE_MAX_PIXELS,
                                .max_side = B2_PICTURE_MAX_SIDE};
}

void b2_picture_free(b2_picture *picture) {
    if (picture == NULL) return;
    free(picture->rgb);
    free(picture->thumbnail.rgb);
    *picture = (b2_picture){0};
}

/* ---- loading ---- */

/* Pixels that lie in memory go through the same gate as those that a decoder makes. */
static blip2_status put_rows(b2_decoding *d, const uint8_t *rgb, size_t width, size_t height, size_t row_bytes,
                             blip2_error *err) {
    B2_TRY(b2_decoding_begin(d, "picture", width, height, B2_ROWS_DOWN, err));
    for (size_t y = 0; y < height; y++) {
        memcpy(b2_decoding_row(d, y), rgb + row_bytes * y, 3 * width);
        b2_decoding_put(d, y);
    }
    return BLIP2_OK;
}

static blip2_status turn(const b2_decoding *d, b2_pixels *pixels, blip2_error *err) {
    if (b2_pixels_orient(pixels, d->stored.orientation)) return BLIP2_OK;
    return b2_fail(err, BLIP2_MEMORY, "%s: no memory to turn a picture of %zu x %zu pixels", d->name, pixels->width,
                   pixels->height);
}

/* Rows have all come: the result is taken, and turned upright. */
static blip2_status finish(b2_decoding *d, blip2_error *err) {
    b2_picture *out = d->out;
    b2_pixels pixels = d->square != NULL ? b2_reducer_take(d->square) : (b2_pixels){out->rgb, out->width, out->height};
    blip2_status status = turn(d, &pixels, err);
    out->rgb = pixels.rgb;
    out->width = pixels.width;
    out->height = pixels.height;
    out->rotated = d->stored.orientation >= 2 && d->stored.orientation <= 8;
    if (status == BLIP2_OK && d->thumbnail != NULL) {
        out->thumbnail = b2_reducer_take(d->thumbnail);
        status = turn(d, &out->thumbnail, err);
    }
    return status;
}

static b2_picture_options complete(const b2_picture_options *options) {
    b2_picture_options all = options != NULL ? *options : b2_picture_options_default();
    if (all.max_pixels == 0) all.max_pixels = B2_PICTURE_MAX_PIXELS;
    if (all.max_side == 0) all.max_side = B2_PICTURE_MAX_SIDE;
    return all;
}

static blip2_status end(b2_decoding *d, blip2_status status, blip2_error *err) {
    if (status == BLIP2_OK) status = finish(d, err);
    b2_reducer_free(d->square);
    b2_reducer_free(d->thumbnail);
    free(d->row);
    if (status != BLIP2_OK) b2_picture_free(d->out);
    return status;
}

blip2_status b2_picture_from_rows(const uint8_t *rgb, size_t width, size_t height, size_t row_bytes,
                                  const b2_picture_options *options, b2_picture *out, blip2_error *err) {
    const b2_picture_options all = complete(options);
    b2_decoding d = {.name = "pixels", .options = &all, .orientation = B2_UPRIGHT, .out = out};
    *out = (b2_picture){0};
    return end(&d, put_rows(&d, rgb, width, height, row_bytes, err), err);
}

blip2_status b2_picture_load_memory(const uint8_t *bytes, size_t n_bytes, const char *name,
                                    const b2_picture_options *options, b2_picture *out, blip2_error *err) {
    const b2_picture_options all = complete(options);
    b2_decoding d = {.bytes = bytes,
                     .n_bytes = n_bytes,
                     .name = name != NULL ? name : "picture",
                     .options = &all,
                     .orientation = B2_UPRIGHT,
                     .out = out};
    *out = (b2_picture){0};
    blip2_status status;
    b2_decode_fn *decode = b2_find_decoder(bytes, n_bytes, d.name, &status, err);
    return decode == NULL ? status : end(&d, decode(&d, err), err);
}

blip2_status b2_picture_load_file(const char *path, const b2_picture_options *options, b2_picture *out,
                                  blip2_error *err) {
    *out = (b2_picture){0};
    char *bytes;
    size_t n_bytes;
    B2_TRY(b2_file_read(path, B2_PICTURE_MAX_FILE_BYTES, &bytes, &n_bytes, err));
    const blip2_status status = b2_picture_load_memory((const uint8_t *)bytes, n_bytes, path, options, out, err);
    free(bytes);
    return status;
}
