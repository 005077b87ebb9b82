/* bmp.c: Windows and OS/2 bitmaps: palettes of 1, 4 and 8 bits (also run-length coded), 16, 24 and 32 bits with the bit
 * layouts that Pillow knows, also with alpha. Rows mostly come from the bottom up.
 * Layout: Microsoft, "Bitmap Storage" (BITMAPINFOHEADER and its successors). */
#include "image/decode.h"

#include <stdlib.h>
#include <string.h>

enum { FILE_HEADER_BYTES = 14, CORE_HEADER_BYTES = 12, PLAIN = 0, RLE8 = 1, RLE4 = 2, BITFIELDS = 3 };

typedef struct bmp {
    size_t width, height, data_offset;
    unsigned n_bits, compression;
    bool top_down;
    uint32_t masks[4]; /* red, green, blue, alpha */
    uint8_t palette[256][3];
} bmp;

static blip2_status fail_damaged(const b2_decoding *d, blip2_error *err, const char *reason) {
    return b2_decoding_fail_damaged(d, "BMP", reason, err);
}

/* ---- header and palette ---- */

static bool is_known_header(size_t n_bytes) {
    static const size_t sizes[] = {CORE_HEADER_BYTES, 40, 52, 56, 64, 108, 124};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (n_bytes == sizes[i]) return true;
    return false;
}

/* Three masks follow a header of 40 bytes and lie inside the longer ones, which from 56 bytes on have a fourth. */
static void read_masks(const b2_decoding *d, size_t header_bytes, bmp *out) {
    const size_t n = header_bytes >= 56 ? 4 : 3;
    for (size_t i = 0; i < n; i++) out->masks[i] = b2_read_le32(d->bytes + FILE_HEADER_BYTES + 40 + 4 * i);
}

static blip2_status read_header(const b2_decoding *d, bmp *out, size_t *palette_offset, size_t *n_colours,
                                blip2_error *err) {
    if (d->n_bytes < FILE_HEADER_BYTES + CORE_HEADER_BYTES) return fail_damaged(d, err, "it ends within the header");
    const uint8_t *p = d->bytes + FILE_HEADER_BYTES;
    const size_t header_bytes = b2_read_le32(p);
    if (!is_known_header(header_bytes))
        return b2_fail(err, BLIP2_UNSUPPORTED, "%s: BMP with an unknown header of %zu bytes", d->name, header_bytes);
    *palette_offset = FILE_HEADER_BYTES + header_bytes;
    if (d->n_bytes < *palette_offset) return fail_damaged(d, err, "it ends within the header");
    *n_colours = 0;
    if (header_bytes == CORE_HEADER_BYTES) {
        out->width = b2_read_le16(p + 4);
        out->height = b2_read_le16(p + 6);
        out->n_bits = b2_read_le16(p + 10);
    } else {
        const uint32_t height = b2_read_le32(p + 8);
        out->width = b2_read_le32(p + 4);
        out->top_down = height >> 24 == 0xFF;
        out->height = out->top_down ? (size_t)(0u - height) : height;
        out->n_bits = b2_read_le16(p + 14);
        out->compression = b2_read_le32(p + 16);
        *n_colours = b2_read_le32(p + 32);
    }
    if (out->compression != BITFIELDS) return BLIP2_OK;
    if (header_bytes == 40) *palette_offset += 12;
    if (d->n_bytes < *palette_offset) return fail_damaged(d, err, "it ends within the header");
    read_masks(d, header_bytes, out);
    return BLIP2_OK;
}

static blip2_status read_palette(const b2_decoding *d, size_t at, size_t n_colours, bmp *out, blip2_error *err) {
    const size_t entry = b2_read_le32(d->bytes + FILE_HEADER_BYTES) == CORE_HEADER_BYTES ? 3 : 4;
    if (n_colours == 0) n_colours = (size_t)1 << out->n_bits;
    if (n_colours > 65536 || n_colours * entry > d->n_bytes - at)
        return fail_damaged(d, err, "its palette is longer than the file");
    for (size_t i = 0; i < n_colours && i < 256; i++)
        for (size_t c = 0; c < 3; c++) out->palette[i][c] = d->bytes[at + i * entry + 2 - c];
    if (out->data_offset == FILE_HEADER_BYTES + b2_read_le32(d->bytes + FILE_HEADER_BYTES))
        out->data_offset += n_colours * entry; /* some writers forget their palette when they count */
    return BLIP2_OK;
}

