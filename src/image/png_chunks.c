/* png_chunks.c: the container of PNG, everything but the pixels: header, palette, transparency, orientation. libspng
 * and stb_image could read these, but not say which checksum is wrong, nor go on where a file ends within its last
 * rows, as Pillow does: a wrong checksum of rows is not an error (they have checksums of their own), one of the header
 * or the palette is, and a damaged remark is passed over. */
#include "image/decode.h"

#include <stdlib.h>
#include <string.h>

enum {
    SIGNATURE_BYTES = 8,
    CHUNK_FRAME_BYTES = 12, /* length, type, checksum */
    HEADER_BYTES = 13,
    MAX_INFLATE_RATIO = 1032, /* deflate's own limit: 258 bytes for 2 bits */
};

/* ---- chunks ---- */

/* Four bytes a step: table[k][b] is what byte b does to the checksum with k bytes after it. */
typedef struct crc_tables {
    uint32_t table[4][256];
} crc_tables;

static void fill_crc_tables(crc_tables *t) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++) c = (c & 1) != 0 ? 0xEDB88320u ^ (c >> 1) : c >> 1;
        t->table[0][i] = c;
    }
    for (size_t k = 1; k < 4; k++)
        for (uint32_t i = 0; i < 256; i++)
            t->table[k][i] = t->table[0][t->table[k - 1][i] & 0xFF] ^ (t->table[k - 1][i] >> 8);
}

static bool is_intact(const crc_tables *t, const b2_png_chunk *chunk) {
    const uint8_t *p = chunk->type;
    size_t left = 4 + chunk->n_bytes;
    uint32_t c = 0xFFFFFFFFu;
    for (; left >= 4; left -= 4, p += 4) {
        c ^= b2_read_le32(p);
        c = t->table[3][c & 0xFF] ^ t->table[2][c >> 8 & 0xFF] ^ t->table[1][c >> 16 & 0xFF] ^ t->table[0][c >> 24];
    }
    for (; left > 0; left--, p++) c = t->table[0][(c ^ *p) & 0xFF] ^ (c >> 8);
    return ~c == b2_read_be32(chunk->data + chunk->n_bytes);
}

bool b2_png_has_type(const b2_png_chunk *c, const char *type) { return memcmp(c->type, type, 4) == 0; }

/* Lower-case first letter: a reader that does not know the chunk may go on without it. */
static bool is_ancillary(const b2_png_chunk *c) { return (c->type[0] & 0x20) != 0; }

bool b2_png_next_chunk(const b2_decoding *d, size_t *at, b2_png_chunk *chunk) {
    if (*at < SIGNATURE_BYTES) *at = SIGNATURE_BYTES;
    if (*at > d->n_bytes || d->n_bytes - *at < 8) return false;
    const uint8_t *p = d->bytes + *at;
    const size_t n_bytes = b2_read_be32(p), left = d->n_bytes - *at - 8;
    *chunk = (b2_png_chunk){.type = p + 4, .data = p + 8, .n_bytes = n_bytes < left ? n_bytes : left};
    chunk->is_cut = left < n_bytes || left - n_bytes < 4;
    *at = chunk->is_cut ? d->n_bytes : *at + CHUNK_FRAME_BYTES + n_bytes;
    return true;
}

/* ---- what they say ---- */

static blip2_status parse_header(const b2_decoding *d, const b2_png_chunk *header, b2_png *png, blip2_error *err) {
    if (header->n_bytes != HEADER_BYTES)
        return b2_decoding_fail_damaged(d, "PNG", "its header is not 13 bytes long", err);
    const uint8_t *p = header->data;
    png->width = b2_read_be32(p);
    png->height = b2_read_be32(p + 4);
    png->depth = p[8];
    png->colour = p[9];
    png->interlaced = p[12] == 1;
    const unsigned depth = png->depth;
    const bool power_of_two = depth == 1 || depth == 2 || depth == 4 || depth == 8 || depth == 16;
    const bool fits = png->colour == 0   ? power_of_two
                      : png->colour == 3 ? power_of_two && depth <= 8
                                         : depth == 8 || depth == 16;
    const bool known = png->colour == 0 || png->colour == 2 || png->colour == 3 || png->colour == 4 || png->colour == 6;
    if (!known || !fits || p[10] != 0 || p[11] != 0 || p[12] > 1)
        return b2_fail(err, BLIP2_UNSUPPORTED,
                       "%s: PNG of an unknown kind (colour type %u, depth %u, compression %u, filter %u, interlace %u)",
                       d->name, png->colour, depth, (unsigned)p[10], (unsigned)p[11], (unsigned)p[12]);
    png->has_alpha = png->colour >= 4;
    return BLIP2_OK;
}

static void parse_palette(const b2_png_chunk *c, b2_png *png) {
    const size_t n = c->n_bytes / 3 < 256 ? c->n_bytes / 3 : 256;
    for (size_t i = 0; i < n; i++) memcpy(png->palette[i], c->data + 3 * i, 3);
    png->has_palette = true;
}

