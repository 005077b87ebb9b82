/* types.c: which type is it? The first bytes tell, never the name. What is not a picture, or of a type that is not read
 * here, is named in the message: a user with a folder of ".jpg" files that are HTML, raw or empty should see that at
 * once. A type whose library is missing in this build is named with its library. */
#include "image/decode.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#if B2_HAVE_WEBP
#define WEBP b2_webp_decode
#else
#define WEBP NULL
#endif
#if B2_HAVE_TIFF
#define TIFF b2_tiff_decode
#else
#define TIFF NULL
#endif
#if B2_HAVE_GIF
#define GIF b2_gif_decode
#else
#define GIF NULL
#endif
#if B2_HAVE_HEIF
#define HEIF b2_heif_decode
#else
#define HEIF NULL
#endif
#if B2_HAVE_AVIF
#define AVIF b2_avif_decode
#else
#define AVIF NULL
#endif
#if B2_HAVE_JXL
#define JXL b2_jxl_decode
#else
#define JXL NULL
#endif

typedef struct signature {
    size_t offset;
    size_t len;
    const char *bytes;
    const char *name;     /* as the message calls it */
    b2_decode_fn *decode; /* NULL: known, but not read here */
    const char *library;  /* which would read it; NULL: none, or none is needed */
    const char *kind;     /* one row of each type: its short name, and */
    const char *endings;  /* what names of such files end in */
} signature;

