/* cmd_merge.c: blip2 merge: the shards of a job, wherever they ran, become the output of the whole. */
#include "cli/commands.h"

#include "cli/common.h"
#include "cli/files.h"
#include "cli/job.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { OPT_OUTPUT = 1, OPT_REPORT, OPT_CSV, OPT_PARTIAL, OPT_HELP };

static const b2_option options[] = {
    {OPT_OUTPUT, 'o', "output", "FILE", "write there, whole or not at all (default: stdout)"},
    {OPT_REPORT, 0, "report", "FILE.html", "also a page with thumbnails, if the shards were run with --report"},
    {OPT_CSV, 0, "list", "FILE", "the job's --csv or --jsonl, if it is elsewhere now"},
    {OPT_PARTIAL, 0, "partial", NULL, "write what there is, even if pictures are missing (exit 1)"},
    {OPT_HELP, 'h', "help", NULL, "this text"},
    {0, 0, NULL, NULL, NULL}};

typedef struct merge_job {
    const char *output_path, *report_path, *list_path;
    bool is_partial, wants_help;
    const char **paths;
    b2_journal *journals;
    size_t n_paths, n_open, n_twice, n_missing;
    b2_place *places;
    size_t n; /* of the list */
    b2_spec spec;
    b2_inputs inputs; /* the rows or lines of the list; its paths are the records' own business */
    b2_words words;
} merge_job;

static bool is_shard_itself(const char *target, const char *shard) { return target != NULL && b2_path_is_same(target, shard); }

static int parse(int argc, char **argv, merge_job *j) {
    b2_args args = {.options = options, .argc = argc, .argv = argv, .at = 1};
    const char *value = NULL;
    for (int id; (id = b2_args_next(&args, &value)) != B2_ARG_END;) {
        switch (id) {
        case B2_ARG_ERROR: return b2_fail_usage(argv[0], "%s", args.error);
        case B2_ARG_POSITIONAL: j->paths[j->n_paths++] = value; break;
        case OPT_OUTPUT: j->output_path = value; break;
        case OPT_REPORT: j->report_path = value; break;
        case OPT_CSV: j->list_path = value; break;
        case OPT_PARTIAL: j->is_partial = true; break;
        default: j->wants_help = true; return B2_EXIT_OK;
        }
    }
    if (j->n_paths == 0) return b2_fail_usage(argv[0], "no shards: blip2 merge OUT.*-of-* -o OUT");
    for (size_t k = 0; k < j->n_paths; k++)
        if (is_shard_itself(j->output_path, j->paths[k]) || is_shard_itself(j->report_path, j->paths[k]))
            return b2_fail_usage(argv[0], "%s: is a shard, it would be overwritten: choose another name for the output", j->paths[k]);
    return B2_EXIT_OK;
}

/* ---- the shards -------------------------------------------------------------------------------------------------------------- */

/* Shards of one job say the same about everything but the shard. */
static blip2_status check_same_job(const b2_journal *first, const b2_journal *other, blip2_error *err) {
    static const char *const keys[] = {"count", "list", "model", "options"};
    static const char *const what[] = {"a list of another length", "another list", "another model", "other options"};
    for (size_t i = 0; i < 4; i++)
        if (!json_equal(json_object_get(first->header, keys[i]), json_object_get(other->header, keys[i])))
            return b2_fail(err, BLIP2_FORMAT, "%s: is of %s than %s", other->path, what[i], first->path);
    return BLIP2_OK;
}

static blip2_status read_job(merge_job *j, blip2_error *err) {
    const json_t *header = j->journals[0].header, *count = json_object_get(header, "count");
    if (!json_is_integer(count) || json_integer_value(count) < 1 || json_integer_value(count) > 1000000000 ||
        !b2_spec_from_json(json_object_get(header, "options"), &j->spec))
        return b2_fail(err, BLIP2_FORMAT, "%s: its first line does not say which job it is of", j->journals[0].path);
    j->n = (size_t)json_integer_value(count);
    j->places = calloc(j->n, sizeof *j->places);
    return j->places != NULL ? BLIP2_OK : b2_fail(err, BLIP2_MEMORY, "no memory for a list of %zu pictures", j->n);
}

