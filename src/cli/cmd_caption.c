/* cmd_caption.c: blip2 caption and blip2 ask: the same job, with and without questions. */
#include "cli/commands.h"

#include "cli/common.h"
#include "cli/job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BATCH = 256, MAX_NEW_TOKENS = 4096, MAX_JOB_WORKERS = 256, MAX_SECONDS = 1000000000 };

enum {
    OPT_MODEL = 1, OPT_THREADS, OPT_ISA, OPT_BATCH, OPT_WORKERS, OPT_OUTPUT, OPT_FORMAT, OPT_TOKENS, OPT_TIMINGS, OPT_NO_EXIF, OPT_NEW_TOKENS,
    OPT_PROMPT, OPT_QUESTION, OPT_NAME, OPT_RECURSIVE, OPT_FILES_FROM, OPT_NUL, OPT_CSV, OPT_COLUMN, OPT_JSONL, OPT_IMAGE_KEY, OPT_BASE_DIR,
    OPT_SIDECAR, OPT_EXT, OPT_EXISTING, OPT_OUT_DIR, OPT_REPORT, OPT_RESUME, OPT_RETRY, OPT_TIME_LIMIT, OPT_SHARD, OPT_MATCH, OPT_WORDS,
    OPT_MATCH_MODE, OPT_QUIET, OPT_VERBOSE, OPT_HELP
};

#define COMMON_OPTIONS                                                                                                     \
    {OPT_NAME, 0, "column", "NAME", "names the column of the prompt or question before it"},                              \
    {OPT_MODEL, 'm', "model", "FILE", "the converted model (else $BLIP2_MODEL, else the only *.gguf here)"},              \
    {OPT_OUTPUT, 'o', "output", "FILE", "write there, whole or not at all (default: stdout)"},                             \
    {OPT_FORMAT, 0, "format", "FORMAT", "text, jsonl, csv, tsv, or imagefolder (a metadata.jsonl); default: what -o FILE ends in, else text"},                       \
    {OPT_FILES_FROM, 0, "files-from", "FILE", "read paths from FILE, one a line; - is stdin"},                             \
    {OPT_NUL, '0', "null", NULL, "the paths of --files-from end with NUL bytes"},                                          \
    {OPT_RECURSIVE, 'r', "recursive", NULL, "folders with all that is below them"},                                        \
    {OPT_CSV, 0, "csv", "FILE", "read paths from a column of a CSV file; - is stdin"},                                                 \
    {OPT_COLUMN, 0, "image-column", "NAME|N", "which column of --csv: its header or number (default 1)"},                  \
    {OPT_JSONL, 0, "jsonl", "FILE", "read paths from a file of JSON lines; - is stdin"},                                               \
    {OPT_IMAGE_KEY, 0, "image-key", "KEY", "which member of --jsonl (default: image)"},                                    \
    {OPT_BASE_DIR, 0, "base-dir", "DIR", "relative paths begin there (default: here, else beside the list)"},              \
    {OPT_SIDECAR, 0, "sidecar", NULL, "each text in a file beside its picture: dog.jpg -> dog.txt"},                       \
    {OPT_EXT, 0, "ext", "EXT", "ending of the sidecars (default: .txt)"},                                                  \
    {OPT_EXISTING, 0, "existing", "WHAT", "sidecars that are there: skip (default), overwrite, append, prepend"},          \
    {OPT_OUT_DIR, 0, "out-dir", "DIR", "sidecars below DIR, in the pictures' folders"},                                    \
    {OPT_REPORT, 0, "report", "FILE.html", "a page with thumbnails and answers, readable anywhere"},                       \
    {OPT_MATCH, 0, "match", "LISTS", "columns with the words found: colors,textures,patterns,materials or all"},           \
    {OPT_WORDS, 0, "words", "[NAME=]FILE", "another list of words, one a line; again for more (data/words/README.md)"},                           \
    {OPT_MATCH_MODE, 0, "match-mode", "MODE", "word (default) or substring"},                                              \
    {OPT_RESUME, 0, "resume", NULL, "go on where the same command was interrupted (needs -o)"},                            \
    {OPT_RETRY, 0, "retry-failed", NULL, "with --resume: once more those that failed, of an unfinished job or of a shard"}, \
    {OPT_TIME_LIMIT, 0, "time-limit", "TIME", "stop in time, exit 75: 55m, 1h30m, 3600s"},                                 \
    {OPT_SHARD, 0, "shard", "I/N|auto", "only pictures whose index mod N is I; auto: from Slurm, OpenMPI or PMI"},         \
    {OPT_NEW_TOKENS, 'n', "max-new-tokens", "N", "at most so many tokens an answer (default 20)"},                         \
    {OPT_BATCH, 0, "batch", "N", "pictures that share each reading of the weights (default: 1 for one, 8 for more)"},      \
    {OPT_WORKERS, 0, "workers", "N", "sessions that share the threads (default: one for each 8 threads)"},                 \
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
    {OPT_PROMPT, 'p', "prompt", "TEXT", "raw text that the caption continues, never altered; again for more"},
    {OPT_QUESTION, 'q', "question", "TEXT", "a question beside the caption, after one look; again for more"},
    COMMON_OPTIONS};
