/* blip2.c: the story of one caption. Read it first; each stage is one call, and each call leads to one file.
 *
 *   open     checkpoint/  the file is mapped and checked          model/weights  every tensor finds its place
 *   load     image/       bytes -> RGB -> resized -> [3][S][S]
 *   session  model/workspace  all memory, once
 *   see      model/vision     [3][S][S] -> [T][V]      model/qformer  [T][V] -> [K][D] soft tokens
 *   say      tokenizer/       text -> ids              generate/greedy  soft tokens, ids -> ids -> text
 *
 * After blip2_session_create nothing allocates and only two things can stop a run: bad arguments and cancellation. */
#include "blip2.h"

#include "base/clock.h"
#include "base/cpu.h"
#include "base/prefetch.h"
#include "blip2_model.h"
#include "blip2_text.h"
#include "generate/greedy.h"
#include "image/image.h"
#include "model/qformer.h"
#include "model/vision.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct blip2_image {
    size_t size;    /* side in pixels */
    float *pixels;  /* [3][size][size] */
    bool rotated;
    b2_picture thumbnail; /* empty unless asked for */
};

struct blip2_session {
    const blip2_model *model;
    b2_capacity capacity;
    b2_ops ops;
    b2_workspace workspace;
    b2_prefetch *prefetch; /* pages of the file come in, in order of execution, while the first images are seen */
    size_t n_seen;
    blip2_timings timings;

    /* of each request: */
    b2_greedy_row *rows;                          /* [max_requests] */
    int32_t *prompt_ids, *tokens;                 /* [max_requests][n_prompt_tokens], [max_requests][n_new_tokens] */
    float *logprobs;                              /* [max_requests][n_new_tokens] */
    char *prompts, *texts;                        /* [max_requests][prompt_bytes], [max_requests][text_bytes] */
    size_t prompt_bytes, text_bytes;
};

/* ---- images ---------------------------------------------------------------------------------------------------- */

void blip2_image_options_default(blip2_image_options *options) {
    const b2_picture_options defaults = b2_picture_options_default();
    *options = (blip2_image_options){
        .struct_bytes = sizeof *options, .apply_exif = defaults.apply_exif, .max_pixels = defaults.max_pixels};
}

static b2_picture_options picture_options(const blip2_image_options *options) {
    if (options == NULL) return b2_picture_options_default();
    return (b2_picture_options){.apply_exif = options->apply_exif, .max_pixels = options->max_pixels};
}

/* A copy that fits into side x side pixels and keeps its proportions; never larger than the picture. */
static blip2_status make_thumbnail(const b2_picture *picture, size_t side, b2_picture *out, blip2_error *err) {
    const size_t longer = picture->width > picture->height ? picture->width : picture->height;
    if (side > longer) side = longer;
    const size_t width = picture->width * side / longer, height = picture->height * side / longer;
    return b2_picture_resize(picture, width > 0 ? width : 1, height > 0 ? height : 1, out, err);
}

/* RGB of any size -> the square that the model takes, normalised. */
static blip2_status prepare_image(const blip2_model *model, const b2_picture *picture, blip2_image **out,
                                  blip2_error *err) {
    const b2_hparams *h = &model->weights.h;
    const size_t size = h->image_size;
    b2_picture square;
    B2_TRY(b2_picture_resize(picture, size, size, &square, err));
    blip2_image *image = calloc(1, sizeof *image);
    float *pixels = malloc(3 * size * size * sizeof *pixels);
    if (image == NULL || pixels == NULL) {
        free(image);
        free(pixels);
        b2_picture_free(&square);
        return b2_fail(err, BLIP2_MEMORY, "no memory for an image of %zu x %zu pixels", size, size);
    }
    b2_normalisation normalisation;
    memcpy(normalisation.mean, h->image_mean, sizeof normalisation.mean);
    memcpy(normalisation.std, h->image_std, sizeof normalisation.std);
    b2_picture_normalise(&square, &normalisation, pixels);
    b2_picture_free(&square);
    *image = (blip2_image){.size = size, .pixels = pixels, .rotated = picture->rotated};
    *out = image;
    return BLIP2_OK;
}

/* A decoded picture, which it frees -> an image. */
static blip2_status finish_image(const blip2_model *model, b2_picture *picture, const blip2_image_options *options,
                                 blip2_image **out, blip2_error *err) {
    blip2_status status = prepare_image(model, picture, out, err);
    if (status == BLIP2_OK && options != NULL && options->thumbnail_side > 0)
        status = make_thumbnail(picture, options->thumbnail_side, &(*out)->thumbnail, err);
    if (status != BLIP2_OK) blip2_image_free(out);
    b2_picture_free(picture);
    return status;
}