/* One alpha for each palette entry, or the one colour that is transparent. */
static void parse_transparency(const b2_png_chunk *c, b2_png *png) {
    if (png->colour == 3) {
        for (size_t i = 0; i < c->n_bytes && i < 256; i++) png->palette[i][3] = c->data[i];
        png->has_alpha = true;
    } else if (png->colour <= 2 && c->n_bytes >= (png->colour == 2 ? 6 : 2)) {
        for (size_t i = 0; i < 3; i++) png->key[i] = b2_read_be16(c->data + (png->colour == 2 ? 2 * i : 0));
        png->has_alpha = png->has_key = true;
    }
}

static blip2_status parse_chunk(const b2_decoding *d, const b2_png_chunk *c, bool intact, b2_png *png,
                                blip2_error *err) {
    const bool data_seen = png->n_data_bytes > 0, header_seen = png->depth != 0;
    if (b2_png_has_type(c, "CgBI"))
        return b2_fail(
            err, BLIP2_UNSUPPORTED,
            "%s: is a PNG of an iPhone app (CgBI), which only Apple's programs read; revert it to a common one",
            d->name);
    if (b2_png_has_type(c, "IDAT")) {
        png->n_data_bytes += c->n_bytes;
        png->has_changed = png->has_changed || (!c->is_cut && !intact);
        return header_seen ? BLIP2_OK : b2_decoding_fail_damaged(d, "PNG", "it does not begin with a header", err);
    }
    if (c->is_cut) return BLIP2_OK; /* of the pixels nothing is missing yet; the end is looked at later */
    if (!intact)
        return is_ancillary(c) ? BLIP2_OK
                               : b2_fail(err, BLIP2_FORMAT, "%s: damaged PNG: the checksum of its %.4s does not hold",
                                         d->name, (const char *)c->type);
    if (b2_png_has_type(c, "IHDR"))
        return header_seen ? b2_decoding_fail_damaged(d, "PNG", "it has two headers", err)
                           : parse_header(d, c, png, err);
    if (!header_seen) return b2_decoding_fail_damaged(d, "PNG", "it does not begin with a header", err);
    if (b2_png_has_type(c, "PLTE") && !data_seen) parse_palette(c, png);
    else if (b2_png_has_type(c, "tRNS") && !data_seen) parse_transparency(c, png);
    else if (!is_ancillary(c) && !b2_png_has_type(c, "PLTE"))
        return b2_decoding_fail_damaged(d, "PNG", "a necessary part is of an unknown type", err);
    return BLIP2_OK;
}

/* ---- the whole ---- */

size_t b2_png_count_row_bytes(const b2_png *png) {
    static const unsigned n_channels[] = {1, 0, 3, 1, 2, 0, 4};
    return (png->width * n_channels[png->colour] * png->depth + 7) / 8;
}

static blip2_status check(const b2_decoding *d, const b2_png *png, blip2_error *err) {
    if (png->depth == 0 || png->n_data_bytes == 0)
        return b2_fail(err, BLIP2_FORMAT, "%s: truncated PNG: it ends before its pixels begin", d->name);
    if (png->colour == 3 && !png->has_palette) return b2_decoding_fail_damaged(d, "PNG", "its palette is missing", err);
    B2_TRY(b2_decoding_check_size(d, "PNG", png->width, png->height, err));
    if (b2_png_count_row_bytes(png) * png->height / MAX_INFLATE_RATIO > png->n_data_bytes &&
        !d->options->read_truncated)
        return b2_fail(err, BLIP2_FORMAT, "%s: truncated PNG: %zu bytes of data cannot hold %zu x %zu pixels", d->name,
                       png->n_data_bytes, png->width, png->height);
    return BLIP2_OK;
}

static uint32_t compute_adler(const uint8_t *bytes, size_t n_bytes) {
    uint32_t a = 1, b = 0;
    for (size_t i = 0; i < n_bytes; i++) {
        a = (a + bytes[i]) % 65521;
        b = (b + a) % 65521;
    }
    return b << 16 | a;
}

/* All bytes of IDAT chunks, in one block. */
static size_t join_data(const b2_decoding *d, uint8_t *block) {
    b2_png_chunk c;
    size_t n = 0;
    for (size_t at = 0; b2_png_next_chunk(d, &at, &c) && !b2_png_has_type(&c, "IEND");) {
        if (!b2_png_has_type(&c, "IDAT")) continue;
        memcpy(block + n, c.data, c.n_bytes);
        n += c.n_bytes;
    }
    return n;
}

/* A chunk's checksum is wrong: have its bytes changed, or only the checksum? Rows have one of their own after them,
 * which neither libspng nor stb_image looks at. */
