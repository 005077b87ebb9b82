/* scoring.c: all rows in a row with one picture are scored at once, at most MOST_ROWS of them; each is a record of its
 * own, so that a job which goes on begins anywhere among them: what is scored beside a text changes no number. */
#include "job/scoring.h"

#include "base/memory_text.h"
#include "base/utf8.h"
#include "console/environment.h"
#include "console/open_model.h"
#include "console/output.h"
#include "console/progress.h"
#include "console/say.h"
#include "console/signals.h"
#include "job/ending.h"
#include "job/targets.h"
#include "lists/list_source.h"
#include "record/scores.h"
#include "record/writer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { MOST_ROWS = 16 };

typedef struct scoring {
    const b2_inputs *inputs;
    const b2_scoring_options *options;
    b2_spec spec; /* the options', and which texts */
    blip2_request request;
    b2_style style;
    b2_plan plan;
    blip2_model *model;
    blip2_session *session;
    blip2_texts *common; /* NULL: each row has its own */
    char *seen;          /* path of the picture that the session has seen; from malloc */
    b2_output stream;    /* of a plan that streams */
    b2_progress progress;
    size_t n_done, n_failed; /* of this run */
} scoring;

static bool has_own_texts(const scoring *j) { return j->options->n_texts == 0; }
static const char *unit_of(const scoring *j) { return has_own_texts(j) ? "rows" : "pictures"; }

/* ---- what is scored ---------------------------------------------------------------------------------------------- */

/* The NUL is part of it, so that two texts are not one. 0 means that there are none. */
static uint64_t hash_texts(const b2_scoring_options *o) {
    uint64_t hash = XXH3_64bits(&o->column, sizeof o->column); /* the cells are in the hash of the list */
    for (size_t i = 0; i < o->n_texts; i++) hash = XXH3_64bits_withSeed(o->texts[i], strlen(o->texts[i]) + 1, hash);
    return hash != 0 ? hash : 1;
}

/* The text of row i, from malloc. */
static char *text_of_row(const scoring *j, size_t i) {
    const b2_csv *csv = &j->inputs->csv;
    return b2_csv_value(b2_csv_cell(csv, b2_csv_first(csv) + i, j->options->column));
}

/* How many rows from i on, before `end` and at most MOST_ROWS, have the same picture. */
static size_t count_rows(const scoring *j, size_t i, size_t end) {
    char **paths = j->inputs->paths;
    size_t n = 1;
    while (n < MOST_ROWS && i + n < end && strcmp(paths[i], paths[i + n]) == 0) n++;
    return n;
}

/* The texts of n rows, at most MOST_ROWS. */
static blip2_status texts_of_rows(const scoring *j, size_t first, size_t n, blip2_texts **texts, blip2_error *err) {
    char *cells[MOST_ROWS];
    bool has_all = true;
    *texts = NULL;
    for (size_t i = 0; i < n; i++) has_all &= (cells[i] = text_of_row(j, first + i)) != NULL;
    const blip2_status status = has_all ? blip2_texts_create(j->model, (const char *const *)cells, n, 1, texts, err)
                                        : b2_fail(err, BLIP2_MEMORY, "no memory for a cell");
    for (size_t i = 0; i < n; i++) free(cells[i]);
    return status;
}

/* As many texts side by side as there are, or rows of one picture. */
static size_t count_lanes(const scoring *j) {
    size_t most = j->options->n_texts > 1 ? j->options->n_texts : 1;
    for (size_t i = 0, n; has_own_texts(j) && i < j->inputs->n; i += n)
        if ((n = count_rows(j, i, j->inputs->n)) > most) most = n;
    return most < BLIP2_MAX_RESULTS ? most : BLIP2_MAX_RESULTS;
}

