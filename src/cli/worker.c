#include "cli/worker.h"

#include "cli/common.h"
#include "cli/json.h"
#include "cli/thumbnail.h"

#include <stdlib.h>
#include <string.h>

struct b2_worker {
    const b2_work *work;
    blip2_session *session;
    size_t n_asks;
    /* of the batch under way: */
    b2_record *records;      /* [batch] */
    blip2_image **images;    /* [batch]; NULL: none to see */
    blip2_image **seen;      /* [batch] those that there are */
    blip2_request *requests; /* [batch][n_asks] */
    blip2_result *results;   /* likewise */
};

/* ---- before the first picture ------------------------------------------------------------------------------------------- */

static blip2_request request_of(const b2_ask *ask, size_t image) {
    const bool has_prompt = ask->prompt != NULL && ask->prompt[0] != '\0';
    return (blip2_request){.image = image, .prompt = has_prompt ? ask->prompt : NULL, .question = ask->question};
}

bool b2_worker_session_options(const b2_work *work, int n_threads, blip2_session_options *options) {
    const b2_spec *spec = &work->options->spec;
    blip2_session_options_default(options);
    options->n_threads = n_threads;
    options->isa = work->options->isa;
    options->max_images = work->batch;
    options->max_requests = work->batch * spec->n_asks;
    options->max_new_tokens = spec->n_new_tokens;
    options->max_prompt_tokens = 1;
    options->is_cancelled = b2_sink_is_stopping;
    options->cancel_context = work->sink;
    for (size_t k = 0; k < spec->n_asks; k++) {
        const blip2_request request = request_of(&spec->asks[k], 0);
        const size_t n = blip2_prompt_tokens(work->model, &request);
        if (n == 0) b2_say("the %s is not UTF-8", request.prompt != NULL ? "prompt" : "question");
        if (n == 0) return false;
        if (n > options->max_prompt_tokens) options->max_prompt_tokens = n;
    }
    return true;
}

static bool allocate(b2_worker *w) {
    const size_t batch = w->work->batch, n = batch * w->n_asks;
    w->records = calloc(batch, sizeof *w->records);
    w->images = calloc(batch, sizeof(void *));
    w->seen = calloc(batch, sizeof(void *));
    w->requests = calloc(n, sizeof *w->requests);
    w->results = calloc(n, sizeof *w->results);
    return w->records && w->images && w->seen && w->requests && w->results;
}

int b2_worker_create(const b2_work *work, int n_threads, b2_worker **out) {
    blip2_session_options options;
    blip2_error err;
    if (!b2_worker_session_options(work, n_threads, &options)) return B2_EXIT_USAGE;
    b2_worker *w = calloc(1, sizeof *w);
    *out = w;
    if (w == NULL) return B2_EXIT_MEMORY;
    *w = (b2_worker){.work = work, .n_asks = work->options->spec.n_asks};
    if (blip2_session_create(work->model, &options, &w->session, &err) != BLIP2_OK) return b2_fail_with(&err, B2_EXIT_USAGE);
    if (allocate(w)) return B2_EXIT_OK;
    b2_say("no memory for a batch of %zu pictures", work->batch);
    return B2_EXIT_MEMORY;
}

const blip2_session *b2_worker_session(const b2_worker *w) { return w->session; }

void b2_worker_free(b2_worker *w) {
    if (w == NULL) return;
    blip2_session_free(&w->session);
    free(w->records);
    free(w->images);
    free(w->seen);
    free(w->requests);
    free(w->results);
    free(w);
}

/* ---- one batch --------------------------------------------------------------------------------------------------------- */

/* A sentence about a path may hold bytes that no format can: they become U+FFFD. */
static char *copy_as_utf8(const char *text) {
    char *copy = malloc(3 * strlen(text) + 1), *to = copy;
    for (const unsigned char *s = (const unsigned char *)text; copy != NULL && *s != '\0';) {
        const size_t n = b2_utf8_length(s);
        memcpy(to, n > 0 ? (const char *)s : "\xEF\xBF\xBD", n > 0 ? n : 3);
        to += n > 0 ? n : 3;
        s += n > 0 ? n : 1;
    }
    if (copy != NULL) *to = '\0';
    return copy;
}

static void keep_thumbnail(const blip2_image *image, b2_record *record) {
    const uint8_t *rgb = blip2_image_thumbnail(image, &record->thumbnail_width, &record->thumbnail_height);
    if (rgb != NULL) record->thumbnail = b2_thumbnail_encode(rgb, record->thumbnail_width, record->thumbnail_height);
}

