/* cmd_score.c: blip2 score: how likely the model holds texts that the user gives: the same ones for every picture, or
 * for each row of a table its own. The same prompt for all. */
#include "cli/commands.h"

#include "base/grow.h"
#include "base/utf8.h"
#include "cli/args.h"
#include "cli/warnings.h"
#include "console/environment.h"
#include "console/gpu_wish.h"
#include "console/open_model.h"
#include "console/output.h"
#include "console/progress.h"
#include "console/say.h"
#include "console/signals.h"
#include "job/targets.h"
#include "lists/inputs.h"
#include "lists/line_list.h"
#include "record/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct score_job {
    const char *model_path, *output_path, *texts_path, *csv_path, *image_column, *text_column, *isa;
    const char **texts; /* [n_texts] of --text and --texts-from; from malloc */
    b2_line_list lines; /* what those of --texts-from point into */
    size_t n_texts, text_capacity;
    blip2_request request;
    bool no_exif, is_quiet;
    int format, n_threads;
    b2_gpu_wish gpu;
    b2_inputs inputs;
    size_t column; /* of the table: the texts */
    blip2_model *model;
    blip2_session *session;
    blip2_texts *common; /* NULL: each row has its own */
    char *seen;          /* path of the picture that the session has seen; from malloc */
    b2_output output;
    b2_progress progress;
    size_t n_failed;
} score_job;

enum { MOST_ROWS = 16 }; /* of one picture, scored side by side */
enum { FORMAT_AUTO, FORMAT_TEXT, FORMAT_JSONL, FORMAT_CSV };
static const char *const formats[] = {"auto", "text", "jsonl", "csv", NULL};

static bool add_text(score_job *j, const char *text) {
    if (!b2_grow(&j->texts, j->n_texts, &j->text_capacity, sizeof *j->texts)) return false;
    j->texts[j->n_texts++] = text;
    return true;
}

static bool take_text(void *target, const char *value, char *error) {
    return add_text(target, value) || b2_arg_refuse(error, "less text (no memory)", value);
}

#define AT(member) .offset = offsetof(score_job, member)
static const b2_option options[] = {
    {0, "text", "TEXT", "a text to score; again for more: all with one look at the picture", B2_ARG_CALL,
     .call = take_text},
    {0, "texts-from", "FILE", "texts to score, one a line; - is stdin", B2_ARG_TEXT, AT(texts_path)},
    {0, "csv", "FILE", "a table of pictures and texts: each row's text is scored with its picture", B2_ARG_TEXT,
     AT(csv_path)},
    {0, "image-column", "NAME|N", "which column of --csv has the pictures (default 1)", B2_ARG_TEXT, AT(image_column)},
    {0, "text-column", "NAME|N", "which column of --csv has the texts", B2_ARG_TEXT, AT(text_column)},
    {0, "no-header", NULL, "the table of --csv has none: columns have numbers", B2_ARG_SET, AT(inputs.csv.no_header)},
    {'p', "prompt", "TEXT", "raw text that the texts continue", B2_ARG_TEXT, AT(request.prompt)},
    {'q', "question", "TEXT", "a question that the texts answer", B2_ARG_TEXT, AT(request.question)},
    {'m', "model", "FILE", "the converted model (else $BLIP2_MODEL, else the only *.gguf here)", B2_ARG_TEXT,
     AT(model_path)},
    {'o', "output", "FILE", "write there, whole or not at all (default: stdout)", B2_ARG_TEXT, AT(output_path)},
    {0, "format", "FORMAT", "text (default), jsonl (with each token), or csv (default and only with --csv)",
     B2_ARG_CHOICE, AT(format), .choices = formats},
    {'r', "recursive", NULL, "folders with all that is below them", B2_ARG_SET, AT(inputs.folders.recursive)},
    {0, "no-exif", NULL, "ignore the EXIF orientation, as transformers does", B2_ARG_SET, AT(no_exif)},
    B2_OPTION_THREADS(AT(n_threads)),
    {0, "isa", "NAME", "int8 kernels: see blip2 info (default: the fastest)", B2_ARG_TEXT, AT(isa)},
    B2_OPTIONS_GPU(gpu),
    {0, "quiet", NULL, "no progress", B2_ARG_SET, AT(is_quiet)},
    B2_OPTION_HELP,
    {.name = NULL}};

