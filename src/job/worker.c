/* worker.c: a flow of pictures through a session: those that the reader has decoded take the places that are free, and
 * each is handed in with one answer for each prompt or question when its texts have ended. All memory is taken before
 * the first picture. */
#include "job/worker.h"

#include "base/clock.h"
#include "base/memory_text.h"
#include "base/size.h"
#include "base/utf8.h"
#include "console/say.h"
#include "job/thumbnail.h"
#include "record/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ARRIVAL_MS = 50 }; /* what comes within so long of a picture begins with it */

struct b2_worker {
    const b2_work *work;
    blip2_session *session;
    size_t n_asks;
    blip2_decoding decoding; /* the spec's */
    blip2_texts *choices;    /* NULL: answers are written freely */
    int64_t deadline_ns;     /* when the first of the pictures that are about to begin waits no longer for others */
    /* of the picture in each place: */
    b2_record *records;      /* [batch] */
    size_t *numbers;         /* [batch] of those to do */
    blip2_image **images;    /* [batch]; NULL: the place is free */
    blip2_request *requests; /* [batch][n_asks] */
    blip2_turn *turns;       /* [batch][n_asks] questions that were answered */
    size_t max_prompt_tokens;
};

/* ---- before the first picture ---------------------------------------------------------------------------------- */

/* k: which of the prompts and questions; index: of the picture, in the list. */
static blip2_request request_of(const b2_spec *spec, size_t k, size_t image, size_t index) {
    const b2_ask *ask = &spec->asks[k];
    const bool has_prompt = ask->prompt != NULL && ask->prompt[0] != '\0';
    return (blip2_request){.image = image,
                           .prompt = has_prompt ? ask->prompt : NULL,
                           .question = ask->question,
                           .picture_number = index,
                           .prompt_number = k,
                           .is_short = spec->is_short};
}

/* The spec's; an answer from a list is as long as it is. */
static blip2_decoding decoding_of(const b2_work *work) {
    blip2_decoding decoding = work->spec->decoding;
    if (work->answers != NULL) decoding.max_new_tokens = 0;
    decoding.answers = work->answers;
    return decoding;
}

