/* blip2.c: the story of one caption. Read it first; each stage is one call, and each call leads to one file.
 *
 *   open      checkpoint/  the file is mapped and checked          model/weights  every tensor finds its place
 *   load      image/       bytes -> RGB -> resized -> [3][S][S]    (blip2_image.c)
 *   session   kernels/cpu  the home that computes            model/workspace  all memory, once
 *   encode    model/vision     [3][S][S] -> [T][V]      model/qformer  [T][V] -> [K][D] soft tokens: the model sees
 *   generate  tokenizer/       text -> ids              generate/decode  soft tokens, ids -> ids -> text: it speaks
 *                                                       (blip2_generate.c, blip2_result.c)
 *
 * After blip2_session_create nothing allocates, and a run ends early only on bad arguments, when it is cancelled, or
 * when a home fails (a device may, the CPU never does). */
#include "blip2.h"

#include "abi.h"
#include "base/clock.h"
#include "base/parallel.h"
#include "base/prefetch.h"
#include "blip2_image.h"
#include "blip2_session.h"
#include "kernels/cpu/cpu_home.h"
#include "model/qformer.h"
#include "model/vision.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- sessions -------------------------------------------------------------------------------------------------- */

static const blip2_session_options default_options = {.struct_bytes = sizeof(blip2_session_options),
                                                      .max_images = 1,
                                                      .max_requests = 1,
                                                      .max_prompt_tokens = 64,
                                                      .max_new_tokens = 20,
                                                      .gpu_timeout_s = 60,
                                                      .max_results = 1};

void blip2_session_options_init(blip2_session_options *options, size_t struct_bytes) {
    b2_struct_out(options, struct_bytes, &default_options, sizeof default_options);
}

static blip2_session_options complete_options(const blip2_session_options *options) {
    blip2_session_options all = default_options;
    if (options != NULL) b2_struct_in(&all, sizeof all, options);
    return all;
}

/* The sizes wanted, checked against what the model can hold. */
static blip2_status check_capacity(const blip2_model *model, const blip2_session_options *o, b2_capacity *capacity,
                                   blip2_error *err) {
    const b2_hparams *h = &model->weights.h;
    if (o->max_images < 1 || o->max_images > BLIP2_MAX_BATCH)
        return b2_fail(err, BLIP2_ARGUMENT, "max_images: expected 1 to %d, got %zu", BLIP2_MAX_BATCH, o->max_images);
    if (o->max_requests < 1 || o->max_requests > BLIP2_MAX_BATCH)
        return b2_fail(err, BLIP2_ARGUMENT, "max_requests: expected 1 to %d, got %zu", BLIP2_MAX_BATCH,
                       o->max_requests);
    if (o->max_results < 1 || o->max_results > BLIP2_MAX_RESULTS)
        return b2_fail(err, BLIP2_ARGUMENT, "max_results: expected 1 to %d, got %zu", BLIP2_MAX_RESULTS,
                       o->max_results);
    if (o->max_alternatives > BLIP2_MAX_ALTERNATIVES)
        return b2_fail(err, BLIP2_ARGUMENT, "max_alternatives: expected 0 to %d, got %zu", BLIP2_MAX_ALTERNATIVES,
                       o->max_alternatives);
    if (o->max_results * o->max_requests > B2_MAX_SEQUENCES)
        return b2_fail(err, BLIP2_LIMIT, "%zu requests of %zu results: expected at most %d texts at once",
                       o->max_requests, o->max_results, B2_MAX_SEQUENCES);
    if (o->max_prompt_tokens < 1) return b2_fail(err, BLIP2_ARGUMENT, "max_prompt_tokens: expected at least 1, got 0");
    const size_t limit = h->opt.max_positions, most = limit > h->qformer.n_queries ? limit - h->qformer.n_queries : 0;
    if (o->max_prompt_tokens > most || o->max_new_tokens > most - o->max_prompt_tokens)
        return b2_fail(err, BLIP2_LIMIT,
                       "%u image tokens, %zu prompt tokens and %zu new tokens: the model has only %zu positions",
                       h->qformer.n_queries, o->max_prompt_tokens, o->max_new_tokens, limit);
    *capacity = (b2_capacity){.n_images = o->max_images,
                              .n_requests = o->max_requests,
                              .n_sequences = o->max_requests * o->max_results,
                              .n_prompt_tokens = o->max_prompt_tokens,
                              .n_new_tokens = o->max_new_tokens};
    return BLIP2_OK;
}

