/* stb.c: the only file that sees stb_image. Of it we use the inflater (PNG's compression), and its JPEG decoder where
 * libjpeg is missing. PNG, BMP and PNM containers are read by our own short parsers: stb_image 2.27 checks no
 * checksums, reads truncated BMP and PNM files as if they were whole, ignores PNM's maximum value, lets a PNG inflate
 * to 4 GB whatever its size, and rounds 15-bit colours and 16-bit greys differently from Pillow. */
#include "image/decode.h"

#include <limits.h>
#include <string.h>

#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_PNG
#if !B2_HAVE_JPEG
#define STBI_ONLY_JPEG
#endif
#define STBI_NO_STDIO
#define STBI_MAX_DIMENSIONS 65535
#pragma GCC diagnostic ignored "-Wunused-function" /* reported at the end of this file, hence not popped */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#include <stb/stb_image.h>
#pragma GCC diagnostic pop

size_t b2_stb_inflate(const uint8_t *bytes, size_t n_bytes, uint8_t *out, size_t capacity_bytes) {
    if (n_bytes > INT_MAX || capacity_bytes > INT_MAX) return SIZE_MAX;
    const int n = stbi_zlib_decode_buffer((char *)out, (int)capacity_bytes, (const char *)bytes, (int)n_bytes);
    return n < 0 ? SIZE_MAX : (size_t)n;
}

#if !B2_HAVE_JPEG
blip2_status b2_jpeg_decode(const b2_picture_file *file, b2_picture *out, int *orientation, blip2_error *err) {
    int width = 0, height = 0, n_components = 0;
    if (file->n_bytes > INT_MAX)
        return b2_fail(err, BLIP2_LIMIT, "%s: JPEG of %zu bytes, more than %d", file->name, file->n_bytes, INT_MAX);
    const int len = (int)file->n_bytes;
    if (!stbi_info_from_memory(file->bytes, len, &width, &height, &n_components))
        return b2_fail(err, BLIP2_FORMAT, "%s: damaged JPEG: %s", file->name, stbi_failure_reason());
    B2_TRY(b2_picture_reserve(file, "JPEG", (size_t)width, (size_t)height, out, err));
    stbi_uc *pixels = stbi_load_from_memory(file->bytes, len, &width, &height, &n_components, 3);
    if (pixels == NULL)
        return b2_fail(err, BLIP2_FORMAT, "%s: damaged JPEG: %s", file->name, stbi_failure_reason());
    if ((size_t)width == out->width && (size_t)height == out->height)
        memcpy(out->rgb, pixels, 3 * out->width * out->height);
    stbi_image_free(pixels);
    *orientation = b2_jpeg_find_orientation(file->bytes, file->n_bytes);
    return BLIP2_OK;
}
#endif
