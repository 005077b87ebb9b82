/* bmp.c: Windows and OS/2 bitmaps: palettes of 1, 4 and 8 bits (also run-length coded), 16, 24 and 32 bits with the bit
 * layouts that Pillow knows. The alpha channel is dropped, as convert("RGB") drops it.
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

static blip2_status fail_damaged(const b2_picture_file *file, blip2_error *err, const char *reason) {
    return b2_fail(err, BLIP2_FORMAT, "%s: damaged BMP: %s", file->name, reason);
}

/* ---- header and palette ---- */

static bool is_known_header(size_t n_bytes) {
    static const size_t sizes[] = {CORE_HEADER_BYTES, 40, 52, 56, 64, 108, 124};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (n_bytes == sizes[i]) return true;
    return false;
}

/* Three masks stand behind a header of 40 bytes and inside the longer ones, which from 56 bytes on have a fourth. */
static void read_masks(const b2_picture_file *file, size_t header_bytes, bmp *out) {
    const size_t n = header_bytes >= 56 ? 4 : 3;
    for (size_t i = 0; i < n; i++) out->masks[i] = b2_read_le32(file->bytes + FILE_HEADER_BYTES + 40 + 4 * i);
}

static blip2_status read_header(const b2_picture_file *file, bmp *out, size_t *palette_offset, size_t *n_colours, blip2_error *err) {
    if (file->n_bytes < FILE_HEADER_BYTES + CORE_HEADER_BYTES) return fail_damaged(file, err, "it ends within the header");
    const uint8_t *p = file->bytes + FILE_HEADER_BYTES;
    const size_t header_bytes = b2_read_le32(p);
    if (!is_known_header(header_bytes))
        return b2_fail(err, BLIP2_UNSUPPORTED, "%s: BMP with an unknown header of %zu bytes", file->name, header_bytes);
    *palette_offset = FILE_HEADER_BYTES + header_bytes;
    if (file->n_bytes < *palette_offset) return fail_damaged(file, err, "it ends within the header");
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
    if (file->n_bytes < *palette_offset) return fail_damaged(file, err, "it ends within the header");
    read_masks(file, header_bytes, out);
    return BLIP2_OK;
}

static blip2_status read_palette(const b2_picture_file *file, size_t at, size_t n_colours, bmp *out, blip2_error *err) {
    const size_t entry = b2_read_le32(file->bytes + FILE_HEADER_BYTES) == CORE_HEADER_BYTES ? 3 : 4;
    if (n_colours == 0) n_colours = (size_t)1 << out->n_bits;
    if (n_colours > 65536 || n_colours * entry > file->n_bytes - at)
        return fail_damaged(file, err, "its palette is longer than the file");
    for (size_t i = 0; i < n_colours && i < 256; i++)
        for (size_t c = 0; c < 3; c++) out->palette[i][c] = file->bytes[at + i * entry + 2 - c];
    if (out->data_offset == FILE_HEADER_BYTES + b2_read_le32(file->bytes + FILE_HEADER_BYTES))
        out->data_offset += n_colours * entry; /* some writers forget their palette when they count */
    return BLIP2_OK;
}

/* ---- pixels of 16, 24 and 32 bits: at which byte each colour stands ---- */

typedef struct bmp_layout {
    unsigned n_bits;
    uint32_t masks[4];
    unsigned red, green, blue; /* byte of a pixel; 16 bits: all 0, the masks tell */
} bmp_layout;

static const bmp_layout layouts[] = {
    {16, {0xF800, 0x7E0, 0x1F, 0}, 0, 0, 0},
    {16, {0x7C00, 0x3E0, 0x1F, 0}, 0, 0, 0},
    {24, {0xFF0000, 0xFF00, 0xFF, 0}, 2, 1, 0},
    {32, {0xFF0000, 0xFF00, 0xFF, 0}, 2, 1, 0},
    {32, {0xFF0000, 0xFF00, 0xFF, 0xFF000000}, 2, 1, 0},
    {32, {0, 0, 0, 0}, 2, 1, 0},
    {32, {0xFF000000, 0xFF0000, 0xFF00, 0}, 3, 2, 1},
    {32, {0xFF000000, 0xFF0000, 0xFF00, 0xFF}, 3, 2, 1},
    {32, {0xFF000000, 0xFF00, 0xFF, 0}, 3, 1, 0},
    {32, {0xFF000000, 0xFF00, 0xFF, 0xFF0000}, 3, 1, 0},
    {32, {0xFF, 0xFF00, 0xFF0000, 0xFF000000}, 0, 1, 2},
};