static int choose_threads(const blip2_session_options *o) {
    return o->n_threads > 0 ? (int)b2_min(o->n_threads, INT_MAX) : b2_default_threads();
}

blip2_status blip2_session_measure(const blip2_model *model, const blip2_session_options *options, blip2_memory *memory,
                                   blip2_error *err) {
    const blip2_session_options o = complete_options(options);
    b2_capacity capacity;
    B2_TRY(check_capacity(model, &o, &capacity, err));
    b2_ops *cpu;
    B2_TRY(b2_cpu_home_plan(o.isa, choose_threads(&o), &cpu, err));
    const b2_workspace_bytes bytes = b2_workspace_measure(&model->weights, &capacity, B2_HOME_CPU, cpu);
    b2_ops_free(cpu);
    const blip2_memory all = {.activations = bytes.stages + bytes.soft_tokens,
                              .cache = bytes.cache,
                              .logits = bytes.logits,
                              .scratch = bytes.scratch,
                              .total = bytes.total};
    b2_struct_fill(memory, &all, sizeof all);
    return BLIP2_OK;
}

/* What belongs to single requests and results: ids, texts, scores. */
static bool allocate_requests(blip2_session *s, bool keeps_logits) {
    const size_t n_requests = s->capacity.n_requests, n = s->capacity.n_sequences;
    const size_t n_new = s->capacity.n_new_tokens, piece = s->model->max_piece_bytes;
    s->prompt_bytes = s->capacity.n_prompt_tokens * piece + 1;
    s->text_bytes = n_new * piece * 3 + 1; /* a broken byte becomes U+FFFD: three bytes */
    s->requests = calloc(n_requests, sizeof *s->requests);
    s->generations = calloc(n, sizeof *s->generations);
    s->prompt_ids = calloc(n_requests * s->capacity.n_prompt_tokens, sizeof *s->prompt_ids);
    s->tokens = calloc(n * n_new + 1, sizeof *s->tokens);
    s->logprobs = calloc(n * n_new + 1, sizeof *s->logprobs);
    s->logits = keeps_logits ? calloc(n * s->model->weights.h.opt.n_vocab, sizeof *s->logits) : NULL;
    s->processed = calloc(n * n_new + 1, sizeof *s->processed);
    s->alternatives = calloc(n * n_new * s->max_alternatives + 1, sizeof *s->alternatives);
    s->piece = calloc(3 * piece + 1, 1);
    s->prompts = calloc(n_requests, s->prompt_bytes);
    s->texts = calloc(n, s->text_bytes);
    s->answers = calloc(n, sizeof *s->answers);
    s->is_echo = calloc(n, sizeof *s->is_echo);
    s->n_told = calloc(n, sizeof *s->n_told);
    s->retries = calloc(n_requests, sizeof *s->retries);
    s->numbers = calloc(n_requests, sizeof *s->numbers);
    s->is_ended_by_caller = calloc(n, sizeof *s->is_ended_by_caller);
    s->places = calloc(s->capacity.n_images, sizeof *s->places);
    s->beginning = calloc(n_requests, sizeof *s->beginning);
    if (s->places == NULL || s->beginning == NULL) return false;
    return s->requests && s->generations && s->prompt_ids && s->tokens && s->logprobs && s->prompts && s->texts &&
           s->answers && s->is_echo && s->n_told && s->is_ended_by_caller && (s->logits || !keeps_logits) &&
           s->processed && s->alternatives && s->piece && s->retries && s->numbers;
}

/* A share of the model's device, if one is wanted and can be had; the reason if not. */
static void join_device(blip2_session *s, const blip2_session_options *o) {
    const b2_device_wish wish = {.layers = o->gpu_layers, .index = o->gpu_device, .timeout_s = o->gpu_timeout_s};
    blip2_error err;
    s->weights = &s->model->weights;
    if (o->gpu_layers == 0) return;
    if (b2_device_join(s->model->device, s->weights, &wish, &s->capacity, &s->device, &err) != BLIP2_OK) {
        snprintf(s->device_reason, sizeof s->device_reason, "%s", err.message);
        return;
    }
    b2_ops_watch(s->device.ops, o->is_cancelled, o->cancel_context);
    s->homes[B2_HOME_DEVICE] = s->device.workspace;
    s->weights = s->device.weights;
    snprintf(s->device_reason, sizeof s->device_reason, "%s", s->device.reason);
}

