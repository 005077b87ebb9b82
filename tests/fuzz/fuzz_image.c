/* fuzz_image.c: any bytes as a picture file. */
#include "image/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const b2_picture_options options = {.apply_exif = true, .max_pixels = 1 << 18};
    b2_picture picture, square;
    if (b2_picture_load_memory(data, size, "fuzz", &options, &picture, NULL) != BLIP2_OK) return 0;
    if (b2_picture_resize(&picture, 8, 8, &square, NULL) == BLIP2_OK) b2_picture_free(&square);
    b2_picture_free(&picture);
    return 0;
}
