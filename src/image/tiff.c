/* tiff.c: the first page of a TIFF through libtiff, in the layouts that Pillow knows. Strips and tiles are read a row
 * of them at a time; YCbCr goes through libtiff's own conversion, as in Pillow. The orientation is always applied:
 * Pillow applies it when it loads.
 *
 * libtiff (4.5 or newer) takes the function for its messages per file, not per process. */
#if B2_HAVE_TIFF

#include "image/tiff.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tiffio.h>

typedef struct tiff_job {
    b2_decoding *d;
    size_t at; /* in the file */
    TIFF *tiff;
    char reason[120]; /* libtiff's first message */
    b2_tiff_layout layout;
    size_t width, height;
    uint16_t photometric, compression, planar;
    bool is_ycbcr;  /* libtiff converts to RGBA */
    size_t n_rows;  /* of a strip or tile */
    uint8_t *block; /* a strip, or a tile */
    size_t block_bytes;
    uint8_t *rows; /* [n_rows][row_bytes], samples of a pixel together */
    size_t row_bytes;
    uint8_t *rgba; /* [width][4] */
} tiff_job;

/* ---- the file, as libtiff wants it ---- */

static tmsize_t read_bytes(thandle_t handle, void *to, tmsize_t n) {
    tiff_job *job = handle;
    const size_t left = job->at < job->d->n_bytes ? job->d->n_bytes - job->at : 0;
    const size_t count = n <= 0 ? 0 : (size_t)n < left ? (size_t)n : left;
    if (count > 0) memcpy(to, job->d->bytes + job->at, count);
    job->at += count;
    return (tmsize_t)count;
}

static tmsize_t write_nothing(thandle_t handle, void *from, tmsize_t n) {
    (void)handle, (void)from, (void)n;
    return 0;
}

static toff_t seek(thandle_t handle, toff_t offset, int whence) {
    tiff_job *job = handle;
    job->at = whence == SEEK_SET ? offset : whence == SEEK_CUR ? job->at + offset : job->d->n_bytes + offset;
    return job->at;
}

static int close_nothing(thandle_t handle) {
    (void)handle;
    return 0;
}

static toff_t get_size(thandle_t handle) { return ((tiff_job *)handle)->d->n_bytes; }

static int keep_message(TIFF *tiff, void *user, const char *module, const char *format, va_list values) {
    (void)tiff, (void)module;
    tiff_job *job = user;
    if (job->reason[0] == '\0') vsnprintf(job->reason, sizeof job->reason, format, values);
    return 1;
}

static int ignore_message(TIFF *tiff, void *user, const char *module, const char *format, va_list values) {
    (void)tiff, (void)user, (void)module, (void)format, (void)values;
    return 1;
}

static bool open_tiff(tiff_job *job) {
    TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
    if (options == NULL) return false;
    TIFFOpenOptionsSetErrorHandlerExtR(options, keep_message, job);
    TIFFOpenOptionsSetWarningHandlerExtR(options, ignore_message, NULL);
    job->tiff = TIFFClientOpenExt(job->d->name, "rmC", job, read_bytes, write_nothing, seek, close_nothing, get_size,
                                  NULL, NULL, options);
    TIFFOpenOptionsFree(options);
    return job->tiff != NULL;
}

static blip2_status fail(const tiff_job *job, blip2_error *err) {
    return b2_decoding_fail_damaged(job->d, "TIFF", job->reason[0] != '\0' ? job->reason : "it cannot be decoded", err);
}

/* ---- layout ---- */

static unsigned get_field(const tiff_job *job, uint32_t tag) {
    uint16_t value = 0;
    TIFFGetFieldDefaulted(job->tiff, tag, &value);
    return value;
}

static bool read_palette(tiff_job *job) {
    uint16_t *red, *green, *blue;
    if (!TIFFGetField(job->tiff, TIFFTAG_COLORMAP, &red, &green, &blue)) return false;
    for (size_t i = 0; i < (size_t)1 << job->layout.n_bits; i++) {
        job->layout.palette[i][0] = (uint8_t)(red[i] >> 8);
        job->layout.palette[i][1] = (uint8_t)(green[i] >> 8);
        job->layout.palette[i][2] = (uint8_t)(blue[i] >> 8);
    }
    return true;
}

/* Does the first directory of a classic TIFF have the tag? libtiff adds some that are missing. */
static bool has_tag(const b2_decoding *d, unsigned tag) {
    const bool big_endian = d->n_bytes > 0 && d->bytes[0] == 'M';
    const uint64_t at = d->n_bytes < 8 ? UINT64_MAX
                        : big_endian   ? b2_read_be32(d->bytes + 4)
                                       : b2_read_le32(d->bytes + 4);
    if (at > d->n_bytes - 2) return true;
    const uint8_t *p = d->bytes + at;
    const size_t n = big_endian ? b2_read_be16(p) : b2_read_le16(p);
    for (size_t i = 0; i < n && at + 2 + 12 * (i + 1) <= d->n_bytes; i++) {
        const uint8_t *entry = p + 2 + 12 * i;
        if ((big_endian ? b2_read_be16(entry) : b2_read_le16(entry)) == tag) return true;
    }
    return false;
}

