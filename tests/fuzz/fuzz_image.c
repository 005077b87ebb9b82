/* fuzz_image.c: any bytes as a picture file: which type it is, turning, resizing. */
#include "image/image.h"
#include "reach.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    b2_picture_options options = b2_picture_options_default();
    options.max_pixels = 1 << 18;
    options.square = size % 2 == 0 ? 8 : 0;
    options.thumbnail_side = 3;
    options.read_truncated = size % 4 >= 2;
    b2_picture picture, square;
    if (b2_picture_load_memory(data, size, "fuzz", &options, &picture, NULL) != BLIP2_OK) return 0;
    if (b2_picture_resize(&picture, 8, 8, &square, NULL) == BLIP2_OK) b2_picture_free(&square);
    b2_picture_free(&picture);
    fuzz_reached();
    return 0;
}