static const b2_syntax syntax = {
    "blip2 score IMAGE... --text TEXT [--text TEXT...]\nblip2 score --csv FILE --text-column NAME\n\n"
    "Log-likelihood of texts: of each token given the picture, the prompt and those before it, the stop token last.\n"
    "Text: logprob (the sum), logprob per token, probability among the texts given, text.",
    options, SIZE_MAX, ""};

static const char *find_conflict(const score_job *j, const b2_args *args) {
    const bool has_texts = j->n_texts > 0 || j->texts_path != NULL;
    if (j->request.prompt != NULL && j->request.question != NULL) return "a prompt or a question, not both";
    if (j->csv_path == NULL && args->n_positionals == 0) return "no pictures: name files or folders, or --csv";
    if (j->csv_path == NULL && (j->text_column != NULL || j->image_column != NULL || j->inputs.csv.no_header))
        return "--image-column, --text-column and --no-header need --csv";
    if (j->csv_path == NULL && !has_texts) return "no text: --text TEXT, or --texts-from FILE";
    for (size_t i = 0; i < j->n_texts; i++)
        if (!b2_is_utf8(j->texts[i])) return "--text is not UTF-8";
    if (j->csv_path == NULL && j->format == FORMAT_CSV) return "--format csv needs --csv";
    if (j->csv_path != NULL && args->n_positionals > 0) return "--csv cannot be mixed with other pictures";
    if (j->csv_path != NULL && has_texts) return "the texts of --csv are in its --text-column";
    if (j->csv_path != NULL && j->text_column == NULL) return "which texts: --text-column NAME, or its number";
    if (j->csv_path != NULL && j->format == FORMAT_TEXT) return "with --csv the format is csv or jsonl";
    return NULL;
}

/* ---- what is scored ---------------------------------------------------------------------------------------------- */

static blip2_status read_texts(score_job *j, blip2_error *err) {
    if (j->texts_path == NULL) return BLIP2_OK;
    j->lines.keeps_spaces = true;
    B2_TRY(b2_line_list_read(&j->lines, j->texts_path, err));
    for (size_t i = 0; i < j->lines.n; i++)
        if (!add_text(j, j->lines.lines[i])) return b2_fail(err, BLIP2_MEMORY, "no memory for the texts");
    return BLIP2_OK;
}

static blip2_status collect(score_job *j, const b2_args *args, blip2_error *err) {
    B2_TRY(read_texts(j, err));
    for (size_t i = 0; i < args->n_positionals; i++) B2_TRY(b2_inputs_add_path(&j->inputs, args->positionals[i], err));
    if (j->csv_path != NULL) {
        B2_TRY(b2_inputs_add_csv(&j->inputs, j->csv_path, j->image_column, err));
        B2_TRY(b2_csv_find_column(&j->inputs.csv, j->text_column, &j->column, err));
    }
    return j->inputs.n > 0 ? BLIP2_OK : b2_fail(err, BLIP2_FORMAT, "no pictures found");
}

/* The text of row i, from malloc. */
static char *text_of_row(const score_job *j, size_t i) {
    return b2_csv_value(b2_csv_cell(&j->inputs.csv, b2_csv_first(&j->inputs.csv) + i, j->column));
}

/* How many rows from i on, at most MOST_ROWS, have the same picture. */
static size_t count_rows(const score_job *j, size_t i) {
    size_t n = 1;
    while (n < MOST_ROWS && i + n < j->inputs.n && strcmp(j->inputs.paths[i], j->inputs.paths[i + n]) == 0) n++;
    return n;
}