bool b2_session_drop_device(blip2_session *s) {
    blip2_error err;
    if (s->device.ops == NULL) return false;
    const blip2_status status = b2_ops_status(s->device.ops, &err);
    if (status == BLIP2_OK || status == BLIP2_CANCELLED) return false;
    snprintf(s->device_reason, sizeof s->device_reason, "%s", err.message);
    s->weights = &s->model->weights;
    s->homes[B2_HOME_DEVICE] = (b2_workspace){0};
    b2_decoder_place(&s->runner.chooser.decoder, s->weights);
    b2_device_leave(s->model->device, &s->device, &err);
    return true;
}

/* The homes' part of a call begins on this thread, which is to leave the CPU's. */
static void enter_homes(blip2_session *s) {
    for (size_t i = 0; i < B2_MAX_HOMES; i++)
        if (s->homes[i].ops != NULL) b2_ops_begin(s->homes[i].ops);
    b2_cpu_home_enter(s->cpu);
    if (s->device.ops != NULL) b2_gpu_home_enter(s->device.ops);
}

static blip2_status build_session(blip2_session *s, const blip2_session_options *o, blip2_error *err) {
    B2_TRY(check_capacity(s->model, o, &s->capacity, err));
    B2_TRY(b2_cpu_home_create(o->isa, choose_threads(o), &s->cpu, err));
    b2_ops_watch(s->cpu, o->is_cancelled, o->cancel_context);
    s->max_results = o->max_results;
    s->max_alternatives = b2_min(o->max_alternatives, s->model->weights.h.opt.n_vocab);
    if (!allocate_requests(s, o->keeps_logits)) return b2_fail(err, BLIP2_MEMORY, "no memory for a session");
    s->prefetch = b2_prefetch_start(b2_checkpoint_map(s->model->checkpoint));
    B2_TRY(b2_workspace_create(&s->model->weights, &s->capacity, B2_HOME_CPU, s->cpu, &s->homes[B2_HOME_CPU], err));
    join_device(s, o);
    return b2_runner_create(s->weights, s->homes, s->capacity.n_new_tokens, s->max_results, s->max_alternatives,
                            &s->runner, err);
}

