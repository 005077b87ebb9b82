/* load.c: the way in. Reads the file, tells its type by its first bytes, lets that type's decoder work, turns the
 * result upright. What is no picture, or of a type that is not read here, is named in the message: a user with a
 * folder of ".jpg" files that are WebP, HTML or empty should see that at once. */
#include "image/decode.h"

#include "base/arena.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SUPPORTED "this program reads JPEG, PNG, BMP and PNM (PBM, PGM, PPM)"

b2_picture_options b2_picture_options_default(void) {
    return (b2_picture_options){.apply_exif = true, .max_pixels = B2_PICTURE_MAX_PIXELS};
}

void b2_picture_free(b2_picture *picture) {
    if (picture == NULL) return;
    free(picture->rgb);
    *picture = (b2_picture){0};
}

blip2_status b2_picture_reserve(const b2_picture_file *file, const char *kind, size_t width, size_t height,
                                b2_picture *out, blip2_error *err) {
    if (width == 0 || height == 0)
        return b2_fail(err, BLIP2_FORMAT, "%s: damaged %s: it says %zu x %zu pixels", file->name, kind, width, height);
    const size_t n_pixels = b2_size_multiply(width, height);
    if (n_pixels > file->max_pixels || n_pixels > SIZE_MAX / 8)
        return b2_fail(err, BLIP2_LIMIT, "%s: %s of %zu x %zu pixels, more than the limit of %zu pixels", file->name,
                       kind, width, height, file->max_pixels);
    uint8_t *rgb = malloc(3 * n_pixels);
    if (rgb == NULL)
        return b2_fail(err, BLIP2_MEMORY, "%s: no memory for %zu x %zu pixels", file->name, width, height);
    *out = (b2_picture){rgb, width, height, false};
    return BLIP2_OK;
}

/* ---- which type is it? ---- */

typedef struct signature {
    size_t offset;
    size_t len;
    const char *bytes;
    const char *name;     /* as the message calls it */
    b2_decode_fn *decode; /* NULL: known, but not read here */
} signature;

/* The first row that fits decides. */
static const signature signatures[] = {
    {0, 3, "\xFF\xD8\xFF", "JPEG", b2_jpeg_decode},
    {0, 8, "\x89PNG\r\n\x1A\n", "PNG", b2_png_decode},
    {0, 2, "BM", "BMP", b2_bmp_decode},
    {0, 2, "P1", "PNM", b2_pnm_decode},
    {0, 2, "P2", "PNM", b2_pnm_decode},
    {0, 2, "P3", "PNM", b2_pnm_decode},
    {0, 2, "P4", "PNM", b2_pnm_decode},
    {0, 2, "P5", "PNM", b2_pnm_decode},
    {0, 2, "P6", "PNM", b2_pnm_decode},
    {0, 3, "P7\n", "a PAM picture", NULL},
    {0, 3, "PF\n", "a PFM picture", NULL},
    {0, 3, "Pf\n", "a PFM picture", NULL},
    {0, 4, "GIF8", "a GIF picture", NULL},
    {8, 4, "WEBP", "a WebP picture", NULL},
    {0, 4, "II*\0", "a TIFF picture or camera raw file", NULL},
    {0, 4, "MM\0*", "a TIFF picture or camera raw file", NULL},
    {0, 4, "II+\0", "a BigTIFF picture", NULL},
    {0, 4, "MM\0+", "a BigTIFF picture", NULL},
    {4, 8, "ftypheic", "a HEIC picture", NULL},
    {4, 8, "ftypheix", "a HEIC picture", NULL},
    {4, 8, "ftyphevc", "a HEIC picture", NULL},
    {4, 8, "ftypmif1", "a HEIF picture", NULL},
    {4, 8, "ftypmsf1", "a HEIF picture", NULL},
    {4, 8, "ftypavif", "an AVIF picture", NULL},
    {4, 8, "ftypavis", "an AVIF picture", NULL},
    {4, 4, "ftyp", "a video (MP4 or QuickTime)", NULL},
    {0, 2, "\xFF\x0A", "a JPEG XL picture", NULL},
    {0, 12, "\0\0\0\x0CJXL \r\n\x87\n", "a JPEG XL picture", NULL},
    {0, 12, "\0\0\0\x0CjP  \r\n\x87\n", "a JPEG 2000 picture", NULL},
    {0, 4, "\xFF\x4F\xFF\x51", "a JPEG 2000 picture", NULL},
    {0, 4, "8BPS", "a Photoshop (PSD) file", NULL},
    {0, 4, "qoif", "a QOI picture", NULL},
    {0, 4, "DDS ", "a DDS texture", NULL},
    {0, 4, "\0\0\1\0", "a Windows icon", NULL},
    {0, 10, "#?RADIANCE", "a Radiance HDR picture", NULL},
    {0, 4, "\x76\x2F\x31\x01", "an OpenEXR picture", NULL},
    {0, 5, "%PDF-", "a PDF document", NULL},
    {0, 4, "%!PS", "a PostScript document", NULL},
    {0, 4, "PK\3\4", "a ZIP archive", NULL},
    {0, 2, "\x1F\x8B", "a gzip file", NULL},
    {0, 4, "\x1A\x45\xDF\xA3", "a video (Matroska or WebM)", NULL},
};

