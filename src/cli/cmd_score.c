/* cmd_score.c: blip2 score: how likely the model holds texts that the user gives: the same ones for every picture, or
 * for each row of a table its own. The same prompt for all. */
#include "cli/commands.h"

#include "base/grow.h"
#include "base/utf8.h"
#include "cli/args.h"
#include "cli/warnings.h"
#include "console/say.h"
#include "job/scoring.h"
#include "lists/inputs.h"
#include "lists/line_list.h"

#include <stdlib.h>

typedef struct parsed {
    b2_scoring_options score; /* its texts: of --text and --texts-from; from malloc */
    size_t text_capacity;
    b2_line_list lines; /* what those of --texts-from point into */
    const char *csv_path, *image_column, *text_column;
    bool no_exif;
    int format;
    b2_inputs inputs;
} parsed;

enum { FORMAT_AUTO, FORMAT_TEXT, FORMAT_JSONL, FORMAT_CSV };
static const char *const formats[] = {"auto", "text", "jsonl", "csv", NULL};

static bool add_text(parsed *p, const char *text) {
    b2_scoring_options *o = &p->score;
    if (!b2_grow(&o->texts, o->n_texts, &p->text_capacity, sizeof *o->texts)) return false;
    o->texts[o->n_texts++] = text;
    return true;
}

static bool take_text(void *target, const char *value, char *error) {
    return add_text(target, value) || b2_arg_refuse(error, "less text (no memory)", value);
}

#define AT(member) .offset = offsetof(parsed, member)
static const b2_option options[] = {
    {0, "text", "TEXT", "a text to score; again for more: all with one look at the picture", B2_ARG_CALL,
     .call = take_text},
    {0, "texts-from", "FILE", "texts to score, one a line; - is stdin", B2_ARG_TEXT, AT(score.file_name)},
    {0, "csv", "FILE", "a table of pictures and texts: each row's text is scored with its picture", B2_ARG_TEXT,
     AT(csv_path)},
    {0, "image-column", "NAME|N", "which column of --csv has the pictures (default 1)", B2_ARG_TEXT, AT(image_column)},
    {0, "text-column", "NAME|N", "which column of --csv has the texts", B2_ARG_TEXT, AT(text_column)},
    {0, "no-header", NULL, "the table of --csv has none: columns have numbers", B2_ARG_SET, AT(inputs.csv.no_header)},
    {'p', "prompt", "TEXT", "raw text that the texts continue", B2_ARG_TEXT, AT(score.job.spec.asks[0].prompt)},
    {'q', "question", "TEXT", "a question that the texts answer", B2_ARG_TEXT, AT(score.job.spec.asks[0].question)},
    {'m', "model", "FILE", "the converted model (else $BLIP2_MODEL, else the only *.gguf here)", B2_ARG_TEXT,
     AT(score.job.model_path)},
    {'o', "output", "FILE", "write there, whole or not at all (default: stdout)", B2_ARG_TEXT,
     AT(score.job.output_path)},
    {0, "format", "FORMAT", "text (default), jsonl (with each token), or csv (default and only with --csv)",
     B2_ARG_CHOICE, AT(format), .choices = formats},
    {0, "resume", NULL, "go on where the same command with -o FILE was interrupted", B2_ARG_SET,
     AT(score.job.is_resumed)},
    {0, "no-state", NULL, "no OUT.blip2 beside OUT, with which --resume knows what is finished", B2_ARG_SET,
     AT(score.job.keeps_no_state)},
    {'r', "recursive", NULL, "folders with all that is below them", B2_ARG_SET, AT(inputs.folders.recursive)},
    {0, "no-exif", NULL, "ignore the EXIF orientation, as transformers does", B2_ARG_SET, AT(no_exif)},
    B2_OPTION_THREADS(AT(score.job.n_threads)),
    {0, "isa", "NAME", "int8 kernels: see blip2 info (default: the fastest)", B2_ARG_TEXT, AT(score.job.isa)},
    B2_OPTIONS_GPU(score.job.gpu),
    {0, "quiet", NULL, "no progress", B2_ARG_SET, AT(score.job.is_quiet)},
    B2_OPTION_HELP,
    {.name = NULL}};

static const b2_syntax syntax = {
    "blip2 score IMAGE... --text TEXT [--text TEXT...]\nblip2 score --csv FILE --text-column NAME\n\n"
    "Log-likelihood of texts: of each token given the picture, the prompt and those before it, the stop token last.\n"
    "Text: logprob (the sum), logprob per token, probability among the texts given, text.",
    options, SIZE_MAX, ""};

