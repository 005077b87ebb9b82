/* jpeg.c: JPEG through libjpeg-turbo, set up as Pillow sets it up (accurate integer IDCT, smooth chroma upsampling), so
 * that pixels are equal to Pillow's. Without libjpeg (B2_HAVE_JPEG unset) stb.c decodes, a few levels off.
 *
 * libjpeg reports fatal errors by a longjmp out of the failing call. Everything that must survive the jump lies in one
 * struct jpeg_job, owned by the caller of the function that calls setjmp; that function has no variables of its own.
 * Warnings (a bad Huffman code, stray bytes) are tolerated as Pillow tolerates them; an early end of the file is an
 * error as it is there: the source never invents an end-of-image marker, it suspends. */
#if B2_HAVE_JPEG

#include "image/decode.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <jpeglib.h>
#include <jerror.h>

typedef struct jpeg_job {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_source_mgr source;
    struct jpeg_progress_mgr progress;
    jmp_buf escape;
    char reason[JMSG_LENGTH_MAX]; /* what libjpeg said, or ours */
    const b2_picture_file *file;
    b2_picture *out;
    uint8_t *inks;       /* [width][4], one row of a CMYK picture; NULL otherwise */
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

static void skip_bytes(j_decompress_ptr jpeg, long n_bytes) {
    struct jpeg_source_mgr *source = jpeg->src;
    const size_t n = n_bytes <= 0 ? 0 : (size_t)n_bytes;
    const size_t step = n < source->bytes_in_buffer ? n : source->bytes_in_buffer;
    source->next_input_byte += step;
    source->bytes_in_buffer -= step;
}

/* A progressive file may hold any number of scans of the whole picture, each a few bytes long: hours of work. */
static void limit_scans(j_common_ptr common) {
    enum { MAX_SCANS = 500 };
    jpeg_job *job = common->client_data;
    if (((j_decompress_ptr)common)->input_scan_number <= MAX_SCANS) return;
    snprintf(job->reason, sizeof job->reason, "more than %d scans", MAX_SCANS);
    longjmp(job->escape, 1);
}

/* ---- the steps; each ends early by longjmp or by setting job->status ---- */

static void fail_truncated(jpeg_job *job) {
    job->status = b2_fail(job->err, BLIP2_FORMAT, "%s: truncated JPEG: its %zu bytes end before the picture does",
                          job->file->name, job->file->n_bytes);
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
                              job->file->name, n_components);
        return;
    }
    job->status = b2_picture_reserve(job->file, "JPEG", jpeg->image_width, jpeg->image_height, job->out, job->err);
    if (job->status != BLIP2_OK) return;
    if (n_components == 4) {
        job->inks = malloc((size_t)4 * jpeg->image_width);
        if (job->inks == NULL)
            job->status = b2_fail(job->err, BLIP2_MEMORY, "%s: no memory for a row of pixels", job->file->name);
    }
    jpeg->out_color_space = n_components == 4 ? JCS_CMYK : JCS_RGB;
    jpeg->dct_method = JDCT_ISLOW;
    jpeg->do_fancy_upsampling = TRUE;
}

/* round(a * b / 255) */
static uint8_t multiply_255(uint8_t a, uint8_t b) {
    const unsigned t = (unsigned)a * b + 128;
    return (uint8_t)(((t >> 8) + t) >> 8);
}

/* Four-ink JPEG files store 255 - ink, as Adobe does (Pillow assumes it of all of them). */
static void convert_inks(const uint8_t *inks, size_t width, uint8_t *rgb) {
    for (size_t x = 0; x < width; x++) {
        const uint8_t light = inks[4 * x + 3]; /* what the black ink leaves */
        for (size_t c = 0; c < 3; c++) {
            const uint8_t ink = (uint8_t)(255 - inks[4 * x + c]);
            rgb[3 * x + c] = (uint8_t)(light - multiply_255(ink, light));
        }
    }
}

static void read_rows(jpeg_job *job) {
    struct jpeg_decompress_struct *jpeg = &job->jpeg;
    bool complete = jpeg_start_decompress(jpeg);
    while (complete && jpeg->output_scanline < jpeg->output_height) {
        uint8_t *rgb = job->out->rgb + (size_t)3 * job->out->width * jpeg->output_scanline;
        JSAMPROW row = job->inks != NULL ? job->inks : rgb;
        complete = jpeg_read_scanlines(jpeg, &row, 1) == 1;
        if (complete && job->inks != NULL) convert_inks(job->inks, job->out->width, rgb);
    }
    if (!complete || !jpeg_finish_decompress(jpeg)) fail_truncated(job);
}

static void fail_as_libjpeg_says(jpeg_job *job) {
    const int code = job->errors.msg_code;
    const bool unsupported = code == JERR_BAD_PRECISION || code == JERR_SOF_UNSUPPORTED || code == JERR_ARITH_NOTIMPL;
    job->status = b2_fail(job->err, unsupported ? BLIP2_UNSUPPORTED : BLIP2_FORMAT, "%s: %s JPEG: %s", job->file->name,
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

blip2_status b2_jpeg_decode(const b2_picture_file *file, b2_picture *out, int *orientation, blip2_error *err) {
    jpeg_job job = {.file = file, .out = out, .err = err, .status = BLIP2_OK};
    job.jpeg.err = jpeg_std_error(&job.errors);
    job.jpeg.client_data = &job;
    job.errors.error_exit = escape_with_message;
    job.errors.output_message = ignore_message;
    job.source = (struct jpeg_source_mgr){.next_input_byte = file->bytes,
                                          .bytes_in_buffer = file->n_bytes,
                                          .init_source = do_nothing,
                                          .fill_input_buffer = suspend,
                                          .skip_input_data = skip_bytes,
                                          .resync_to_restart = jpeg_resync_to_restart,
                                          .term_source = do_nothing};
    job.progress.progress_monitor = limit_scans;
    run_guarded(&job);
    jpeg_destroy_decompress(&job.jpeg);
    free(job.inks);
    if (job.status == BLIP2_OK) *orientation = b2_jpeg_find_orientation(file->bytes, file->n_bytes);
    return job.status;
}

#else
typedef int b2_jpeg_is_in_stb_c; /* a translation unit must declare something */
#endif