static const signature *find_signature(const b2_picture_file *file) {
    for (size_t i = 0; i < sizeof signatures / sizeof signatures[0]; i++) {
        const signature *s = &signatures[i];
        if (file->n_bytes >= s->offset + s->len && memcmp(file->bytes + s->offset, s->bytes, s->len) == 0) return s;
    }
    return NULL;
}

/* Does a lower-case word stand in the file's first bytes, whatever their case? */
static bool begins_around(const b2_picture_file *file, const char *word) {
    enum { WINDOW = 512 };
    const size_t word_len = strlen(word), end = file->n_bytes < WINDOW ? file->n_bytes : WINDOW;
    for (size_t i = 0; i + word_len <= end; i++) {
        size_t j = 0;
        while (j < word_len && (file->bytes[i + j] | 0x20) == (word[j] | 0x20)) j++;
        if (j == word_len) return true;
    }
    return false;
}

static bool looks_like_text(const b2_picture_file *file) {
    enum { WINDOW = 512 };
    const size_t end = file->n_bytes < WINDOW ? file->n_bytes : WINDOW;
    for (size_t i = 0; i < end; i++) {
        const uint8_t c = file->bytes[i];
        if (c < 0x20 && c != '\t' && c != '\n' && c != '\r' && c != '\f') return false;
    }
    return true;
}

/* The sentence for bytes that no signature knows. */
static blip2_status refuse_unknown(const b2_picture_file *file, blip2_error *err) {
    if (file->n_bytes == 0) return b2_fail(err, BLIP2_FORMAT, "%s: the file is empty (0 bytes)", file->name);
    if (looks_like_text(file)) {
        if (begins_around(file, "<svg"))
            return b2_fail(err, BLIP2_UNSUPPORTED, "%s: is an SVG drawing; " SUPPORTED, file->name);
        const bool html = begins_around(file, "<html") || begins_around(file, "<!doctype html");
        return b2_fail(err, BLIP2_FORMAT, "%s: is %s, not a picture; " SUPPORTED, file->name,
                       html ? "an HTML page" : "text");
    }
    char first[3 * 8 + 1] = "";
    for (size_t i = 0; i < 8 && i < file->n_bytes; i++)
        snprintf(first + 3 * i, 4, " %02x", (unsigned)file->bytes[i]);
    return b2_fail(err, BLIP2_FORMAT, "%s: not a picture of a known type (first bytes%s); " SUPPORTED, file->name,
                   first);
}

/* ---- loading ---- */