/* ---- pixels of 16, 24 and 32 bits: at which byte each colour stands ---- */

enum { OPAQUE = 4 };

typedef struct bmp_layout {
    unsigned n_bits;
    uint32_t masks[4];
    unsigned red, green, blue, alpha; /* byte of a pixel, alpha may be OPAQUE; 16 bits: all 0, the masks tell */
} bmp_layout;

static const bmp_layout layouts[] = {
    {16, {0xF800, 0x7E0, 0x1F, 0}, 0, 0, 0, 0},
    {16, {0x7C00, 0x3E0, 0x1F, 0}, 0, 0, 0, 0},
    {24, {0xFF0000, 0xFF00, 0xFF, 0}, 2, 1, 0, OPAQUE},
    {32, {0xFF0000, 0xFF00, 0xFF, 0}, 2, 1, 0, OPAQUE},
    {32, {0xFF0000, 0xFF00, 0xFF, 0xFF000000}, 2, 1, 0, 3},
    {32, {0, 0, 0, 0}, 2, 1, 0, 3},
    {32, {0xFF000000, 0xFF0000, 0xFF00, 0}, 3, 2, 1, OPAQUE},
    {32, {0xFF000000, 0xFF0000, 0xFF00, 0xFF}, 3, 2, 1, 0},
    {32, {0xFF000000, 0xFF00, 0xFF, 0}, 3, 1, 0, OPAQUE},
    {32, {0xFF000000, 0xFF00, 0xFF, 0xFF0000}, 3, 1, 0, 2},
    {32, {0xFF, 0xFF00, 0xFF0000, 0xFF000000}, 0, 1, 2, 3},
};

static const bmp_layout *find_layout(const bmp *in) {
    static const bmp_layout plain_16 = {16, {0x7C00, 0x3E0, 0x1F, 0}, 0, 0, 0, 0};
    static const bmp_layout plain = {0, {0}, 2, 1, 0, OPAQUE};
    if (in->compression == PLAIN) return in->n_bits == 16 ? &plain_16 : &plain;
    const size_t mask_bytes = in->n_bits == 32 ? sizeof in->masks : 3 * sizeof in->masks[0];
    for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++)
        if (layouts[i].n_bits == in->n_bits && memcmp(layouts[i].masks, in->masks, mask_bytes) == 0) return &layouts[i];
    return NULL;
}

static void expand_16(const bmp_layout *layout, const uint8_t *row, size_t width, uint8_t *rgb) {
    const bool has_565 = layout->masks[0] == 0xF800;
    for (size_t x = 0; x < width; x++, row += 2, rgb += 3) {
        const uint32_t pixel = b2_read_le16(row);
        rgb[0] = (uint8_t)((pixel >> (has_565 ? 11 : 10) & 31) * 255 / 31);
        rgb[1] = (uint8_t)(has_565 ? (pixel >> 5 & 63) * 255 / 63 : (pixel >> 5 & 31) * 255 / 31);
        rgb[2] = (uint8_t)((pixel & 31) * 255 / 31);
    }
}

static void expand_palette(const bmp *in, const uint8_t *row, uint8_t *rgb) {
    for (size_t x = 0; x < in->width; x++) {
        const size_t bit = x * in->n_bits;
        const unsigned index = (unsigned)row[bit / 8] >> (8 - in->n_bits - bit % 8) & ((1u << in->n_bits) - 1);
        memcpy(rgb + 3 * x, in->palette[index], 3);
    }
}