/* One picture; a failure of its own is its record's error. Errors: BLIP2_MEMORY, BLIP2_CANCELLED. */
static blip2_status take_picture(b2_worker *w, size_t i, size_t at, blip2_error *err) {
    const b2_work *work = w->work;
    b2_record *record = &w->records[i];
    const size_t index = work->plan->todo[at];
    *record = (b2_record){.index = index, .path = strdup(work->inputs->paths[index])};
    const blip2_status status = b2_reader_take(work->reader, at, &w->images[i], err);
    if (status == BLIP2_CANCELLED) return status;
    if (status != BLIP2_OK) record->error = copy_as_utf8(err->message);
    if (record->path == NULL || (status != BLIP2_OK && record->error == NULL)) return b2_fail(err, BLIP2_MEMORY, "no memory for a batch of pictures");
    if (status != BLIP2_OK) return BLIP2_OK;
    record->rotated = blip2_image_rotated(w->images[i]);
    keep_thumbnail(w->images[i], record);
    return BLIP2_OK;
}

/* Takes the pictures todo[first .. first + n) and puts those that can be seen together. */
static blip2_status take_pictures(b2_worker *w, size_t first, size_t n, size_t *n_seen, blip2_error *err) {
    *n_seen = 0;
    for (size_t i = 0; i < n; i++) {
        B2_TRY(take_picture(w, i, first + i, err));
        if (w->images[i] == NULL) continue;
        for (size_t k = 0; k < w->n_asks; k++) w->requests[*n_seen * w->n_asks + k] = request_of(&w->work->options->spec.asks[k], *n_seen);
        w->seen[(*n_seen)++] = w->images[i];
    }
    return BLIP2_OK;
}

/* Copies a result, which lives in the session. Numbers that are not finite have no place in JSON: their record is an error. */
static bool keep_result(const b2_spec *spec, const blip2_result *result, b2_answer *a) {
    const bool is_error = result->outcome == BLIP2_OUTCOME_ERROR;
    const size_t n = is_error ? 0 : result->n_tokens;
    *a = (b2_answer){.text = strdup(result->text), .outcome = result->outcome, .n_tokens = n, .logprob = is_error ? 0 : result->logprob};
    if (a->text == NULL || !spec->wants_tokens) return a->text != NULL;
    a->tokens = malloc((n + 1) * sizeof *a->tokens);
    a->logprobs = malloc((n + 1) * sizeof *a->logprobs);
    if (a->tokens == NULL || a->logprobs == NULL) return false;
    memcpy(a->tokens, result->tokens, n * sizeof *a->tokens);
    memcpy(a->logprobs, result->token_logprobs, n * sizeof *a->logprobs);
    return true;
}

static blip2_status keep_results(b2_worker *w, size_t n, blip2_error *err) {
    const b2_spec *spec = &w->work->options->spec;
    blip2_timings timings;
    blip2_session_timings(w->session, &timings);
    for (size_t i = 0, at = 0; i < n; i++) {
        b2_record *record = &w->records[i];
        if (w->images[i] == NULL) continue;
        record->has_timings = spec->wants_timings;
        record->timings = timings;
        record->answers = calloc(w->n_asks, sizeof *record->answers);
        if (record->answers == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for an answer");
        record->n_answers = w->n_asks;
        for (size_t k = 0; k < w->n_asks; k++, at++)
            if (!keep_result(spec, &w->results[at], &record->answers[k])) return b2_fail(err, BLIP2_MEMORY, "no memory for an answer");
    }
    return BLIP2_OK;
}

static blip2_status run_model(b2_worker *w, size_t n, size_t n_seen, blip2_error *err) {
    if (n_seen == 0) return BLIP2_OK;
    B2_TRY(blip2_session_see(w->session, w->seen, n_seen, err));
    B2_TRY(blip2_session_say(w->session, w->requests, n_seen * w->n_asks, w->results, err));
    return keep_results(w, n, err);
}

void b2_worker_run(b2_worker *w) {
    size_t batch, first, n, n_seen;
    while (b2_sink_next(w->work->sink, &batch, &first, &n)) {
        blip2_error err;
        blip2_status status = take_pictures(w, first, n, &n_seen, &err);
        if (status == BLIP2_OK) status = run_model(w, n, n_seen, &err);
        if (status == BLIP2_OK) b2_sink_take(w->work->sink, batch, w->records, n);
        else b2_sink_stop(w->work->sink, status == BLIP2_CANCELLED ? NULL : &err);
        for (size_t i = 0; i < n; i++) {
            blip2_image_free(&w->images[i]);
            b2_record_free(&w->records[i]);
        }
    }
}