/* The texts of n rows, at most MOST_ROWS. */
static blip2_status texts_of_rows(const score_job *j, size_t first, size_t n, blip2_texts **texts, blip2_error *err) {
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
static size_t count_lanes(const score_job *j) {
    size_t most = j->n_texts > 1 ? j->n_texts : 1;
    for (size_t i = 0, n; j->csv_path != NULL && i < j->inputs.n; i += n)
        if ((n = count_rows(j, i)) > most) most = n;
    return most < BLIP2_MAX_RESULTS ? most : BLIP2_MAX_RESULTS;
}

/* Of the longest text; rows whose text cannot be read fail when their turn comes. */
static size_t count_tokens(const score_job *j) {
    size_t most = j->common != NULL ? blip2_texts_max_tokens(j->common) : 1;
    for (size_t i = 0; j->common == NULL && i < j->inputs.n; i++) {
        blip2_texts *texts;
        if (texts_of_rows(j, i, 1, &texts, NULL) != BLIP2_OK) continue;
        if (blip2_texts_max_tokens(texts) > most) most = blip2_texts_max_tokens(texts);
        blip2_texts_free(&texts);
    }
    return most;
}

static blip2_status open_session(score_job *j, blip2_error *err) {
    blip2_session_options o;
    blip2_model_info info = {.struct_bytes = sizeof info};
    blip2_session_options_default(&o);
    blip2_model_describe(j->model, &info);
    if (!b2_gpu_wish_apply(&j->gpu, &o, err)) return BLIP2_ARGUMENT;
    o.n_threads = (size_t)b2_environment_threads(j->n_threads);
    o.isa = j->isa;
    o.is_cancelled = b2_signals_pending;
    o.max_prompt_tokens = blip2_prompt_tokens(j->model, &j->request);
    const char *text = j->request.prompt != NULL ? j->request.prompt : j->request.question;
    if (o.max_prompt_tokens == 0 && text != NULL && !b2_is_utf8(text))
        return b2_fail(err, BLIP2_ARGUMENT, "the prompt or question is not UTF-8");
    if (o.max_prompt_tokens == 0) return b2_fail(err, BLIP2_MEMORY, "no memory for the prompt or question");
    if (j->common == NULL && j->csv_path == NULL)
        B2_TRY(blip2_texts_create(j->model, j->texts, j->n_texts, 1, &j->common, err));
    o.max_results = count_lanes(j);
    const size_t used = info.n_queries + o.max_prompt_tokens,
                 room = info.max_positions > used ? info.max_positions - used : 1, longest = count_tokens(j);
    if (j->csv_path == NULL && info.max_positions > used && longest > room)
        return b2_fail(err, BLIP2_LIMIT,
                       "a text of %zu tokens: beside %zu of the image and %zu of the prompt the model has room for %zu",
                       longest, (size_t)info.n_queries, o.max_prompt_tokens, room);
    o.max_new_tokens = j->csv_path != NULL && longest > room ? room : longest; /* longer rows fail by themselves */
    return blip2_session_create(j->model, &o, &j->session, err);
}

/* ---- one picture ------------------------------------------------------------------------------------------------- */

/* The session has seen input i, perhaps before. */
static blip2_status see(score_job *j, size_t i, blip2_error *err) {
    const char *name = j->inputs.paths[i];
    if (j->seen != NULL && strcmp(j->seen, name) == 0) return BLIP2_OK;
    free(j->seen);
    j->seen = NULL;
    if (name[0] == '\0') return b2_fail(err, BLIP2_IO, "the row has no picture");
    blip2_image *image = NULL;
    blip2_image_options how;
    blip2_image_options_default(&how);
    how.apply_exif = !j->no_exif;
    char *path = b2_inputs_resolve(&j->inputs, i, name, NULL);
    if (path == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for a path");
    blip2_status status = blip2_image_load(j->model, path, &how, &image, err);
    if (status == BLIP2_OK) status = blip2_session_encode(j->session, &image, 1, err);
    blip2_image_free(&image);
    free(path);
    if (status == BLIP2_OK && (j->seen = strdup(name)) == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory");
    return status;
}

static void write_head(const score_job *j, size_t i) {
    FILE *out = j->output.file;
    fprintf(out, "{\"v\":1,\"index\":%zu", i);
    b2_json_write_path(j->inputs.paths[i], out);
    if (j->request.prompt != NULL) b2_json_write_member("prompt", j->request.prompt, out);
    if (j->request.question != NULL) b2_json_write_member("question", j->request.question, out);
}

static void write_json(const score_job *j, size_t i, const char *text, const blip2_score *s) {
    FILE *out = j->output.file;
    write_head(j, i);
    b2_json_write_member("text", text, out);
    fprintf(out, ",\"status\":\"ok\",\"logprob\":%.9g,\"mean_logprob\":%.9g,\"text_logprob\":%.9g", s->logprob,
            s->mean_logprob, s->text_logprob);
    if (j->common != NULL) fprintf(out, ",\"probability\":%.6g", s->probability);
    b2_json_write_ints("tokens", s->tokens, s->n_tokens, out);
    b2_json_write_floats("token_logprobs", s->token_logprobs, s->n_tokens, out);
    fputs("}\n", out);
}

static void write_table_row(const score_job *j, size_t i, const blip2_score *s, const char *error) {
    const b2_csv *csv = &j->inputs.csv;
    char number[32] = "", mean[32] = "";
    if (s != NULL) snprintf(number, sizeof number, "%.9g", s->logprob);
    if (s != NULL) snprintf(mean, sizeof mean, "%.9g", s->mean_logprob);
    b2_csv_write_row(csv, b2_csv_first(csv) + i, j->output.file);
    b2_csv_write_value(&csv->style, number, true, j->output.file);
    b2_csv_write_value(&csv->style, mean, true, j->output.file);
    b2_csv_write_value(&csv->style, s != NULL ? "ok" : "error", true, j->output.file);
    b2_csv_write_value(&csv->style, error, true, j->output.file);
    fputs(csv->style.line_end, j->output.file);
}

static void write_table_header(const score_job *j) {
    static const char *const columns[] = {"logprob", "mean_logprob", "status", "error"};
    const b2_csv *csv = &j->inputs.csv;
    fwrite(csv->preamble.data, 1, csv->preamble.len, j->output.file);
    if (csv->no_header) return;
    b2_csv_write_row(csv, 0, j->output.file);
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++)
        b2_csv_write_value(&csv->style, columns[i], true, j->output.file);
    fputs(csv->style.line_end, j->output.file);
}

static void write_failure(score_job *j, size_t i, const char *why) {
    j->n_failed++;
    if (j->format == FORMAT_CSV) {
        write_table_row(j, i, NULL, why);
    } else if (j->format == FORMAT_JSONL) {
        write_head(j, i);
        b2_json_write_member("status", "error", j->output.file);
        b2_json_write_member("error", why, j->output.file);
        fputs("}\n", j->output.file);
    } else {
        b2_progress_clear(&j->progress);
        b2_say("%s", why);
    }
}

static blip2_status write_scores(score_job *j, size_t i, const blip2_texts *texts, blip2_error *err) {
    blip2_score score = {.struct_bytes = sizeof score};
    for (size_t k = 0; blip2_texts_score(texts, 0, k, &score); k++)
        if (!isfinite(score.logprob)) return b2_fail(err, BLIP2_FORMAT, "the logits are not finite numbers");
    for (size_t k = 0; blip2_texts_score(texts, 0, k, &score); k++) {
        const size_t row = j->common != NULL ? i : i + k;
        char *cell = j->common == NULL ? text_of_row(j, row) : NULL;
        if (j->common == NULL && cell == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for a cell");
        const char *text = j->common != NULL ? j->texts[k] : cell;
        if (j->format == FORMAT_JSONL) write_json(j, row, text, &score);
        else if (j->format == FORMAT_CSV) write_table_row(j, row, &score, "");
        else {
            if (j->inputs.n > 1) fprintf(j->output.file, "%s\t", j->inputs.paths[i]);
            fprintf(j->output.file, "%.6f\t%.6f\t%.6f\t%s\n", score.logprob, score.mean_logprob, score.probability,
                    text);
        }
        free(cell);
    }
    return BLIP2_OK;
}

static bool ends_all(blip2_status status) {
    return status == BLIP2_CANCELLED || status == BLIP2_MEMORY || status == BLIP2_DEVICE;
}

/* Input i, or the texts of n rows about one picture. What is wrong with one of them is its own failure: then each is
 * scored by itself. Errors: CANCELLED, MEMORY, DEVICE, those of writing. */
static blip2_status score_inputs(score_job *j, size_t i, size_t n, blip2_error *err) {
    blip2_texts *own = NULL;
    blip2_status status = j->common != NULL ? BLIP2_OK : texts_of_rows(j, i, n, &own, err);
    blip2_texts *texts = j->common != NULL ? j->common : own;
    if (status == BLIP2_OK) status = see(j, i, err);
    if (status == BLIP2_OK) status = blip2_session_score(j->session, &j->request, 1, texts, err);
    if (j->output.replacement.file == NULL) b2_progress_clear(&j->progress); /* lines may go to the same terminal */
    if (status == BLIP2_OK) status = write_scores(j, i, texts, err);
    blip2_texts_free(&own);
    if (ends_all(status)) return status;
    if (status != BLIP2_OK && n > 1) {
        for (size_t k = 0; k < n; k++) B2_TRY(score_inputs(j, i + k, 1, err));
        return BLIP2_OK;
    }
    if (status != BLIP2_OK) write_failure(j, i, err->message);
    return fflush(j->output.file) == 0 && !ferror(j->output.file) ? BLIP2_OK : b2_output_fail(&j->output, err);
}

static blip2_status score_all(score_job *j, blip2_error *err) {
    blip2_status status = BLIP2_OK;
    if (j->format == FORMAT_CSV) write_table_header(j);
    b2_progress_start(&j->progress, j->common != NULL ? "pictures" : "rows", j->inputs.n,
                      j->is_quiet || j->inputs.n <= 1);
    for (size_t i = 0, n; i < j->inputs.n && status == BLIP2_OK; i += n) {
        n = j->common != NULL ? 1 : count_rows(j, i);
        if (b2_signals_pending(NULL)) status = b2_fail(err, BLIP2_CANCELLED, "interrupted");
        else status = score_inputs(j, i, n, err);
        if (status == BLIP2_OK) b2_progress_update(&j->progress, i + n, j->n_failed);
    }
    b2_progress_clear(&j->progress);
    return status;
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

static blip2_status check_targets(score_job *j, blip2_error *err) {
    const b2_roles roles = {.output = j->output_path,
                            .inputs = &j->inputs,
                            .gives_list_back = j->format == FORMAT_CSV,
                            .answers = j->texts_path};
    return b2_targets_check(&roles, err);
}

static int run(score_job *j, const char *command, const b2_args *args) {
    blip2_error err;
    const char *conflict = find_conflict(j, args);
    if (conflict != NULL) return b2_fail_usage(command, "%s", conflict);
    if (j->format == FORMAT_AUTO) j->format = j->csv_path != NULL ? FORMAT_CSV : FORMAT_TEXT;
    if (collect(j, args, &err) != BLIP2_OK) return b2_fail_input(&err);
    if (check_targets(j, &err) != BLIP2_OK) return b2_fail_with(&err, B2_EXIT_FILES);
    b2_warn_about_table(&j->inputs, j->image_column);
    const int code = b2_open_model(j->model_path, &j->model);
    if (code != B2_EXIT_OK) return code;
    if (open_session(j, &err) != BLIP2_OK) return b2_fail_with(&err, B2_EXIT_USAGE);
    if (b2_output_open(&j->output, j->output_path, &err) != BLIP2_OK) return b2_fail_with(&err, B2_EXIT_FILES);
    blip2_status status = score_all(j, &err);
    if (status == BLIP2_OK) status = b2_output_commit(&j->output, &err);
    else b2_output_abandon(&j->output);
    if (status == BLIP2_CANCELLED) return b2_fail_with(&err, b2_signals_exit_code());
    if (status != BLIP2_OK) return b2_fail_with(&err, B2_EXIT_FILES);
    return j->n_failed > 0 ? B2_EXIT_SOME_FAILED : B2_EXIT_OK;
}

int b2_cmd_score(int argc, char **argv) {
    score_job j = {0};
    b2_args args;
    int code;
    if (b2_args_begin(&syntax, argc, argv, &j, &args, &code)) code = run(&j, argv[0], &args);
    blip2_texts_free(&j.common);
    blip2_session_free(&j.session);
    b2_close_model(&j.model);
    b2_inputs_free(&j.inputs);
    free(j.seen);
    b2_line_list_free(&j.lines);
    free(j.texts);
    return code;
}