/* rgba: [width][4], scratch. */
static void expand_alpha(const b2_decoding *d, const bmp *in, const bmp_layout *layout, const uint8_t *row,
                         uint8_t *rgba, uint8_t *rgb) {
    for (size_t x = 0; x < in->width; x++, row += 4) {
        const uint8_t pixel[4] = {row[layout->red], row[layout->green], row[layout->blue], row[layout->alpha]};
        memcpy(rgba + 4 * x, pixel, 4);
    }
    b2_blend_rgba(d->options, rgba, in->width, rgb);
}

static void expand_row(const b2_decoding *d, const bmp *in, const bmp_layout *layout, const uint8_t *row, uint8_t *rgba,
                       uint8_t *rgb) {
    if (in->n_bits <= 8) expand_palette(in, row, rgb);
    else if (in->n_bits == 16) expand_16(layout, row, in->width, rgb);
    else if (layout->alpha != OPAQUE) expand_alpha(d, in, layout, row, rgba, rgb);
    else
        for (size_t x = 0; x < in->width; x++, row += in->n_bits / 8, rgb += 3) {
            rgb[0] = row[layout->red];
            rgb[1] = row[layout->green];
            rgb[2] = row[layout->blue];
        }
}

static blip2_status decode_rows(b2_decoding *d, const bmp *in, blip2_error *err) {
    const bmp_layout *layout = find_layout(in);
    if (layout == NULL)
        return b2_fail(err, BLIP2_UNSUPPORTED, "%s: BMP with an unknown layout of %u bits", d->name, in->n_bits);
    const size_t row_bytes = ((in->width * in->n_bits + 31) >> 3) & ~(size_t)3;
    const size_t used_bytes =
        (in->width * in->n_bits + 7) / 8; /* of the last row, whose padding some writers leave out */
    const size_t left = in->data_offset < d->n_bytes ? d->n_bytes - in->data_offset : 0;
    if ((in->height - 1) * row_bytes + used_bytes > left && !d->options->read_truncated)
        return fail_damaged(d, err, "it ends within the pixels");
    uint8_t *scratch = calloc(in->width, 4 + 4); /* rgba, and a row of zeros */
    if (scratch == NULL) return b2_decoding_fail_memory(d, err);
    for (size_t y = 0; y < in->height; y++) {
        const bool is_there = y * row_bytes + used_bytes <= left;
        const uint8_t *row = is_there ? d->bytes + in->data_offset + y * row_bytes : scratch + 4 * in->width;
        expand_row(d, in, layout, row, scratch, b2_decoding_row(d, y));
        b2_decoding_put(d, y);
    }
    free(scratch);
    return BLIP2_OK;
}

/* ---- run lengths ---- */

/* Palette indices go out row by row; what a jump leaves out stays 0. */
typedef struct run_writer {
    b2_decoding *d;
    const bmp *in;
    size_t used, end; /* pixels */
    uint8_t *row;     /* [width] */
} run_writer;

static void write_index(run_writer *w, uint8_t index) {
    const size_t x = w->used % w->in->width, y = w->used / w->in->width;
    w->row[x] = index;
    w->used++;
    if (x + 1 < w->in->width) return;
    uint8_t *rgb = b2_decoding_row(w->d, y);
    for (size_t i = 0; i < w->in->width; i++) memcpy(rgb + 3 * i, w->in->palette[w->row[i]], 3);
    b2_decoding_put(w->d, y);
}

static void write_zeros(run_writer *w, size_t n) {
    for (size_t i = 0; i < n && w->used < w->end; i++) write_index(w, 0);
}

/* n indices: RLE8 one a byte, RLE4 two; a run (one byte) repeats its one or two. */
static void write_codes(run_writer *w, const uint8_t *codes, size_t n, bool is_run) {
    const bool is_rle4 = w->in->compression == RLE4;
    for (size_t i = 0; i < n && w->used < w->end; i++) {
        const uint8_t code = codes[is_run ? 0 : is_rle4 ? i / 2 : i];
        write_index(w, is_rle4 ? (i % 2 == 0 ? code >> 4 : code & 15) : code);
    }
}

