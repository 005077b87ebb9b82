/* png.c: the container of PNG. Walks the chunks, checks each checksum, collects header, palette, orientation and the
 * compressed rows, and inflates them into a buffer whose size the header fixes: a small file cannot claim much memory.
 * png_pixels.c makes pixels of the rows. */
#include "image/decode.h"

#include <stdlib.h>
#include <string.h>

enum {
    SIGNATURE_BYTES = 8,
    CHUNK_FRAME_BYTES = 12,    /* length, type, checksum */
    HEADER_BYTES = 13,
    MAX_INFLATE_RATIO = 1032,  /* deflate's own limit: 258 bytes for 2 bits */
    SLACK_BYTES = 4096         /* some writers compress a little more than the picture; the rest is ignored */
};

/* What the walk collects. Pointers lead into the file. */
typedef struct chunk_walk {
    const b2_picture_file *file;
    b2_png png;
    bool header_seen, palette_seen;
    const uint8_t *first_data; /* of IDAT */
    size_t n_data_chunks, data_bytes;
    int exif_orientation, xmp_orientation;
    uint32_t crc_table[256];
} chunk_walk;

typedef struct png_chunk {
    const uint8_t *type; /* 4 letters */
    const uint8_t *data;
    size_t n_bytes;
} png_chunk;

static void fill_crc_table(uint32_t table[256]) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++) c = (c & 1) != 0 ? 0xEDB88320u ^ (c >> 1) : c >> 1;
        table[i] = c;
    }
}

static uint32_t compute_crc(const uint32_t table[256], const uint8_t *bytes, size_t n_bytes) {
    uint32_t c = 0xFFFFFFFFu;
    for (size_t i = 0; i < n_bytes; i++) c = table[(c ^ bytes[i]) & 0xFF] ^ (c >> 8);
    return ~c;
}

static bool has_type(const png_chunk *c, const char *type) { return memcmp(c->type, type, 4) == 0; }

/* Lower-case first letter: a reader that does not know the chunk may go on without it. */
static bool is_ancillary(const png_chunk *c) { return (c->type[0] & 0x20) != 0; }

static blip2_status fail_damaged(const chunk_walk *walk, blip2_error *err, const char *reason) {
    return b2_fail(err, BLIP2_FORMAT, "%s: damaged PNG: %s", walk->file->name, reason);
}

/* ---- chunks ---- */

static blip2_status parse_header(chunk_walk *walk, const png_chunk *header, blip2_error *err) {
    if (header->n_bytes != HEADER_BYTES) return fail_damaged(walk, err, "its header is not 13 bytes long");
    const uint8_t *p = header->data;
    b2_png *png = &walk->png;
    png->width = b2_read_be32(p);
    png->height = b2_read_be32(p + 4);
    png->depth = p[8];
    png->colour = p[9];
    png->interlaced = p[12] == 1;
    const unsigned d = png->depth;
    const bool power_of_two = d == 1 || d == 2 || d == 4 || d == 8 || d == 16;
    const bool fits = png->colour == 0   ? power_of_two
                      : png->colour == 3 ? power_of_two && d <= 8
                                         : d == 8 || d == 16;
    const bool known = png->colour == 0 || png->colour == 2 || png->colour == 3 || png->colour == 4 || png->colour == 6;
    if (!known || !fits || p[10] != 0 || p[11] != 0 || p[12] > 1)
        return b2_fail(err, BLIP2_UNSUPPORTED,
                       "%s: PNG of an unknown kind (colour type %u, depth %u, compression %u, filter %u, interlace %u)",
                       walk->file->name, png->colour, d, (unsigned)p[10], (unsigned)p[11], (unsigned)p[12]);
    walk->header_seen = true;
    return BLIP2_OK;
}

static void parse_palette(chunk_walk *walk, const png_chunk *palette) {
    const size_t n_bytes = palette->n_bytes < sizeof walk->png.palette ? palette->n_bytes : sizeof walk->png.palette;
    memcpy(walk->png.palette, palette->data, n_bytes - n_bytes % 3);
    walk->palette_seen = true;
}

/* iTXt: keyword, 0, compressed?, method, language, 0, translated keyword, 0, text. */
static void parse_text(chunk_walk *walk, const png_chunk *text) {
    static const char keyword[] = "XML:com.adobe.xmp"; /* with its final NUL */
    if (text->n_bytes < sizeof keyword + 4 || memcmp(text->data, keyword, sizeof keyword) != 0) return;
    if (text->data[sizeof keyword] != 0) return; /* a compressed packet is not searched */
    walk->xmp_orientation = b2_xmp_find_orientation(text->data + sizeof keyword + 2, text->n_bytes - sizeof keyword - 2);
}

/* Remembers where the compressed rows are. They may be cut at any byte over any number of chunks. */
static void note_data(chunk_walk *walk, const png_chunk *data) {
    if (walk->n_data_chunks == 0) walk->first_data = data->data;
    walk->n_data_chunks++;
    walk->data_bytes += data->n_bytes;
}

static blip2_status parse_chunk(chunk_walk *walk, const png_chunk *chunk, blip2_error *err) {
    if (!walk->header_seen && !has_type(chunk, "IHDR")) return fail_damaged(walk, err, "it does not begin with a header");
    if (has_type(chunk, "IHDR"))
        return walk->header_seen ? fail_damaged(walk, err, "it has two headers") : parse_header(walk, chunk, err);
    if (has_type(chunk, "PLTE")) parse_palette(walk, chunk);
    else if (has_type(chunk, "IDAT")) note_data(walk, chunk);
    else if (has_type(chunk, "eXIf")) walk->exif_orientation = b2_exif_find_orientation(chunk->data, chunk->n_bytes);
    else if (has_type(chunk, "iTXt")) parse_text(walk, chunk);
    else if (!is_ancillary(chunk)) return fail_damaged(walk, err, "a necessary part is of an unknown type");
    return BLIP2_OK;
}