static blip2_status check_rows(const b2_decoding *d, const b2_png *png, blip2_error *err) {
    const size_t capacity = (b2_png_count_row_bytes(png) + 8) * (png->height + 8) * (png->interlaced ? 2 : 1);
    uint8_t *data = malloc(png->n_data_bytes), *rows = malloc(capacity);
    bool ok = false, had_memory = data != NULL && rows != NULL;
    if (had_memory) {
        const size_t n = join_data(d, data), n_rows = b2_stb_inflate(data, n, rows, capacity);
        ok = n_rows != SIZE_MAX && n >= 4 && compute_adler(rows, n_rows) == b2_read_be32(data + n - 4);
    }
    free(data);
    free(rows);
    if (!had_memory) return b2_decoding_fail_memory(d, err);
    return ok ? BLIP2_OK
              : b2_decoding_fail_damaged(d, "PNG", "its pixels have changed (their checksums do not hold)", err);
}

blip2_status b2_png_parse(b2_decoding *d, b2_png *png, blip2_error *err) {
    *png = (b2_png){0};
    for (size_t i = 0; i < 256; i++) png->palette[i][3] = 255;
    crc_tables tables;
    fill_crc_tables(&tables);
    b2_png_text text = {0};
    b2_png_chunk chunk;
    for (size_t at = 0; b2_png_next_chunk(d, &at, &chunk) && !b2_png_has_type(&chunk, "IEND");) {
        const bool intact = !chunk.is_cut && is_intact(&tables, &chunk);
        B2_TRY(parse_chunk(d, &chunk, intact, png, err));
        if (intact) b2_png_search_text(&chunk, &text);
    }
    B2_TRY(check(d, png, err));
    if (png->has_changed && !d->options->read_truncated) B2_TRY(check_rows(d, png, err));
    d->orientation = b2_png_choose_orientation(&text);
    if (png->colour == 0 && png->depth == 16)
        d->out->hint = "16-bit grey: everything above 255 of 65535 shows as white, as Pillow shows it";
    return BLIP2_OK;
}

/* ---- samples to RGB, as Pillow's convert() makes them: grey below 8 bits is spread over 0..255, 16-bit colour keeps
 * the high byte, 16-bit grey is clipped (not scaled) to 255. A transparent colour is compared after that with its low
 * byte: right for 8 bits, what Pillow does for the others. ---- */

static unsigned get_small(const uint8_t *samples, size_t x, unsigned depth) {
    const size_t bit = x * depth;
    return (unsigned)samples[bit / 8] >> (8 - depth - bit % 8) & ((1u << depth) - 1);
}

static void expand_palette(const b2_png *png, const uint8_t *samples, uint8_t *rgba) {
    for (size_t x = 0; x < png->width; x++) memcpy(rgba + 4 * x, png->palette[get_small(samples, x, png->depth)], 4);
}

static void expand_grey(const b2_png *png, const uint8_t *samples, uint8_t *rgba) {
    const unsigned depth = png->depth, spread = depth < 8 ? 255 / ((1u << depth) - 1) : 1;
    const unsigned key = depth == 1 ? (png->key[0] != 0 ? 255 : 0) : png->key[0] & 0xFF;
    for (size_t x = 0; x < png->width; x++, rgba += 4) {
        const unsigned value =
            depth == 16 ? (samples[2 * x] != 0 ? 255 : samples[2 * x + 1]) : get_small(samples, x, depth) * spread;
        rgba[0] = rgba[1] = rgba[2] = (uint8_t)value;
        rgba[3] = png->has_key && value == key ? 0 : 255;
    }
}

/* Whole bytes, the first of each sample counts: RGB; grey and alpha; RGB and alpha. */
static void expand_bytes(const b2_png *png, const uint8_t *samples, uint8_t *rgba) {
    const size_t sample = png->depth / 8, n_channels = png->colour == 4 ? 2 : png->colour == 2 ? 3 : 4;
    const size_t green = png->colour == 4 ? 0 : sample, blue = 2 * green, alpha = (n_channels - 1) * sample;
    for (size_t x = 0; x < png->width; x++, samples += n_channels * sample, rgba += 4) {
        rgba[0] = samples[0];
        rgba[1] = samples[green];
        rgba[2] = samples[blue];
        if (png->colour != 2) rgba[3] = samples[alpha];
        else
            rgba[3] = png->has_key && rgba[0] == (uint8_t)png->key[0] && rgba[1] == (uint8_t)png->key[1] &&
                              rgba[2] == (uint8_t)png->key[2]
                          ? 0
                          : 255;
    }
}

void b2_png_expand_row(const b2_decoding *d, const b2_png *png, const uint8_t *samples, uint8_t *rgba, uint8_t *rgb) {
    if (png->colour == 2 && png->depth == 8 && !png->has_alpha) {
        memcpy(rgb, samples, 3 * png->width);
        return;
    }
    if (png->colour == 3) expand_palette(png, samples, rgba);
    else if (png->colour == 0) expand_grey(png, samples, rgba);
    else expand_bytes(png, samples, rgba);
    b2_blend_rgba(d->options, rgba, png->width, rgb);
}
