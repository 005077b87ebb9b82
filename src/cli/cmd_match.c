/* cmd_match.c: blip2 match: colour, texture, pattern and material words of a text column, as further columns. */
#include "cli/commands.h"

#include "cli/args.h"

#include "console/say.h"
#include "console/signals.h"
#include "lists/csv.h"
#include "record/json.h"
#include "console/output.h"
#include "job/spec.h"
#include "job/targets.h"
#include "record/jsonl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct match_job {
    const char *csv_path, *column, *lists, *output_path;
    const char *word_files[B2_MAX_WORD_FILES];
    size_t n_word_files;
    b2_match_mode mode;
    int is_jsonl;
    b2_words words;
    b2_csv csv;
    b2_matches matches;
    size_t n_rows_with_words;
} match_job;

static bool take_words(void *target, const char *value, char *error) {
    match_job *j = target;
    if (j->n_word_files == B2_MAX_WORD_FILES) {
        snprintf(error, B2_ARG_ERROR_BYTES, "at most %d of them", B2_MAX_WORD_FILES);
        return false;
    }
    j->word_files[j->n_word_files++] = value;
    return true;
}

static const char *const formats[] = {"csv", "jsonl", NULL};

#define AT(member) .offset = offsetof(match_job, member)
static const b2_option options[] = {
    {0, "csv", "FILE", "the table, separated by commas, semicolons or tabs; - is stdin", B2_ARG_TEXT, AT(csv_path)},
    {0, "column", "NAME|N", "the column with the text: its header or number", B2_ARG_TEXT, AT(column)},
    {0, "match", "LISTS", "colors,textures,patterns,materials or all (default: all, or none with --words)", B2_ARG_TEXT,
     AT(lists)},
    {0, "words", "[NAME=]FILE", "another list, one term a line; again for more (data/words/README.md)", B2_ARG_CALL,
     .call = take_words},
    {0, "match-mode", "MODE", "word: whole words and inflections (default); substring: letters anywhere", B2_ARG_CHOICE,
     AT(mode), .choices = b2_match_mode_names},
    {0, "no-header", NULL, "the table has none: its first row is a row, columns have numbers", B2_ARG_SET,
     AT(csv.no_header)},
    {'o', "output", "FILE", "write there, whole or not at all (default: stdout)", B2_ARG_TEXT, AT(output_path)},
    {0, "format", "FORMAT", "csv: the table with columns added (default); jsonl: the text and its words", B2_ARG_CHOICE,
     AT(is_jsonl), .choices = formats},
    B2_OPTION_HELP,
    {.name = NULL}};

static const b2_syntax syntax = {
    "blip2 match --csv FILE --column NAME\n\nAdds the colour, texture, pattern and material words of a text column to "
    "its table.",
    options, 0, "the table is named by --csv"};

/* The first sentence that forbids this command line, or NULL. */
static const char *find_conflict(const match_job *j) {
    if (j->csv_path == NULL) return "no table: --csv FILE";
    if (j->column == NULL) return "no text column: --column NAME, or its number";
    return NULL;
}

static bool write_csv_row(const match_job *j, size_t row, const char *text, FILE *out) {
    b2_csv_write_row(&j->csv, row, out);
    for (size_t i = 0; i < b2_match_columns(&j->words, j->mode); i++) {
        char *joined = b2_match_join(&j->words, j->mode, text, &j->matches, i);
        if (joined == NULL) return false;
        b2_csv_write_value(&j->csv.style, joined, true, out);
        free(joined);
    }
    fputs(j->csv.style.line_end, out);
    return true;
}

static bool write_json_row(const match_job *j, size_t row, const char *text, FILE *out) {
    fprintf(out, "{\"v\":1,\"index\":%zu", row - b2_csv_first(&j->csv));
    b2_json_write_member("text", text, out);
    const bool is_done = b2_jsonl_write_matches(&j->words, j->mode, text, &j->matches, out);
    fputs("}\n", out);
    return is_done;
}

static blip2_status write_row(match_job *j, size_t row, const char *text, FILE *out, blip2_error *err) {
    bool has_words = false;
    for (size_t i = 0; i < j->matches.n; i++) has_words |= !j->matches.items[i].is_dropped;
    j->n_rows_with_words += has_words;
    if (j->is_jsonl ? write_json_row(j, row, text, out) : write_csv_row(j, row, text, out)) return BLIP2_OK;
    return b2_fail(err, BLIP2_MEMORY, "no memory for the words of a text");
}