static const char *find_conflict(const parsed *p, const b2_args *args) {
    const b2_scoring_options *o = &p->score;
    const b2_ask *ask = &o->job.spec.asks[0];
    const bool has_texts = o->n_texts > 0 || o->file_name != NULL;
    if (ask->prompt != NULL && ask->question != NULL) return "a prompt or a question, not both";
    if (p->csv_path == NULL && args->n_positionals == 0) return "no pictures: name files or folders, or --csv";
    if (p->csv_path == NULL && (p->text_column != NULL || p->image_column != NULL || p->inputs.csv.no_header))
        return "--image-column, --text-column and --no-header need --csv";
    if (p->csv_path == NULL && !has_texts) return "no text: --text TEXT, or --texts-from FILE";
    for (size_t i = 0; i < o->n_texts; i++)
        if (!b2_is_utf8(o->texts[i])) return "--text is not UTF-8";
    if (p->csv_path == NULL && p->format == FORMAT_CSV) return "--format csv needs --csv";
    if (p->csv_path != NULL && args->n_positionals > 0) return "--csv cannot be mixed with other pictures";
    if (p->csv_path != NULL && has_texts) return "the texts of --csv are in its --text-column";
    if (p->csv_path != NULL && p->text_column == NULL) return "which texts: --text-column NAME, or its number";
    if (p->csv_path != NULL && p->format == FORMAT_TEXT) return "with --csv the format is csv or jsonl";
    if (o->job.is_resumed && o->job.output_path == NULL)
        return "--resume needs -o FILE: what went to stdout cannot be continued";
    return NULL;
}

static blip2_status read_texts(parsed *p, blip2_error *err) {
    if (p->score.file_name == NULL) return BLIP2_OK;
    p->lines.keeps_spaces = true;
    B2_TRY(b2_line_list_read(&p->lines, p->score.file_name, err));
    for (size_t i = 0; i < p->lines.n; i++)
        if (!add_text(p, p->lines.lines[i])) return b2_fail(err, BLIP2_MEMORY, "no memory for the texts");
    return p->score.n_texts > 0 ? BLIP2_OK : b2_fail(err, BLIP2_FORMAT, "%s: no texts", p->score.file_name);
}

static blip2_status collect(parsed *p, const b2_args *args, blip2_error *err) {
    b2_inputs *inputs = &p->inputs;
    B2_TRY(read_texts(p, err));
    for (size_t i = 0; i < args->n_positionals; i++) B2_TRY(b2_inputs_add_path(inputs, args->positionals[i], err));
    if (p->csv_path != NULL) {
        B2_TRY(b2_inputs_add_csv(inputs, p->csv_path, p->image_column, err));
        B2_TRY(b2_csv_find_column(&inputs->csv, p->text_column, &p->score.column, err));
    }
    return inputs->n > 0 ? BLIP2_OK : b2_fail(err, BLIP2_FORMAT, "no pictures found");
}

static int run(parsed *p, const char *command, const b2_args *args) {
    static const b2_format formats_of[] = {
        [FORMAT_TEXT] = B2_FORMAT_TEXT, [FORMAT_JSONL] = B2_FORMAT_JSONL, [FORMAT_CSV] = B2_FORMAT_CSV};
    blip2_error err;
    b2_spec *spec = &p->score.job.spec;
    const char *conflict = find_conflict(p, args);
    if (conflict != NULL) return b2_fail_usage(command, "%s", conflict);
    if (p->format == FORMAT_AUTO) p->format = p->csv_path != NULL ? FORMAT_CSV : FORMAT_TEXT;
    spec->format = formats_of[p->format];
    spec->apply_exif = !p->no_exif;
    if (collect(p, args, &err) != BLIP2_OK) return b2_fail_input(&err);
    b2_warn_about_table(&p->inputs, p->image_column);
    return b2_scoring_run(&p->inputs, &p->score);
}

int b2_cmd_score(int argc, char **argv) {
    parsed p = {.score.job.spec = {.has_format = true,
                                   .n_asks = 1,
                                   .decoding = b2_decoding_fallback(),
                                   .has_background = true,
                                   .background = {255, 255, 255}}};
    b2_args args;
    int code;
    if (b2_args_begin(&syntax, argc, argv, &p, &args, &code)) code = run(&p, argv[0], &args);
    b2_inputs_free(&p.inputs);
    b2_line_list_free(&p.lines);
    free(p.score.texts);
    return code;
}
