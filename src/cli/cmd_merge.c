/* cmd_merge.c: blip2 merge: the shards of a job, wherever they ran, become the output of the whole. */
#include "cli/commands.h"

#include "cli/args.h"

#include "base/grow.h"
#include "console/say.h"
#include "console/signals.h"
#include "job/report.h"
#include "job/targets.h"
#include "lists/json_list.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

typedef struct merge_job {
    const char *output_path, *report_path;
    const char **list_paths; /* of --list, from malloc */
    size_t n_list_paths, list_capacity;
    bool is_partial;
    b2_args shards;
    const char *word_files[B2_MAX_WORD_FILES];
    size_t n_word_files;
    b2_journal *journals;
    size_t n_open, n_twice, n_missing;
    b2_record_location *places;
    size_t n;         /* of the list */
    b2_inputs inputs; /* the rows or lines of the list; its paths are the records' own business */
    b2_words words;
} merge_job;

static bool take_list(void *target, const char *value, char *error) {
    merge_job *j = target;
    if (!b2_grow(&j->list_paths, j->n_list_paths, &j->list_capacity, sizeof *j->list_paths)) {
        snprintf(error, B2_ARG_ERROR_BYTES, "no memory for it");
        return false;
    }
    j->list_paths[j->n_list_paths++] = value;
    return true;
}

static bool take_words(void *target, const char *value, char *error) {
    merge_job *j = target;
    if (j->n_word_files == B2_MAX_WORD_FILES) {
        snprintf(error, B2_ARG_ERROR_BYTES, "at most %d of them", B2_MAX_WORD_FILES);
        return false;
    }
    j->word_files[j->n_word_files++] = value;
    return true;
}

#define AT(member) .offset = offsetof(merge_job, member)
static const b2_option options[] = {
    {'o', "output", "FILE", "write there, whole or not at all (default: stdout)", B2_ARG_TEXT, AT(output_path)},
    {0, "report", "FILE.html", "also a page with thumbnails, if the shards were run with --report", B2_ARG_TEXT,
     AT(report_path)},
    {0, "list", "FILE", "the job's list, if it is elsewhere now; of several lists each, in their order", B2_ARG_CALL,
     .call = take_list},
    {0, "words", "[NAME=]FILE", "the word lists that the job had: again for each, in their order", B2_ARG_CALL,
     .call = take_words},
    {0, "partial", NULL, "write what there is, even if pictures are missing (exit 1)", B2_ARG_SET, AT(is_partial)},
    B2_OPTION_HELP,
    {.name = NULL}};

static const b2_syntax syntax = {
    "blip2 merge SHARD... -o FILE\n\nPuts the shards of a job (blip2 caption --shard i/n -o FILE) together, in the order "
    "of its list.",
    options, SIZE_MAX, NULL};

/* The header names the list and the word lists: a shard from elsewhere protects them too. */
static blip2_status check_targets(const merge_job *j, const b2_spec *spec, blip2_error *err) {
    const b2_roles roles = {.output = j->output_path,
                            .report = j->report_path,
                            .inputs = &j->inputs,
                            .gives_list_back = j->inputs.has_csv && j->inputs.n_lists == 1 && spec->has_format &&
                                               spec->format == B2_FORMAT_CSV,
                            .words = spec->word_files,
                            .n_words = spec->n_word_files,
                            .shards = (const char *const *)j->shards.positionals,
                            .n_shards = j->shards.n_positionals};
    return b2_targets_check(&roles, err);
}

/* ---- the shards ------------------------------------------------------------------------------------------------ */

/* A record takes some dozens of bytes, and a part of a large job may hold one picture in a thousand: a list that is far
 * longer than the shards bear out is damage or malice, and no memory is taken for it. */
static blip2_status check_count(const merge_job *j, const b2_journal *shard, blip2_error *err) {
    enum { ANYWAY = 1000000, A_BYTE = 64 };
    uint64_t n_bytes = 0;
    struct stat st;
    for (size_t k = 0; k < j->shards.n_positionals; k++)
        if (stat(j->shards.positionals[k], &st) == 0) n_bytes += (uint64_t)st.st_size;
    if (shard->header.count <= ANYWAY + n_bytes * A_BYTE) return BLIP2_OK;
    return b2_fail(err, BLIP2_FORMAT,
                   "%s: says that its list has %zu pictures, which %" PRIu64 " bytes of shards do not bear out",
                   shard->path, shard->header.count, n_bytes);
}

