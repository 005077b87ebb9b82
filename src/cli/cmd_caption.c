/* cmd_caption.c: blip2 caption and blip2 ask: the same job, with and without questions. This file turns the command
 * line into a list of pictures and the options of a job. */
#include "cli/commands.h"

#include "base/grow.h"
#include "cli/args.h"
#include "cli/warnings.h"
#include "console/say.h"
#include "job/job.h"
#include "lists/json_list.h"
#include "lists/tar_source.h"
#include "record/writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_JOB_WORKERS = 256, MAX_SECONDS = 1000000000, DEFAULT_MAX_BYTES = 256 << 20 };

typedef enum list_kind { NO_LIST, LIST_OF_PATHS, LIST_CSV, LIST_JSON, LIST_TAR } list_kind;

typedef struct parsed {
    b2_job_options job;
    b2_inputs inputs;
    const char **lists; /* of one kind, in the order given; from malloc */
    size_t n_lists, list_capacity;
    list_kind kind;
    char **names; /* [n_names] those of lists that are not in argv; each from malloc */
    size_t n_names, name_capacity;
    bool has_two_kinds, is_nul;
    const char *csv_column, *image_key, *shard;
    const char *preset_prompt; /* of captions without a prompt; NULL */
    blip2_decoding preset;     /* what is chosen before any option of the user's */
    b2_args args;
} parsed;

/* ---- options that take more than a value ------------------------------------------------------------------------ */

static bool take_format(void *target, const char *value, char *error) {
    b2_spec *spec = &((parsed *)target)->job.spec;
    if (b2_format_find(value, &spec->format)) return spec->has_format = true;
    return b2_arg_refuse(error, "text, jsonl, csv, tsv or imagefolder", value);
}

static bool take_background(void *target, const char *value, char *error) {
    return b2_spec_set_background(&((parsed *)target)->job.spec, value) ||
           b2_arg_refuse(error, "white, black, six hexadecimal digits (RRGGBB), or keep", value);
}

/* "1h30m", "55m", "90s", "90". */
static bool take_time_limit(void *target, const char *value, char *error) {
    static const char what[] = "a time like 55m, 1h30m or 3600s";
    double seconds = 0;
    for (const char *at = value; *at != '\0';) {
        char *end;
        const double number = *at >= '0' && *at <= '9' ? strtod(at, &end) : -1;
        if (number < 0) return b2_arg_refuse(error, what, value);
        const double unit = *end == 'h' ? 3600 : *end == 'm' ? 60 : *end == 's' || *end == '\0' ? 1 : 0;
        if (unit == 0) return b2_arg_refuse(error, what, value);
        seconds += number * unit;
        at = *end == '\0' ? end : end + 1;
    }
    ((parsed *)target)->job.time_limit_seconds = seconds;
    return (seconds > 0 && seconds < MAX_SECONDS) || b2_arg_refuse(error, what, value);
}

static bool add_ask(void *target, b2_ask ask, char *error) {
    b2_spec *spec = &((parsed *)target)->job.spec;
    if (spec->n_asks == B2_MAX_ASKS - 1) {
        snprintf(error, B2_ARG_ERROR_BYTES, "at most %d prompts and questions", B2_MAX_ASKS - 1);
        return false;
    }
    spec->asks[spec->n_asks++] = ask;
    return true;
}

static bool take_prompt(void *target, const char *value, char *error) {
    return add_ask(target, (b2_ask){.prompt = value}, error);
}

static bool take_question(void *target, const char *value, char *error) {
    return add_ask(target, (b2_ask){.question = value}, error);
}

static bool take_answer_column(void *target, const char *value, char *error) {
    b2_spec *spec = &((parsed *)target)->job.spec;
    if (spec->n_asks > 0) spec->asks[spec->n_asks - 1].column = value;
    else snprintf(error, B2_ARG_ERROR_BYTES, "'%s' must follow the -p or -q that it names", value);
    return spec->n_asks > 0;
}

static bool refuse_preset(const char *value, char *error) {
    char names[128] = "";
    blip2_preset preset = {.struct_bytes = sizeof preset};
    for (size_t i = 0, len = 0; blip2_preset_at(i, &preset) && len < sizeof names; i++)
        len += (size_t)snprintf(names + len, sizeof names - len, "%s%s", i > 0 ? ", " : "", preset.name);
    return b2_arg_refuse(error, names, value);
}

