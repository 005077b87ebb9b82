/* job.c: the batch job. A reader thread decodes ahead; the model takes `batch` pictures at a time; each picture's record
 * is written and flushed before the next batch begins. One bad picture is one record with an error, never the end. */
#include "cli/job.h"

#include "base/cpu.h"
#include "cli/common.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/reader.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_SEQUENCES = 256 }; /* of one session */

typedef struct job {
    const b2_inputs *inputs;
    const b2_job_options *options;
    blip2_model *model;
    blip2_session *session;
    b2_reader *reader;
    b2_output output;
    b2_record_style style;
    b2_progress progress;
    size_t batch, n_asked; /* pictures at a time, answers a picture */
    size_t n_failed;

    /* of the batch under way: */
    b2_record *records;      /* [batch] */
    b2_answer *answers;      /* [batch][n_asked] */
    blip2_error *errors;     /* [batch] */
    blip2_image **images;    /* [batch]; NULL: could not be read */
    blip2_image **seen;      /* [batch] those that could */
    blip2_request *requests; /* [batch][n_asked] */
    blip2_result *results;   /* likewise */
} job;

/* ---- before the first picture ---------------------------------------------------------------------------------------- */

static blip2_request request_of(const b2_job_options *o, size_t k, size_t image) {
    return (blip2_request){.image = image, .prompt = o->prompt, .question = o->n_questions > 0 ? o->questions[k] : NULL};
}

/* Room for the longest of the prompts. */
static bool count_prompt_tokens(const job *j, size_t *most) {
    *most = 1;
    for (size_t k = 0; k < j->n_asked; k++) {
        const blip2_request request = request_of(j->options, k, 0);
        const size_t n = blip2_prompt_tokens(j->model, &request);
        if (n == 0) return false;
        if (n > *most) *most = n;
    }
    return true;
}

static int create_session(job *j) {
    const b2_job_options *o = j->options;
    blip2_session_options options;
    blip2_session_options_default(&options);
    options.n_threads = b2_choose_threads(o->n_threads);
    options.isa = o->isa;
    options.max_images = j->batch;
    options.max_requests = j->batch * j->n_asked;
    options.max_new_tokens = o->n_new_tokens;
    options.is_cancelled = b2_signals_pending;
    if (!count_prompt_tokens(j, &options.max_prompt_tokens)) {
        b2_say("the %s is not UTF-8", o->prompt != NULL ? "prompt" : "question");
        return B2_EXIT_USAGE;
    }
    blip2_error err;
    b2_warn_when_paging(j->model, &options);
    const blip2_status status = blip2_session_create(j->model, &options, &j->session, &err);
    if (status == BLIP2_OK) return B2_EXIT_OK;
    return b2_fail_with(&err, B2_EXIT_USAGE);
}

static bool allocate_batch(job *j) {
    const size_t n = j->batch * j->n_asked;
    j->records = calloc(j->batch, sizeof *j->records);
    j->errors = calloc(j->batch, sizeof *j->errors);
    j->images = calloc(j->batch, sizeof(void *));
    j->seen = calloc(j->batch, sizeof(void *));
    j->answers = calloc(n, sizeof *j->answers);
    j->requests = calloc(n, sizeof *j->requests);
    j->results = calloc(n, sizeof *j->results);
    return j->records && j->errors && j->images && j->seen && j->answers && j->requests && j->results;
}

static void say_setup(const job *j) {
    blip2_model_info info = {.struct_bytes = sizeof info};
    blip2_model_describe(j->model, &info);
    b2_say("%s, %s matrices, %.2f GB; kernels %s (f32: %s), %d threads, batches of %zu", info.name[0] != '\0' ? info.name : "model", info.dtype,
           (double)info.file_bytes * 1e-9, blip2_session_isa(j->session), blip2_session_isa_f32(j->session),
           blip2_session_threads(j->session), j->batch);
}

/* Everything that can be known to fail fails here, before any work is done. */
static int prepare(job *j) {
    blip2_error err;
    int code = b2_open_model(j->options->model_path, &j->model);
    if (code == B2_EXIT_OK) code = create_session(j);
    if (code != B2_EXIT_OK) return code;
    if (b2_output_open(&j->output, j->options->output_path, &err) != BLIP2_OK) return b2_fail_with(&err, B2_EXIT_FILES);
    j->reader = b2_reader_start(j->model, j->inputs, j->options->apply_exif, 2 * j->batch);
    if (j->reader != NULL && allocate_batch(j)) {
        if (j->options->is_verbose) say_setup(j);
        return B2_EXIT_OK;
    }
    b2_say("no memory for a batch of %zu pictures", j->batch);
    return B2_EXIT_MEMORY;
}