/* The first row that fits decides. */
static const signature signatures[] = {
    {0, 3, "\xFF\xD8\xFF", "JPEG", b2_jpeg_decode, NULL, "JPEG", "jpg jpeg jpe jfif"},
    {0, 8, "\x89PNG\r\n\x1A\n", "PNG", b2_png_decode, NULL, "PNG", "png apng"},
    {0, 2, "BM", "BMP", b2_bmp_decode, NULL, "BMP", "bmp dib"},
    {0, 2, "P1", "PNM", b2_pnm_decode, NULL, "PNM", "pbm pgm ppm pnm"},
    {0, 2, "P2", "PNM", b2_pnm_decode, NULL, NULL, NULL},
    {0, 2, "P3", "PNM", b2_pnm_decode, NULL, NULL, NULL},
    {0, 2, "P4", "PNM", b2_pnm_decode, NULL, NULL, NULL},
    {0, 2, "P5", "PNM", b2_pnm_decode, NULL, NULL, NULL},
    {0, 2, "P6", "PNM", b2_pnm_decode, NULL, NULL, NULL},
    {0, 3, "P7\n", "a PAM picture", NULL, NULL, "PAM", "pam"},
    {0, 3, "PF\n", "a PFM picture", NULL, NULL, "PFM", "pfm"},
    {0, 3, "Pf\n", "a PFM picture", NULL, NULL, NULL, NULL},
    {0, 4, "GIF8", "a GIF picture", GIF, "giflib", "GIF", "gif"},
    {8, 4, "WEBP", "a WebP picture", WEBP, "libwebp", "WebP", "webp"},
    {0, 10, "II*\0\x10\0\0\0CR", "a Canon raw file (CR2)", NULL, NULL, "raw", "cr2 nef arw dng pef srw"},
    {0, 4, "II*\0", "a TIFF picture", TIFF, "libtiff", "TIFF", "tif tiff"},
    {0, 4, "MM\0*", "a TIFF picture", TIFF, "libtiff", NULL, NULL},
    {0, 4, "II+\0", "a BigTIFF picture", TIFF, "libtiff", NULL, NULL},
    {0, 4, "MM\0+", "a BigTIFF picture", TIFF, "libtiff", NULL, NULL},
    {0, 4, "IIRO", "an Olympus raw file (ORF)", NULL, NULL, "raw", "orf"},
    {0, 4, "IIRS", "an Olympus raw file (ORF)", NULL, NULL, NULL, NULL},
    {0, 4, "IIU\0", "a Panasonic raw file (RW2)", NULL, NULL, "raw", "rw2"},
    {0, 15, "FUJIFILMCCD-RAW", "a Fujifilm raw file (RAF)", NULL, NULL, "raw", "raf"},
    {4, 8, "ftypcrx ", "a Canon raw file (CR3)", NULL, NULL, "raw", "cr3"},
    {4, 8, "ftypheic", "a HEIC picture", HEIF, "libheif", "HEIC", "heic heif hif"},
    {4, 8, "ftypheix", "a HEIC picture", HEIF, "libheif", NULL, NULL},
    {4, 8, "ftyphevc", "a HEIC picture", HEIF, "libheif", NULL, NULL},
    {4, 8, "ftyphevx", "a HEIC picture", HEIF, "libheif", NULL, NULL},
    {4, 8, "ftypheim", "a HEIC picture", HEIF, "libheif", NULL, NULL},
    {4, 8, "ftypheis", "a HEIC picture", HEIF, "libheif", NULL, NULL},
    {4, 8, "ftypmif1", "a HEIF picture", HEIF, "libheif", NULL, NULL},
    {4, 8, "ftypmsf1", "a HEIF picture", HEIF, "libheif", NULL, NULL},
    {4, 8, "ftypavif", "an AVIF picture", AVIF, "libavif", "AVIF", "avif"},
    {4, 8, "ftypavis", "an AVIF picture", AVIF, "libavif", NULL, NULL},
    {4, 4, "ftyp", "a video (MP4 or QuickTime)", NULL, NULL, NULL, NULL},
    {0, 2, "\xFF\x0A", "a JPEG XL picture", JXL, "libjxl", "JPEG XL", "jxl"},
    {0, 12, "\0\0\0\x0CJXL \r\n\x87\n", "a JPEG XL picture", JXL, "libjxl", NULL, NULL},
    {0, 12, "\0\0\0\x0CjP  \r\n\x87\n", "a JPEG 2000 picture", NULL, NULL, "JPEG 2000", "jp2 j2k jpx"},
    {0, 4, "\xFF\x4F\xFF\x51", "a JPEG 2000 picture", NULL, NULL, NULL, NULL},
    {0, 4, "II\xBC\x01", "a JPEG XR picture", NULL, NULL, "JPEG XR", "jxr"},
    {0, 4, "8BPS", "a Photoshop (PSD) file", NULL, NULL, "PSD", "psd"},
    {0, 8, "gimp xcf", "a GIMP (XCF) file", NULL, NULL, "XCF", "xcf"},
    {0, 4, "qoif", "a QOI picture", NULL, NULL, "QOI", "qoi"},
    {0, 4, "DDS ", "a DDS texture", NULL, NULL, "DDS", "dds"},
    {0, 4, "\0\0\1\0", "a Windows icon", NULL, NULL, "icon", "ico"},
    {0, 4, "icns", "an Apple icon", NULL, NULL, NULL, NULL},
    {0, 10, "#?RADIANCE", "a Radiance HDR picture", NULL, NULL, "HDR", "hdr"},
    {0, 4, "\x76\x2F\x31\x01", "an OpenEXR picture", NULL, NULL, "OpenEXR", "exr"},
    {128, 4, "DICM", "a DICOM file", NULL, NULL, NULL, NULL},
    {0, 5, "%PDF-", "a PDF document", NULL, NULL, NULL, NULL},
    {0, 4, "%!PS", "a PostScript document", NULL, NULL, NULL, NULL},
    {0, 4, "PK\3\4", "a ZIP archive", NULL, NULL, NULL, NULL},
    {0, 2, "\x1F\x8B", "a gzip file", NULL, NULL, NULL, NULL},
    {0, 4, "\x1A\x45\xDF\xA3", "a video (Matroska or WebM)", NULL, NULL, NULL, NULL},
};
enum { N_SIGNATURES = sizeof signatures / sizeof signatures[0] };

static bool fits(const signature *s, const uint8_t *bytes, size_t n_bytes) {
    return n_bytes >= s->offset + s->len && memcmp(bytes + s->offset, s->bytes, s->len) == 0;
}

/* Does a word stand in the file's first bytes, whatever their case? */
static bool begins_around(const uint8_t *bytes, size_t n_bytes, const char *word) {
    enum { WINDOW = 512 };
    const size_t word_len = strlen(word), end = n_bytes < WINDOW ? n_bytes : WINDOW;
    for (size_t i = 0; i + word_len <= end; i++)
        if (strncasecmp((const char *)bytes + i, word, word_len) == 0) return true;
    return false;
}