blip2_status blip2_image_load(const blip2_model *model, const char *path, const blip2_image_options *options,
                              blip2_image **out, blip2_error *err) {
    const b2_picture_options how = picture_options(options);
    b2_picture picture;
    *out = NULL;
    B2_TRY(b2_picture_load_file(path, &how, &picture, err));
    return finish_image(model, &picture, options, out, err);
}

blip2_status blip2_image_load_memory(const blip2_model *model, const uint8_t *bytes, size_t n_bytes, const char *name,
                                     const blip2_image_options *options, blip2_image **out, blip2_error *err) {
    const b2_picture_options how = picture_options(options);
    b2_picture picture;
    *out = NULL;
    B2_TRY(b2_picture_load_memory(bytes, n_bytes, name, &how, &picture, err));
    return finish_image(model, &picture, options, out, err);
}

void blip2_image_free(blip2_image **image) {
    if (image == NULL || *image == NULL) return;
    b2_picture_free(&(*image)->thumbnail);
    free((*image)->pixels);
    free(*image);
    *image = NULL;
}

bool blip2_image_rotated(const blip2_image *image) { return image->rotated; }
const float *blip2_image_pixels(const blip2_image *image) { return image->pixels; }

const uint8_t *blip2_image_thumbnail(const blip2_image *image, size_t *width, size_t *height) {
    *width = image->thumbnail.width;
    *height = image->thumbnail.height;
    return image->thumbnail.rgb;
}

/* ---- sessions --------------------------------------------------------------------------------------------------- */

void blip2_session_options_default(blip2_session_options *options) {
    *options = (blip2_session_options){
        .struct_bytes = sizeof *options, .max_images = 1, .max_requests = 1, .max_prompt_tokens = 64,
        .max_new_tokens = 20};
}

/* The sizes asked for, checked against what the model can hold. */
static blip2_status check_capacity(const blip2_model *model, const blip2_session_options *o, b2_capacity *capacity,
                                   blip2_error *err) {
    const b2_hparams *h = &model->weights.h;
    if (o->max_images < 1 || o->max_images > B2_MAX_SEQUENCES)
        return b2_fail(err, BLIP2_ARGUMENT, "max_images: expected 1 to %d, got %zu", B2_MAX_SEQUENCES, o->max_images);
    if (o->max_requests < 1 || o->max_requests > B2_MAX_SEQUENCES)
        return b2_fail(err, BLIP2_ARGUMENT, "max_requests: expected 1 to %d, got %zu", B2_MAX_SEQUENCES,
                       o->max_requests);
    if (o->max_prompt_tokens < 1) return b2_fail(err, BLIP2_ARGUMENT, "max_prompt_tokens: expected at least 1, got 0");
    const size_t limit = h->max_positions, most = limit > h->n_queries ? limit - h->n_queries : 0;
    if (o->max_prompt_tokens > most || o->max_new_tokens > most - o->max_prompt_tokens)
        return b2_fail(err, BLIP2_LIMIT,
                       "%u image tokens, %zu prompt tokens and %zu new tokens: the model has only %zu positions",
                       h->n_queries, o->max_prompt_tokens, o->max_new_tokens, limit);
    *capacity = (b2_capacity){.n_images = o->max_images, .n_sequences = o->max_requests,
                              .n_prompt_tokens = o->max_prompt_tokens, .n_new_tokens = o->max_new_tokens};
    return BLIP2_OK;
}

static int choose_threads(int n_threads) { return n_threads > 0 ? n_threads : b2_cpu_physical_cores(); }

blip2_status blip2_session_measure(const blip2_model *model, const blip2_session_options *options,
                                   blip2_memory *memory, blip2_error *err) {
    b2_capacity capacity;
    B2_TRY(check_capacity(model, options, &capacity, err));
    const b2_workspace_bytes bytes =
        b2_workspace_measure(&model->weights, &capacity, choose_threads(options->n_threads));
    *memory = (blip2_memory){.struct_bytes = sizeof *memory, .activations = bytes.stages + bytes.soft_tokens,
                             .cache = bytes.cache, .logits = bytes.logits, .scratch = bytes.scratch,
                             .total = bytes.total};
    return BLIP2_OK;
}

