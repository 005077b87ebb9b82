/* webp.c: WebP through libwebp, as Pillow uses it. Of an animation the first frame, on a transparent canvas. libwebp
 * wants room for the whole picture, so rows are not reduced while they are decoded. */
#if B2_HAVE_WEBP

#include "image/decode.h"

#include <stdlib.h>
#include <string.h>
#include <webp/decode.h>
#include <webp/demux.h>

/* "RIFF", length, "WEBP", then chunks: four letters, a little-endian length, data padded to an even number. */
static void find_orientation(b2_decoding *d) {
    int exif = B2_ORIENTATION_ABSENT, xmp = B2_ORIENTATION_ABSENT;
    for (size_t at = 12; at <= d->n_bytes && d->n_bytes - at >= 8;) {
        const uint8_t *p = d->bytes + at;
        const size_t n = b2_read_le32(p + 4), left = d->n_bytes - at - 8;
        if (n > left) break;
        if (memcmp(p, "EXIF", 4) == 0) exif = b2_exif_find_orientation(p + 8, n);
        if (memcmp(p, "XMP ", 4) == 0) xmp = b2_xmp_find_orientation(p + 8, n);
        at += 8 + n + n % 2;
    }
    d->orientation = b2_choose_orientation(exif, xmp);
}

static void put_rows(b2_decoding *d, const uint8_t *pixels, bool has_alpha) {
    const size_t width = d->stored.width, pixel_bytes = has_alpha ? 4 : 3;
    for (size_t y = 0; y < d->stored.height; y++) {
        const uint8_t *row = pixels + pixel_bytes * width * y;
        if (has_alpha) b2_blend_rgba(d->options, row, width, b2_decoding_row(d, y));
        else memcpy(b2_decoding_row(d, y), row, 3 * width);
        b2_decoding_put(d, y);
    }
}

static blip2_status fail(const b2_decoding *d, VP8StatusCode code, blip2_error *err) {
    if (code == VP8_STATUS_OUT_OF_MEMORY) return b2_decoding_fail_memory(d, err);
    if (code == VP8_STATUS_NOT_ENOUGH_DATA || code == VP8_STATUS_SUSPENDED)
        return b2_fail(err, BLIP2_FORMAT, "%s: truncated WebP: its %zu bytes end before the picture does", d->name,
                       d->n_bytes);
    return b2_decoding_fail_damaged(d, "WebP", "libwebp cannot decode it", err);
}

/* pixels: [height][width][3 or 4]. An incremental decoder keeps the rows that are there. */
static VP8StatusCode decode_still(const b2_decoding *d, WebPDecoderConfig *config, uint8_t *pixels) {
    const size_t stride = (size_t)config->input.width * (config->input.has_alpha ? 4 : 3);
    config->output.colorspace = config->input.has_alpha ? MODE_RGBA : MODE_RGB;
    config->output.is_external_memory = 1;
    config->output.u.RGBA.rgba = pixels;
    config->output.u.RGBA.stride = (int)stride;
    config->output.u.RGBA.size = stride * (size_t)config->input.height;
    if (!d->options->read_truncated) return WebPDecode(d->bytes, d->n_bytes, config);
    WebPIDecoder *parts = WebPINewDecoder(&config->output);
    if (parts == NULL) return VP8_STATUS_OUT_OF_MEMORY;
    WebPIAppend(parts, d->bytes, d->n_bytes);
    WebPIDelete(parts);
    return VP8_STATUS_OK;
}

/* The canvas with its first frame on it: libwebp owns it as long as the decoder lives. */
static blip2_status decode_animation(b2_decoding *d, bool has_alpha, blip2_error *err) {
    WebPAnimDecoderOptions options;
    WebPAnimDecoderOptionsInit(&options);
    const WebPData data = {d->bytes, d->n_bytes};
    WebPAnimDecoder *frames = WebPAnimDecoderNew(&data, &options);
    uint8_t *canvas = NULL;
    int timestamp;
    WebPAnimInfo info;
    const bool ok = frames != NULL && WebPAnimDecoderGetInfo(frames, &info) && info.canvas_width == d->stored.width &&
                    info.canvas_height == d->stored.height && WebPAnimDecoderGetNext(frames, &canvas, &timestamp);
    for (size_t i = 0; ok && !has_alpha && i < d->stored.width * d->stored.height; i++) canvas[4 * i + 3] = 255;
    if (ok) put_rows(d, canvas, true);
    WebPAnimDecoderDelete(frames);
    return ok ? BLIP2_OK : b2_decoding_fail_damaged(d, "WebP", "its first frame cannot be decoded", err);
}

blip2_status b2_webp_decode(b2_decoding *d, blip2_error *err) {
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config))
        return b2_fail(err, BLIP2_UNSUPPORTED, "%s: WebP, but libwebp is of another version than its header", d->name);
    const VP8StatusCode code = WebPGetFeatures(d->bytes, d->n_bytes, &config.input);
    if (code != VP8_STATUS_OK) return fail(d, code, err);
    find_orientation(d);
    const size_t width = (size_t)config.input.width, height = (size_t)config.input.height;
    const bool has_alpha = config.input.has_alpha;
    B2_TRY(b2_decoding_begin(d, "WebP", width, height, B2_ROWS_DOWN, err));
    if (config.input.has_animation) return decode_animation(d, has_alpha, err);
    uint8_t *pixels = calloc(width * height, has_alpha ? 4 : 3);
    if (pixels == NULL) return b2_decoding_fail_memory(d, err);
    const VP8StatusCode end = decode_still(d, &config, pixels);
    if (end == VP8_STATUS_OK) put_rows(d, pixels, has_alpha);
    free(pixels);
    return end == VP8_STATUS_OK ? BLIP2_OK : fail(d, end, err);
}

#else
typedef int b2_webp_is_left_out; /* a translation unit must declare something */
#endif