static const bmp_layout *find_layout(const bmp *in) {
    static const bmp_layout plain_16 = {16, {0x7C00, 0x3E0, 0x1F, 0}, 0, 0, 0};
    static const bmp_layout plain = {0, {0}, 2, 1, 0};
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

static uint8_t *row_of(const bmp *in, uint8_t *rgb, size_t y) {
    return rgb + 3 * in->width * (in->top_down ? y : in->height - 1 - y);
}

static blip2_status decode_rows(const b2_picture_file *file, const bmp *in, uint8_t *rgb, blip2_error *err) {
    const bmp_layout *layout = find_layout(in);
    if (layout == NULL) return b2_fail(err, BLIP2_UNSUPPORTED, "%s: BMP with an unknown layout of %u bits", file->name, in->n_bits);
    const size_t row_bytes = ((in->width * in->n_bits + 31) >> 3) & ~(size_t)3;
    const size_t used_bytes = (in->width * in->n_bits + 7) / 8; /* of the last row, whose padding some writers leave out */
    if (in->data_offset > file->n_bytes || (in->height - 1) * row_bytes + used_bytes > file->n_bytes - in->data_offset)
        return fail_damaged(file, err, "it ends within the pixels");
    for (size_t y = 0; y < in->height; y++) {
        const uint8_t *row = file->bytes + in->data_offset + y * row_bytes;
        uint8_t *out = row_of(in, rgb, y);
        if (in->n_bits <= 8) expand_palette(in, row, out);
        else if (in->n_bits == 16) expand_16(layout, row, in->width, out);
        else
            for (size_t x = 0; x < in->width; x++, row += in->n_bits / 8, out += 3) {
                out[0] = row[layout->red];
                out[1] = row[layout->green];
                out[2] = row[layout->blue];
            }
    }
    return BLIP2_OK;
}

/* ---- run lengths ---- */

/* Palette indices, row after row as stored; what a jump leaves out stays 0. False: the codes end too early. */
static bool decode_runs(const b2_picture_file *file, const bmp *in, uint8_t *indices) {
    const uint8_t *at = file->bytes + in->data_offset, *end = file->bytes + file->n_bytes;
    const size_t n = in->width * in->height;
    const bool is_rle4 = in->compression == RLE4;
    size_t used = 0, x = 0;
    while (used < n) {
        if (end - at < 2) return false;
        const unsigned count = at[0], value = at[1];
        at += 2;
        if (count > 0) { /* a run stops at the row's end */
            const size_t room = x < in->width ? in->width - x : 0, run = count < room ? count : room;
            for (size_t i = 0; i < run && used < n; i++)
                indices[used++] = (uint8_t)(is_rle4 ? (i % 2 == 0 ? value >> 4 : value & 15) : value);
            x += run;
        } else if (value == 0) { /* the row ends, also one that holds nothing (Pillow loses such a row, then refuses) */
            used = x == 0 ? used + in->width : (used + in->width - 1) / in->width * in->width;
            x = 0;
        } else if (value == 1) {
            return true;
        } else if (value == 2) {
            if (end - at < 2) return false;
            used += at[0] + (size_t)at[1] * in->width;
            x = used % in->width;
            at += 2;
        } else { /* value pixels as they are, padded to 16 bits */
            const size_t n_bytes = is_rle4 ? (value + 1) / 2 : value;
            if ((size_t)(end - at) < n_bytes) return false;
            for (size_t i = 0; i < value && used < n; i++)
                indices[used++] = (uint8_t)(is_rle4 ? (i % 2 == 0 ? at[i / 2] >> 4 : at[i / 2] & 15) : at[i]);
            x += value;
            at += n_bytes;
            if ((at - file->bytes) % 2 != 0 && at < end) at++;
        }
    }
    return true;
}

static blip2_status decode_rle(const b2_picture_file *file, const bmp *in, uint8_t *rgb, blip2_error *err) {
    if (in->n_bits != (in->compression == RLE8 ? 8 : 4)) return fail_damaged(file, err, "run lengths of another depth than its pixels");
    if (in->data_offset > file->n_bytes) return fail_damaged(file, err, "it ends before the pixels");
    uint8_t *indices = calloc(in->width, in->height);
    if (indices == NULL) return b2_fail(err, BLIP2_MEMORY, "%s: no memory for %zu x %zu pixels", file->name, in->width, in->height);
    const bool is_whole = decode_runs(file, in, indices);
    for (size_t y = 0; y < in->height && is_whole; y++)
        for (size_t x = 0; x < in->width; x++) memcpy(row_of(in, rgb, y) + 3 * x, in->palette[indices[y * in->width + x]], 3);
    free(indices);
    return is_whole ? BLIP2_OK : fail_damaged(file, err, "it ends within the pixels");
}

blip2_status b2_bmp_decode(const b2_picture_file *file, b2_picture *out, int *orientation, blip2_error *err) {
    bmp in = {0};
    size_t palette_offset = 0, n_colours = 0;
    *orientation = B2_UPRIGHT;
    B2_TRY(read_header(file, &in, &palette_offset, &n_colours, err));
    in.data_offset = b2_read_le32(file->bytes + 10);
    if (in.n_bits != 1 && in.n_bits != 4 && in.n_bits != 8 && in.n_bits != 16 && in.n_bits != 24 && in.n_bits != 32)
        return b2_fail(err, BLIP2_UNSUPPORTED, "%s: BMP of %u bits a pixel, expected 1, 4, 8, 16, 24 or 32", file->name, in.n_bits);
    if (in.compression > BITFIELDS || (in.compression == BITFIELDS && in.n_bits <= 8))
        return b2_fail(err, BLIP2_UNSUPPORTED, "%s: BMP with compression %u, which is not read here", file->name, in.compression);
    if (in.n_bits <= 8) B2_TRY(read_palette(file, palette_offset, n_colours, &in, err));
    if (in.data_offset == 0) in.data_offset = palette_offset;
    B2_TRY(b2_picture_reserve(file, "BMP", in.width, in.height, out, err));
    const bool has_runs = in.compression == RLE8 || in.compression == RLE4;
    return has_runs ? decode_rle(file, &in, out->rgb, err) : decode_rows(file, &in, out->rgb, err);
}
