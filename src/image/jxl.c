/* jxl.c: JPEG XL through libjxl: the first frame, in the colours that the file names. libjxl would turn it as the file
 * says; it is told not to, so that the picture is turned in one place, and only where the caller wants it. */
#if B2_HAVE_JXL

#include "base/library.h"
#include "image/decode.h"

#include <jxl/decode.h>
#include <stdlib.h>
#include <string.h>

/* Loaded when the first JPEG XL comes. */
#define CALLS(X)                                                                                                       \
    X(JxlDecoderCreate)                                                                                                \
    X(JxlDecoderDestroy)                                                                                               \
    X(JxlDecoderGetBasicInfo)                                                                                          \
    X(JxlDecoderSetImageOutBuffer)                                                                                     \
    X(JxlDecoderSubscribeEvents)                                                                                       \
    X(JxlDecoderSetKeepOrientation)                                                                                    \
    X(JxlDecoderSetInput) X(JxlDecoderCloseInput) X(JxlDecoderProcessInput) X(JxlDecoderFlushImage)
typedef struct jxl_calls {
    CALLS(B2_CALL_FIELD)
} jxl_calls;
static const char *const names[] = {CALLS(B2_CALL_NAME)};

typedef struct jxl_job {
    jxl_calls lib;
    b2_decoding *d;
    JxlDecoder *jxl;
    JxlBasicInfo info;
    uint8_t *rgba; /* [height][width][4] */
} jxl_job;

static blip2_status fail(const jxl_job *job, JxlDecoderStatus code, blip2_error *err) {
    const bool is_cut = code == JXL_DEC_NEED_MORE_INPUT;
    if (is_cut)
        return b2_fail(err, BLIP2_FORMAT, "%s: truncated JPEG XL: its %zu bytes end before the picture does",
                       job->d->name, job->d->n_bytes);
    return b2_decoding_fail_damaged(job->d, "JPEG XL", "libjxl cannot decode it", err);
}

/* "Exif" boxes of the container: a big-endian length and four letters, the offset of the TIFF block (which Pillow
 * forgets to write), the block. */
static int find_exif(const b2_decoding *d) {
    for (size_t at = 0; at <= d->n_bytes && d->n_bytes - at >= 8;) {
        const uint8_t *p = d->bytes + at;
        const size_t n = b2_read_be32(p), left = d->n_bytes - at;
        if (n < 8 || n > left) break;
        if (n > 12 && memcmp(p + 4, "Exif", 4) == 0) {
            const int exif = b2_exif_find_orientation(p + 12, n - 12);
            return exif != B2_ORIENTATION_ABSENT ? exif : b2_exif_find_orientation(p + 8, n - 8);
        }
        at += n;
    }
    return B2_ORIENTATION_ABSENT;
}

/* What the codestream says counts; where it says nothing, EXIF does: files made by Pillow say it only there. */
static int find_orientation(const jxl_job *job) {
    if (job->info.orientation != JXL_ORIENT_IDENTITY) return (int)job->info.orientation;
    return b2_choose_orientation(find_exif(job->d), B2_ORIENTATION_ABSENT);
}

static blip2_status prepare(jxl_job *job, blip2_error *err) {
    static const JxlPixelFormat format = {4, JXL_TYPE_UINT8, JXL_NATIVE_ENDIAN, 0};
    if (job->lib.JxlDecoderGetBasicInfo(job->jxl, &job->info) != JXL_DEC_SUCCESS) return fail(job, JXL_DEC_ERROR, err);
    job->d->orientation = find_orientation(job);
    const size_t width = job->info.xsize, height = job->info.ysize;
    B2_TRY(b2_decoding_begin(job->d, "JPEG XL", width, height, B2_ROWS_DOWN, err));
    job->rgba = calloc(width * height, 4);
    if (job->rgba == NULL) return b2_decoding_fail_memory(job->d, err);
    return job->lib.JxlDecoderSetImageOutBuffer(job->jxl, &format, job->rgba, 4 * width * height) == JXL_DEC_SUCCESS
               ? BLIP2_OK
               : fail(job, JXL_DEC_ERROR, err);
}

/* Events until the first frame is there. */
static blip2_status decode(jxl_job *job, blip2_error *err) {
    B2_TRY(b2_library_load(job->d->name, B2_LIBRARY(B2_SO_JXL), names, sizeof names / sizeof *names, &job->lib, err));
    job->jxl = job->lib.JxlDecoderCreate(NULL);
    if (job->jxl == NULL) return b2_decoding_fail_memory(job->d, err);
    job->lib.JxlDecoderSubscribeEvents(job->jxl, JXL_DEC_BASIC_INFO | JXL_DEC_FULL_IMAGE);
    job->lib.JxlDecoderSetKeepOrientation(job->jxl, JXL_TRUE);
    job->lib.JxlDecoderSetInput(job->jxl, job->d->bytes, job->d->n_bytes);
    job->lib.JxlDecoderCloseInput(job->jxl);
    for (;;) {
        const JxlDecoderStatus code = job->lib.JxlDecoderProcessInput(job->jxl);
        if (code == JXL_DEC_FULL_IMAGE) return BLIP2_OK;
        if (code == JXL_DEC_BASIC_INFO) {
            B2_TRY(prepare(job, err));
        } else if (job->rgba != NULL && job->d->options->read_truncated) {
            job->lib.JxlDecoderFlushImage(job->jxl); /* what is there */
            return BLIP2_OK;
        } else {
            return fail(job, code, err);
        }
    }
}

blip2_status b2_jxl_decode(b2_decoding *d, blip2_error *err) {
    jxl_job job = {.d = d};
    const blip2_status status = decode(&job, err);
    for (size_t y = 0; status == BLIP2_OK && y < d->stored.height; y++) {
        b2_blend_rgba(d->options, job.rgba + 4 * d->stored.width * y, d->stored.width, b2_decoding_row(d, y));
        b2_decoding_put(d, y);
    }
    free(job.rgba);
    if (job.jxl != NULL) job.lib.JxlDecoderDestroy(job.jxl);
    return status;
}

#else
typedef int b2_jxl_is_left_out; /* a translation unit must declare something */
#endif