/* What belongs to single requests: ids, texts, scores. */
static bool allocate_requests(blip2_session *s) {
    const size_t n = s->capacity.n_sequences, n_new = s->capacity.n_new_tokens, piece = s->model->max_piece_bytes;
    s->prompt_bytes = s->capacity.n_prompt_tokens * piece + 1;
    s->text_bytes = n_new * piece * 3 + 1; /* a broken byte becomes U+FFFD: three bytes */
    s->rows = calloc(n, sizeof *s->rows);
    s->prompt_ids = calloc(n * s->capacity.n_prompt_tokens, sizeof *s->prompt_ids);
    s->tokens = calloc(n * n_new + 1, sizeof *s->tokens);
    s->logprobs = calloc(n * n_new + 1, sizeof *s->logprobs);
    s->prompts = calloc(n, s->prompt_bytes);
    s->texts = calloc(n, s->text_bytes);
    return s->rows && s->prompt_ids && s->tokens && s->logprobs && s->prompts && s->texts;
}

static blip2_status build_session(blip2_session *s, const blip2_session_options *options, blip2_error *err) {
    B2_TRY(check_capacity(s->model, options, &s->capacity, err));
    B2_TRY(b2_isa_select(options->isa, &s->ops.isa, err));
    s->ops.is_cancelled = options->is_cancelled;
    s->ops.cancel_context = options->cancel_context;
    s->ops.team = b2_team_create(choose_threads(options->n_threads));
    if (s->ops.team == NULL || !allocate_requests(s)) return b2_fail(err, BLIP2_MEMORY, "no memory for a session");
    s->prefetch = b2_prefetch_start(b2_checkpoint_map(s->model->checkpoint), 0);
    return b2_workspace_create(&s->model->weights, &s->capacity, &s->ops, &s->workspace, err);
}