/* What the first sample after the colours is. */
static b2_tiff_alpha find_alpha(const tiff_job *job, unsigned n_colours) {
    uint16_t n_extra = 0, *extra = NULL;
    TIFFGetFieldDefaulted(job->tiff, TIFFTAG_EXTRASAMPLES, &n_extra, &extra);
    if (job->layout.n_samples <= n_colours) return B2_TIFF_OPAQUE;
    if (n_extra == 0 || (!TIFFIsBigTIFF(job->tiff) && !has_tag(job->d, TIFFTAG_EXTRASAMPLES)))
        return n_colours == 3 ? B2_TIFF_STRAIGHT : B2_TIFF_OPAQUE; /* Pillow's guess */
    return extra[0] == EXTRASAMPLE_ASSOCALPHA    ? B2_TIFF_PREMULTIPLIED
           : extra[0] == EXTRASAMPLE_UNSPECIFIED ? B2_TIFF_OPAQUE
                                                 : B2_TIFF_STRAIGHT;
}

/* False: not a layout that is read here. */
static bool find_layout(tiff_job *job) {
    b2_tiff_layout *layout = &job->layout;
    const unsigned format = get_field(job, TIFFTAG_SAMPLEFORMAT), n = layout->n_bits;
    layout->is_float = format == SAMPLEFORMAT_IEEEFP;
    layout->is_signed = format == SAMPLEFORMAT_INT;
    const bool is_whole = n == 8 || n == 16, is_small = n == 1 || n == 2 || n == 4;
    unsigned n_colours = 3;
    switch (job->photometric) {
    case PHOTOMETRIC_MINISWHITE:
    case PHOTOMETRIC_MINISBLACK:
        layout->kind = B2_TIFF_GREY;
        layout->is_inverted = job->photometric == PHOTOMETRIC_MINISWHITE;
        n_colours = 1;
        break;
    case PHOTOMETRIC_PALETTE:
        layout->kind = B2_TIFF_PALETTE;
        if (n > 8 || !read_palette(job)) return false;
        n_colours = 1;
        break;
    case PHOTOMETRIC_SEPARATED:
        layout->kind = B2_TIFF_CMYK;
        n_colours = 4;
        break;
    case PHOTOMETRIC_RGB:
    case PHOTOMETRIC_YCBCR: layout->kind = B2_TIFF_RGB; break;
    default: return false;
    }
    if (layout->n_samples < n_colours) return false;
    layout->alpha = layout->kind == B2_TIFF_CMYK ? B2_TIFF_OPAQUE : find_alpha(job, n_colours);
    if (layout->kind == B2_TIFF_GREY && layout->n_samples == 1)
        return is_small || is_whole || n == 12 || n == 32 ? !layout->is_float || n == 32 : false;
    return (is_whole || (is_small && layout->n_samples == 1)) && !layout->is_float;
}

static void find_hint(tiff_job *job) {
    uint32_t kind = 0;
    const void *version = NULL;
    uint16_t n_subfolders = 0;
    uint64_t *subfolders;
    TIFFGetField(job->tiff, TIFFTAG_SUBFILETYPE, &kind);
    if (TIFFGetField(job->tiff, TIFFTAG_DNGVERSION, &version) ||
        ((kind & FILETYPE_REDUCEDIMAGE) != 0 && TIFFGetField(job->tiff, TIFFTAG_SUBIFD, &n_subfolders, &subfolders)))
        job->d->out->hint = "a camera raw file: only the preview in it was read";
    else if (job->layout.kind == B2_TIFF_GREY && job->layout.n_bits > 8)
        job->d->out->hint = "grey of more than 8 bits: everything above 255 shows as white, as Pillow shows it";
}

/* As many samples of colour as of brightness, uncompressed. */
static bool is_plain_ycbcr(const tiff_job *job) {
    uint16_t across = 2, down = 2;
    TIFFGetFieldDefaulted(job->tiff, TIFFTAG_YCBCRSUBSAMPLING, &across, &down);
    return job->compression == COMPRESSION_NONE && job->planar == PLANARCONFIG_CONTIG && across == 1 && down == 1 &&
           job->layout.n_bits == 8 && job->layout.n_samples == 3;
}