/* Of the longest text; rows whose text cannot be read fail when their turn comes. */
static size_t count_tokens(const scoring *j) {
    size_t most = j->common != NULL ? blip2_texts_max_tokens(j->common) : 1;
    for (size_t i = 0; j->common == NULL && i < j->inputs->n; i++) {
        blip2_texts *texts;
        if (texts_of_rows(j, i, 1, &texts, NULL) != BLIP2_OK) continue;
        if (blip2_texts_max_tokens(texts) > most) most = blip2_texts_max_tokens(texts);
        blip2_texts_free(&texts);
    }
    return most;
}

/* ---- before the first picture ------------------------------------------------------------------------------------ */

static blip2_status open_session(scoring *j, blip2_error *err) {
    const b2_scoring_options *wish = j->options;
    blip2_session_options o;
    blip2_model_info info = {.struct_bytes = sizeof info};
    blip2_session_options_default(&o);
    blip2_model_describe(j->model, &info);
    if (!b2_gpu_wish_apply(&wish->job.gpu, &o, err)) return BLIP2_ARGUMENT;
    o.n_threads = (size_t)b2_environment_threads(wish->job.n_threads);
    o.isa = wish->job.isa;
    o.is_cancelled = b2_signals_pending;
    o.max_prompt_tokens = blip2_prompt_tokens(j->model, &j->request);
    const char *text = j->request.prompt != NULL ? j->request.prompt : j->request.question;
    if (o.max_prompt_tokens == 0 && text != NULL && !b2_is_utf8(text))
        return b2_fail(err, BLIP2_ARGUMENT, "the prompt or question is not UTF-8");
    if (o.max_prompt_tokens == 0) return b2_fail(err, BLIP2_MEMORY, "no memory for the prompt or question");
    if (!has_own_texts(j)) B2_TRY(blip2_texts_create(j->model, wish->texts, wish->n_texts, 1, &j->common, err));
    o.max_results = count_lanes(j);
    const size_t used = info.n_queries + o.max_prompt_tokens,
                 room = info.max_positions > used ? info.max_positions - used : 1, longest = count_tokens(j);
    if (!has_own_texts(j) && info.max_positions > used && longest > room)
        return b2_fail(err, BLIP2_LIMIT,
                       "a text of %zu tokens: beside %zu of the image and %zu of the prompt the model has room for %zu",
                       longest, (size_t)info.n_queries, o.max_prompt_tokens, room);
    o.max_new_tokens = has_own_texts(j) && longest > room ? room : longest; /* longer rows fail by themselves */
    return blip2_session_create(j->model, &o, &j->session, err);
}

static blip2_status check_targets(scoring *j, blip2_error *err) {
    const b2_job_options *o = &j->options->job;
    B2_TRY(b2_plan_name(o, &j->plan, err));
    const b2_roles roles = {.output = o->output_path,
                            .journal = j->plan.part_path,
                            .state = j->plan.state_path,
                            .inputs = j->inputs,
                            .gives_list_back = j->spec.format == B2_FORMAT_CSV,
                            .answers = j->options->file_name};
    return b2_targets_check(&roles, err);
}

/* What is to be done. */
static blip2_status make_plan(scoring *j, blip2_error *err) {
    b2_job_options o = j->options->job;
    blip2_model_info info = {.struct_bytes = sizeof info};
    const b2_list_source source = b2_list_source_of(j->inputs);
    o.spec = j->spec;
    blip2_model_describe(j->model, &info);
    return b2_plan_make(j->inputs, &source.source, &o, &j->style, info.content_hash, &j->plan, err);
}

/* Where it goes, unless that is a journal. */
static blip2_status open_stream(scoring *j, blip2_error *err) {
    if (j->plan.keeps != B2_KEEPS_STREAM) return BLIP2_OK;
    B2_TRY(b2_output_open(&j->stream, j->options->job.output_path, err));
    if (b2_record_write_header(&j->style, j->stream.file)) return BLIP2_OK;
    const blip2_status status = b2_output_fail(&j->stream, err);
    b2_output_abandon(&j->stream);
    return status;
}

/* ---- one picture ------------------------------------------------------------------------------------------------- */

