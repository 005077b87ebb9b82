/* avif.c: AVIF through libavif, the first frame. The file's own turning (irot, imir) is reported as an orientation, as
 * Pillow does, in place of the one of EXIF. Pixels may be a level off those of newer codecs, which convert YCbCr to RGB
 * with other rounding. */
#if B2_HAVE_AVIF

#include "base/library.h"
#include "image/decode.h"

#include <avif/avif.h>
#include <stdlib.h>

/* Loaded when the first AVIF comes. */
#define CALLS(X)                                                                                                       \
    X(avifDecoderCreate)                                                                                               \
    X(avifDecoderDestroy)                                                                                              \
    X(avifDecoderSetIOMemory)                                                                                          \
    X(avifDecoderParse)                                                                                                \
    X(avifDecoderNextImage)                                                                                            \
    X(avifCodecName)                                                                                                   \
    X(avifResultToString)                                                                                              \
    X(avifRGBImageSetDefaults) X(avifRGBImageAllocatePixels) X(avifRGBImageFreePixels) X(avifImageYUVToRGB)
typedef struct avif_calls {
    CALLS(B2_CALL_FIELD)
} avif_calls;
static const char *const names[] = {CALLS(B2_CALL_NAME)};

/* irot turns counter-clockwise by angle x 90 degrees, then imir mirrors: 0 top to bottom, 1 left to right. */
static int find_turn(const avifImage *image) {
    static const int turned[4] = {1, 8, 3, 6}, top_to_bottom[4] = {4, 5, 2, 7}, left_to_right[4] = {2, 7, 4, 5};
    const size_t angle = (image->transformFlags & AVIF_TRANSFORM_IROT) != 0 ? image->irot.angle & 3 : 0;
    if ((image->transformFlags & AVIF_TRANSFORM_IMIR) == 0) return turned[angle];
#if AVIF_VERSION >= 1000000
    return image->imir.axis != 0 ? left_to_right[angle] : top_to_bottom[angle];
#else
    return image->imir.mode != 0 ? left_to_right[angle] : top_to_bottom[angle];
#endif
}

static blip2_status fail(const avif_calls *lib, const b2_decoding *d, avifResult code, blip2_error *err) {
    if (code == AVIF_RESULT_OUT_OF_MEMORY) return b2_decoding_fail_memory(d, err);
    const bool unsupported = code == AVIF_RESULT_NO_CODEC_AVAILABLE || code == AVIF_RESULT_NOT_IMPLEMENTED;
    return b2_fail(err, unsupported ? BLIP2_UNSUPPORTED : BLIP2_FORMAT, "%s: %s AVIF: %s", d->name,
                   unsupported ? "unsupported" : "damaged", lib->avifResultToString(code));
}

static blip2_status put_rows(const avif_calls *lib, b2_decoding *d, const avifImage *image, blip2_error *err) {
    avifRGBImage rgb;
    lib->avifRGBImageSetDefaults(&rgb, image);
    rgb.depth = 8;
    rgb.format = AVIF_RGB_FORMAT_RGBA;
    lib->avifRGBImageAllocatePixels(&rgb);
    if (rgb.pixels == NULL) return b2_decoding_fail_memory(d, err);
    const avifResult code = lib->avifImageYUVToRGB(image, &rgb);
    for (size_t y = 0; code == AVIF_RESULT_OK && y < rgb.height; y++) {
        b2_blend_rgba(d->options, rgb.pixels + (size_t)rgb.rowBytes * y, rgb.width, b2_decoding_row(d, y));
        b2_decoding_put(d, y);
    }
    lib->avifRGBImageFreePixels(&rgb);
    return code == AVIF_RESULT_OK ? BLIP2_OK : fail(lib, d, code, err);
}

static blip2_status decode(const avif_calls *lib, b2_decoding *d, avifDecoder *decoder, blip2_error *err) {
    decoder->maxThreads = 1;
    /* libaom takes a damaged picture for one, and says so to nobody but its caller; dav1d does neither */
    if (lib->avifCodecName(AVIF_CODEC_CHOICE_AOM, AVIF_CODEC_FLAG_CAN_DECODE) != NULL)
        decoder->codecChoice = AVIF_CODEC_CHOICE_AOM;
    decoder->strictFlags = AVIF_STRICT_DISABLED;
    decoder->ignoreXMP = AVIF_TRUE;
    decoder->imageSizeLimit = d->options->max_pixels < UINT32_MAX ? (uint32_t)d->options->max_pixels : UINT32_MAX;
    decoder->imageDimensionLimit = d->options->max_side < UINT32_MAX ? (uint32_t)d->options->max_side : UINT32_MAX;
    avifResult code = lib->avifDecoderSetIOMemory(decoder, d->bytes, d->n_bytes);
    if (code == AVIF_RESULT_OK) code = lib->avifDecoderParse(decoder);
    if (code != AVIF_RESULT_OK) return fail(lib, d, code, err);
    d->orientation = find_turn(decoder->image);
    B2_TRY(b2_decoding_begin(d, "AVIF", decoder->image->width, decoder->image->height, B2_ROWS_DOWN, err));
    code = lib->avifDecoderNextImage(decoder);
    return code == AVIF_RESULT_OK ? put_rows(lib, d, decoder->image, err) : fail(lib, d, code, err);
}

blip2_status b2_avif_decode(b2_decoding *d, blip2_error *err) {
    avif_calls lib;
    B2_TRY(b2_library_load(d->name, B2_LIBRARY(B2_SO_AVIF), names, sizeof names / sizeof *names, &lib, err));
    avifDecoder *decoder = lib.avifDecoderCreate();
    if (decoder == NULL) return b2_decoding_fail_memory(d, err);
    const blip2_status status = decode(&lib, d, decoder, err);
    lib.avifDecoderDestroy(decoder);
    return status;
}

#else
typedef int b2_avif_is_left_out; /* a translation unit must declare something */
#endif
