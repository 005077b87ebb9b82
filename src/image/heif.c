/* heif.c: HEIC (phones) through libheif: the primary picture. libheif turns and crops it itself, whatever the caller
 * wants; its EXIF orientation says the same once more and is not looked at. Pixels are a level off those of newer
 * libheif, which rounds otherwise where it converts YCbCr to RGB. */
#if B2_HAVE_HEIF

#include "base/library.h"
#include "image/decode.h"

#include <libheif/heif.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Loaded when the first HEIC comes. */
#define CALLS(X)                                                                                                       \
    X(heif_context_alloc)                                                                                              \
    X(heif_context_free)                                                                                               \
    X(heif_context_set_maximum_image_size_limit)                                                                       \
    X(heif_context_read_from_memory_without_copy)                                                                      \
    X(heif_context_get_primary_image_handle)                                                                           \
    X(heif_image_handle_get_width)                                                                                     \
    X(heif_image_handle_get_height)                                                                                    \
    X(heif_image_handle_has_alpha_channel)                                                                             \
    X(heif_image_handle_release)                                                                                       \
    X(heif_decoding_options_alloc)                                                                                     \
    X(heif_decoding_options_free)                                                                                      \
    X(heif_decode_image)                                                                                               \
    X(heif_image_get_width)                                                                                            \
    X(heif_image_get_height) X(heif_image_get_plane_readonly) X(heif_image_is_premultiplied_alpha) X(heif_image_release)
typedef struct heif_calls {
    CALLS(B2_CALL_FIELD)
} heif_calls;
static const char *const names[] = {CALLS(B2_CALL_NAME)};

typedef struct heif_job {
    heif_calls lib;
    b2_decoding *d;
    struct heif_context *context;
    struct heif_image_handle *handle;
    struct heif_image *image;
} heif_job;

static blip2_status fail(const heif_job *job, struct heif_error e, blip2_error *err) {
    const bool unsupported = e.code == heif_error_Unsupported_feature || e.code == heif_error_Unsupported_filetype;
    const bool is_refused =
        e.code == heif_error_Memory_allocation_error && e.subcode != heif_suberror_Security_limit_exceeded;
    if (is_refused) return b2_decoding_fail_memory(job->d, err);
    return b2_fail(err, unsupported ? BLIP2_UNSUPPORTED : BLIP2_FORMAT, "%s: %s HEIF: %s", job->d->name,
                   unsupported ? "unsupported" : "damaged", e.message);
}

static blip2_status open_primary(heif_job *job, blip2_error *err) {
    job->context = job->lib.heif_context_alloc();
    if (job->context == NULL) return b2_decoding_fail_memory(job->d, err);
    job->lib.heif_context_set_maximum_image_size_limit(job->context, (int)B2_PICTURE_MAX_SIDE);
    struct heif_error e =
        job->lib.heif_context_read_from_memory_without_copy(job->context, job->d->bytes, job->d->n_bytes, NULL);
    if (e.code == heif_error_Ok) e = job->lib.heif_context_get_primary_image_handle(job->context, &job->handle);
    return e.code == heif_error_Ok ? BLIP2_OK : fail(job, e, err);
}

static blip2_status put_rows(heif_job *job, bool has_alpha, blip2_error *err) {
    const int width = job->lib.heif_image_get_width(job->image, heif_channel_interleaved),
              height = job->lib.heif_image_get_height(job->image, heif_channel_interleaved);
    int stride = 0;
    const uint8_t *plane = job->lib.heif_image_get_plane_readonly(job->image, heif_channel_interleaved, &stride);
    if (plane == NULL || width <= 0 || height <= 0)
        return b2_decoding_fail_damaged(job->d, "HEIF", "it holds no pixels", err);
    B2_TRY(b2_decoding_begin(job->d, "HEIF", (size_t)width, (size_t)height, B2_ROWS_DOWN, err));
    const bool is_premultiplied = has_alpha && job->lib.heif_image_is_premultiplied_alpha(job->image);
    if (is_premultiplied) job->d->out->hint = "its colours are premultiplied with alpha: edges may look darker";
    for (size_t y = 0; y < (size_t)height; y++) {
        const uint8_t *row = plane + (size_t)stride * y;
        if (has_alpha) b2_blend_rgba(job->d->options, row, (size_t)width, b2_decoding_row(job->d, y));
        else memcpy(b2_decoding_row(job->d, y), row, 3 * (size_t)width);
        b2_decoding_put(job->d, y);
    }
    return BLIP2_OK;
}

static void *do_nothing(void *context) { return context; }

/* libde265 starts one thread a picture and waits for it for ever if that failed. The stack of ours is kept for it. */
static bool can_start_thread(void) {
    pthread_t thread;
    return pthread_create(&thread, NULL, do_nothing, NULL) == 0 && pthread_join(thread, NULL) == 0;
}

static blip2_status decode(heif_job *job, blip2_error *err) {
    B2_TRY(b2_library_load(job->d->name, B2_LIBRARY(B2_SO_HEIF), names, sizeof names / sizeof *names, &job->lib, err));
    B2_TRY(open_primary(job, err));
    const int width = job->lib.heif_image_handle_get_width(job->handle),
              height = job->lib.heif_image_handle_get_height(job->handle);
    B2_TRY(b2_decoding_check_size(job->d, "HEIF", width > 0 ? (size_t)width : 0, height > 0 ? (size_t)height : 0, err));
    const bool has_alpha = job->lib.heif_image_handle_has_alpha_channel(job->handle);
    if (!can_start_thread()) return b2_decoding_fail_memory(job->d, err);
    struct heif_decoding_options *options = job->lib.heif_decoding_options_alloc();
    if (options == NULL) return b2_decoding_fail_memory(job->d, err);
    options->convert_hdr_to_8bit = 1;
    const struct heif_error e =
        job->lib.heif_decode_image(job->handle, &job->image, heif_colorspace_RGB,
                                   has_alpha ? heif_chroma_interleaved_RGBA : heif_chroma_interleaved_RGB, options);
    job->lib.heif_decoding_options_free(options);
    return e.code == heif_error_Ok ? put_rows(job, has_alpha, err) : fail(job, e, err);
}

blip2_status b2_heif_decode(b2_decoding *d, blip2_error *err) {
    heif_job job = {.d = d};
    const blip2_status status = decode(&job, err);
    if (job.image != NULL) job.lib.heif_image_release(job.image);
    if (job.handle != NULL) job.lib.heif_image_handle_release(job.handle);
    if (job.context != NULL) job.lib.heif_context_free(job.context);
    return status;
}

#else
typedef int b2_heif_is_left_out; /* a translation unit must declare something */
#endif