/* Reads the chunk at offset *at and moves on. False at the end of the file. */
static bool next_chunk(const chunk_walk *walk, size_t *at, png_chunk *chunk) {
    const b2_picture_file *file = walk->file;
    if (file->n_bytes - *at < CHUNK_FRAME_BYTES) return false;
    const uint8_t *p = file->bytes + *at;
    const size_t n_bytes = b2_read_be32(p);
    if (n_bytes > file->n_bytes - *at - CHUNK_FRAME_BYTES) return false;
    *chunk = (png_chunk){.type = p + 4, .data = p + 8, .n_bytes = n_bytes};
    *at += CHUNK_FRAME_BYTES + n_bytes;
    return true;
}

static bool checksum_holds(const chunk_walk *walk, const png_chunk *chunk) {
    return compute_crc(walk->crc_table, chunk->type, 4 + chunk->n_bytes) == b2_read_be32(chunk->data + chunk->n_bytes);
}

/* A damaged remark is passed over; a damaged necessary part is an error. A missing end mark is not: whether all rows
 * are there is known only when they are inflated. */
static blip2_status walk_chunks(chunk_walk *walk, blip2_error *err) {
    png_chunk chunk;
    size_t at = SIGNATURE_BYTES;
    while (next_chunk(walk, &at, &chunk) && !has_type(&chunk, "IEND")) {
        if (checksum_holds(walk, &chunk)) B2_TRY(parse_chunk(walk, &chunk, err));
        else if (!is_ancillary(&chunk)) return fail_damaged(walk, err, "bytes have changed (a checksum does not hold)");
    }
    if (!walk->header_seen || walk->n_data_chunks == 0)
        return b2_fail(err, BLIP2_FORMAT, "%s: truncated PNG: it ends before its pixels begin", walk->file->name);
    if (walk->png.colour == 3 && !walk->palette_seen) return fail_damaged(walk, err, "its palette is missing");
    return BLIP2_OK;
}

/* ---- rows ---- */

/* One IDAT chunk is inflated where it lies; several are first joined into a block from malloc. */
static blip2_status join_data(const chunk_walk *walk, const uint8_t **data, uint8_t **joined, blip2_error *err) {
    *data = walk->first_data;
    *joined = NULL;
    if (walk->n_data_chunks == 1) return BLIP2_OK;
    uint8_t *block = malloc(walk->data_bytes + 1);
    if (block == NULL)
        return b2_fail(err, BLIP2_MEMORY, "%s: no memory for %zu bytes of PNG data", walk->file->name, walk->data_bytes);
    png_chunk chunk;
    size_t at = SIGNATURE_BYTES, used = 0;
    while (used < walk->data_bytes && next_chunk(walk, &at, &chunk)) {
        if (!has_type(&chunk, "IDAT")) continue;
        memcpy(block + used, chunk.data, chunk.n_bytes);
        used += chunk.n_bytes;
    }
    *data = *joined = block;
    return BLIP2_OK;
}

static blip2_status decode_rows(const chunk_walk *walk, size_t raw_bytes, uint8_t *raw, b2_picture *out,
                                blip2_error *err) {
    const uint8_t *data;
    uint8_t *joined;
    B2_TRY(join_data(walk, &data, &joined, err));
    const size_t n_bytes = b2_stb_inflate(data, walk->data_bytes, raw, raw_bytes + SLACK_BYTES);
    free(joined);
    if (n_bytes == SIZE_MAX) return fail_damaged(walk, err, "its compressed data is broken or ends early");
    if (n_bytes < raw_bytes)
        return b2_fail(err, BLIP2_FORMAT, "%s: truncated PNG: %zu bytes of rows, expected %zu", walk->file->name, n_bytes,
                       raw_bytes);
    if (!b2_png_expand(&walk->png, raw, out->rgb)) return fail_damaged(walk, err, "a row has an unknown filter");
    return BLIP2_OK;
}

blip2_status b2_png_decode(const b2_picture_file *file, b2_picture *out, int *orientation, blip2_error *err) {
    chunk_walk walk = {.file = file};
    fill_crc_table(walk.crc_table);
    B2_TRY(walk_chunks(&walk, err));
    B2_TRY(b2_picture_reserve(file, "PNG", walk.png.width, walk.png.height, out, err));
    const size_t raw_bytes = b2_png_count_raw_bytes(&walk.png);
    if (raw_bytes > INT32_MAX - SLACK_BYTES)
        return b2_fail(err, BLIP2_LIMIT, "%s: PNG with %zu bytes of rows, more than the limit of %d", file->name,
                       raw_bytes, INT32_MAX - SLACK_BYTES);
    if (raw_bytes / MAX_INFLATE_RATIO > walk.data_bytes)
        return b2_fail(err, BLIP2_FORMAT, "%s: truncated PNG: %zu bytes of data cannot hold %zu x %zu pixels", file->name,
                       walk.data_bytes, walk.png.width, walk.png.height);
    uint8_t *raw = malloc(raw_bytes + SLACK_BYTES);
    if (raw == NULL)
        return b2_fail(err, BLIP2_MEMORY, "%s: no memory for %zu bytes of PNG rows", file->name, raw_bytes);
    const blip2_status status = decode_rows(&walk, raw_bytes, raw, out, err);
    free(raw);
    *orientation = walk.exif_orientation != B2_ORIENTATION_ABSENT ? walk.exif_orientation
                   : walk.xmp_orientation != B2_ORIENTATION_ABSENT ? walk.xmp_orientation
                                                                   : B2_UPRIGHT;
    return status;
}