/* The first shard says what job it is; the others must belong to it. */
static blip2_status check_job(merge_job *j, const b2_journal *shard, blip2_error *err) {
    char difference[300];
    if (shard->header.spec.scored != 0)
        return b2_fail(err, BLIP2_ARGUMENT,
                       "%s: of blip2 score, which has no shards: the same command with --resume ends it", shard->path);
    if (!b2_header_is_same_job(&shard->header, &j->journals[0].header, false, difference, sizeof difference))
        return b2_fail(err, BLIP2_FORMAT, "%s: belongs to a different job than %s: %s", shard->path,
                       j->journals[0].path, difference);
    if (shard->header.is_stream)
        return b2_fail(err, BLIP2_ARGUMENT, "%s: the job of a pipe or of tar files, which has no shards", shard->path);
    if (j->places != NULL) return BLIP2_OK;
    B2_TRY(check_count(j, shard, err));
    j->n = shard->header.count;
    j->places = calloc(j->n, sizeof *j->places);
    return j->places != NULL ? BLIP2_OK : b2_fail(err, BLIP2_MEMORY, "no memory for a list of %zu pictures", j->n);
}

/* All shards are open at once, and an array of a thousand tasks is common. */
static void allow_many_files(size_t n) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= n + 64) return;
    limit.rlim_cur = limit.rlim_max < n + 64 ? limit.rlim_max : n + 64;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static blip2_status open_shards(merge_job *j, blip2_error *err) {
    for (size_t k = 0; k < j->shards.n_positionals; k++) {
        B2_TRY(b2_journal_open(j->shards.positionals[k], &j->journals[k], err));
        j->n_open++;
        B2_TRY(check_job(j, &j->journals[k], err));
        size_t n_twice = 0;
        B2_TRY(b2_journal_scan(&j->journals[k], (uint32_t)k, j->places, j->n, &n_twice, err));
        if (j->journals[k].n_torn > 0)
            b2_say("%s: its last %zu bytes are not complete records", j->shards.positionals[k], j->journals[k].n_torn);
        if (j->journals[k].n_damaged > 0)
            b2_say("%s: %zu damaged line%s passed over", j->shards.positionals[k], j->journals[k].n_damaged,
                   j->journals[k].n_damaged == 1 ? " is" : "s are");
        if (n_twice > 0)
            b2_say("%s: %zu records were met before; the later ones count", j->shards.positionals[k], n_twice);
        j->n_twice += n_twice;
    }
    return BLIP2_OK;
}

/* "3, 7-9, 12 and 80 more": the indexes that no shard has. */
static void say_gaps(const merge_job *j) {
    char list[200] = "";
    size_t len = 0, n_said = 0;
    for (size_t i = 0; i < j->n && len < sizeof list - 48; i++) {
        if (j->places[i].offset != 0) continue;
        size_t last = i;
        while (last + 1 < j->n && j->places[last + 1].offset == 0) last++;
        len += (size_t)(last > i ? snprintf(list + len, sizeof list - len, "%s%zu-%zu", len > 0 ? ", " : "", i, last)
                                 : snprintf(list + len, sizeof list - len, "%s%zu", len > 0 ? ", " : "", i));
        n_said += last - i + 1;
        i = last;
    }
    if (n_said < j->n_missing) snprintf(list + len, sizeof list - len, " and %zu more", j->n_missing - n_said);
    b2_say("%zu of %zu pictures are in no shard: %s", j->n_missing, j->n, list);
}

/* Which lists the job had: those of its header, unless --list names them. Lists of paths are not read: the records have
 * the paths, which may begin beside the list. */