static const b2_option ask_options[] = {
    {OPT_QUESTION, 'q', "question", "TEXT", "a question, again for more; then every argument is a picture"},
    {OPT_PROMPT, 'p', "prompt", "TEXT", "raw text to be continued, never altered; empty: a plain caption"},
    COMMON_OPTIONS};

typedef struct parsed {
    b2_job_options job;
    b2_inputs inputs;
    const char *csv, *column, *files_from, *jsonl, *image_key, *shard;
    bool is_nul, is_recursive, wants_help;
    const char **positionals; /* into argv */
    size_t n_positionals;
} parsed;

/* ---- options ---------------------------------------------------------------------------------------------------------- */

static bool refuse(b2_args *args, const char *option, const char *expected, const char *value) {
    snprintf(args->error, sizeof args->error, "--%s: expected %s, got '%s'", option, expected, value);
    return false;
}

static bool take_format(b2_args *args, const char *value, b2_spec *spec) {
    for (int i = 0; i < B2_N_FORMATS; i++) {
        if (strcmp(value, b2_format_name((b2_format)i)) != 0) continue;
        spec->format = (b2_format)i;
        return spec->has_format = true;
    }
    return refuse(args, "format", "text, jsonl, csv, tsv or imagefolder", value);
}

static bool take_number(b2_args *args, const char *name, const char *value, long high, size_t *out) {
    long number;
    if (!b2_args_number(args, name, value, 1, high, &number)) return false;
    *out = (size_t)number;
    return true;
}

/* "1h30m", "55m", "90s", "90". */
static bool take_seconds(b2_args *args, const char *value, double *seconds) {
    *seconds = 0;
    for (const char *at = value; *at != '\0';) {
        char *end;
        const double number = *at >= '0' && *at <= '9' ? strtod(at, &end) : -1;
        if (number < 0) return refuse(args, "time-limit", "a time like 55m, 1h30m or 3600s", value);
        const double unit = *end == 'h' ? 3600 : *end == 'm' ? 60 : *end == 's' || *end == '\0' ? 1 : 0;
        if (unit == 0) return refuse(args, "time-limit", "a time like 55m, 1h30m or 3600s", value);
        *seconds += number * unit;
        at = *end == '\0' ? end : end + 1;
    }
    return (*seconds > 0 && *seconds < MAX_SECONDS) || refuse(args, "time-limit", "a time like 55m, 1h30m or 3600s", value);
}

static bool take_ask(b2_args *args, b2_spec *spec, const char *prompt, const char *question) {
    if (spec->n_asks == B2_MAX_ASKS - 1) {
        snprintf(args->error, sizeof args->error, "at most %d prompts and questions", B2_MAX_ASKS - 1);
        return false;
    }
    spec->asks[spec->n_asks++] = (b2_ask){.prompt = prompt, .question = question};
    return true;
}

static bool take_column_name(b2_args *args, b2_spec *spec, const char *value) {
    if (spec->n_asks > 0) {
        spec->asks[spec->n_asks - 1].column = value;
        return true;
    }
    snprintf(args->error, sizeof args->error, "--column %s: stands behind the -p or -q whose column it names", value);
    return false;
}

static bool take_words(b2_args *args, b2_spec *spec, const char *value) {
    if (spec->n_word_files == B2_MAX_WORD_FILES) {
        snprintf(args->error, sizeof args->error, "--words: at most %d of them", B2_MAX_WORD_FILES);
        return false;
    }
    spec->word_files[spec->n_word_files++] = value;
    return true;
}

static bool take_what(b2_args *args, int id, const char *value, parsed *p) {
    b2_spec *spec = &p->job.spec;
    switch (id) {
    case OPT_FORMAT: return take_format(args, value, spec);
    case OPT_NEW_TOKENS: return take_number(args, "max-new-tokens", value, MAX_NEW_TOKENS, &spec->n_new_tokens);
    case OPT_PROMPT: return take_ask(args, spec, value, NULL);
    case OPT_QUESTION: return take_ask(args, spec, NULL, value);
    case OPT_NAME: return take_column_name(args, spec, value);
    case OPT_NO_EXIF: spec->apply_exif = false; return true;
    case OPT_TOKENS: return spec->wants_tokens = true;
    case OPT_TIMINGS: return spec->wants_timings = true;
    case OPT_MATCH: spec->match_lists = value; return true;
    case OPT_WORDS: return take_words(args, spec, value);
    case OPT_MATCH_MODE:
        spec->match_mode = strcmp(value, "substring") == 0 ? B2_MATCH_SUBSTRING : B2_MATCH_WORD;
        return spec->match_mode == B2_MATCH_SUBSTRING || strcmp(value, "word") == 0 || refuse(args, "match-mode", "word or substring", value);
    default: return p->wants_help = true;
    }
}