/* The session has seen input i, perhaps before. */
static blip2_status see(scoring *j, size_t i, blip2_error *err) {
    const char *name = j->inputs->paths[i];
    if (j->seen != NULL && strcmp(j->seen, name) == 0) return BLIP2_OK;
    free(j->seen);
    j->seen = NULL;
    if (name[0] == '\0') return b2_fail(err, BLIP2_IO, "the row has no picture");
    blip2_image *image = NULL;
    const blip2_image_options how = b2_spec_image_options(&j->spec, 0);
    char *path = b2_inputs_resolve(j->inputs, i, name, NULL);
    if (path == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for a path");
    blip2_status status = blip2_image_load(j->model, path, &how, &image, err);
    if (status == BLIP2_OK) status = blip2_session_encode(j->session, &image, 1, err);
    blip2_image_free(&image);
    free(path);
    if (status == BLIP2_OK && (j->seen = strdup(name)) == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory");
    return status;
}

/* What is written of input i. */
static b2_scored scored_of(const scoring *j, size_t i) {
    return (b2_scored){&j->style, j->inputs->paths[i], j->inputs->n, j->common != NULL};
}

/* The record of input i goes into the journal, or to the stream. */
static blip2_status hand_in(scoring *j, size_t i, char *taken, b2_record_status how, blip2_error *err) {
    const b2_record record = {.index = i, .path = j->inputs->paths[i], .taken = taken, .taken_status = how};
    j->n_done++;
    j->n_failed += how == B2_RECORD_ERROR;
    if (j->plan.journal.fd >= 0) return b2_journal_append(&j->plan.journal, &record, err);
    b2_progress_clear(&j->progress); /* lines may go to the same terminal */
    return b2_record_write(&j->style, &record, j->stream.file) ? BLIP2_OK : b2_output_fail(&j->stream, err);
}

/* What was printed becomes the record of input i. */
static blip2_status hand_in_printed(scoring *j, size_t i, b2_memory_text *printed, b2_record_status how,
                                    blip2_error *err) {
    if (!b2_memory_text_end(printed)) return b2_fail(err, BLIP2_MEMORY, "no memory for a record");
    const blip2_status status = hand_in(j, i, printed->text, how, err);
    free(printed->text);
    return status;
}

static blip2_status fail(scoring *j, size_t i, const char *why, blip2_error *err) {
    b2_memory_text printed;
    if (j->spec.format == B2_FORMAT_TEXT) {
        b2_progress_clear(&j->progress);
        b2_say("%s", why);
    }
    FILE *out = b2_memory_text_begin(&printed);
    if (out == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for a record");
    const b2_scored scored = scored_of(j, i);
    b2_scores_write_failure(&scored, why, out);
    return hand_in_printed(j, i, &printed, B2_RECORD_ERROR, err);
}

/* The scores of all texts of input i. */
static blip2_status hand_in_common(scoring *j, size_t i, blip2_error *err) {
    blip2_score score = {.struct_bytes = sizeof score};
    b2_memory_text printed;
    FILE *out = b2_memory_text_begin(&printed);
    if (out == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for a record");
    const b2_scored scored = scored_of(j, i);
    for (size_t k = 0; blip2_texts_score(j->common, 0, k, &score); k++)
        b2_scores_write(&scored, j->options->texts[k], &score, k == 0, out);
    return hand_in_printed(j, i, &printed, B2_RECORD_OK, err);
}

/* The score of text k of those that were scored, that of input i. */
static blip2_status hand_in_row(scoring *j, size_t i, const blip2_texts *texts, size_t k, blip2_error *err) {
    blip2_score score = {.struct_bytes = sizeof score};
    b2_memory_text printed;
    char *cell = text_of_row(j, i);
    FILE *out = cell != NULL ? b2_memory_text_begin(&printed) : NULL;
    if (out == NULL) {
        free(cell);
        return b2_fail(err, BLIP2_MEMORY, "no memory for a record");
    }
    const b2_scored scored = scored_of(j, i);
    if (blip2_texts_score(texts, 0, k, &score)) b2_scores_write(&scored, cell, &score, true, out);
    free(cell);
    return hand_in_printed(j, i, &printed, B2_RECORD_OK, err);
}

static bool are_finite(const blip2_texts *texts) {
    blip2_score score = {.struct_bytes = sizeof score};
    for (size_t k = 0; blip2_texts_score(texts, 0, k, &score); k++)
        if (!isfinite(score.logprob)) return false;
    return true;
}

static bool ends_all(blip2_status status) {
    return status == BLIP2_CANCELLED || status == BLIP2_MEMORY || status == BLIP2_DEVICE;
}

/* Input i, or the texts of n rows about one picture. What is wrong with one of them is its own failure: then each is
 * scored by itself. Errors: CANCELLED, MEMORY, DEVICE, those of writing. */
static blip2_status score_inputs(scoring *j, size_t i, size_t n, blip2_error *err) {
    blip2_texts *own = NULL;
    blip2_status status = j->common != NULL ? BLIP2_OK : texts_of_rows(j, i, n, &own, err);
    blip2_texts *texts = j->common != NULL ? j->common : own;
    if (status == BLIP2_OK) status = see(j, i, err);
    if (status == BLIP2_OK) status = blip2_session_score(j->session, &j->request, 1, texts, err);
    if (status == BLIP2_OK && !are_finite(texts))
        status = b2_fail(err, BLIP2_FORMAT, "the logits are not finite numbers");
    if (status == BLIP2_OK && j->common != NULL) return hand_in_common(j, i, err);
    for (size_t k = 0; status == BLIP2_OK && k < n; k++) {
        const blip2_status written = hand_in_row(j, i + k, own, k, err);
        if (written == BLIP2_OK) continue;
        blip2_texts_free(&own);
        return written;
    }
    blip2_texts_free(&own);
    if (status == BLIP2_OK || ends_all(status)) return status;
    for (size_t k = 0; n > 1 && k < n; k++) B2_TRY(score_inputs(j, i + k, 1, err));
    return n > 1 ? BLIP2_OK : fail(j, i, err->message, err);
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

/* Where the inputs end that are to be done from todo[at] on without a gap, MOST_ROWS of them at most. */
static size_t end_of_run(const b2_plan *plan, size_t at) {
    size_t n = 1;
    while (n < MOST_ROWS && at + n < plan->n_todo && plan->todo[at + n] == plan->todo[at] + n) n++;
    return plan->todo[at] + n;
}

static blip2_status score_all(scoring *j, blip2_error *err) {
    const b2_plan *plan = &j->plan;
    blip2_status status = BLIP2_OK;
    b2_progress_start(&j->progress, unit_of(j), plan->n_todo, j->options->job.is_quiet || plan->n_mine <= 1);
    for (size_t at = 0, n; at < plan->n_todo && status == BLIP2_OK; at += n) {
        const size_t i = plan->todo[at];
        n = j->common != NULL ? 1 : count_rows(j, i, end_of_run(plan, at));
        if (b2_signals_pending(NULL)) status = b2_fail(err, BLIP2_CANCELLED, "interrupted");
        else status = score_inputs(j, i, n, err);
        if (status == BLIP2_OK) b2_progress_update(&j->progress, at + n, j->n_failed);
    }
    b2_progress_clear(&j->progress);
    return status;
}

static blip2_status end(scoring *j, blip2_error *err) {
    if (j->plan.keeps == B2_KEEPS_STREAM) return b2_output_commit(&j->stream, err);
    const b2_ending ending = {
        .plan = &j->plan, .inputs = j->inputs, .style = &j->style, .n = j->inputs->n, .keeps_state = true};
    return b2_ending_write(&ending, err);
}

/* A journal that helps nobody is removed. */
static void say_what_is_kept(scoring *j) {
    size_t n_safe;
    if (j->plan.journal.fd < 0) return;
    const bool is_counted = b2_ending_count_safe(&j->plan, j->inputs->n, &n_safe);
    if (is_counted && n_safe == 0) unlink(j->plan.part_path);
    else if (is_counted)
        b2_say("%zu record%s safe in %s; the same command with --resume goes on from there", n_safe,
               n_safe == 1 ? " is" : "s are", j->plan.part_path);
    else b2_say("the records are in %s; the same command with --resume goes on from there", j->plan.part_path);
}

/* Pictures or rows that failed, those of earlier runs included. */
static size_t count_failed(const scoring *j) {
    size_t n = 0;
    if (j->plan.start == B2_START_FINISHED) return j->plan.n_failed;
    if (j->plan.places == NULL) return j->n_failed;
    for (size_t i = 0; i < j->plan.n_places; i++) n += j->plan.places[i].is_failed;
    return n;
}

static blip2_status score(scoring *j, blip2_error *err) {
    blip2_status status = score_all(j, err);
    if (status == BLIP2_OK) status = end(j, err);
    else if (j->plan.keeps == B2_KEEPS_STREAM) b2_output_abandon(&j->stream);
    return status;
}

static int fail_before(scoring *j, const blip2_error *err, int exit_code) {
    b2_plan_undo(&j->plan);
    return b2_fail_with(err, exit_code);
}

/* Those that failed in an earlier run were named then, and perhaps nowhere else. */
static int exit_code_of_success(const scoring *j) {
    const size_t n = count_failed(j);
    if (n > j->n_failed && !j->options->job.is_quiet)
        b2_say("%zu of %zu %s failed, %zu of them in an earlier run", n, j->inputs->n, unit_of(j), n - j->n_failed);
    return n > 0 ? B2_EXIT_SOME_FAILED : B2_EXIT_OK;
}

static int run(scoring *j) {
    blip2_error err;
    if (check_targets(j, &err) != BLIP2_OK) return b2_fail_with(&err, B2_EXIT_FILES);
    const int code = b2_open_model(j->options->job.model_path, &j->model);
    if (code != B2_EXIT_OK) return code;
    if (make_plan(j, &err) != BLIP2_OK) return fail_before(j, &err, B2_EXIT_FILES);
    const bool is_finished = j->plan.start == B2_START_FINISHED;
    if (!is_finished && open_session(j, &err) != BLIP2_OK) return fail_before(j, &err, B2_EXIT_USAGE);
    if (!is_finished && open_stream(j, &err) != BLIP2_OK) return fail_before(j, &err, B2_EXIT_FILES);
    const blip2_status status =
        is_finished ? b2_ending_accept(&j->plan, j->options->job.keeps_no_state, &err) : score(j, &err);
    if (status == BLIP2_OK) return exit_code_of_success(j);
    int failed = b2_signals_exit_code();
    if (status == BLIP2_CANCELLED)
        b2_say("interrupted after %zu of %zu %s", j->plan.n_mine - j->plan.n_todo + j->n_done, j->plan.n_mine,
               unit_of(j));
    else failed = b2_fail_with(&err, B2_EXIT_FILES);
    say_what_is_kept(j);
    return failed;
}

int b2_scoring_run(const b2_inputs *inputs, const b2_scoring_options *options) {
    const b2_ask *ask = &options->job.spec.asks[0];
    scoring j = {.inputs = inputs,
                 .options = options,
                 .spec = options->job.spec,
                 .request = {.prompt = ask->prompt, .question = ask->question},
                 .plan = {.journal = {.fd = -1}}};
    static const b2_words no_words;
    j.spec.scored = hash_texts(options);
    j.style = b2_spec_style(&j.spec, inputs, &no_words, inputs->n, options->job.output_path);
    const int code = run(&j);
    b2_plan_free(&j.plan);
    blip2_texts_free(&j.common);
    blip2_session_free(&j.session);
    b2_close_model(&j.model);
    free(j.seen);
    return code;
}
