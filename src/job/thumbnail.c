/* thumbnail.c: the only file that sees stb_image_write, whose JPEG writer needs no other library. */
#include "job/thumbnail.h"

#include "record/json.h"

#include <errno.h>
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
    char *jpeg = NULL, *text = NULL;
    size_t n_jpeg = 0, n_text = 0;
    FILE *out = open_memstream(&jpeg, &n_jpeg);
    if (out == NULL) return NULL;
    errno = 0; /* a stream in memory that cannot grow leaves bytes out, and its error flag alone */
    const int done = stbi_write_jpg_to_func(append_bytes, out, (int)width, (int)height, 3, rgb, QUALITY);
    if (fclose(out) == 0 && done != 0 && (out = open_memstream(&text, &n_text)) != NULL) {
        b2_base64_write((const uint8_t *)jpeg, n_jpeg, out);
        if (fclose(out) != 0 || errno == ENOMEM) {
            free(text);
            text = NULL;
        }
    }
    free(jpeg);
    return text;
}