static bool take_option(b2_args *args, int id, const char *value, parsed *p) {
    b2_job_options *job = &p->job;
    size_t number = 0;
    switch (id) {
    case OPT_MODEL: job->model_path = value; return true;
    case OPT_OUTPUT: job->output_path = value; return true;
    case OPT_FILES_FROM: p->files_from = value; return true;
    case OPT_NUL: return p->is_nul = true;
    case OPT_RECURSIVE: return p->is_recursive = true;
    case OPT_CSV: p->csv = value; return true;
    case OPT_COLUMN: p->column = value; return true;
    case OPT_JSONL: p->jsonl = value; return true;
    case OPT_IMAGE_KEY: p->image_key = value; return true;
    case OPT_BASE_DIR: p->inputs.base_folder = value; return true;
    case OPT_SIDECAR: return job->sidecar.is_wanted = true;
    case OPT_EXT: job->sidecar.extension = value; return true;
    case OPT_EXISTING: return b2_existing_from_name(value, &job->sidecar.existing) || refuse(args, "existing", "skip, overwrite, append or prepend", value);
    case OPT_OUT_DIR: job->sidecar.out_folder = value; return true;
    case OPT_REPORT: job->report_path = value; return job->spec.wants_thumbnails = true;
    case OPT_RESUME: return job->is_resumed = true;
    case OPT_RETRY: return job->retries_failed = true;
    case OPT_TIME_LIMIT: return take_seconds(args, value, &job->time_limit_seconds);
    case OPT_SHARD: p->shard = value; return true;
    case OPT_BATCH: return take_number(args, "batch", value, MAX_BATCH, &job->batch);
    case OPT_WORKERS: return take_number(args, "workers", value, MAX_JOB_WORKERS, &job->n_workers);
    case OPT_THREADS:
        if (!take_number(args, "threads", value, 256, &number)) return false;
        job->n_threads = (int)number;
        return true;
    case OPT_ISA: job->isa = value; return true;
    case OPT_VERBOSE: return job->is_verbose = true;
    case OPT_QUIET: return job->is_quiet = true;
    default: return take_what(args, id, value, p);
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

static const char *find_list_conflict(const parsed *p) {
    const bool has_pictures = p->n_positionals > 0, reads_list_from_stdin = p->files_from != NULL && strcmp(p->files_from, "-") == 0;
    const int n_tables = (p->csv != NULL) + (p->jsonl != NULL);
    if (has_pictures + (p->files_from != NULL) + n_tables == 0) return "no pictures: name files or folders, --files-from, --csv or --jsonl";
    if (p->csv != NULL && (has_pictures || p->files_from != NULL || p->jsonl != NULL)) return "--csv cannot be mixed with other pictures";
    if (p->jsonl != NULL && (has_pictures || p->files_from != NULL)) return "--jsonl cannot be mixed with other pictures";
    if (p->column != NULL && p->csv == NULL) return "--image-column needs --csv";
    if (p->image_key != NULL && p->jsonl == NULL) return "--image-key needs --jsonl";
    if (p->is_nul && p->files_from == NULL) return "-0 needs --files-from";
    if (reads_list_from_stdin && p->inputs.has_stdin_picture) return "stdin cannot be both the list and a picture";
    return NULL;
}

/* The first sentence that forbids this combination, or NULL. */
static const char *find_conflict(const parsed *p) {
    const b2_job_options *job = &p->job;
    const bool has_sidecar_options = job->sidecar.extension != NULL || job->sidecar.out_folder != NULL || job->sidecar.existing != B2_EXISTING_SKIP;
    if (job->spec.n_asks == 0) return "no question: blip2 ask \"QUESTION\" IMAGE..., or -q QUESTION";
    if (has_sidecar_options && !job->sidecar.is_wanted) return "--ext, --existing and --out-dir need --sidecar";
    if (job->sidecar.extension != NULL && !b2_sidecar_is_ending(job->sidecar.extension)) return "--ext: expected an ending like .txt";
    if (job->sidecar.extension != NULL && b2_sidecar_is_picture(job->sidecar.extension))
        return "--ext: sidecars that end as pictures do would overwrite pictures";
    const bool has_journal = job->output_path != NULL || (job->sidecar.is_wanted && job->report_path != NULL);
    if (job->is_resumed && !has_journal) return "--resume needs -o FILE: what went to stdout cannot be continued";
    if (job->retries_failed && !job->is_resumed) return "--retry-failed needs --resume";
    if (job->spec.format == B2_FORMAT_IMAGEFOLDER && job->output_path == NULL) return "--format imagefolder needs -o FOLDER/metadata.jsonl";
    if (p->inputs.has_stdin_picture && job->sidecar.is_wanted) return "a picture on stdin has no place for a sidecar";
    return find_list_conflict(p);
}

static blip2_status collect_inputs(parsed *p, blip2_error *err) {
    for (size_t i = 0; i < p->n_positionals; i++) B2_TRY(b2_inputs_add_path(&p->inputs, p->positionals[i], p->is_recursive, err));
    if (p->shard != NULL) B2_TRY(b2_shard_parse(p->shard, &p->job.shard, err));
    return BLIP2_OK;
}

static blip2_status collect_lists(parsed *p, blip2_error *err) {
    if (p->csv != NULL) B2_TRY(b2_inputs_add_csv(&p->inputs, p->csv, p->column, err));
    if (p->jsonl != NULL) B2_TRY(b2_inputs_add_jsonl(&p->inputs, p->jsonl, p->image_key != NULL ? p->image_key : "image", err));
    return p->files_from != NULL ? b2_inputs_add_list(&p->inputs, p->files_from, p->is_nul ? B2_LIST_NUL : B2_LIST_LINES, err) : BLIP2_OK;
}

static void warn_about_prompts(const b2_spec *spec) {
    for (size_t i = 0; i < spec->n_asks; i++) {
        const char *prompt = spec->asks[i].prompt;
        const size_t len = prompt != NULL ? strlen(prompt) : 0;
        if (len > 0 && prompt[len - 1] == ' ')
            b2_say("warning: the prompt ends with a space, which the model's word pieces bring themselves; answers get worse");
    }
}

/* ask's first argument is its question unless -q or -p bring one; caption captions, unless prompts say what. */
static void complete_asks(bool is_ask, parsed *p) {
    b2_spec *spec = &p->job.spec;
    bool has_prompt = false;
    for (size_t i = 0; i < spec->n_asks; i++) has_prompt |= spec->asks[i].prompt != NULL;
    if (is_ask && spec->n_asks == 0 && p->n_positionals > 0) {
        spec->asks[spec->n_asks++] = (b2_ask){.question = p->positionals[0]};
        p->positionals++;
        p->n_positionals--;
    } else if (!is_ask && !has_prompt) {
        memmove(&spec->asks[1], &spec->asks[0], spec->n_asks * sizeof spec->asks[0]);
        spec->asks[0] = (b2_ask){0};
        spec->n_asks++;
    }
}

/* Without --format the name of the output says what it is: who writes captions.csv wants a table. */
static void choose_format(b2_job_options *job) {
    const char *ending = job->output_path != NULL ? strrchr(job->output_path, '.') : NULL;
    static const b2_format named[] = {B2_FORMAT_CSV, B2_FORMAT_TSV, B2_FORMAT_JSONL};
    for (size_t i = 0; ending != NULL && !job->spec.has_format && i < sizeof named / sizeof named[0]; i++) {
        if (strcmp(ending + 1, b2_format_name(named[i])) != 0) continue;
        job->spec.format = named[i];
        job->spec.has_format = true;
    }
}

static int run(const char *command, bool is_ask, parsed *p) {
    blip2_error err;
    complete_asks(is_ask, p);
    if (collect_inputs(p, &err) != BLIP2_OK) return b2_fail_with(&err, B2_EXIT_FILES);
    const char *conflict = find_conflict(p);
    if (conflict != NULL) return b2_fail_usage(command, "%s", conflict);
    choose_format(&p->job);
    if (collect_lists(p, &err) != BLIP2_OK) return b2_fail_input(&err);
    if (p->inputs.n == 0) {
        b2_say("%s%sno pictures found", p->inputs.list_path != NULL ? p->inputs.list_path : "", p->inputs.list_path != NULL ? ": " : "");
        return B2_EXIT_FILES;
    }
    warn_about_prompts(&p->job.spec);
    return b2_job_run(&p->inputs, &p->job);
}

static int caption_or_ask(int argc, char **argv, bool is_ask) {
    const b2_option *options = is_ask ? ask_options : caption_options;
    b2_args args = {.options = options, .argc = argc, .argv = argv, .at = 1};
    parsed p = {.job = {.spec = {.n_new_tokens = 20, .apply_exif = true}}};
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