blip2_status b2_picture_load_memory(const uint8_t *bytes, size_t n_bytes, const char *name,
                                    const b2_picture_options *options, b2_picture *out, blip2_error *err) {
    const b2_picture_options chosen = options != NULL ? *options : b2_picture_options_default();
    const b2_picture_file file = {.bytes = bytes,
                                  .n_bytes = n_bytes,
                                  .name = name != NULL ? name : "picture",
                                  .max_pixels = chosen.max_pixels != 0 ? chosen.max_pixels : B2_PICTURE_MAX_PIXELS};
    *out = (b2_picture){0};
    const signature *type = find_signature(&file);
    if (type == NULL) return refuse_unknown(&file, err);
    if (type->decode == NULL)
        return b2_fail(err, BLIP2_UNSUPPORTED, "%s: is %s; " SUPPORTED, file.name, type->name);
    int orientation = B2_UPRIGHT;
    blip2_status status = type->decode(&file, out, &orientation, err);
    if (status == BLIP2_OK && chosen.apply_exif) status = b2_picture_orient(out, orientation, file.name, err);
    if (status != BLIP2_OK) b2_picture_free(out);
    return status;
}

/* Reads a stream to its end into one block from malloc; also pipes, whose length nobody knows. */
static blip2_status read_stream(FILE *stream, size_t expected_bytes, const char *path, uint8_t **bytes,
                                size_t *n_bytes, blip2_error *err) {
    size_t capacity = expected_bytes + 1; /* the extra byte sees the end without growing */
    uint8_t *block = malloc(capacity);
    size_t used = 0;
    while (block != NULL) {
        used += fread(block + used, 1, capacity - used, stream);
        if (used < capacity) break;
        if (capacity > B2_PICTURE_MAX_FILE_BYTES) {
            free(block);
            return b2_fail(err, BLIP2_LIMIT, "%s: larger than the limit of %zu bytes for a picture file", path,
                           B2_PICTURE_MAX_FILE_BYTES);
        }
        capacity *= 2;
        uint8_t *larger = realloc(block, capacity);
        if (larger == NULL) free(block);
        block = larger;
    }
    if (block == NULL) return b2_fail(err, BLIP2_MEMORY, "%s: no memory for the file's %zu bytes", path, capacity);
    if (ferror(stream)) {
        free(block);
        return b2_fail(err, BLIP2_IO, "%s: cannot be read: %s", path, strerror(errno));
    }
    *bytes = block;
    *n_bytes = used;
    return BLIP2_OK;
}

static blip2_status read_file(const char *path, uint8_t **bytes, size_t *n_bytes, blip2_error *err) {
    enum { PIPE_BYTES = 64 * 1024 };
    FILE *stream = fopen(path, "rb");
    if (stream == NULL) return b2_fail(err, BLIP2_IO, "%s: cannot be opened: %s", path, strerror(errno));
    struct stat st;
    blip2_status status;
    if (fstat(fileno(stream), &st) != 0)
        status = b2_fail(err, BLIP2_IO, "%s: cannot be examined: %s", path, strerror(errno));
    else if (S_ISDIR(st.st_mode))
        status = b2_fail(err, BLIP2_IO, "%s: is a folder, expected a picture file", path);
    else if (S_ISREG(st.st_mode) && (uintmax_t)st.st_size > B2_PICTURE_MAX_FILE_BYTES)
        status = b2_fail(err, BLIP2_LIMIT, "%s: %jd bytes, more than the limit of %zu bytes for a picture file", path,
                         (intmax_t)st.st_size, B2_PICTURE_MAX_FILE_BYTES);
    else
        status = read_stream(stream, S_ISREG(st.st_mode) ? (size_t)st.st_size : PIPE_BYTES, path, bytes, n_bytes, err);
    fclose(stream);
    return status;
}

blip2_status b2_picture_load_file(const char *path, const b2_picture_options *options, b2_picture *out,
                                  blip2_error *err) {
    *out = (b2_picture){0};
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    B2_TRY(read_file(path, &bytes, &n_bytes, err));
    const blip2_status status = b2_picture_load_memory(bytes, n_bytes, path, options, out, err);
    free(bytes);
    return status;
}
