/* png.c: the pixels of a PNG through libspng, row by row. Without it (B2_HAVE_SPNG unset) stb.c decodes. Both read from
 * png_source.c. */
#if B2_HAVE_SPNG

#include "image/decode.h"

#include <errno.h>
#include <spng.h>
#include <stdlib.h>
#include <string.h>

static int read_source(spng_ctx *ctx, void *user, void *to, size_t n_bytes) {
    (void)ctx;
    return b2_png_source_read(user, to, n_bytes) == n_bytes ? 0 : SPNG_IO_EOF;
}

typedef struct png_job {
    b2_decoding *d;
    b2_png png;
    spng_ctx *spng;
    size_t row_bytes;
    uint8_t *samples; /* one row; of an interlaced file all */
    uint8_t *rgba;    /* [width][4] */
} png_job;

static void put_row(png_job *job, const uint8_t *samples, size_t y) {
    b2_png_expand_row(job->d, &job->png, samples, job->rgba, b2_decoding_row(job->d, y));
    b2_decoding_put(job->d, y);
}

/* Sends rows on, from n_sent, until libspng fails or is done; *n_rows: those of the last pass that came. */
static int read_rows(png_job *job, size_t n_sent, size_t *n_rows) {
    struct spng_row_info info;
    int code = 0;
    *n_rows = 0;
    while (code == 0) {
        code = spng_get_row_info(job->spng, &info);
        if (code != 0) break;
        uint8_t *to = job->samples + (job->png.interlaced ? info.row_num * job->row_bytes : 0);
        code = spng_decode_row(job->spng, to, job->row_bytes);
        if (code != 0 && code != SPNG_EOI) break;
        if (!job->png.interlaced && (*n_rows)++ >= n_sent) put_row(job, job->samples, *n_rows - 1);
    }
    if (job->png.interlaced && code == SPNG_EOI) *n_rows = job->png.height;
    return code;
}

/* A pass over the file, from its beginning; n_sent, n_rows: as read_rows. */
static int read_file(png_job *job, b2_png_source *s, size_t n_sent, size_t *n_rows) {
    *n_rows = 0;
    spng_ctx_free(job->spng);
    job->spng = spng_ctx_new(0);
    if (job->spng == NULL) return SPNG_EMEM;
    spng_set_crc_action(job->spng, SPNG_CRC_USE, SPNG_CRC_USE);
    int code = spng_set_png_stream(job->spng, read_source, s);
    if (code == 0) code = spng_decode_image(job->spng, NULL, 0, SPNG_FMT_RAW, SPNG_DECODE_PROGRESSIVE);
    return code == 0 ? read_rows(job, n_sent, n_rows) : code;
}

static blip2_status fail(const png_job *job, int code, size_t n_rows, blip2_error *err) {
    const b2_png *png = &job->png;
    if (code == SPNG_EIDAT_TOO_SHORT || code == SPNG_IO_EOF || code == SPNG_EIDAT_STREAM)
        return b2_fail(err, BLIP2_FORMAT, "%s: %s PNG: it ends within its pixels, after %zu of %zu rows", job->d->name,
                       code == SPNG_EIDAT_STREAM ? "damaged" : "truncated", n_rows, png->height);
    return b2_decoding_fail_damaged(job->d, "PNG", spng_strerror(code), err);
}

/* Whether the packed rows ended where their writer ended them, if before the last row: libspng then did not ask for
 * another chunk. Pillow shows the rest of such a picture as zeros, and refuses one whose file was cut. */
static bool is_whole(const b2_png_source *s, int code) { return code == SPNG_EIDAT_TOO_SHORT && s->next != B2_PNG_END; }

/* With each row libspng reads the first byte of the next, so the last one that is there fails. It comes when the header
 * says that it is the last. */
static int read_last_row(png_job *job, size_t *n_rows) {
    b2_png_source s = {.d = job->d, .n_rows = *n_rows + 1};
    const size_t n_sent = *n_rows;
    const int code = read_file(job, &s, n_sent, n_rows);
    if (*n_rows < n_sent) *n_rows = n_sent;
    return code == SPNG_EMEM || code == SPNG_EZLIB_INIT ? code : 0;
}

static blip2_status decode(png_job *job, blip2_error *err) {
    b2_png *png = &job->png;
    b2_png_source s = {.d = job->d};
    job->row_bytes = b2_png_count_row_bytes(png);
    job->samples = calloc(png->interlaced ? png->height : 1, job->row_bytes);
    job->rgba = malloc(4 * png->width);
    if (job->samples == NULL || job->rgba == NULL) return b2_decoding_fail_memory(job->d, err);
    size_t n_rows;
    errno = 0; /* zlib's window: libspng takes its want for damage */
    int code = read_file(job, &s, 0, &n_rows);
    const bool whole = is_whole(&s, code);
    if (whole && !png->interlaced) code = read_last_row(job, &n_rows);
    if (code == SPNG_EMEM || code == SPNG_EZLIB_INIT || (code != SPNG_EOI && errno == ENOMEM))
        return b2_decoding_fail_memory(job->d, err);
    if (code != SPNG_EOI && n_rows < png->height && !job->d->options->read_truncated && !whole)
        return fail(job, code, n_rows, err);
    memset(job->samples, 0, png->interlaced ? 0 : job->row_bytes);
    for (size_t y = n_rows; !png->interlaced && y < png->height; y++) put_row(job, job->samples, y);
    for (size_t y = 0; png->interlaced && y < png->height; y++) put_row(job, job->samples + y * job->row_bytes, y);
    return BLIP2_OK;
}

blip2_status b2_png_decode(b2_decoding *d, blip2_error *err) {
    png_job job = {.d = d};
    B2_TRY(b2_png_parse(d, &job.png, err));
    B2_TRY(b2_decoding_begin(d, "PNG", job.png.width, job.png.height, B2_ROWS_DOWN, err));
    const blip2_status status = decode(&job, err);
    spng_ctx_free(job.spng);
    free(job.samples);
    free(job.rgba);
    return status;
}

#else
typedef int b2_png_is_in_stb_c; /* a translation unit must declare something */
#endif