static bool looks_like_text(const uint8_t *bytes, size_t n_bytes) {
    enum { WINDOW = 512 };
    const size_t end = n_bytes < WINDOW ? n_bytes : WINDOW;
    for (size_t i = 0; i < end; i++) {
        const uint8_t c = bytes[i];
        if (c < 0x20 && c != '\t' && c != '\n' && c != '\r' && c != '\f') return false;
    }
    return true;
}

/* "this program reads JPEG, PNG, ..." */
typedef struct sentence {
    char text[160];
} sentence;

static sentence list_what_is_read(void) {
    sentence s = {"this program reads "};
    bool is_first = true;
    for (size_t i = 0; i < N_SIGNATURES; i++) {
        if (signatures[i].decode == NULL || signatures[i].kind == NULL) continue;
        const size_t used = strlen(s.text);
        snprintf(s.text + used, sizeof s.text - used, "%s%s", is_first ? "" : ", ", signatures[i].kind);
        is_first = false;
    }
    return s;
}

static blip2_status refuse_known(const signature *type, const char *name, blip2_error *err) {
    if (type->library != NULL)
        return b2_fail(err, BLIP2_UNSUPPORTED, "%s: is %s; this program was built without %s, which reads it", name,
                       type->name, type->library);
    return b2_fail(err, BLIP2_UNSUPPORTED, "%s: is %s; %s", name, type->name, list_what_is_read().text);
}

/* The sentence for bytes that no signature knows. */
static blip2_status refuse_unknown(const uint8_t *bytes, size_t n_bytes, const char *name, blip2_error *err) {
    const sentence reads = list_what_is_read();
    if (n_bytes == 0) return b2_fail(err, BLIP2_FORMAT, "%s: the file is empty (0 bytes)", name);
    if (looks_like_text(bytes, n_bytes)) {
        if (begins_around(bytes, n_bytes, "<svg"))
            return b2_fail(err, BLIP2_UNSUPPORTED, "%s: is an SVG drawing; %s", name, reads.text);
        if (begins_around(bytes, n_bytes, "version https://git-lfs"))
            return b2_fail(err, BLIP2_FORMAT, "%s: is a Git LFS pointer (text), not the picture itself: git lfs pull",
                           name);
        const bool html = begins_around(bytes, n_bytes, "<html") || begins_around(bytes, n_bytes, "<!doctype html");
        return b2_fail(err, BLIP2_FORMAT, "%s: is %s, not a picture; %s", name, html ? "an HTML page" : "text",
                       reads.text);
    }
    char first[3 * 8 + 1] = "";
    for (size_t i = 0; i < 8 && i < n_bytes; i++) snprintf(first + 3 * i, 4, " %02x", (unsigned)bytes[i]);
    return b2_fail(err, BLIP2_FORMAT, "%s: not a picture of a known type (first bytes%s); %s", name, first, reads.text);
}

b2_decode_fn *b2_find_decoder(const uint8_t *bytes, size_t n_bytes, const char *name, blip2_status *status,
                              blip2_error *err) {
    *status = BLIP2_OK;
    for (size_t i = 0; i < N_SIGNATURES; i++) {
        if (!fits(&signatures[i], bytes, n_bytes)) continue;
        if (signatures[i].decode == NULL) *status = refuse_known(&signatures[i], name, err);
        return signatures[i].decode;
    }
    *status = refuse_unknown(bytes, n_bytes, name, err);
    return NULL;
}

/* Is ending one of the words of a list that blanks separate? */
static bool is_listed(const char *words, const char *ending) {
    const size_t len = strlen(ending);
    for (const char *at = words; len > 0 && *at != '\0';) {
        const size_t word_len = strcspn(at, " ");
        if (word_len == len && strncasecmp(at, ending, len) == 0) return true;
        at += word_len + (at[word_len] == ' ');
    }
    return false;
}

const char *b2_picture_kind_of_name(const char *path, bool *is_read) {
    const char *dot = strrchr(path, '.');
    *is_read = false;
    if (dot == NULL || strchr(dot, '/') != NULL) return NULL;
    for (size_t i = 0; i < N_SIGNATURES; i++) {
        if (signatures[i].endings == NULL || !is_listed(signatures[i].endings, dot + 1)) continue;
        *is_read = signatures[i].decode != NULL;
        return signatures[i].kind;
    }
    return NULL;
}
