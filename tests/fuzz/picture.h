/* picture.h: any bytes for one decoder of pictures: whole, as a square with a thumbnail, and as a truncated file. */
#ifndef B2_FUZZ_PICTURE_H
#define B2_FUZZ_PICTURE_H

#include "image/decode.h"
#include "reach.h"

static inline int fuzz_decoder(b2_decode_fn *decode, const uint8_t *data, size_t size) {
    for (int i = 0; i < 2; i++) {
        b2_picture_options options = b2_picture_options_default();
        options.max_pixels = 1 << 18;
        options.read_truncated = options.keep_hidden = i == 1;
        options.square = i == 1 ? 9 : 0;
        options.thumbnail_side = 5;
        b2_picture picture = {0};
        b2_decoding d = {
            .bytes = data, .n_bytes = size, .name = "fuzz", .options = &options, .orientation = 1, .out = &picture};
        blip2_error err;
        if (decode(&d, &err) == BLIP2_OK) {
            fuzz_require(d.row != NULL || picture.rgb != NULL);
            fuzz_reached();
        }
        b2_reducer_free(d.square);
        b2_reducer_free(d.thumbnail);
        free(d.row);
        b2_picture_free(&picture);
    }
    return 0;
}

/* A build without the library fuzzes PNG in its place. */
#define FUZZ_DECODER(decode)                                                                                           \
    int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) { return fuzz_decoder(decode, data, size); }

#endif
