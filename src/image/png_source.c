/* png_source.c: a PNG file as a decoder should see it: header, palette, rows, end. Remarks, however damaged, stay out,
 * and a file that ends within its rows looks as if its last chunk ended there: then libspng gives every row that is
 * complete, as Pillow does. */
#include "image/decode.h"

#include <string.h>

static const uint8_t *const end_chunk = (const uint8_t *)"\0\0\0\0IEND\xAE\x42\x60\x82";

/* Finds the next chunk that the decoder is to see. */
static bool find_chunk(b2_png_source *s) {
    while (b2_png_next_chunk(s->d, &s->at, &s->chunk) && !b2_png_has_type(&s->chunk, "IEND"))
        if (b2_png_has_type(&s->chunk, "IHDR") || b2_png_has_type(&s->chunk, "PLTE") ||
            b2_png_has_type(&s->chunk, "IDAT") || (s->with_transparency && b2_png_has_type(&s->chunk, "tRNS")))
            return true;
    return false;
}

static void begin_frame(b2_png_source *s) {
    const uint32_t n = (uint32_t)s->chunk.n_bytes;
    const uint8_t len[4] = {(uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
    memcpy(s->frame, len, 4);
    memcpy(s->frame + 4, s->chunk.type, 4);
    s->part = s->frame;
    s->left = sizeof s->frame;
    s->next = B2_PNG_DATA;
}

/* The header with another height, in bytes 4 to 7. */
static void say_n_rows(b2_png_source *s) {
    memcpy(s->header, s->chunk.data, sizeof s->header);
    for (int i = 0; i < 4; i++) s->header[4 + i] = (uint8_t)(s->n_rows >> (24 - 8 * i));
    s->part = s->header;
}

/* Sets part and left to what follows; left stays 0 after the end. */
static void begin_part(b2_png_source *s) {
    switch (s->next) {
    case B2_PNG_SIGNATURE:
        s->part = s->d->bytes;
        s->left = 8;
        s->next = B2_PNG_FRAME;
        break;
    case B2_PNG_FRAME:
        if (find_chunk(s)) {
            begin_frame(s);
        } else {
            s->part = end_chunk;
            s->left = 12;
            s->next = B2_PNG_END;
        }
        break;
    case B2_PNG_DATA:
        s->part = s->chunk.data;
        s->left = s->chunk.n_bytes;
        if (s->n_rows != 0 && s->left == sizeof s->header && b2_png_has_type(&s->chunk, "IHDR")) say_n_rows(s);
        s->next = B2_PNG_CHECKSUM;
        break;
    case B2_PNG_CHECKSUM: /* any four bytes: they are not looked at */
        s->part = s->frame;
        s->left = 4;
        s->next = B2_PNG_FRAME;
        break;
    case B2_PNG_END: break;
    }
}

size_t b2_png_source_read(b2_png_source *s, uint8_t *out, size_t n_bytes) {
    size_t used = 0;
    while (used < n_bytes) {
        while (s->left == 0 && s->next != B2_PNG_END) begin_part(s);
        if (s->left == 0) break;
        const size_t n = n_bytes - used < s->left ? n_bytes - used : s->left;
        memcpy(out + used, s->part, n);
        s->part += n;
        s->left -= n;
        used += n;
    }
    return used;
}