static void write_header(const match_job *j, FILE *out) {
    fwrite(j->csv.preamble.data, 1, j->csv.preamble.len, out);
    if (j->csv.no_header) return;
    b2_csv_write_row(&j->csv, 0, out);
    for (size_t i = 0; i < b2_match_columns(&j->words, j->mode); i++)
        b2_csv_write_value(&j->csv.style, b2_match_column_name(&j->words, i), true, out);
    fputs(j->csv.style.line_end, out);
}

static blip2_status match_rows(match_job *j, size_t column, FILE *out, blip2_error *err) {
    const size_t first = b2_csv_first(&j->csv);
    if (!j->is_jsonl) write_header(j, out);
    for (size_t row = first; row < j->csv.n_rows; row++) {
        if (b2_signals_pending(NULL))
            return b2_fail(err, BLIP2_CANCELLED, "interrupted after %zu of %zu rows", row - first,
                           j->csv.n_rows - first);
        char *text = b2_csv_value(b2_csv_cell(&j->csv, row, column));
        blip2_status status = text != NULL ? b2_match_text(&j->words, j->mode, text, &j->matches, err)
                                           : b2_fail(err, BLIP2_MEMORY, "no memory for a cell");
        if (status == BLIP2_OK) status = write_row(j, row, text, out, err);
        free(text);
        B2_TRY(status);
    }
    return b2_signals_pending(NULL) ? b2_fail(err, BLIP2_CANCELLED, "interrupted after the last row") : BLIP2_OK;
}

/* The table with its columns may take its own place; as jsonl its other columns would be lost. */
static blip2_status check_targets(const match_job *j, blip2_error *err) {
    b2_list_part list = {.path = j->csv_path};
    const b2_inputs table = {.lists = &list, .n_lists = 1};
    const b2_roles roles = {.output = j->output_path,
                            .inputs = &table,
                            .gives_list_back = !j->is_jsonl,
                            .words = j->word_files,
                            .n_words = j->n_word_files};
    return b2_targets_check(&roles, err);
}

static int run(match_job *j) {
    blip2_error err;
    if (check_targets(j, &err) != BLIP2_OK) return b2_fail_with(&err, B2_EXIT_FILES);
    size_t column = 0;
    for (size_t i = 0; i < j->n_word_files; i++)
        if (b2_words_add_file(&j->words, j->word_files[i], &err) != BLIP2_OK) return b2_fail_with(&err, B2_EXIT_FILES);
    if (j->lists == NULL && j->words.n_categories == 0) j->lists = "all";
    if (j->lists != NULL && b2_words_add_builtin(&j->words, j->lists, &err) != BLIP2_OK)
        return b2_fail_with(&err, B2_EXIT_USAGE);
    if (b2_csv_add_file(&j->csv, j->csv_path, &err) != BLIP2_OK) return b2_fail_input(&err);
    if (b2_csv_find_column(&j->csv, j->column, &column, &err) != BLIP2_OK) {
        b2_error_prefix(&err, "%s", j->csv_path);
        return b2_fail_with(&err, B2_EXIT_FILES);
    }
    char ragged[BLIP2_ERROR_BYTES];
    b2_csv_print_ragged(&j->csv, ragged, sizeof ragged);
    if (ragged[0] != '\0') b2_say("warning: %s", ragged);
    b2_output output;
    if (b2_output_open(&output, j->output_path, &err) != BLIP2_OK) return b2_fail_with(&err, B2_EXIT_FILES);
    blip2_status status = match_rows(j, column, output.file, &err);
    if (status == BLIP2_OK) status = b2_output_commit(&output, &err);
    else b2_output_abandon(&output);
    if (status != BLIP2_OK)
        return b2_fail_with(&err, status == BLIP2_CANCELLED ? b2_signals_exit_code() : B2_EXIT_FILES);
    const size_t n = j->csv.n_rows - b2_csv_first(&j->csv);
    b2_say("%zu row%s, %zu with words", n, b2_plural(n), j->n_rows_with_words);
    return B2_EXIT_OK;
}

int b2_cmd_match(int argc, char **argv) {
    match_job j = {0};
    b2_args args;
    int code;
    if (b2_args_begin(&syntax, argc, argv, &j, &args, &code)) {
        const char *conflict = find_conflict(&j);
        code = conflict != NULL ? b2_fail_usage(argv[0], "%s", conflict) : run(&j);
    }
    b2_matches_free(&j.matches);
    b2_words_free(&j.words);
    b2_csv_free(&j.csv);
    return code;
}
