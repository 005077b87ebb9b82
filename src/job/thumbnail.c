/* thumbnail.c: the only file that sees stb_image_write, whose JPEG writer needs no other library. */
#include "job/thumbnail.h"

#include "base/memory_text.h"
#include "record/json.h"

#include <stdlib.h>

#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STBI_WRITE_NO_STDIO
#pragma GCC diagnostic ignored "-Wunused-function" /* reported at the end of this file, hence not popped */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#include <stb/stb_image_write.h>
#pragma GCC diagnostic pop

enum { QUALITY = 80 };

static void append_bytes(void *context, void *data, int n) { fwrite(data, 1, (size_t)n, (FILE *)context); }

char *b2_thumbnail_encode(const uint8_t *rgb, size_t width, size_t height) {
    b2_memory_text jpeg, base64;
    FILE *out = b2_memory_text_begin(&jpeg);
    if (out == NULL) return NULL;
    const int done = stbi_write_jpg_to_func(append_bytes, out, (int)width, (int)height, 3, rgb, QUALITY);
    if (!b2_memory_text_end(&jpeg)) return NULL;
    out = done != 0 ? b2_memory_text_begin(&base64) : NULL;
    if (out != NULL) b2_base64_write((const uint8_t *)jpeg.text, jpeg.len, out);
    free(jpeg.text);
    return out != NULL && b2_memory_text_end(&base64) ? base64.text : NULL;
}