/* False: the codes end too early. */
static bool decode_runs(run_writer *w) {
    const b2_decoding *d = w->d;
    const uint8_t *at = d->bytes + w->in->data_offset, *end = d->bytes + d->n_bytes;
    const size_t width = w->in->width;
    size_t x = 0;
    bool jumped_to_edge = false; /* the row's end that follows ends the row before */
    while (w->used < w->end) {
        if (end - at < 2) return false;
        const unsigned count = at[0], value = at[1];
        at += 2;
        if (count > 0) { /* a run stops at the row's end */
            const size_t room = x < width ? width - x : 0, run = count < room ? count : room;
            write_codes(w, at - 1, run, true);
            x += run;
        } else if (value == 0) { /* the row ends, also one that holds nothing (Pillow loses such a row, then refuses) */
            if (!jumped_to_edge) write_zeros(w, x == 0 ? width : (width - w->used % width) % width);
            x = 0;
        } else if (value == 1) {
            return true;
        } else if (value == 2) {
            if (end - at < 2) return false;
            const size_t jump = at[0] + (size_t)at[1] * width;
            write_zeros(w, jump);
            x = w->used % width;
            jumped_to_edge = jump > 0 && x == 0;
            at += 2;
            continue;
        } else { /* value pixels as they are, padded to 16 bits */
            const size_t n_bytes = w->in->compression == RLE4 ? (value + 1) / 2 : value;
            if ((size_t)(end - at) < n_bytes) return false;
            write_codes(w, at, value, false);
            x += value;
            at += n_bytes;
            if ((at - d->bytes) % 2 != 0 && at < end) at++;
        }
        jumped_to_edge = false;
    }
    return true;
}

static blip2_status decode_rle(b2_decoding *d, const bmp *in, blip2_error *err) {
    if (in->n_bits != (in->compression == RLE8 ? 8 : 4))
        return fail_damaged(d, err, "run lengths of another depth than its pixels");
    if (in->data_offset > d->n_bytes) return fail_damaged(d, err, "it ends before the pixels");
    run_writer w = {.d = d, .in = in, .end = in->width * in->height, .row = calloc(in->width, 1)};
    if (w.row == NULL) return b2_decoding_fail_memory(d, err);
    const bool is_whole = decode_runs(&w) || d->options->read_truncated;
    if (is_whole) write_zeros(&w, w.end);
    free(w.row);
    return is_whole ? BLIP2_OK : fail_damaged(d, err, "it ends within the pixels");
}

blip2_status b2_bmp_decode(b2_decoding *d, blip2_error *err) {
    bmp in = {0};
    size_t palette_offset = 0, n_colours = 0;
    B2_TRY(read_header(d, &in, &palette_offset, &n_colours, err));
    in.data_offset = b2_read_le32(d->bytes + 10);
    if (in.n_bits != 1 && in.n_bits != 4 && in.n_bits != 8 && in.n_bits != 16 && in.n_bits != 24 && in.n_bits != 32)
        return b2_fail(err, BLIP2_UNSUPPORTED, "%s: BMP of %u bits a pixel, expected 1, 4, 8, 16, 24 or 32", d->name,
                       in.n_bits);
    if (in.compression > BITFIELDS || (in.compression == BITFIELDS && in.n_bits <= 8))
        return b2_fail(err, BLIP2_UNSUPPORTED, "%s: BMP with compression %u, which is not read here", d->name,
                       in.compression);
    if (in.n_bits <= 8) B2_TRY(read_palette(d, palette_offset, n_colours, &in, err));
    if (in.data_offset == 0) in.data_offset = palette_offset;
    B2_TRY(b2_decoding_begin(d, "BMP", in.width, in.height, in.top_down ? B2_ROWS_DOWN : B2_ROWS_UP, err));
    const bool has_runs = in.compression == RLE8 || in.compression == RLE4;
    return has_runs ? decode_rle(d, &in, err) : decode_rows(d, &in, err);
}
