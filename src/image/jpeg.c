/* jpeg.c: JPEG through libjpeg-turbo, set up as Pillow sets it up (accurate integer IDCT, smooth chroma upsampling), so
 * that pixels are equal to Pillow's. Without libjpeg (B2_HAVE_JPEG unset) stb.c decodes, a few levels off.
 *
 * libjpeg reports fatal errors by a longjmp out of the failing call. Everything that must survive the jump lies in one
 * struct jpeg_job, owned by the caller of the function that calls setjmp; that function has no variables of its own.
 * Warnings (a bad Huffman code, stray bytes) are tolerated as Pillow tolerates them. An early end of the file is an
 * error as it is there: the source suspends. What comes after the last row does not matter, so that a missing end
 * mark does not. With read_truncated the source invents one, on which libjpeg fills the rest of a scan with grey. */
#if B2_HAVE_JPEG

#include "image/decode.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jpeglib.h>
#include <jerror.h>

typedef struct jpeg_job {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_source_mgr source;
    struct jpeg_progress_mgr progress;
    jmp_buf escape;
    char reason[JMSG_LENGTH_MAX]; /* what libjpeg said, or ours */
    b2_decoding *d;
    uint8_t *inks; /* [width][4], one row of a CMYK picture; NULL otherwise */
    bool end_invented;
    blip2_status status;
    blip2_error *err;
} jpeg_job;

/* ---- callbacks of libjpeg ---- */

static void escape_with_message(j_common_ptr common) {
    jpeg_job *job = common->client_data;
    common->err->format_message(common, job->reason);
    longjmp(job->escape, 1);
}

static void ignore_message(j_common_ptr common) { (void)common; }

static void do_nothing(j_decompress_ptr jpeg) { (void)jpeg; }

/* All bytes are in memory: there is never more to come, which makes libjpeg suspend. */
static boolean suspend(j_decompress_ptr jpeg) {
    (void)jpeg;
    return FALSE;
}

static boolean invent_end(j_decompress_ptr jpeg) {
    jpeg_job *job = jpeg->client_data;
    if (job->end_invented) return FALSE; /* the first one went into a table: nothing more can be read */
    job->end_invented = true;
    static const JOCTET end_of_image[2] = {0xFF, JPEG_EOI};
    jpeg->src->next_input_byte = end_of_image;
    jpeg->src->bytes_in_buffer = sizeof end_of_image;
    return TRUE;
}

static void skip_bytes(j_decompress_ptr jpeg, long n_bytes) {
    struct jpeg_source_mgr *source = jpeg->src;
    const size_t n = n_bytes <= 0 ? 0 : (size_t)n_bytes;
    const size_t step = n < source->bytes_in_buffer ? n : source->bytes_in_buffer;
    source->next_input_byte += step;
    source->bytes_in_buffer -= step;
}

/* A progressive file may hold any number of scans of the whole picture, each a few bytes long: hours of work. No
 * program writes more than a few dozen. */
static void limit_scans(j_common_ptr common) {
    enum { MAX_SCANS = 500 };
    const uint64_t max_scanned_pixels = (uint64_t)1 << 34;
    jpeg_job *job = common->client_data;
    j_decompress_ptr jpeg = (j_decompress_ptr)common;
    const int n = jpeg->input_scan_number;
    const uint64_t n_pixels = (uint64_t)jpeg->image_width * jpeg->image_height;
    if (n <= MAX_SCANS && (n < 2 || n_pixels * (uint64_t)n <= max_scanned_pixels)) return;
    snprintf(job->reason, sizeof job->reason, "%d scans of %u x %u pixels, more than are looked at", n,
             (unsigned)jpeg->image_width, (unsigned)jpeg->image_height);
    longjmp(job->escape, 1);
}

/* ---- the steps; each ends early by longjmp or by setting job->status ---- */

static void fail_truncated(jpeg_job *job) {
    job->status = b2_fail(job->err, BLIP2_FORMAT, "%s: truncated JPEG: its %zu bytes end before the picture does",
                          job->d->name, job->d->n_bytes);
}

