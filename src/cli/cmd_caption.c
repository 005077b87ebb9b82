/* cmd_caption.c: blip2 caption and blip2 ask: the same job, with and without questions. */
#include "cli/commands.h"

#include "cli/common.h"
#include "cli/job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_QUESTIONS = 64, MAX_BATCH = 256, MAX_NEW_TOKENS = 4096 };

enum {
    OPT_MODEL = 1, OPT_THREADS, OPT_ISA, OPT_BATCH, OPT_OUTPUT, OPT_FORMAT, OPT_TOKENS, OPT_TIMINGS, OPT_NO_EXIF, OPT_NEW_TOKENS,
    OPT_PROMPT, OPT_QUESTION, OPT_RECURSIVE, OPT_FILES_FROM, OPT_NUL, OPT_CSV, OPT_COLUMN, OPT_QUIET, OPT_VERBOSE, OPT_HELP
};

#define COMMON_OPTIONS                                                                                                     \
    {OPT_MODEL, 'm', "model", "FILE", "the converted model (else $BLIP2_MODEL, else the only *.gguf here)"},              \
    {OPT_OUTPUT, 'o', "output", "FILE", "write there, whole or not at all (default: stdout)"},                             \
    {OPT_FORMAT, 0, "format", "FORMAT", "text, jsonl, csv or tsv"},                                                        \
    {OPT_FILES_FROM, 0, "files-from", "FILE", "read paths from FILE, one a line; - is stdin"},                             \
    {OPT_NUL, '0', "null", NULL, "the paths of --files-from end with NUL bytes"},                                          \
    {OPT_RECURSIVE, 'r', "recursive", NULL, "folders with all that is below them"},                                        \
    {OPT_CSV, 0, "csv", "FILE", "read paths from a column of a CSV file"},                                                 \
    {OPT_COLUMN, 0, "image-column", "NAME|N", "which column of --csv: its header or number (default 1)"},                  \
    {OPT_NEW_TOKENS, 'n', "max-new-tokens", "N", "at most so many tokens an answer (default 20)"},                         \
    {OPT_BATCH, 0, "batch", "N", "pictures that share each reading of the weights (default: 1 for one, 8 for more)"},      \
    {OPT_THREADS, 't', "threads", "N", "(default: OMP_NUM_THREADS, SLURM_CPUS_PER_TASK, else one per core)"},              \
    {OPT_ISA, 0, "isa", "NAME", "int8 kernels: see blip2 info (default: the fastest)"},                                    \
    {OPT_NO_EXIF, 0, "no-exif", NULL, "ignore the EXIF orientation, as transformers does"},                                \
    {OPT_TOKENS, 0, "tokens", NULL, "jsonl: with token ids and log-probabilities"},                                        \
    {OPT_TIMINGS, 0, "timings", NULL, "jsonl: with the milliseconds of each stage of the batch"},                          \
    {OPT_VERBOSE, 'v', "verbose", NULL, "say which model, kernels and threads"},                                           \
    {OPT_QUIET, 0, "quiet", NULL, "no progress, no summary"},                                                              \
    {OPT_HELP, 'h', "help", NULL, "this text"},                                                                            \
    {0, 0, NULL, NULL, NULL}

static const b2_option caption_options[] = {
    {OPT_PROMPT, 'p', "prompt", "TEXT", "raw text that the caption continues, never altered"}, COMMON_OPTIONS};
static const b2_option ask_options[] = {
    {OPT_QUESTION, 'q', "question", "TEXT", "a question, again for more; then every argument is a picture"}, COMMON_OPTIONS};

typedef struct parsed {
    b2_job_options job;
    b2_inputs inputs;
    const char *questions[MAX_QUESTIONS];
    const char *csv, *column, *files_from;
    bool is_nul, is_recursive, wants_help;
    const char **positionals; /* into argv */
    size_t n_positionals;
} parsed;

/* ---- options ---------------------------------------------------------------------------------------------------------- */

static bool take_format(b2_args *args, const char *value, b2_job_options *job) {
    static const char *const names[] = {"text", "jsonl", "csv", "tsv"};
    for (int i = 0; i < 4; i++) {
        if (strcmp(value, names[i]) != 0) continue;
        job->format = (b2_format)i;
        job->has_format = true;
        return true;
    }
    snprintf(args->error, sizeof args->error, "--format: expected text, jsonl, csv or tsv, got '%s'", value);
    return false;
}

static bool take_number(b2_args *args, const char *name, const char *value, long high, size_t *out) {
    long number;
    if (!b2_args_number(args, name, value, 1, high, &number)) return false;
    *out = (size_t)number;
    return true;
}

static bool take_option(b2_args *args, int id, const char *value, parsed *p) {
    size_t number = 0;
    switch (id) {
    case OPT_MODEL: p->job.model_path = value; return true;
    case OPT_OUTPUT: p->job.output_path = value; return true;
    case OPT_FORMAT: return take_format(args, value, &p->job);
    case OPT_FILES_FROM: p->files_from = value; return true;
    case OPT_NUL: return p->is_nul = true;
    case OPT_RECURSIVE: return p->is_recursive = true;
    case OPT_CSV: p->csv = value; return true;
    case OPT_COLUMN: p->column = value; return true;
    case OPT_NEW_TOKENS: return take_number(args, "max-new-tokens", value, MAX_NEW_TOKENS, &p->job.n_new_tokens);
    case OPT_BATCH: return take_number(args, "batch", value, MAX_BATCH, &p->job.batch);
    case OPT_THREADS:
        if (!take_number(args, "threads", value, 256, &number)) return false;
        p->job.n_threads = (int)number;
        return true;
    case OPT_ISA: p->job.isa = value; return true;
    case OPT_NO_EXIF: p->job.apply_exif = false; return true;
    case OPT_TOKENS: return p->job.wants_tokens = true;
    case OPT_TIMINGS: return p->job.wants_timings = true;
    case OPT_VERBOSE: return p->job.is_verbose = true;
    case OPT_QUIET: return p->job.is_quiet = true;
    case OPT_PROMPT: p->job.prompt = value; return true;
    case OPT_QUESTION:
        if (p->job.n_questions < MAX_QUESTIONS) p->questions[p->job.n_questions++] = value;
        else snprintf(args->error, sizeof args->error, "--question: at most %d of them", MAX_QUESTIONS);
        return args->error[0] == '\0';
    default: return p->wants_help = true;
    }
}