/* ---- one batch --------------------------------------------------------------------------------------------------------- */

/* Takes pictures [first, first + n); those that cannot be read have their error. Returns how many could. */
static size_t take_pictures(job *j, size_t first, size_t n) {
    size_t n_seen = 0;
    for (size_t i = 0; i < n; i++) {
        b2_record *record = &j->records[i];
        *record = (b2_record){.index = first + i, .path = j->inputs->paths[first + i], .is_ask = j->options->n_questions > 0,
                              .answers = j->answers + i * j->n_asked, .n_answers = j->n_asked};
        if (b2_reader_take(j->reader, first + i, &j->images[i], &j->errors[i]) != BLIP2_OK) {
            record->error = j->errors[i].message;
            continue;
        }
        record->rotated = blip2_image_rotated(j->images[i]);
        for (size_t k = 0; k < j->n_asked; k++) j->requests[n_seen * j->n_asked + k] = request_of(j->options, k, n_seen);
        j->seen[n_seen++] = j->images[i];
    }
    return n_seen;
}

/* Copies a result, which lives in the session, into an answer of ours. */
static bool keep_result(const job *j, const blip2_request *request, const blip2_result *result, b2_answer *answer) {
    *answer = (b2_answer){.prompt = request->prompt, .question = request->question, .text = strdup(result->text),
                          .outcome = result->outcome, .n_tokens = result->n_tokens, .logprob = result->logprob};
    if (answer->text == NULL || !j->options->wants_tokens) return answer->text != NULL;
    answer->tokens = malloc((result->n_tokens + 1) * sizeof *answer->tokens);
    answer->logprobs = malloc((result->n_tokens + 1) * sizeof *answer->logprobs);
    if (answer->tokens == NULL || answer->logprobs == NULL) return false;
    memcpy(answer->tokens, result->tokens, result->n_tokens * sizeof *answer->tokens);
    memcpy(answer->logprobs, result->token_logprobs, result->n_tokens * sizeof *answer->logprobs);
    return true;
}

static blip2_status run_model(job *j, size_t n, size_t n_seen, blip2_error *err) {
    B2_TRY(blip2_session_see(j->session, j->seen, n_seen, err));
    B2_TRY(blip2_session_say(j->session, j->requests, n_seen * j->n_asked, j->results, err));
    blip2_timings timings;
    blip2_session_timings(j->session, &timings);
    for (size_t i = 0, at = 0; i < n; i++) {
        if (j->images[i] == NULL) continue;
        j->records[i].has_timings = j->options->wants_timings;
        j->records[i].timings = timings;
        for (size_t k = 0; k < j->n_asked; k++, at++)
            if (!keep_result(j, &j->requests[at], &j->results[at], &j->records[i].answers[k]))
                return b2_fail(err, BLIP2_MEMORY, "no memory for an answer");
    }
    return BLIP2_OK;
}

/* Where the output has no place for an error, stderr has. */
static void say_failure(job *j, const b2_record *record) {
    const bool is_failed = strcmp(b2_record_status(record), "error") == 0;
    if (!is_failed) return;
    j->n_failed++;
    if (j->options->has_format && j->options->format != B2_FORMAT_TEXT && j->options->format != B2_FORMAT_TSV) return;
    b2_progress_clear(&j->progress);
    b2_say("%s", record->error != NULL ? record->error : "the model's numbers were not finite");
}

static blip2_status write_records(job *j, size_t n, blip2_error *err) {
    for (size_t i = 0; i < n; i++) {
        if (!b2_record_write(&j->style, &j->records[i], j->output.file)) return b2_output_fail(&j->output, err);
        say_failure(j, &j->records[i]);
    }
    return BLIP2_OK;
}

static void free_batch(job *j, size_t n) {
    for (size_t i = 0; i < n; i++) blip2_image_free(&j->images[i]);
    for (size_t i = 0; i < n * j->n_asked; i++) {
        free(j->answers[i].text);
        free(j->answers[i].tokens);
        free(j->answers[i].logprobs);
        j->answers[i] = (b2_answer){0};
    }
}

static blip2_status run_batch(job *j, size_t first, size_t n, blip2_error *err) {
    const size_t n_seen = take_pictures(j, first, n);
    blip2_status status = n_seen > 0 ? run_model(j, n, n_seen, err) : BLIP2_OK;
    if (status == BLIP2_OK) status = write_records(j, n, err);
    free_batch(j, n);
    return status;
}