/* All shards are open at once, and a thousand tasks are no rare array. */
static void allow_many_files(size_t n) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= n + 64) return;
    limit.rlim_cur = limit.rlim_max < n + 64 ? limit.rlim_max : n + 64;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static blip2_status open_shards(merge_job *j, blip2_error *err) {
    for (size_t k = 0; k < j->n_paths; k++) {
        B2_TRY(b2_journal_open(j->paths[k], false, &j->journals[k], err));
        j->n_open++;
        if (k == 0) B2_TRY(read_job(j, err));
        else B2_TRY(check_same_job(&j->journals[0], &j->journals[k], err));
        size_t n_twice = 0;
        B2_TRY(b2_journal_scan(&j->journals[k], (uint32_t)k, j->places, j->n, &n_twice, err));
        if (j->journals[k].n_torn > 0) b2_say("%s: its last %zu bytes are no whole records", j->paths[k], j->journals[k].n_torn);
        if (n_twice > 0) b2_say("%s: %zu records were met before; the later ones count", j->paths[k], n_twice);
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

/* The rows that the output gives back; they must be those that the job read. */
static blip2_status load_list(merge_job *j, blip2_error *err) {
    const json_t *header = j->journals[0].header;
    const char *csv = json_string_value(json_object_get(header, "csv")), *jsonl = json_string_value(json_object_get(header, "jsonl"));
    if (csv == NULL && jsonl == NULL) return BLIP2_OK;
    const char *path = j->list_path != NULL ? j->list_path : csv != NULL ? csv : jsonl;
    if (path[0] == '\0') return b2_fail(err, BLIP2_ARGUMENT, "the shards cannot say where the job's list is (it came from stdin, or its name is not UTF-8): --list FILE does");
    const char *column = json_string_value(json_object_get(header, "column"));
    B2_TRY(csv != NULL ? b2_inputs_add_csv(&j->inputs, path, column, err) : b2_inputs_add_jsonl(&j->inputs, path, column, err));
    j->inputs.base_folder = json_string_value(json_object_get(header, "base_dir"));
    char hash[17];
    snprintf(hash, sizeof hash, "%016" PRIx64, b2_inputs_hash(&j->inputs));
    const char *expected = json_string_value(json_object_get(header, "list"));
    if (expected != NULL && strcmp(hash, expected) == 0) return BLIP2_OK;
    return b2_fail(err, BLIP2_FORMAT, "%s: is not the list that the shards were made of (it changed since?)", path);
}

static int run(merge_job *j) {
    blip2_error err;
    size_t n_failed = 0;
    allow_many_files(j->n_paths);
    blip2_status status = open_shards(j, &err);
    if (status == BLIP2_OK) status = load_list(j, &err);
    if (status == BLIP2_OK) status = b2_spec_load_words(&j->spec, &j->words, &err);
    if (status != BLIP2_OK) return b2_fail_with(&err, B2_EXIT_FILES);
    for (size_t i = 0; i < j->n; i++) {
        j->n_missing += j->places[i].offset == 0;
        n_failed += j->places[i].is_failed;
    }
    if (j->n_missing > 0) say_gaps(j);
    if (j->n_missing > 0 && !j->is_partial) return B2_EXIT_FILES;
    const b2_shelf shelf = {j->journals, j->n_open, j->places, j->n};
    const b2_style style = {.format = j->spec.format, .only_text = j->n == 1 && !j->spec.has_format, .asks = j->spec.asks, .n_asks = j->spec.n_asks,
                            .inputs = &j->inputs, .words = j->words.n_categories > 0 ? &j->words : NULL, .match_mode = j->spec.match_mode,
                            .output_path = j->output_path != NULL ? j->output_path : "."};
    status = b2_write_output(&shelf, &style, j->output_path, &err);
    if (status == BLIP2_OK && j->report_path != NULL) status = b2_write_report(&shelf, &style, j->report_path, &err);
    if (status != BLIP2_OK) return b2_fail_with(&err, status == BLIP2_CANCELLED ? b2_signals_exit_code() : B2_EXIT_FILES);
    b2_say("%zu pictures: %zu done, %zu failed, %zu missing, %zu twice", j->n, j->n - n_failed - j->n_missing, n_failed, j->n_missing, j->n_twice);
    return n_failed > 0 || j->n_missing > 0 ? B2_EXIT_SOME_FAILED : B2_EXIT_OK;
}

int b2_cmd_merge(int argc, char **argv) {
    merge_job *j = calloc(1, sizeof *j);
    const size_t n_max = (size_t)argc;
    if (j != NULL) {
        j->paths = calloc(n_max, sizeof *j->paths);
        j->journals = calloc(n_max, sizeof *j->journals);
    }
    if (j == NULL || j->paths == NULL || j->journals == NULL) return B2_EXIT_MEMORY;
    int code = parse(argc, argv, j);
    if (code == B2_EXIT_OK && j->wants_help) {
        puts("blip2 merge SHARD... -o FILE\n\nPuts the shards of a job (blip2 caption --shard i/n -o FILE) together, in the order of its list. Options:\n");
        b2_args_print_options(options);
    } else if (code == B2_EXIT_OK) {
        code = run(j);
    }
    for (size_t k = 0; k < j->n_open; k++) b2_journal_close(&j->journals[k]);
    j->inputs.base_folder = NULL;
    b2_inputs_free(&j->inputs);
    b2_words_free(&j->words);
    free(j->places);
    free(j->journals);
    free(j->paths);
    free(j);
    return code;
}