/* The choices as ids, for max_requests at once. */
static blip2_status create_choices(const b2_work *work, size_t max_requests, blip2_texts **out, blip2_error *err) {
    const char *texts[B2_MAX_CHOICES];
    size_t n = 0;
    b2_text choice;
    char *copy = strdup(work->spec->choices);
    if (copy == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for the choices");
    for (; n < B2_MAX_CHOICES && b2_choice_at(work->spec->choices, n, &choice); n++) {
        texts[n] = copy + (choice.data - work->spec->choices);
        copy[choice.data - work->spec->choices + (ptrdiff_t)choice.len] = '\0';
    }
    const blip2_status status = blip2_texts_create(work->model, texts, n, max_requests, out, err);
    free(copy);
    return status;
}

/* As many ids, and texts side by side, as the choices have. */
static blip2_status fit_choices(const b2_work *work, blip2_session_options *options, blip2_error *err) {
    blip2_texts *choices;
    B2_TRY(create_choices(work, 1, &choices, err));
    options->max_new_tokens = blip2_texts_max_tokens(choices);
    options->max_results = b2_choices_count(work->spec->choices);
    blip2_texts_free(&choices);
    return BLIP2_OK;
}

/* Room for all questions with their answers, as far as the model has it. */
static void fit_history(const blip2_model *model, size_t n_tokens, blip2_session_options *options) {
    blip2_model_info info = {.struct_bytes = sizeof info};
    blip2_model_describe(model, &info);
    const size_t taken = info.n_queries + options->max_new_tokens,
                 room = info.max_positions > taken ? info.max_positions - taken : 0;
    options->max_prompt_tokens = b2_max(options->max_prompt_tokens, b2_min(n_tokens, room));
}

blip2_status b2_worker_session_options(const b2_work *work, size_t batch, int n_threads, blip2_session_options *options,
                                       blip2_error *err) {
    const b2_spec *spec = work->spec;
    size_t n_history = 0;
    blip2_session_options_default(options);
    options->n_threads = (size_t)n_threads;
    options->isa = work->isa;
    if (!b2_gpu_wish_apply(&work->gpu, options, err)) return BLIP2_ARGUMENT;
    options->max_images = batch;
    options->max_requests = batch * (spec->has_history ? 1 : spec->n_asks);
    options->max_new_tokens = spec->decoding.max_new_tokens;
    options->max_results = spec->decoding.num_beams > 1              ? spec->decoding.num_beams
                           : spec->decoding.num_return_sequences > 1 ? spec->decoding.num_return_sequences
                                                                     : 1;
    options->max_alternatives = spec->decoding.alternatives;
    if (work->answers != NULL) options->max_new_tokens = blip2_answers_max_tokens(work->answers);
    if (spec->choices != NULL) B2_TRY(fit_choices(work, options, err));
    options->max_prompt_tokens = 1;
    options->is_cancelled = b2_queue_is_stopping;
    options->cancel_context = work->queue;
    const blip2_decoding decoding = decoding_of(work);
    B2_TRY(blip2_decoding_check(work->model, &decoding, err));
    for (size_t k = 0; k < spec->n_asks; k++) {
        const blip2_request request = request_of(spec, k, 0, 0);
        const size_t n = blip2_prompt_tokens(work->model, &request);
        const bool is_prompt = request.prompt != NULL;
        const char *text = is_prompt ? request.prompt : request.question;
        if (n == 0 && text != NULL && !b2_is_utf8(text))
            return b2_fail(err, BLIP2_ARGUMENT, "the %s is not UTF-8", is_prompt ? "prompt" : "question");
        if (n == 0 && text != NULL)
            return b2_fail(err, BLIP2_MEMORY, "no memory for the %s", is_prompt ? "prompt" : "question");
        if (n > options->max_prompt_tokens) options->max_prompt_tokens = n;
        if (request.question != NULL) n_history += n + options->max_new_tokens + 2; /* a space, a full stop */
    }
    if (spec->has_history) fit_history(work->model, n_history, options);
    return BLIP2_OK;
}

static bool allocate(b2_worker *w) {
    const size_t batch = w->work->queue->batch_size, n = batch * w->n_asks;
    w->records = calloc(batch, sizeof *w->records);
    w->images = calloc(batch, sizeof(void *));
    w->numbers = calloc(batch, sizeof *w->numbers);
    w->requests = calloc(n, sizeof *w->requests);
    w->turns = calloc(n, sizeof *w->turns);
    return w->records && w->images && w->numbers && w->requests && w->turns;
}

blip2_status b2_worker_create(const b2_work *work, int n_threads, b2_worker **out, blip2_error *err) {
    blip2_session_options options;
    b2_worker *w = *out = calloc(1, sizeof *w);
    if (w == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for a session");
    *w = (b2_worker){.work = work, .n_asks = work->spec->n_asks, .decoding = decoding_of(work)};
    B2_TRY(b2_worker_session_options(work, work->queue->batch_size, n_threads, &options, err));
    w->max_prompt_tokens = options.max_prompt_tokens;
    if (work->spec->choices != NULL) B2_TRY(create_choices(work, options.max_requests, &w->choices, err));
    const blip2_status status = blip2_session_create(work->model, &options, &w->session, err);
    if (status != BLIP2_OK && status != BLIP2_MEMORY) return err->status = BLIP2_ARGUMENT;
    if (status == BLIP2_OK && allocate(w)) return BLIP2_OK;
    if (status == BLIP2_OK)
        b2_fail(err, BLIP2_MEMORY, "no memory for a batch of %zu pictures", work->queue->batch_size);
    return BLIP2_MEMORY;
}

const blip2_session *b2_worker_session(const b2_worker *w) { return w->session; }

void b2_worker_free(b2_worker *w) {
    if (w == NULL) return;
    blip2_session_free(&w->session);
    blip2_texts_free(&w->choices);
    free(w->records);
    free(w->images);
    free(w->numbers);
    free(w->requests);
    free(w->turns);
    free(w);
}

/* ---- a picture comes -------------------------------------------------------------------------------------------- */

static blip2_status keep_thumbnail(const blip2_image *image, b2_record *record, blip2_error *err) {
    const uint8_t *rgb = blip2_image_thumbnail(image, &record->thumbnail_width, &record->thumbnail_height);
    if (rgb == NULL) return BLIP2_OK;
    record->thumbnail = b2_thumbnail_encode(rgb, record->thumbnail_width, record->thumbnail_height);
    return record->thumbnail != NULL ? BLIP2_OK : b2_fail(err, BLIP2_MEMORY, "no memory for a thumbnail");
}

/* The picture is in its place; a failure of its own is its record's error. Errors: BLIP2_MEMORY. */
static blip2_status keep_picture(b2_worker *w, size_t place, b2_picture picture, blip2_error *err) {
    b2_record *record = &w->records[place];
    *record = (b2_record){
        .index = picture.index, .path = picture.name, .sample = picture.sample, .is_skipped = picture.is_skipped};
    w->images[place] = picture.image;
    if (picture.is_skipped) return BLIP2_OK;
    if (picture.error.status == BLIP2_MEMORY) { /* the next one would fare no better: no row says that it failed */
        *err = picture.error;
        return BLIP2_MEMORY;
    }
    if (picture.image == NULL) {
        record->error = strdup(picture.error.message);
        return record->error != NULL ? BLIP2_OK : b2_fail(err, BLIP2_MEMORY, "no memory for a batch of pictures");
    }
    record->rotated = blip2_image_was_rotated(picture.image);
    if (w->work->tells_hints) record->hint = blip2_image_hint(picture.image);
    B2_TRY(keep_thumbnail(picture.image, record, err));
    const size_t n_answers = w->n_asks * b2_spec_results(w->work->spec);
    record->answers = calloc(n_answers, sizeof *record->answers);
    if (record->answers == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for an answer");
    record->n_answers = n_answers;
    for (size_t k = 0; k < w->n_asks; k++)
        w->requests[place * w->n_asks + k] = request_of(w->work->spec, k, place, picture.index);
    return BLIP2_OK;
}

/* Waits as long as it is told. A list has as many pictures as it has: only a stream may end here, or be slow. */
static blip2_status read_picture(b2_worker *w, blip2_flow_wait wait, size_t number, b2_picture *picture,
                                 bool *has_picture, blip2_error *err) {
    b2_reader *reader = w->work->reader;
    const bool is_stream = w->work->queue->is_stream;
    *has_picture = false;
    if (wait == BLIP2_FLOW_NOW) return b2_reader_take_by(reader, number, B2_READER_NOW, picture, has_picture, err);
    if (is_stream)
        return b2_reader_take_by(reader, number, wait == BLIP2_FLOW_LONG ? 0 : w->deadline_ns, picture, has_picture,
                                 err);
    B2_TRY(b2_reader_take(reader, number, picture, err));
    *has_picture = true;
    return BLIP2_OK;
}

/* The next picture into a place; *has_picture false: there is none now, or no more. */
static blip2_status take_picture(b2_worker *w, size_t place, blip2_flow_wait wait, bool *has_picture,
                                 blip2_error *err) {
    b2_queue *queue = w->work->queue;
    const bool waits = wait == BLIP2_FLOW_LONG || (wait == BLIP2_FLOW_SOON && !queue->is_stream);
    b2_picture picture;
    *has_picture = false;
    if (!b2_queue_enter(queue, waits, &w->numbers[place])) return BLIP2_OK;
    const blip2_status status = read_picture(w, wait, w->numbers[place], &picture, has_picture, err);
    b2_queue_leave(queue, *has_picture, status == BLIP2_OK && !*has_picture && wait == BLIP2_FLOW_LONG);
    if (wait == BLIP2_FLOW_LONG) w->deadline_ns = b2_clock_ns() + (int64_t)ARRIVAL_MS * 1000000;
    return status == BLIP2_OK && *has_picture ? keep_picture(w, place, picture, err) : status;
}

static blip2_status hand_in(b2_worker *w, size_t place, blip2_error *err) {
    blip2_image_free(&w->images[place]);
    if (b2_sink_take(w->work->sink, w->numbers[place], &w->records[place])) return BLIP2_OK;
    return b2_fail(err, BLIP2_CANCELLED, "stopped");
}

/* Those that cannot be seen are handed in as they are. */
static blip2_status next(void *context, size_t place, blip2_flow_wait wait, bool *has_picture, blip2_error *err) {
    b2_worker *w = context;
    for (;;) {
        B2_TRY(take_picture(w, place, wait, has_picture, err));
        if (!*has_picture || w->images[place] != NULL) return BLIP2_OK;
        B2_TRY(hand_in(w, place, err));
    }
}

/* ---- and goes --------------------------------------------------------------------------------------------------- */

static b2_record_status outcome_of(const blip2_result *result) {
    if (result->is_empty) return B2_RECORD_EMPTY;
    if (result->is_echo) return B2_RECORD_ECHO;
    return result->ending == BLIP2_ENDED_LENGTH ? B2_RECORD_TRUNCATED : B2_RECORD_OK;
}

/* The alternatives of a result as JSON, as records show them; NULL without memory. */
static char *write_alternatives(b2_worker *w, size_t request, size_t rank, size_t n_tokens) {
    b2_memory_text json;
    FILE *out = b2_memory_text_begin(&json);
    if (out == NULL) return NULL;
    putc('[', out);
    for (size_t t = 0; t < n_tokens; t++) {
        blip2_alternative a = {.struct_bytes = sizeof a};
        fputs(t > 0 ? ",[" : "[", out);
        for (size_t k = 0; blip2_session_alternative(w->session, request, rank, t, k, &a); k++) {
            fprintf(out, "%s{\"id\":%" PRId32, k > 0 ? "," : "", a.id);
            b2_json_write_member("text", a.text, out);
            fputs(",\"logprob\":", out);
            b2_json_write_number((double)a.logprob, out);
            putc('}', out);
        }
        putc(']', out);
    }
    putc(']', out);
    return b2_memory_text_end(&json) ? json.text : NULL;
}

static bool keep_processed(const float *logprobs, size_t n, b2_answer *a) {
    a->n_processed = n;
    a->processed = malloc((n + 1) * sizeof *a->processed);
    if (a->processed != NULL && n > 0) memcpy(a->processed, logprobs, n * sizeof *a->processed);
    return a->processed != NULL;
}

static bool keep_tokens(const int32_t *tokens, const float *logprobs, size_t n, b2_answer *a) {
    a->n_tokens = n;
    a->tokens = malloc((n + 1) * sizeof *a->tokens);
    a->logprobs = malloc((n + 1) * sizeof *a->logprobs);
    if (a->tokens == NULL || a->logprobs == NULL) return false;
    memcpy(a->tokens, tokens, n * sizeof *a->tokens);
    memcpy(a->logprobs, logprobs, n * sizeof *a->logprobs);
    return true;
}

/* Copies a result, which lives in the session. Numbers that are not finite have no place in JSON: their record is an
 * error, as where rules left fewer results than wanted. */
static bool keep_result(b2_worker *w, size_t request, size_t rank, b2_answer *a) {
    blip2_result r = {.struct_bytes = sizeof r}, *result = &r;
    const bool is_error =
        !blip2_session_result(w->session, request, rank, result) || result->ending == BLIP2_ENDED_NOT_FINITE;
    const size_t n = is_error ? 0 : result->n_tokens;
    *a = (b2_answer){.text = strdup(result->text != NULL ? result->text : ""),
                     .outcome = is_error ? B2_RECORD_ERROR : outcome_of(result),
                     .is_retried = result->is_retried,
                     .score = is_error ? 0 : result->score,
                     .logprob = is_error ? 0 : result->logprob};
    if (a->text == NULL) return false;
    if (w->work->spec->decoding.alternatives > 0) {
        a->alternatives = write_alternatives(w, request, rank, n);
        if (a->alternatives == NULL) return false;
    }
    if (w->work->spec->decoding.output_scores && !keep_processed(result->processed_logprobs, n, a)) return false;
    return !w->work->spec->wants_tokens || keep_tokens(result->tokens, result->token_logprobs, n, a);
}

/* The likeliest choice, and the probability of each. */
static bool keep_choice(b2_worker *w, size_t request, b2_answer *a) {
    const char *choices = w->work->spec->choices;
    blip2_score score = {.struct_bytes = sizeof score}, best = score;
    b2_text text;
    size_t n_best = 0;
    *a = (b2_answer){.n_shares = b2_choices_count(choices)};
    a->shares = calloc(a->n_shares, sizeof *a->shares);
    for (size_t i = 0; a->shares != NULL && blip2_texts_score(w->choices, request, i, &score); i++) {
        a->shares[i] = isfinite(score.probability) ? score.probability : 0;
        if (!isfinite(score.logprob)) a->outcome = B2_RECORD_ERROR;
        if (i > 0 && !(score.logprob > best.logprob)) continue;
        best = score;
        n_best = i;
    }
    if (a->shares == NULL || !b2_choice_at(choices, n_best, &text)) return false;
    a->text = a->outcome == B2_RECORD_ERROR ? strdup("") : strndup(text.data, text.len);
    a->logprob = a->score = a->outcome == B2_RECORD_ERROR ? 0 : best.logprob;
    return a->text != NULL &&
           (!w->work->spec->wants_tokens || keep_tokens(best.tokens, best.token_logprobs, best.n_tokens, a));
}

/* Several calls about one picture add up. */
static void keep_timings(const b2_worker *w, b2_record *record) {
    const blip2_timings before = record->timings;
    record->has_timings = w->work->spec->wants_timings;
    record->timings = (blip2_timings){.struct_bytes = sizeof record->timings};
    blip2_session_timings(w->session, &record->timings);
    record->timings.prefill_ns += before.prefill_ns;
    record->timings.decode_ns += before.decode_ns;
    record->timings.n_decode_steps += before.n_decode_steps;
}

/* The answers to asks first .. first + n_asks - 1 about a picture: those to requests `request` and the following
 * ones. */
static blip2_status keep_results(b2_worker *w, size_t place, size_t first, size_t n_asks, size_t request,
                                 blip2_error *err) {
    const size_t n_results = b2_spec_results(w->work->spec);
    b2_record *record = &w->records[place];
    keep_timings(w, record);
    for (size_t k = 0; k < n_asks * n_results; k++) {
        b2_answer *answer = &record->answers[first * n_results + k];
        if (!(w->choices != NULL ? keep_choice(w, request + k, answer)
                                 : keep_result(w, request + k / n_results, k % n_results, answer)))
            return b2_fail(err, BLIP2_MEMORY, "no memory for an answer");
    }
    return BLIP2_OK;
}

static blip2_status finished(void *context, size_t place, blip2_error *err) {
    b2_worker *w = context;
    b2_gpu_say_reason(w->work->notice, w->session);
    B2_TRY(keep_results(w, place, 0, w->n_asks, place * w->n_asks, err));
    return hand_in(w, place, err);
}

static blip2_status run_flow(b2_worker *w, blip2_error *err) {
    const blip2_flow flow = {.struct_bytes = sizeof flow,
                             .n_places = w->work->queue->batch_size,
                             .n_each = w->n_asks,
                             .images = w->images,
                             .requests = w->requests,
                             .request_bytes = sizeof *w->requests,
                             .texts = w->choices,
                             .next = next,
                             .finished = finished,
                             .context = w};
    return blip2_session_flow(w->session, &flow, &w->decoding, err);
}

/* ---- questions that look at the answers before them: a batch after the other, question by question --------------- */

/* The questions before the k-th about the picture in place i, with their first answers. Where that is too long for the
 * model, the picture fails. Errors: BLIP2_MEMORY. */
static blip2_status add_history(b2_worker *w, size_t i, size_t k, blip2_request *request, blip2_error *err) {
    const b2_ask *asks = w->work->spec->asks;
    b2_record *record = &w->records[i];
    blip2_turn *turns = w->turns + i * w->n_asks;
    if (request->question == NULL) return BLIP2_OK;
    for (size_t j = 0; j < k; j++)
        if (asks[j].question != NULL)
            turns[request->n_turns++] =
                (blip2_turn){asks[j].question, record->answers[j * b2_spec_results(w->work->spec)].text};
    request->turns = turns;
    const size_t n_tokens = blip2_prompt_tokens(w->work->model, request);
    if (n_tokens <= w->max_prompt_tokens) return BLIP2_OK;
    b2_fail(err, BLIP2_LIMIT, "%s: question %zu with what was said before it has %zu tokens: expected at most %zu",
            record->path, k + 1, n_tokens, w->max_prompt_tokens);
    record->error = strdup(err->message);
    return record->error != NULL ? BLIP2_OK : b2_fail(err, BLIP2_MEMORY, "no memory for a batch of pictures");
}

/* The k-th question about n pictures, and the answers. */
static blip2_status ask(b2_worker *w, size_t k, size_t n, blip2_error *err) {
    size_t n_requests = 0, request = 0;
    for (size_t i = 0; i < n; i++) {
        if (w->records[i].error != NULL) continue;
        w->requests[n_requests] = request_of(w->work->spec, k, i, w->records[i].index);
        B2_TRY(add_history(w, i, k, &w->requests[n_requests], err));
        n_requests += w->records[i].error == NULL;
    }
    if (w->choices != NULL) B2_TRY(blip2_session_score(w->session, w->requests, n_requests, w->choices, err));
    else B2_TRY(blip2_session_generate(w->session, w->requests, n_requests, &w->decoding, err));
    for (size_t i = 0; i < n; i++)
        if (w->records[i].error == NULL) B2_TRY(keep_results(w, i, k, 1, request++, err));
    return BLIP2_OK;
}

static blip2_status run_with_history(b2_worker *w, blip2_error *err) {
    for (;;) {
        size_t n = 0;
        for (bool has_picture = true; has_picture && n < w->work->queue->batch_size; n += has_picture)
            B2_TRY(next(w, n, n == 0 ? BLIP2_FLOW_LONG : BLIP2_FLOW_SOON, &has_picture, err));
        if (n == 0) return BLIP2_OK;
        B2_TRY(blip2_session_encode(w->session, w->images, n, err));
        for (size_t k = 0; k < w->n_asks; k++) B2_TRY(ask(w, k, n, err));
        b2_gpu_say_reason(w->work->notice, w->session);
        for (size_t i = 0; i < n; i++) B2_TRY(hand_in(w, i, err));
    }
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

void b2_worker_run(b2_worker *w) {
    b2_queue *queue = w->work->queue;
    blip2_error err;
    const blip2_status status = w->work->spec->has_history ? run_with_history(w, &err) : run_flow(w, &err);
    if (status != BLIP2_OK) b2_queue_stop(queue, status == BLIP2_CANCELLED ? NULL : &err);
    for (size_t place = 0; place < queue->batch_size; place++) {
        blip2_image_free(&w->images[place]);
        b2_record_free(&w->records[place]);
    }
}