static blip2_status add_list(merge_job *j, size_t k, const char *path, size_t first, blip2_error *err) {
    const b2_header *header = &j->journals[0].header;
    if (k < j->n_list_paths) path = j->list_paths[k];
    if (header->csv == NULL && header->jsonl == NULL) return b2_inputs_name_list(&j->inputs, path, first, err);
    if (path[0] == '\0')
        return b2_fail(
            err, BLIP2_ARGUMENT,
            "the shards do not name the job's list (it came from stdin, or its name is not UTF-8): --list FILE does");
    struct stat st; /* a shard may come from anywhere: it makes nobody read a device or wait for a pipe */
    if (k >= j->n_list_paths && stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return b2_fail(err, BLIP2_ARGUMENT,
                       "%s: the shards name it as the job's list, expected a file: --list FILE names the list", path);
    return header->csv != NULL ? b2_inputs_add_csv(&j->inputs, path, header->column, err)
                               : b2_inputs_add_jsonl(&j->inputs, path, header->column, err);
}

/* The rows that the output gives back; they must be those that the job read. */
static blip2_status load_lists(merge_job *j, blip2_error *err) {
    const b2_header *header = &j->journals[0].header;
    const char *only = header->csv != NULL ? header->csv : header->jsonl;
    const size_t n = header->lists != NULL ? json_array_size(header->lists) : only != NULL ? 1 : 0;
    j->inputs.base_folder = header->base_folder;
    j->inputs.csv.no_header = header->no_header;
    if (n > 0 && j->n_list_paths > 0 && j->n_list_paths != n)
        return b2_fail(err, BLIP2_ARGUMENT, "--list: the job had %zu list%s, not %zu", n, b2_plural(n),
                       j->n_list_paths);
    for (size_t k = 0; k < n; k++) {
        const json_t *list = json_array_get(header->lists, k);
        const char *path = list != NULL ? json_string_value(json_array_get(list, 0)) : only;
        const json_int_t first = json_integer_value(json_array_get(list, 1));
        B2_TRY(add_list(j, k, path != NULL ? path : "", first > 0 ? (size_t)first : 0, err));
    }
    if (only == NULL || (j->inputs.n == j->n && b2_inputs_hash(&j->inputs) == header->list_hash)) return BLIP2_OK;
    return b2_fail(err, BLIP2_FORMAT, "%s: not the list that the shards were made of (has it changed since?)",
                   j->inputs.lists[0].path);
}

/* Word lists are read by name alone, and nothing says what was in them: only those that the user names here are opened,
 * not what a shard's first line says, which may come from another machine. */
static blip2_status choose_words(const merge_job *j, b2_spec *spec, blip2_error *err) {
    const size_t n = spec->n_word_files;
    if (j->n_word_files != n)
        return b2_fail(err, BLIP2_ARGUMENT,
                       "the job had %zu word list%s%s%s%s, merge has %zu: name %s with --words [NAME=]FILE", n,
                       b2_plural(n), n > 0 ? " (" : "", n > 0 ? spec->word_files[0] : "",
                       n > 1   ? ", ...)"
                       : n > 0 ? ")"
                               : "",
                       j->n_word_files,
                       n > 1    ? "each"
                       : n == 1 ? "it"
                                : "none");
    for (size_t k = 0; k < n; k++) spec->word_files[k] = j->word_files[k];
    return BLIP2_OK;
}

static int run(merge_job *j) {
    blip2_error err;
    size_t n_failed = 0;
    allow_many_files(j->shards.n_positionals);
    blip2_status status = open_shards(j, &err);
    b2_spec *spec = &j->journals[0].header.spec;
    if (status == BLIP2_OK) status = choose_words(j, spec, &err);
    if (status == BLIP2_OK) status = load_lists(j, &err);
    if (status == BLIP2_OK) status = check_targets(j, spec, &err);
    if (status == BLIP2_OK) status = b2_spec_load_words(spec, &j->words, &err);
    if (status != BLIP2_OK) return b2_fail_with(&err, B2_EXIT_FILES);
    for (size_t i = 0; i < j->n; i++) {
        j->n_missing += j->places[i].offset == 0;
        n_failed += j->places[i].is_failed;
    }
    if (j->n_missing > 0) say_gaps(j);
    if (j->n_missing > 0 && !j->is_partial) return B2_EXIT_FILES;
    const b2_record_set set = {j->journals, j->n_open, j->places, j->n, false};
    const b2_style style =
        b2_spec_style(spec, &j->inputs, &j->words, j->n, j->output_path != NULL ? j->output_path : ".");
    status = b2_assemble_output(&set, &style, j->output_path, &err);
    if (status == BLIP2_OK && j->report_path != NULL) status = b2_report_write(&set, &style, j->report_path, &err);
    if (status != BLIP2_OK)
        return b2_fail_with(&err, status == BLIP2_CANCELLED ? b2_signals_exit_code() : B2_EXIT_FILES);
    b2_say("%zu picture%s: %zu done, %zu failed, %zu missing, %zu twice", j->n, b2_plural(j->n),
           j->n - n_failed - j->n_missing, n_failed, j->n_missing, j->n_twice);
    return n_failed > 0 || j->n_missing > 0 ? B2_EXIT_SOME_FAILED : B2_EXIT_OK;
}

static int merge(const char *command, merge_job *j) {
    if (j->shards.n_positionals == 0) return b2_fail_usage(command, "no shards: blip2 merge OUT.*-of-* -o OUT");
    j->journals = calloc(j->shards.n_positionals, sizeof *j->journals);
    if (j->journals == NULL) {
        b2_say("no memory for %zu shards", j->shards.n_positionals);
        return B2_EXIT_MEMORY;
    }
    const int code = run(j);
    for (size_t k = 0; k < j->n_open; k++) b2_journal_close(&j->journals[k]);
    free(j->journals);
    return code;
}

int b2_cmd_merge(int argc, char **argv) {
    merge_job j = {0};
    int code;
    if (b2_args_begin(&syntax, argc, argv, &j, &j.shards, &code)) code = merge(argv[0], &j);
    j.inputs.base_folder = NULL;
    b2_inputs_free(&j.inputs);
    free(j.list_paths);
    b2_words_free(&j.words);
    free(j.places);
    return code;
}
