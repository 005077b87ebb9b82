/* gif.c: the first frame of a GIF through giflib, on a canvas as Pillow prepares it: filled with the transparent index
 * where there is one, else with index 0, and as large as screen and frame together.
 *
 * A palette in which every entry is its own number is none (the picture is grey): that shows where the palette is
 * shorter than the indices. giflib reads a block at a time through a callback. */
#if B2_HAVE_GIF

#include "image/decode.h"

#include <gif_lib.h>
#include <stdlib.h>
#include <string.h>

typedef struct gif_job {
    b2_decoding *d;
    size_t at; /* in the file */
    GifFileType *gif;
    int transparent; /* index, or NO_TRANSPARENT_COLOR */
    size_t width, height;
    uint8_t *canvas; /* [height][width] indices */
    uint8_t palette[256][4];
} gif_job;

static int read_bytes(GifFileType *gif, GifByteType *to, int n) {
    gif_job *job = gif->UserData;
    const size_t left = job->d->n_bytes - job->at, count = (size_t)n < left ? (size_t)n : left;
    memcpy(to, job->d->bytes + job->at, count);
    job->at += count;
    if (left == 0 && n == 1) { /* the file ends where the next block should: let the last one be the last */
        to[0] = 0;
        return 1;
    }
    return (int)count;
}

static blip2_status fail(const gif_job *job, int code, blip2_error *err) {
    if (code == D_GIF_ERR_NOT_ENOUGH_MEM) return b2_decoding_fail_memory(job->d, err);
    const char *reason = GifErrorString(code);
    return b2_decoding_fail_damaged(job->d, "GIF", reason != NULL ? reason : "it ends before its first frame", err);
}

/* Extension blocks before the frame; of a graphics control block the transparent index. */
static bool read_extension(gif_job *job) {
    GifByteType *block;
    int code;
    if (DGifGetExtension(job->gif, &code, &block) == GIF_ERROR) return false;
    GraphicsControlBlock control;
    if (code == GRAPHICS_EXT_FUNC_CODE && block != NULL &&
        DGifExtensionToGCB(block[0], block + 1, &control) == GIF_OK && control.TransparentColor != NO_TRANSPARENT_COLOR)
        job->transparent = control.TransparentColor;
    while (block != NULL)
        if (DGifGetExtensionNext(job->gif, &block) == GIF_ERROR) return false;
    return true;
}

static bool find_frame(gif_job *job) {
    GifRecordType type;
    while (DGifGetRecordType(job->gif, &type) == GIF_OK) {
        if (type == IMAGE_DESC_RECORD_TYPE) return DGifGetImageDesc(job->gif) == GIF_OK;
        if (type != EXTENSION_RECORD_TYPE || !read_extension(job)) return false;
    }
    return false;
}

static bool is_grey_ramp(const ColorMapObject *map) {
    for (int i = 0; i < map->ColorCount; i++)
        if (map->Colors[i].Red != i || map->Colors[i].Green != i || map->Colors[i].Blue != i) return false;
    return true;
}

/* The frame's own palette counts, then the one of the file; without any, and where one is a ramp, indices are greys. */
static void fill_palette(gif_job *job) {
    const ColorMapObject *map = job->gif->Image.ColorMap != NULL ? job->gif->Image.ColorMap : job->gif->SColorMap;
    const bool is_grey = map == NULL || is_grey_ramp(map);
    for (int i = 0; i < 256; i++) {
        const bool has_colour = !is_grey && i < map->ColorCount;
        job->palette[i][0] = has_colour ? map->Colors[i].Red : is_grey ? (uint8_t)i : 0;
        job->palette[i][1] = has_colour ? map->Colors[i].Green : is_grey ? (uint8_t)i : 0;
        job->palette[i][2] = has_colour ? map->Colors[i].Blue : is_grey ? (uint8_t)i : 0;
        job->palette[i][3] = i == job->transparent ? 0 : 255;
    }
}

/* False: the codes end too early or are wrong. Rows that are there stay. */
static bool read_frame(gif_job *job) {
    static const struct { size_t first, step; } passes[5] = {{0, 1}, {0, 8}, {4, 8}, {2, 4}, {1, 2}};
    const GifImageDesc *frame = &job->gif->Image;
    const size_t left = (size_t)frame->Left, top = (size_t)frame->Top, width = (size_t)frame->Width;
    const size_t first_pass = frame->Interlace ? 1 : 0, end_pass = frame->Interlace ? 5 : 1;
    for (size_t pass = first_pass; pass < end_pass; pass++)
        for (size_t y = passes[pass].first; y < (size_t)frame->Height; y += passes[pass].step)
            if (DGifGetLine(job->gif, job->canvas + (top + y) * job->width + left, (int)width) == GIF_ERROR)
                return false;
    return true;
}

static void put_rows(gif_job *job, uint8_t *rgba) {
    for (size_t y = 0; y < job->height; y++) {
        const uint8_t *indices = job->canvas + y * job->width;
        for (size_t x = 0; x < job->width; x++) memcpy(rgba + 4 * x, job->palette[indices[x]], 4);
        b2_blend_rgba(job->d->options, rgba, job->width, b2_decoding_row(job->d, y));
        b2_decoding_put(job->d, y);
    }
}

static blip2_status decode(gif_job *job, blip2_error *err) {
    int code = 0;
    job->gif = DGifOpen(job, read_bytes, &code);
    if (job->gif == NULL) return fail(job, code, err);
    if (!find_frame(job)) return fail(job, job->gif->Error, err);
    const GifImageDesc *frame = &job->gif->Image;
    const size_t right = (size_t)frame->Left + (size_t)frame->Width,
                 bottom = (size_t)frame->Top + (size_t)frame->Height;
    job->width = right > (size_t)job->gif->SWidth ? right : (size_t)job->gif->SWidth;
    job->height = bottom > (size_t)job->gif->SHeight ? bottom : (size_t)job->gif->SHeight;
    B2_TRY(b2_decoding_begin(job->d, "GIF", job->width, job->height, B2_ROWS_DOWN, err));
    job->canvas = calloc(job->width, job->height);
    uint8_t *rgba = malloc(4 * job->width);
    blip2_status status = job->canvas != NULL && rgba != NULL ? BLIP2_OK : b2_decoding_fail_memory(job->d, err);
    if (status == BLIP2_OK) {
        if (job->transparent != NO_TRANSPARENT_COLOR) memset(job->canvas, job->transparent, job->width * job->height);
        fill_palette(job);
        if (!read_frame(job) && !job->d->options->read_truncated) status = fail(job, job->gif->Error, err);
        else put_rows(job, rgba);
    }
    free(rgba);
    return status;
}

blip2_status b2_gif_decode(b2_decoding *d, blip2_error *err) {
    gif_job job = {.d = d, .transparent = NO_TRANSPARENT_COLOR};
    const blip2_status status = decode(&job, err);
    free(job.canvas);
    int code;
    if (job.gif != NULL) DGifCloseFile(job.gif, &code);
    return status;
}

#else
typedef int b2_gif_is_left_out; /* a translation unit must declare something */
#endif