blip2_status blip2_session_create(const blip2_model *model, const blip2_session_options *options, blip2_session **out,
                                  blip2_error *err) {
    const blip2_session_options o = complete_options(options);
    *out = NULL;
    blip2_session *s = calloc(1, sizeof *s);
    if (s == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for a session");
    s->model = model;
    const blip2_status status = build_session(s, &o, err);
    if (status == BLIP2_OK) *out = s;
    else blip2_session_free(&s);
    return status;
}

void blip2_session_free(blip2_session **session) {
    if (session == NULL || *session == NULL) return;
    blip2_session *s = *session;
    b2_prefetch_stop(s->prefetch);
    b2_runner_free(&s->runner);
    b2_device_leave(s->model->device, &s->device, NULL);
    b2_workspace_free(&s->homes[B2_HOME_CPU]);
    b2_ops_free(s->cpu);
    free(s->requests);
    free(s->generations);
    free(s->prompt_ids);
    free(s->tokens);
    free(s->logprobs);
    free(s->logits);
    free(s->processed);
    free(s->alternatives);
    free(s->piece);
    free(s->retries);
    free(s->numbers);
    free(s->prompts);
    free(s->texts);
    free(s->answers);
    free(s->is_echo);
    free(s->n_told);
    free(s->is_ended_by_caller);
    free(s->places);
    free(s->beginning);
    free(s);
    *session = NULL;
}

void blip2_session_timings(const blip2_session *s, blip2_timings *timings) {
    b2_struct_fill(timings, &s->timings, sizeof s->timings);
}

const char *blip2_session_isa(const blip2_session *s) { return b2_cpu_home_isa(s->cpu)->name; }
const char *blip2_session_isa_f32(const blip2_session *s) { return b2_cpu_home_isa(s->cpu)->gemm_f32_name; }
size_t blip2_session_threads(const blip2_session *s) { return (size_t)b2_cpu_home_threads(s->cpu); }
size_t blip2_isa_list(const char **names, size_t capacity) { return b2_isa_list(names, capacity); }

/* ---- the device -------------------------------------------------------------------------------------------------- */

static void describe(blip2_device *device, const b2_weights *w, const b2_device_share *share, size_t n_layers,
                     const char *reason) {
    blip2_device all = {.capability = share->gpu.capability,
                        .driver = share->gpu.driver,
                        .n_layers = n_layers,
                        .n_layers_all = b2_home_line_len(w),
                        .total_bytes = share->gpu.total_bytes,
                        .free_bytes = share->gpu.free_bytes,
                        .weight_bytes = share->weight_bytes,
                        .session_bytes = share->session_bytes};
    snprintf(all.name, sizeof all.name, "%s", share->gpu.name);
    snprintf(all.reason, sizeof all.reason, "%s", reason);
    b2_struct_fill(device, &all, sizeof all);
}

void blip2_session_device(const blip2_session *s, blip2_device *device) {
    describe(device, s->weights, &s->device, s->weights->n_away, s->device_reason);
}

blip2_status blip2_session_measure_device(const blip2_model *model, const blip2_session_options *options,
                                          blip2_device *device, blip2_error *err) {
    const blip2_session_options o = complete_options(options);
    const b2_device_wish wish = {.layers = o.gpu_layers, .index = o.gpu_device, .timeout_s = o.gpu_timeout_s};
    b2_capacity capacity;
    b2_device_share share = {0};
    uint32_t n = 0;
    blip2_error why = {0};
    B2_TRY(check_capacity(model, &o, &capacity, err));
    blip2_status status = BLIP2_OK;
    if (o.gpu_layers != 0)
        status = b2_device_measure(model->device, &model->weights, &wish, &capacity, &share, &n, &why);
    describe(device, &model->weights, &share, n, status == BLIP2_OK ? share.reason : why.message);
    return BLIP2_OK;
}

int64_t b2_session_device_ns(const blip2_session *s) {
    return s->device.ops != NULL ? b2_gpu_home_waited(s->device.ops) : 0;
}

int64_t b2_session_enter(blip2_session *s) {
    enter_homes(s);
    return b2_session_device_ns(s);
}

blip2_status b2_session_leave(blip2_session *s, int64_t before, const b2_decode_report *report, blip2_error *err) {
    s->timings.prefill_ns += report->prefill_ns;
    s->timings.decode_ns += report->decode_ns;
    s->timings.n_decode_steps += report->n_steps;
    b2_cpu_home_leave(s->cpu);
    s->timings.device_ns += b2_session_device_ns(s) - before;
    return b2_workspace_status(s->homes, err);
}

/* ---- encode ---------------------------------------------------------------------------------------------------- */

void b2_session_see(blip2_session *s, blip2_image *const *images, size_t first, size_t n) {
    const b2_weights *w = s->weights;
    const float *pixels[B2_VISION_BATCH];
    for (size_t i = 0; i < n; i++) pixels[i] = images[i]->pixels;
    const int64_t start = b2_clock_ns();
    b2_vision_run(w, s->homes, pixels, n);
    const int64_t seen = b2_clock_ns();
    b2_qformer_run(w, s->homes, first, n);
    s->timings.vision_ns += seen - start;
    s->timings.qformer_ns += b2_clock_ns() - seen;
}

static blip2_status encode_all(blip2_session *s, blip2_image *const *images, size_t n_images, blip2_error *err) {
    const size_t part = s->homes[B2_HOME_CPU].vision.n_images;
    const int64_t before = b2_session_device_ns(s);
    s->timings = (blip2_timings){0};
    enter_homes(s);
    blip2_status status = BLIP2_OK;
    for (size_t first = 0; status == BLIP2_OK && first < n_images; first += part) {
        b2_session_see(s, images + first, first, b2_min(n_images - first, part));
        status = b2_workspace_status(s->homes, err);
    }
    b2_cpu_home_leave(s->cpu);
    s->timings.device_ns = b2_session_device_ns(s) - before;
    return status;
}

blip2_status b2_session_check_image(const blip2_session *s, const blip2_image *image, size_t i, blip2_error *err) {
    const size_t size = s->model->weights.h.image.size;
    if (image->size == size) return BLIP2_OK;
    return b2_fail(err, BLIP2_ARGUMENT, "image %zu was prepared for another model: expected %zu pixels, got %zu", i,
                   size, image->size);
}

blip2_status blip2_session_encode(blip2_session *s, blip2_image *const *images, size_t n_images, blip2_error *err) {
    s->n_seen = s->n_requests = 0;
    if (n_images > s->capacity.n_images)
        return b2_fail(err, BLIP2_ARGUMENT, "%zu images: the session was created for %zu", n_images,
                       s->capacity.n_images);
    for (size_t i = 0; i < n_images; i++) B2_TRY(b2_session_check_image(s, images[i], i, err));
    blip2_status status = encode_all(s, images, n_images, err);
    if (b2_session_drop_device(s)) status = encode_all(s, images, n_images, err);
    if (status == BLIP2_OK) s->n_seen = n_images;
    return status;
}