blip2_status blip2_session_create(const blip2_model *model, const blip2_session_options *options, blip2_session **out,
                                  blip2_error *err) {
    blip2_session_options defaults;
    blip2_session_options_default(&defaults);
    *out = NULL;
    blip2_session *s = calloc(1, sizeof *s);
    if (s == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for a session");
    s->model = model;
    const blip2_status status = build_session(s, options != NULL ? options : &defaults, err);
    if (status == BLIP2_OK) *out = s;
    else blip2_session_free(&s);
    return status;
}

void blip2_session_free(blip2_session **session) {
    if (session == NULL || *session == NULL) return;
    blip2_session *s = *session;
    b2_prefetch_stop(s->prefetch);
    b2_workspace_free(&s->workspace);
    b2_team_free(s->ops.team);
    free(s->rows);
    free(s->prompt_ids);
    free(s->tokens);
    free(s->logprobs);
    free(s->prompts);
    free(s->texts);
    free(s);
    *session = NULL;
}

void blip2_session_timings(const blip2_session *s, blip2_timings *timings) {
    *timings = s->timings;
    timings->struct_bytes = sizeof *timings;
}

const char *blip2_session_isa(const blip2_session *s) { return s->ops.isa.name; }
const char *blip2_session_isa_f32(const blip2_session *s) { return s->ops.isa.gemm_f32_name; }
int blip2_session_threads(const blip2_session *s) { return b2_team_threads(s->ops.team); }
size_t blip2_isa_list(const char **names, size_t capacity) { return b2_isa_list(names, capacity); }

/* ---- see ---------------------------------------------------------------------------------------------------------- */

/* Images [first, first + n): pixels -> image tokens -> soft tokens. */
static void see_part(blip2_session *s, blip2_image *const *images, size_t first, size_t n) {
    const b2_weights *w = &s->model->weights;
    const float *pixels[B2_VISION_BATCH];
    for (size_t i = 0; i < n; i++) pixels[i] = images[first + i]->pixels;
    float *soft_tokens = s->workspace.soft_tokens + first * w->h.n_queries * w->h.text_width;
    const int64_t start = b2_clock_ns();
    b2_vision_run(w, &s->ops, &s->workspace.vision, pixels, n);
    const int64_t seen = b2_clock_ns();
    b2_qformer_run(w, &s->ops, &s->workspace.qformer, s->workspace.vision.x, n, soft_tokens);
    s->timings.vision_ns += seen - start;
    s->timings.qformer_ns += b2_clock_ns() - seen;
}

blip2_status blip2_session_see(blip2_session *s, blip2_image *const *images, size_t n_images, blip2_error *err) {
    s->n_seen = 0;
    s->timings = (blip2_timings){0};
    if (n_images > s->capacity.n_images)
        return b2_fail(err, BLIP2_ARGUMENT, "%zu images: the session was created for %zu", n_images,
                       s->capacity.n_images);
    for (size_t i = 0; i < n_images; i++)
        if (images[i]->size != s->model->weights.h.image_size)
            return b2_fail(err, BLIP2_ARGUMENT, "image %zu was prepared for another model: expected %u pixels, got %zu",
                           i, s->model->weights.h.image_size, images[i]->size);
    for (size_t first = 0; first < n_images; first += s->workspace.vision.n_images) {
        const size_t left = n_images - first, part = s->workspace.vision.n_images;
        see_part(s, images, first, left < part ? left : part);
        if (b2_ops_is_cancelled(&s->ops)) return b2_fail(err, BLIP2_CANCELLED, "cancelled");
    }
    s->n_seen = n_images;
    return BLIP2_OK;
}

/* ---- say ---------------------------------------------------------------------------------------------------------- */

/* Text and ids of request i, and the image that it is about. */
static blip2_status read_request(blip2_session *s, const blip2_request *request, size_t i, blip2_error *err) {
    const b2_weights *w = &s->model->weights;
    const size_t capacity = s->capacity.n_prompt_tokens;
    char *prompt = s->prompts + i * s->prompt_bytes;
    int32_t *ids = s->prompt_ids + i * capacity;
    if (request->image >= s->n_seen)
        return b2_fail(err, BLIP2_ARGUMENT, "request about image %zu: %zu were seen", request->image, s->n_seen);
    if (request->prompt != NULL && request->question != NULL)
        return b2_fail(err, BLIP2_ARGUMENT, "a request has a prompt or a question, not both");
    const size_t len = b2_text_wrap(request, prompt, s->prompt_bytes);
    if (len >= s->prompt_bytes)
        return b2_fail(err, BLIP2_LIMIT, "prompt of %zu bytes: the session was created for %zu tokens", len, capacity);
    size_t n_ids;
    B2_TRY(b2_tokenizer_encode(s->model->tokenizer, prompt, len, ids, capacity, &n_ids, err));
    s->rows[i] = (b2_greedy_row){
        .sequence = {.soft_tokens = s->workspace.soft_tokens + request->image * w->h.n_queries * w->h.text_width,
                     .prompt = ids, .n_prompt = n_ids},
        .tokens = s->tokens + i * s->capacity.n_new_tokens,
        .logprobs = s->logprobs + i * s->capacity.n_new_tokens,
    };
    return BLIP2_OK;
}

static blip2_outcome judge(const blip2_request *request, const b2_greedy_row *row, const char *text) {
    if (row->ending == B2_ENDING_NOT_FINITE) return BLIP2_OUTCOME_ERROR;
    if (text[0] == '\0') return BLIP2_OUTCOME_EMPTY;
    if (request->question != NULL && b2_text_is_echo(request->question, text)) return BLIP2_OUTCOME_ECHO;
    return row->ending == B2_ENDING_LENGTH ? BLIP2_OUTCOME_TRUNCATED : BLIP2_OUTCOME_OK;
}

static void write_result(blip2_session *s, const blip2_request *request, size_t i, blip2_result *result) {
    const b2_greedy_row *row = &s->rows[i];
    char *text = s->texts + i * s->text_bytes;
    b2_tokenizer_decode(s->model->tokenizer, row->tokens, row->n_tokens, text, s->text_bytes);
    text = b2_text_strip(text);
    *result = (blip2_result){
        .text = text, .outcome = judge(request, row, text), .n_tokens = row->n_tokens, .tokens = row->tokens,
        .token_logprobs = row->logprobs, .prompt = s->prompts + i * s->prompt_bytes,
    };
    for (size_t t = 0; t < row->n_tokens; t++) result->logprob += (double)row->logprobs[t];
}

blip2_status blip2_session_say(blip2_session *s, const blip2_request *requests, size_t n_requests,
                               blip2_result *results, blip2_error *err) {
    if (n_requests > s->capacity.n_sequences)
        return b2_fail(err, BLIP2_ARGUMENT, "%zu requests: the session was created for %zu", n_requests,
                       s->capacity.n_sequences);
    for (size_t i = 0; i < n_requests; i++) B2_TRY(read_request(s, &requests[i], i, err));
    b2_greedy_report report;
    b2_greedy_run(&s->model->weights, &s->ops, &s->workspace, s->rows, n_requests, s->capacity.n_new_tokens, &report);
    s->timings.prefill_ns = report.prefill_ns;
    s->timings.decode_ns = report.decode_ns;
    s->timings.n_decode_steps = report.n_steps;
    if (b2_ops_is_cancelled(&s->ops)) return b2_fail(err, BLIP2_CANCELLED, "cancelled");
    for (size_t i = 0; i < n_requests; i++) write_result(s, &requests[i], i, &results[i]);
    return BLIP2_OK;
}