static bool parse(b2_args *args, parsed *p) {
    const char *value = NULL;
    for (int id; (id = b2_args_next(args, &value)) != B2_ARG_END;) {
        if (id == B2_ARG_ERROR) return false;
        if (id == B2_ARG_POSITIONAL) p->positionals[p->n_positionals++] = value;
        else if (!take_option(args, id, value, p)) return false;
        if (p->wants_help) return true;
    }
    return true;
}

/* ---- what belongs together ----------------------------------------------------------------------------------------------- */

/* The first sentence that forbids this combination, or NULL. */
static const char *find_conflict(const parsed *p, bool is_ask) {
    const bool has_pictures = p->n_positionals > 0, reads_list_from_stdin = p->files_from != NULL && strcmp(p->files_from, "-") == 0;
    if (is_ask && p->job.n_questions == 0) return "no question: blip2 ask \"QUESTION\" IMAGE..., or -q QUESTION";
    if (has_pictures + (p->files_from != NULL) + (p->csv != NULL) == 0) return "no pictures: name files or folders, --files-from or --csv";
    if (p->csv != NULL && (has_pictures || p->files_from != NULL)) return "--csv cannot be mixed with other pictures";
    if (p->column != NULL && p->csv == NULL) return "--image-column needs --csv";
    if (p->is_nul && p->files_from == NULL) return "-0 needs --files-from";
    if (reads_list_from_stdin && p->inputs.has_stdin_picture) return "stdin cannot be both the list and a picture";
    return NULL;
}

static blip2_status collect_inputs(parsed *p, blip2_error *err) {
    for (size_t i = 0; i < p->n_positionals; i++) B2_TRY(b2_inputs_add_path(&p->inputs, p->positionals[i], p->is_recursive, err));
    if (p->csv != NULL) B2_TRY(b2_inputs_add_csv(&p->inputs, p->csv, p->column, err));
    return BLIP2_OK;
}

static void warn_about_prompt(const parsed *p) {
    const size_t len = p->job.prompt != NULL ? strlen(p->job.prompt) : 0;
    if (len > 0 && p->job.prompt[len - 1] == ' ')
        b2_say("warning: the prompt ends with a space, which the model's word pieces bring themselves; answers get worse");
}

static int run(const char *command, bool is_ask, parsed *p) {
    blip2_error err;
    if (is_ask && p->job.n_questions == 0 && p->n_positionals > 0) {
        p->questions[p->job.n_questions++] = p->positionals[0];
        p->positionals++;
        p->n_positionals--;
    }
    p->job.questions = p->questions;
    if (collect_inputs(p, &err) != BLIP2_OK) return b2_fail_with(&err, B2_EXIT_FILES);
    const char *conflict = find_conflict(p, is_ask);
    if (conflict != NULL) return b2_fail_usage(command, "%s", conflict);
    if (p->files_from != NULL && b2_inputs_add_list(&p->inputs, p->files_from, p->is_nul ? B2_LIST_NUL : B2_LIST_LINES, &err) != BLIP2_OK)
        return b2_fail_with(&err, B2_EXIT_FILES);
    if (p->inputs.n == 0) {
        b2_say("no pictures found");
        return B2_EXIT_FILES;
    }
    warn_about_prompt(p);
    return b2_job_run(&p->inputs, &p->job);
}

static int caption_or_ask(int argc, char **argv, bool is_ask) {
    const b2_option *options = is_ask ? ask_options : caption_options;
    b2_args args = {.options = options, .argc = argc, .argv = argv, .at = 1};
    parsed p = {.job = {.n_new_tokens = 20, .apply_exif = true}};
    const char **positionals = calloc((size_t)argc + 1, sizeof *positionals);
    if (positionals == NULL) return B2_EXIT_MEMORY;
    p.positionals = positionals;
    int code = B2_EXIT_OK;
    if (!parse(&args, &p)) {
        code = b2_fail_usage(argv[0], "%s", args.error);
    } else if (p.wants_help) {
        puts(is_ask ? "blip2 ask \"QUESTION\" IMAGE...\nblip2 ask -q QUESTION [-q QUESTION...] IMAGE...\n\n"
                      "Answers questions about pictures: files, folders, or - for one on stdin. Options:\n"
                    : "blip2 caption IMAGE...\n\nDescribes pictures: files, folders, or - for one on stdin. Options:\n");
        b2_args_print_options(options);
    } else {
        code = run(argv[0], is_ask, &p);
    }
    b2_inputs_free(&p.inputs);
    free(positionals);
    return code;
}

int b2_cmd_caption(int argc, char **argv) { return caption_or_ask(argc, argv, false); }
int b2_cmd_ask(int argc, char **argv) { return caption_or_ask(argc, argv, true); }