static void start(jpeg_job *job) {
    struct jpeg_decompress_struct *jpeg = &job->jpeg;
    jpeg_create_decompress(jpeg);
    jpeg->src = &job->source;
    jpeg->progress = &job->progress;
    if (jpeg_read_header(jpeg, TRUE) == JPEG_SUSPENDED) {
        fail_truncated(job);
        return;
    }
    const int n_components = jpeg->num_components;
    if (n_components != 1 && n_components != 3 && n_components != 4) {
        job->status = b2_fail(job->err, BLIP2_UNSUPPORTED, "%s: JPEG with %d colour components, expected 1, 3 or 4",
                              job->d->name, n_components);
        return;
    }
    job->status = b2_decoding_check_size(job->d, "JPEG", jpeg->image_width, jpeg->image_height, job->err);
    const bool can_hold = jpeg->arith_code || b2_jpeg_can_hold(job->d, jpeg->image_width, jpeg->image_height);
    if (job->status == BLIP2_OK && !can_hold) fail_truncated(job);
    if (job->status != BLIP2_OK) return;
    job->status = b2_decoding_begin(job->d, "JPEG", jpeg->image_width, jpeg->image_height, B2_ROWS_DOWN, job->err);
    if (job->status == BLIP2_OK && n_components == 4) {
        job->inks = malloc((size_t)4 * jpeg->image_width);
        if (job->inks == NULL) job->status = b2_decoding_fail_memory(job->d, job->err);
    }
    jpeg->out_color_space = n_components == 4 ? JCS_CMYK : JCS_RGB;
    jpeg->dct_method = JDCT_ISLOW;
    jpeg->do_fancy_upsampling = TRUE;
}

/* Four-ink JPEG files store 255 - ink, as Adobe does (Pillow assumes it of all of them). */
static void convert_inks(uint8_t *inks, size_t width, uint8_t *rgb) {
    for (size_t i = 0; i < 4 * width; i++) inks[i] = (uint8_t)(255 - inks[i]);
    b2_convert_cmyk(inks, width, rgb);
}

static void read_rows(jpeg_job *job) {
    struct jpeg_decompress_struct *jpeg = &job->jpeg;
    bool complete = jpeg_start_decompress(jpeg);
    while (complete && jpeg->output_scanline < jpeg->output_height) {
        const size_t y = jpeg->output_scanline;
        uint8_t *rgb = b2_decoding_row(job->d, y);
        JSAMPROW row = job->inks != NULL ? job->inks : rgb;
        complete = jpeg_read_scanlines(jpeg, &row, 1) == 1;
        if (complete && job->inks != NULL) convert_inks(job->inks, jpeg->output_width, rgb);
        if (complete) b2_decoding_put(job->d, y);
    }
    if (!complete && !job->d->options->read_truncated) fail_truncated(job);
    /* A second header that the file's end cuts has overwritten what libjpeg says of the size: ours counts. */
    const b2_row_order *stored = &job->d->stored;
    for (size_t y = jpeg->output_scanline; !complete && job->status == BLIP2_OK && y < stored->height; y++) {
        memset(b2_decoding_row(job->d, y), job->inks != NULL ? 255 : 0, 3 * stored->width); /* no ink: white */
        b2_decoding_put(job->d, y);
    }
}

static void fail_as_libjpeg_says(jpeg_job *job) {
    const int code = job->errors.msg_code;
    if (code == JERR_OUT_OF_MEMORY) {
        job->status = b2_decoding_fail_memory(job->d, job->err);
        return;
    }
    const bool unsupported = code == JERR_BAD_PRECISION || code == JERR_SOF_UNSUPPORTED || code == JERR_ARITH_NOTIMPL;
    job->status = b2_fail(job->err, unsupported ? BLIP2_UNSUPPORTED : BLIP2_FORMAT, "%s: %s JPEG: %s", job->d->name,
                          unsupported ? "unsupported" : "damaged", job->reason);
}

static void run_guarded(jpeg_job *job) {
    if (setjmp(job->escape) == 0) {
        start(job);
        if (job->status == BLIP2_OK) read_rows(job);
    } else {
        fail_as_libjpeg_says(job);
    }
}

blip2_status b2_jpeg_decode(b2_decoding *d, blip2_error *err) {
    jpeg_job job = {.d = d, .err = err, .status = BLIP2_OK};
    int n_components;
    d->orientation = b2_jpeg_find_orientation(d->bytes, d->n_bytes, &n_components);
    job.jpeg.err = jpeg_std_error(&job.errors);
    job.jpeg.client_data = &job;
    job.errors.error_exit = escape_with_message;
    job.errors.output_message = ignore_message;
    job.source = (struct jpeg_source_mgr){.next_input_byte = d->bytes,
                                          .bytes_in_buffer = d->n_bytes,
                                          .init_source = do_nothing,
                                          .fill_input_buffer = d->options->read_truncated ? invent_end : suspend,
                                          .skip_input_data = skip_bytes,
                                          .resync_to_restart = jpeg_resync_to_restart,
                                          .term_source = do_nothing};
    job.progress.progress_monitor = limit_scans;
    run_guarded(&job);
    jpeg_destroy_decompress(&job.jpeg);
    free(job.inks);
    return job.status;
}

#else
typedef int b2_jpeg_is_in_stb_c; /* a translation unit must declare something */
#endif