static void set_preset(const blip2_preset *preset, blip2_decoding *d) {
    d->max_new_tokens = preset->max_new_tokens;
    d->num_beams = preset->num_beams;
    d->min_new_tokens = preset->min_new_tokens;
    d->length_penalty = preset->length_penalty;
    d->beam_search = preset->beam_search;
    d->rules_see = preset->rules_see;
}

/* Options that follow change what it sets. */
static bool take_preset(void *target, const char *value, char *error) {
    parsed *p = target;
    blip2_preset preset = {.struct_bytes = sizeof preset};
    if (!blip2_preset_find(value, &preset)) return refuse_preset(value, error);
    set_preset(&preset, &p->job.spec.decoding);
    set_preset(&preset, &p->preset);
    p->job.spec.is_short = preset.is_short;
    p->preset_prompt = preset.prompt;
    return true;
}

static bool take_words(void *target, const char *value, char *error) {
    b2_spec *spec = &((parsed *)target)->job.spec;
    if (spec->n_word_files == B2_MAX_WORD_FILES) {
        snprintf(error, B2_ARG_ERROR_BYTES, "at most %d of them", B2_MAX_WORD_FILES);
        return false;
    }
    spec->word_files[spec->n_word_files++] = value;
    return true;
}

static bool take_exclude(void *target, const char *value, char *error) {
    b2_folder_walk *folders = &((parsed *)target)->inputs.folders;
    if (folders->n_excludes == B2_EXCLUDES_MAX) {
        snprintf(error, B2_ARG_ERROR_BYTES, "at most %d of them", B2_EXCLUDES_MAX);
        return false;
    }
    folders->excludes[folders->n_excludes++] = value;
    return true;
}

static bool take_list(parsed *p, list_kind kind, const char *value, char *error) {
    p->has_two_kinds |= p->kind != NO_LIST && p->kind != kind;
    p->kind = kind;
    if (b2_grow(&p->lists, p->n_lists, &p->list_capacity, sizeof *p->lists)) p->lists[p->n_lists++] = value;
    else snprintf(error, B2_ARG_ERROR_BYTES, "no memory for it");
    return p->n_lists > 0 && p->lists[p->n_lists - 1] == value;
}

static bool take_paths(void *target, const char *value, char *error) {
    return take_list(target, LIST_OF_PATHS, value, error);
}

static bool take_csv(void *target, const char *value, char *error) { return take_list(target, LIST_CSV, value, error); }

static bool take_jsonl(void *target, const char *value, char *error) {
    return take_list(target, LIST_JSON, value, error);
}

static bool keep_tar(void *target, const char *name) {
    parsed *p = target;
    char *copy = strdup(name);
    char error[B2_ARG_ERROR_BYTES];
    if (copy != NULL && b2_grow(&p->names, p->n_names, &p->name_capacity, sizeof *p->names)) {
        p->names[p->n_names++] = copy;
        return take_list(p, LIST_TAR, copy, error);
    }
    free(copy);
    return false;
}

static bool take_tar(void *target, const char *value, char *error) {
    return b2_braces_each(value, keep_tar, target) ||
           b2_arg_refuse(error, "a tar file, or braces that mean at most 100000 of them", value);
}

/* ---- the table ------------------------------------------------------------------------------------------------- */