static blip2_status parse(tiff_job *job, blip2_error *err) {
    uint32_t width = 0, height = 0;
    TIFFGetField(job->tiff, TIFFTAG_IMAGEWIDTH, &width);
    TIFFGetField(job->tiff, TIFFTAG_IMAGELENGTH, &height);
    job->width = width;
    job->height = height;
    job->layout.n_bits = get_field(job, TIFFTAG_BITSPERSAMPLE);
    job->layout.n_samples = get_field(job, TIFFTAG_SAMPLESPERPIXEL);
    job->compression = (uint16_t)get_field(job, TIFFTAG_COMPRESSION);
    job->planar = (uint16_t)get_field(job, TIFFTAG_PLANARCONFIG);
    if (!TIFFGetField(job->tiff, TIFFTAG_PHOTOMETRIC, &job->photometric)) job->photometric = PHOTOMETRIC_MINISWHITE;
    B2_TRY(b2_decoding_check_size(job->d, "TIFF", width, height, err));
    if (!TIFFIsCODECConfigured(job->compression))
        return b2_fail(err, BLIP2_UNSUPPORTED, "%s: TIFF of compression %u, which this libtiff does not read",
                       job->d->name, (unsigned)job->compression);
    if (job->photometric == PHOTOMETRIC_CFA)
        return b2_fail(err, BLIP2_UNSUPPORTED, "%s: is a camera raw file without a preview", job->d->name);
    if (job->layout.n_samples > 8 || !find_layout(job))
        return b2_fail(err, BLIP2_UNSUPPORTED, "%s: TIFF of an unknown kind (photometric %u, %u samples of %u bits)",
                       job->d->name, (unsigned)job->photometric, job->layout.n_samples, job->layout.n_bits);
    job->is_ycbcr = job->photometric == PHOTOMETRIC_YCBCR && job->layout.n_samples >= 3;
    if (job->is_ycbcr && job->compression == COMPRESSION_JPEG && job->planar == PLANARCONFIG_CONTIG) {
        TIFFSetField(job->tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
        job->is_ycbcr = false;
    } else if (job->is_ycbcr && is_plain_ycbcr(job)) {
        job->layout.kind = B2_TIFF_YCBCR;
        job->is_ycbcr = false;
    }
    job->d->orientation = (int)get_field(job, TIFFTAG_ORIENTATION);
    job->d->turns_itself = true;
    find_hint(job);
    return BLIP2_OK;
}

/* ---- pixels ---- */

static void put_row(tiff_job *job, size_t y) {
    b2_blend_rgba(job->d->options, job->rgba, job->width, b2_decoding_row(job->d, y));
    b2_decoding_put(job->d, y);
}

/* libtiff's rows of ABGR words, the top one first. */
static blip2_status read_ycbcr(tiff_job *job, blip2_error *err) {
    TIFFRGBAImage image;
    char reason[1024] = "";
    if (!TIFFRGBAImageOK(job->tiff, reason) || !TIFFRGBAImageBegin(&image, job->tiff, 0, reason))
        return b2_decoding_fail_damaged(job->d, "TIFF", reason, err);
    image.orientation = image.req_orientation = ORIENTATION_TOPLEFT;
    uint32_t *words = calloc(job->width * job->n_rows, sizeof *words);
    bool ok = words != NULL;
    for (size_t y = 0; ok && y < job->height; y += job->n_rows) {
        const size_t n = job->height - y < job->n_rows ? job->height - y : job->n_rows;
        image.row_offset = (int)y;
        ok = TIFFRGBAImageGet(&image, words, (uint32_t)job->width, (uint32_t)n) || job->d->options->read_truncated;
        for (size_t i = 0; ok && i < n; i++) {
            for (size_t x = 0; x < job->width; x++) {
                const uint32_t word = words[i * job->width + x];
                const uint8_t pixel[4] = {(uint8_t)TIFFGetR(word), (uint8_t)TIFFGetG(word), (uint8_t)TIFFGetB(word),
                                          255};
                memcpy(job->rgba + 4 * x, pixel, 4);
            }
            put_row(job, y + i);
        }
    }
    const bool had_memory = words != NULL;
    free(words);
    TIFFRGBAImageEnd(&image);
    return ok ? BLIP2_OK : had_memory ? fail(job, err) : b2_decoding_fail_memory(job->d, err);
}

/* Copies one plane's samples, n a pixel in a block, to where they stand among those of all planes. */
static void copy_samples(tiff_job *job, const uint8_t *from, size_t from_bytes, size_t x, size_t n_pixels, size_t row,
                         size_t plane) {
    const b2_tiff_layout *layout = &job->layout;
    uint8_t *to = job->rows + row * job->row_bytes;
    if (job->planar == PLANARCONFIG_CONTIG || layout->n_samples == 1) {
        const size_t first = x * layout->n_samples * layout->n_bits / 8;
        const size_t n = (n_pixels * layout->n_samples * layout->n_bits + 7) / 8, room = job->row_bytes - first;
        const size_t most = n < from_bytes ? n : from_bytes;
        memcpy(to + first, from, most < room ? most : room);
        return;
    }
    const size_t bytes = layout->n_bits / 8;
    for (size_t i = 0; i < n_pixels && (i + 1) * bytes <= from_bytes; i++)
        memcpy(to + ((x + i) * layout->n_samples + plane) * bytes, from + i * bytes, bytes);
}

/* One strip, or one row of tiles, of every plane. False: libtiff failed. */
static bool read_rows(tiff_job *job, size_t y) {
    const bool is_tiled = TIFFIsTiled(job->tiff);
    const size_t n_planes = job->planar == PLANARCONFIG_CONTIG ? 1 : job->layout.n_samples;
    const size_t n_rows = job->height - y < job->n_rows ? job->height - y : job->n_rows;
    uint32_t tile_width = (uint32_t)job->width;
    if (is_tiled) TIFFGetField(job->tiff, TIFFTAG_TILEWIDTH, &tile_width);
    const size_t from_bytes = (size_t)(is_tiled ? TIFFTileRowSize(job->tiff) : TIFFScanlineSize(job->tiff));
    for (size_t plane = 0; plane < n_planes; plane++)
        for (size_t x = 0; x < job->width; x += tile_width) {
            const uint16_t p = (uint16_t)plane;
            const tmsize_t n = is_tiled ? TIFFReadTile(job->tiff, job->block, (uint32_t)x, (uint32_t)y, 0, p)
                                        : TIFFReadEncodedStrip(job->tiff, TIFFComputeStrip(job->tiff, (uint32_t)y, p),
                                                               job->block, (tmsize_t)job->block_bytes);
            if (n < 0) return false;
            const size_t n_pixels = job->width - x < tile_width ? job->width - x : tile_width;
            for (size_t row = 0; row < n_rows && (row + 1) * from_bytes <= job->block_bytes; row++)
                copy_samples(job, job->block + row * from_bytes, from_bytes, x, n_pixels, row, plane);
        }
    return true;
}

static blip2_status read_samples(tiff_job *job, blip2_error *err) {
    const b2_tiff_layout *layout = &job->layout;
    job->block_bytes = (size_t)(TIFFIsTiled(job->tiff) ? TIFFTileSize(job->tiff) : TIFFStripSize(job->tiff));
    job->row_bytes = (job->width * layout->n_samples * layout->n_bits + 7) / 8;
    if (job->block_bytes == 0 || job->block_bytes > 16 * job->d->options->max_pixels)
        return b2_decoding_fail_damaged(job->d, "TIFF", "its strips or tiles are too large", err);
    job->block = calloc(1, job->block_bytes);
    job->rows = calloc(job->n_rows, job->row_bytes);
    if (job->block == NULL || job->rows == NULL) return b2_decoding_fail_memory(job->d, err);
    for (size_t y = 0; y < job->height; y += job->n_rows) {
        if (!read_rows(job, y)) {
            if (!job->d->options->read_truncated) return fail(job, err);
            memset(job->rows, 0, job->n_rows * job->row_bytes);
        }
        for (size_t row = 0; row < job->n_rows && y + row < job->height; row++) {
            b2_tiff_expand_row(layout, job->rows + row * job->row_bytes, job->width, job->rgba);
            put_row(job, y + row);
        }
    }
    return BLIP2_OK;
}

static blip2_status decode(tiff_job *job, blip2_error *err) {
    if (!open_tiff(job)) return fail(job, err);
    B2_TRY(parse(job, err));
    uint32_t n_rows = 0;
    TIFFGetFieldDefaulted(job->tiff, TIFFIsTiled(job->tiff) ? TIFFTAG_TILELENGTH : TIFFTAG_ROWSPERSTRIP, &n_rows);
    job->n_rows = n_rows > 0 && n_rows < job->height ? n_rows : job->height;
    B2_TRY(b2_decoding_begin(job->d, "TIFF", job->width, job->height, B2_ROWS_DOWN, err));
    job->rgba = malloc(4 * job->width);
    if (job->rgba == NULL) return b2_decoding_fail_memory(job->d, err);
    return job->is_ycbcr ? read_ycbcr(job, err) : read_samples(job, err);
}

blip2_status b2_tiff_decode(b2_decoding *d, blip2_error *err) {
    tiff_job job = {.d = d};
    const blip2_status status = decode(&job, err);
    if (job.tiff != NULL) TIFFClose(job.tiff);
    free(job.block);
    free(job.rows);
    free(job.rgba);
    return status;
}

#else
typedef int b2_tiff_is_left_out; /* a translation unit must declare something */
#endif