/* ---- the whole list ------------------------------------------------------------------------------------------------------ */

static blip2_status write_header(job *j, blip2_error *err) {
    for (size_t k = 0; k < j->n_asked; k++) {
        const blip2_request request = request_of(j->options, k, 0);
        j->answers[k] = (b2_answer){.prompt = request.prompt, .question = request.question};
    }
    const b2_record any = {.is_ask = j->options->n_questions > 0, .answers = j->answers, .n_answers = j->n_asked};
    return b2_record_write_header(&j->style, &any, j->output.file) ? BLIP2_OK : b2_output_fail(&j->output, err);
}

static void say_summary(const job *j) {
    const double seconds = b2_progress_seconds(&j->progress);
    b2_say("%zu pictures: %zu done, %zu failed; %.2f pictures/s, waited %.1f s for pictures, peak memory %.2f GB", j->inputs->n,
           j->inputs->n - j->n_failed, j->n_failed, seconds > 0 ? (double)j->inputs->n / seconds : 0.0,
           (double)b2_reader_waited_ns(j->reader) * 1e-9, (double)b2_memory_of_process().resident_bytes * 1e-9);
}

/* While the session still has all it took. */
static void say_memory(void) {
    const b2_memory_peak memory = b2_memory_of_process();
    b2_say("own memory %.0f MB, with the mapped file %.2f GB resident", (double)memory.anonymous_bytes * 1e-6,
           (double)memory.resident_bytes * 1e-9);
}

static int end_early(job *j, const blip2_error *err, size_t n_written) {
    char *part = j->output.part_path != NULL ? strdup(j->output.part_path) : NULL;
    const bool was_kept = b2_output_abandon(&j->output);
    if (err->status == BLIP2_CANCELLED) b2_say("interrupted after %zu of %zu pictures", n_written, j->inputs->n);
    else b2_say("%s", err->message);
    if (was_kept && part != NULL) b2_say("the first %zu records are in %s", n_written, part);
    free(part);
    if (err->status == BLIP2_CANCELLED) return b2_signals_exit_code();
    return err->status == BLIP2_MEMORY ? B2_EXIT_MEMORY : B2_EXIT_FILES;
}

static int run_list(job *j) {
    blip2_error err;
    const size_t n = j->inputs->n;
    size_t n_done = 0;
    b2_progress_start(&j->progress, "pictures", n, j->options->is_quiet || n <= 1);
    blip2_status status = write_header(j, &err);
    while (status == BLIP2_OK && n_done < n) {
        const size_t left = n - n_done, part = left < j->batch ? left : j->batch;
        status = run_batch(j, n_done, part, &err);
        if (status != BLIP2_OK) break;
        n_done += part;
        b2_progress_update(&j->progress, n_done, j->n_failed);
        if (b2_signals_pending(NULL)) status = b2_fail(&err, BLIP2_CANCELLED, "interrupted");
    }
    b2_progress_clear(&j->progress);
    if (status == BLIP2_OK || n_done == n) status = b2_output_commit(&j->output, &err);
    if (status != BLIP2_OK) return end_early(j, &err, n_done);
    if (n > 1 && !j->options->is_quiet) say_summary(j);
    if (j->options->is_verbose) say_memory();
    return j->n_failed > 0 ? B2_EXIT_SOME_FAILED : B2_EXIT_OK;
}

int b2_job_run(const b2_inputs *inputs, const b2_job_options *options) {
    job j = {.inputs = inputs, .options = options, .n_asked = options->n_questions > 0 ? options->n_questions : 1};
    j.batch = options->batch > 0 ? options->batch : inputs->n > 1 ? 8 : 1;
    if (j.batch > inputs->n) j.batch = inputs->n;
    if (j.batch * j.n_asked > MAX_SEQUENCES) j.batch = MAX_SEQUENCES / j.n_asked;
    j.style = (b2_record_style){.format = options->format, .only_text = inputs->n == 1 && !options->has_format,
                                .csv = inputs->has_csv ? &inputs->csv : NULL};
    int code = prepare(&j);
    if (code == B2_EXIT_OK) code = run_list(&j);
    else b2_output_abandon(&j.output);
    b2_reader_stop(j.reader);
    blip2_session_free(&j.session);
    blip2_model_close(&j.model);
    free(j.records);
    free(j.errors);
    free(j.images);
    free(j.seen);
    free(j.answers);
    free(j.requests);
    free(j.results);
    return code;
}