#define B2_ARG_FLAG B2_ARG_SET
#define AT(member) .offset = offsetof(parsed, member)
static const b2_option options[] = {
    {'p', "prompt", "TEXT", "raw text that the answer continues, never altered; again for more", B2_ARG_CALL,
     .call = take_prompt},
    {'q', "question", "TEXT", "a question; again for more; with ask: then every argument is a picture", B2_ARG_CALL,
     .call = take_question},
#define B2_ASKING(type, member, flag, value, key, help) {0, flag, value, help, B2_ARG_##type, AT(job.spec.member)},
#include "asking.def"
    {0, "answers", "FILE", "each answer is one of FILE's, one a line; as long as it is, whatever -n; - is stdin",
     B2_ARG_TEXT, AT(job.answers_path)},
    {0, "preset", "NAME", "greedy, hf-beam5, lavis-caption, lavis-vqa, coco, nocaps; options that follow change it",
     B2_ARG_CALL, .call = take_preset},
    {0, "column", "NAME", "names the column of the prompt or question before it", B2_ARG_CALL,
     .call = take_answer_column},
    {'m', "model", "FILE", "the converted model (else $BLIP2_MODEL, else the only *.gguf here)", B2_ARG_TEXT,
     AT(job.model_path)},
    {'o', "output", "FILE", "write there, whole or not at all (default: stdout)", B2_ARG_TEXT, AT(job.output_path)},
    {0, "format", "FORMAT",
     "text, jsonl, csv, tsv, or imagefolder (a metadata.jsonl); default: from the extension of -o FILE, else text",
     B2_ARG_CALL, .call = take_format},
    {0, "files-from", "FILE", "read paths from FILE, one a line; - is stdin; any list: again for more, in that order",
     B2_ARG_CALL, .call = take_paths},
    {'0', "null", NULL, "the paths of --files-from end with NUL bytes", B2_ARG_SET, AT(is_nul)},
    {'r', "recursive", NULL, "folders with all that is below them", B2_ARG_SET, AT(inputs.folders.recursive)},
    {0, "exclude", "GLOB", "leave such names out of folders, beside @eaDir, .thumbnails, __MACOSX, ._*; again for more",
     B2_ARG_CALL, .call = take_exclude},
    {0, "csv", "FILE", "read paths from a column of a table (commas, semicolons or tabs; UTF-8, UTF-16); - is stdin",
     B2_ARG_CALL, .call = take_csv},
    {0, "image-column", "NAME|N", "which column of --csv: its header or number (default 1)", B2_ARG_TEXT,
     AT(csv_column)},
    {0, "no-header", NULL, "the table of --csv has none: its first row is a picture", B2_ARG_SET,
     AT(inputs.csv.no_header)},
    {0, "jsonl", "FILE", "read paths from JSON lines, or a JSON array of objects; - is stdin", B2_ARG_CALL,
     .call = take_jsonl},
    {0, "image-key", "KEY", "which member of --jsonl (default: image)", B2_ARG_TEXT, AT(image_key)},
    {0, "tar", "FILE",
     "samples of a tar file (plain, gzip, zstd) as WebDataset cuts them; data-{000..009}.tar; - is stdin", B2_ARG_CALL,
     .call = take_tar},
    {0, "max-bytes", "N", "a larger member of --tar is an error row (default 268435456)", B2_ARG_SIZE,
     AT(job.max_bytes), .low = 1, .high = 1 << 30},
    {0, "base-dir", "DIR", "relative paths begin there (default: here, else beside the list)", B2_ARG_TEXT,
     AT(inputs.base_folder)},
    {0, "sidecar", NULL, "each text in a file beside its picture: dog.jpg -> dog.txt", B2_ARG_SET,
     AT(job.sidecar.is_wanted)},
    {0, "ext", "EXT", "extension of the sidecars (default: .txt)", B2_ARG_TEXT, AT(job.sidecar.extension)},
    {0, "existing", "WHAT", "sidecars that are there: skip (default), overwrite, append, prepend", B2_ARG_CHOICE,
     AT(job.sidecar.existing), .choices = b2_existing_names},
    {0, "out-dir", "DIR", "sidecars below DIR, in the pictures' folders", B2_ARG_TEXT, AT(job.sidecar.out_folder)},
    {0, "prefix", "TEXT", "each line of a sidecar begins with it", B2_ARG_TEXT, AT(job.sidecar.prefix)},
    {0, "suffix", "TEXT", "and ends with it", B2_ARG_TEXT, AT(job.sidecar.suffix)},
    {0, "separator", "TEXT", "several answers on one line of a sidecar, with it between them (', ')", B2_ARG_TEXT,
     AT(job.sidecar.separator)},
    {0, "report", "FILE.html", "a page with thumbnails and answers, readable anywhere", B2_ARG_TEXT,
     AT(job.report_path)},
    {0, "match", "LISTS", "columns with the words found: colors,textures,patterns,materials or all", B2_ARG_TEXT,
     AT(job.spec.match_lists)},
    {0, "words", "[NAME=]FILE", "another list of words, one a line; again for more (data/words/README.md)", B2_ARG_CALL,
     .call = take_words},
    {0, "match-mode", "MODE", "word (default) or substring", B2_ARG_CHOICE, AT(job.spec.match_mode),
     .choices = b2_match_mode_names},
    {0, "resume", NULL, "go on where the same command was interrupted, or with what was added to its list", B2_ARG_SET,
     AT(job.is_resumed)},
    {0, "retry-failed", NULL, "with --resume: also retry pictures that failed", B2_ARG_SET, AT(job.retries_failed)},
    {0, "no-state", NULL, "no OUT.blip2 beside OUT, with which --resume knows what is finished", B2_ARG_SET,
     AT(job.keeps_no_state)},
    {0, "time-limit", "TIME", "stop in time, exit 75: 55m, 1h30m, 3600s", B2_ARG_CALL, .call = take_time_limit},
    {0, "shard", "I/N|auto",
     "pictures whose index mod N is I; auto: from Slurm, OpenMPI or PMI; auto/N: only I from it", B2_ARG_TEXT,
     AT(shard)},
#define B2_DECODING(type, member, letter, flag, value, least, most, fallback, key, help)                               \
    {letter, flag, value, help, B2_ARG_##type, AT(job.spec.decoding.member), .low = least, .high = most},
#include "decoding.def"
    {0, "batch", "N", "pictures at work side by side (default: 1 for one; for more 8, 16 or 32, as memory allows)",
     B2_ARG_SIZE, AT(job.batch), .low = 1, .high = BLIP2_MAX_BATCH},
    {0, "workers", "N", "sessions that share the threads (default: one for each 8 threads)", B2_ARG_SIZE,
     AT(job.n_workers), .low = 1, .high = MAX_JOB_WORKERS},
    B2_OPTION_THREADS(AT(job.n_threads)),
    {0, "isa", "NAME", "int8 kernels: see blip2 info (default: the fastest)", B2_ARG_TEXT, AT(job.isa)},
    B2_OPTIONS_GPU(job.gpu),
    {0, "no-exif", NULL, "ignore the EXIF orientation, as transformers does", B2_ARG_CLEAR, AT(job.spec.apply_exif)},
    {0, "background", "COLOUR", "behind transparent pixels: white (default), black, RRGGBB, or keep what they hide",
     B2_ARG_CALL, .call = take_background},
    {0, "truncated-images", NULL, "of cut or damaged pictures take what is there, the rest black", B2_ARG_SET,
     AT(job.spec.reads_truncated)},
    {0, "tokens", NULL, "jsonl: with token ids and log-probabilities", B2_ARG_SET, AT(job.spec.wants_tokens)},
    {0, "timings", NULL, "jsonl: with the milliseconds of the stages that the picture went through with others",
     B2_ARG_SET, AT(job.spec.wants_timings)},
    {0, "lock", NULL, "keep the model file in memory, where the system permits it (ulimit -l)", B2_ARG_SET,
     AT(job.locks_model)},
    {'v', "verbose", NULL, "say which model, kernels and threads", B2_ARG_SET, AT(job.is_verbose)},
    {0, "quiet", NULL, "no progress, no summary", B2_ARG_SET, AT(job.is_quiet)},
    B2_OPTION_HELP,
    {.name = NULL}};

/* Its length shows only at its end: a pipe, a terminal. */
static bool is_pipe(int fd) {
    struct stat st;
    return fstat(fd, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode);
}

/* ---- what belongs together ------------------------------------------------------------------------------------- */

static const char *find_list_conflict(const parsed *p) {
    const bool has_pictures = p->args.n_positionals > 0;
    const bool has_stdin_answers = p->job.answers_path != NULL && strcmp(p->job.answers_path, "-") == 0;
    size_t n_stdin = 0;
    for (size_t i = 0; i < p->n_lists; i++) n_stdin += strcmp(p->lists[i], "-") == 0;
    if (!has_pictures && p->kind == NO_LIST)
        return "no pictures: name files or folders, --files-from, --csv, --jsonl or --tar";
    if (p->has_two_kinds) return "two kinds of list: --files-from, --csv, --jsonl and --tar cannot be mixed";
    if (p->kind == LIST_CSV && has_pictures) return "--csv cannot be mixed with other pictures";
    if (p->kind == LIST_TAR && has_pictures) return "--tar cannot be mixed with other pictures";
    if (p->kind == LIST_TAR && p->shard != NULL) return "--shard needs a list: give each task its own --tar files";
    if (p->kind == LIST_TAR && p->job.sidecar.is_wanted && p->job.sidecar.out_folder == NULL)
        return "--sidecar of --tar needs --out-dir: nothing is written into an archive";
    if (p->job.max_bytes > 0 && p->kind != LIST_TAR) return "--max-bytes needs --tar";
    if (p->kind == LIST_JSON && has_pictures) return "--jsonl cannot be mixed with other pictures";
    if (p->csv_column != NULL && p->kind != LIST_CSV) return "--image-column needs --csv";
    if (p->inputs.csv.no_header && p->kind != LIST_CSV) return "--no-header needs --csv";
    if (p->image_key != NULL && p->kind != LIST_JSON) return "--image-key needs --jsonl";
    if (p->is_nul && p->kind != LIST_OF_PATHS) return "-0 needs --files-from";
    if (n_stdin > 1 || (has_stdin_answers && (n_stdin > 0 || p->inputs.has_stdin_picture)))
        return "stdin (-) can be named once";
    if (n_stdin > 0 && p->job.is_resumed && (p->kind == LIST_TAR || is_pipe(STDIN_FILENO)))
        return "--resume needs a list or tar file with a name: what a pipe brought cannot be read again";
    if (n_stdin > 0 && p->inputs.has_stdin_picture) return "stdin cannot be both the list and a picture";
    return NULL;
}

/* The first sentence that forbids this combination, or NULL. */
static const char *find_conflict(const parsed *p) {
    const b2_job_options *job = &p->job;
    const b2_sidecar_options *sidecar = &job->sidecar;
    const bool has_sidecar_options =
        sidecar->extension != NULL || sidecar->out_folder != NULL || sidecar->existing != B2_EXISTING_SKIP;
    const bool has_line_options = sidecar->prefix != NULL || sidecar->suffix != NULL || sidecar->separator != NULL;
    const blip2_decoding *d = &job->spec.decoding;
    if (job->spec.choices != NULL && (d->num_beams > 1 || d->num_return_sequences > 1 || d->do_sample))
        return "--choices scores all of them: no beams, no samples";
    if (job->spec.choices != NULL && (d->alternatives > 0 || d->output_scores))
        return "--choices says the probability of each: no --alternatives, no --output-scores";
    if (job->answers_path != NULL && job->spec.choices != NULL) return "--choices or --answers, not both";
    if (job->answers_path != NULL &&
        (d->min_length > 0 || d->min_new_tokens > 0 || d->forced_eos_token_id > 0 || d->retry_empty))
        return "--answers end where they end: no --min-length, --min-new-tokens, --forced-eos-token-id, --retry-empty";
    if (job->spec.n_asks == 0) return "no question: blip2 ask \"QUESTION\" IMAGE..., or -q QUESTION";
    if (has_sidecar_options && !job->sidecar.is_wanted) return "--ext, --existing and --out-dir need --sidecar";
    if (has_line_options && !sidecar->is_wanted) return "--prefix, --suffix and --separator need --sidecar";
    if (job->sidecar.extension != NULL && !b2_sidecar_is_ending(job->sidecar.extension))
        return "--ext: expected an extension like .txt";
    if (job->sidecar.extension != NULL && b2_sidecar_is_picture(job->sidecar.extension))
        return "--ext: sidecars with a picture's extension would overwrite pictures";
    const bool has_journal = job->output_path != NULL || (job->sidecar.is_wanted && job->report_path != NULL);
    if (job->is_resumed && !has_journal) return "--resume needs -o FILE: what went to stdout cannot be continued";
    if (job->retries_failed && !job->is_resumed) return "--retry-failed needs --resume";
    if (p->shard != NULL && job->report_path != NULL && job->output_path == NULL)
        return "--shard with --report needs -o FILE: all shards would write one report";
    if (job->spec.format == B2_FORMAT_IMAGEFOLDER && job->output_path == NULL)
        return "--format imagefolder needs -o FOLDER/metadata.jsonl";
    if (p->inputs.has_stdin_picture && job->sidecar.is_wanted) return "a picture on stdin has no place for a sidecar";
    return find_list_conflict(p);
}

/* What a folder holds beside pictures: with -v each by its name; a folder that cannot be listed always. */
static void tell_passed(void *context, const char *path, const char *why, bool is_error) {
    const parsed *p = context;
    if (is_error) b2_say("%s: cannot be listed: %s", path, why);
    else if (p->job.is_verbose) b2_say("%s: passed over: %s", path, why);
}

static blip2_status collect_answers(b2_job_options *job, blip2_error *err) {
    if (job->answers_path == NULL) return BLIP2_OK;
    B2_TRY(b2_line_list_read(&job->answers, job->answers_path, err));
    job->spec.answers = b2_line_list_hash(&job->answers);
    return BLIP2_OK;
}

static blip2_status collect_inputs(parsed *p, blip2_error *err) {
    p->inputs.folders.tell = tell_passed;
    p->inputs.folders.context = p;
    for (size_t i = 0; i < p->args.n_positionals; i++)
        B2_TRY(b2_inputs_add_path(&p->inputs, p->args.positionals[i], err));
    if (p->shard != NULL) B2_TRY(b2_shard_parse(p->shard, &p->job.shard, err));
    return BLIP2_OK;
}

static const char *key_of(const parsed *p) { return p->image_key != NULL ? p->image_key : "image"; }

static blip2_status collect_list(parsed *p, const char *path, blip2_error *err) {
    switch (p->kind) {
    case LIST_CSV: return b2_inputs_add_csv(&p->inputs, path, p->csv_column, err);
    case LIST_JSON: return b2_inputs_add_jsonl(&p->inputs, path, key_of(p), err);
    default: return b2_inputs_add_list(&p->inputs, path, p->is_nul ? B2_LIST_NUL : B2_LIST_LINES, err);
    }
}

/* Pictures that are taken as they come: tar files, paths and JSON lines on a pipe. */
static blip2_status collect_stream(parsed *p, blip2_error *err) {
    if (p->job.max_bytes == 0) p->job.max_bytes = DEFAULT_MAX_BYTES;
    p->job.is_nul = p->is_nul;
    if (p->kind == LIST_JSON) p->inputs.column = key_of(p);
    if (p->job.is_pipe) return b2_inputs_name_list(&p->inputs, p->lists[0], 0, err);
    p->job.tars = p->lists;
    p->job.n_tars = p->n_lists;
    for (size_t i = 0; i < p->n_lists; i++) B2_TRY(b2_inputs_name_list(&p->inputs, p->lists[i], 0, err));
    return b2_tar_source_check(p->lists, p->n_lists, err);
}

/* JSON lines begin with an object; an array, or what nobody knows, is read to its end. Waits for the first byte. */
static bool begins_object(FILE *file) {
    const int c = getc(file);
    if (c != EOF) ungetc(c, file);
    return c == '{';
}

static blip2_status collect_lists(parsed *p, blip2_error *err) {
    p->job.is_pipe = (p->kind == LIST_OF_PATHS || p->kind == LIST_JSON) && p->n_lists == 1 &&
                     strcmp(p->lists[0], "-") == 0 && p->args.n_positionals == 0 && p->shard == NULL &&
                     is_pipe(STDIN_FILENO) && (p->kind == LIST_OF_PATHS || begins_object(stdin));
    if (p->job.is_pipe || p->kind == LIST_TAR) return collect_stream(p, err);
    for (size_t i = 0; i < p->n_lists; i++) B2_TRY(collect_list(p, p->lists[i], err));
    return BLIP2_OK;
}

/* ask's first argument is its question unless -q or -p bring one; caption captions, unless prompts say what. */
static void complete_asks(bool is_ask, parsed *p) {
    b2_spec *spec = &p->job.spec;
    bool has_prompt = false;
    for (size_t i = 0; i < spec->n_asks; i++) has_prompt |= spec->asks[i].prompt != NULL;
    if (is_ask && spec->n_asks == 0 && p->args.n_positionals > 0) {
        spec->asks[spec->n_asks++] = (b2_ask){.question = p->args.positionals[0]};
        p->args = (b2_args){p->args.positionals + 1, p->args.n_positionals - 1};
    } else if (!is_ask && !has_prompt) {
        memmove(&spec->asks[1], &spec->asks[0], spec->n_asks * sizeof spec->asks[0]);
        spec->asks[0] = (b2_ask){.prompt = p->preset_prompt};
        spec->n_asks++;
    }
}

/* Without --format the name of the output says what it is: captions.csv wants a table, and so does captions.tsv when
 * the list is one with tabs. */
static void choose_format(b2_job_options *job, const b2_inputs *inputs) {
    const char *ending = job->output_path != NULL ? strrchr(job->output_path, '.') : NULL;
    static const b2_format named[] = {B2_FORMAT_CSV, B2_FORMAT_TSV, B2_FORMAT_JSONL};
    for (size_t i = 0; ending != NULL && !job->spec.has_format && i < sizeof named / sizeof named[0]; i++) {
        if (strcmp(ending + 1, b2_format_name(named[i])) != 0) continue;
        const bool is_table = named[i] == B2_FORMAT_TSV && inputs->has_csv && inputs->csv.style.separator == '\t';
        job->spec.format = is_table ? B2_FORMAT_CSV : named[i];
        job->spec.has_format = true;
    }
}

static int run(const char *command, bool is_ask, parsed *p) {
    blip2_error err;
    complete_asks(is_ask, p);
    if (p->job.output_path != NULL && strcmp(p->job.output_path, "-") == 0) p->job.output_path = NULL; /* stdout */
    p->job.spec.wants_thumbnails = p->job.report_path != NULL;
    if (collect_inputs(p, &err) != BLIP2_OK) return b2_fail_with(&err, B2_EXIT_FILES);
    const char *conflict = find_conflict(p);
    if (conflict != NULL) return b2_fail_usage(command, "%s", conflict);
    if (p->job.spec.choices != NULL && !b2_choices_check(p->job.spec.choices, &err))
        return b2_fail_usage(command, "--choices: %s", err.message);
    if (collect_answers(&p->job, &err) != BLIP2_OK || collect_lists(p, &err) != BLIP2_OK) return b2_fail_input(&err);
    choose_format(&p->job, &p->inputs);
    b2_warn_about_table(&p->inputs, p->csv_column);
    if (p->inputs.n == 0 && p->kind != LIST_TAR && !p->job.is_pipe) {
        char passed[256];
        b2_passed_print(&p->inputs.folders.passed, passed, sizeof passed);
        b2_say("%s%sno pictures found%s%s", p->n_lists > 0 ? p->lists[0] : "", p->n_lists > 0 ? ": " : "",
               passed[0] != '\0' ? "; passed over: " : "", passed);
        return B2_EXIT_FILES;
    }
    b2_warn_about_prompts(&p->job.spec);
    b2_warn_about_decoding(&p->job.spec, &p->preset);
    if (p->job.spec.format == B2_FORMAT_IMAGEFOLDER) b2_warn_about_imagefolder(&p->inputs, p->job.output_path);
    return b2_job_run(&p->inputs, &p->job);
}

static int caption_or_ask(int argc, char **argv, bool is_ask) {
    static const char *const help[] = {
        "blip2 caption IMAGE...\n\nDescribes pictures: files, folders, or - for one on stdin.",
        "blip2 ask \"QUESTION\" IMAGE...\nblip2 ask -q QUESTION [-q QUESTION...] IMAGE...\n\n"
        "Answers questions about pictures: files, folders, or - for one on stdin."};
    const b2_syntax syntax = {.help = help[is_ask], .options = options, .max_positionals = SIZE_MAX};
    parsed p = {
        .preset = b2_decoding_fallback(),
        .job = {.spec = {.decoding = b2_decoding_fallback(), .apply_exif = true, .background = {255, 255, 255}}}};
    int code;
    if (b2_args_begin(&syntax, argc, argv, &p, &p.args, &code)) code = run(argv[0], is_ask, &p);
    b2_inputs_free(&p.inputs);
    b2_line_list_free(&p.job.answers);
    for (size_t i = 0; i < p.n_names; i++) free(p.names[i]);
    free(p.names);
    free(p.lists);
    return code;
}

int b2_cmd_caption(int argc, char **argv) { return caption_or_ask(argc, argv, false); }
int b2_cmd_ask(int argc, char **argv) { return caption_or_ask(argc, argv, true); }
