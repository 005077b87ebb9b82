/* cmd_match.c: blip2 match: colour, texture, pattern and material words of a text column, as further columns. */
#include "cli/commands.h"

#include "cli/common.h"
#include "cli/csv.h"
#include "cli/files.h"
#include "cli/json.h"
#include "cli/output.h"
#include "cli/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPT_CSV = 1, OPT_COLUMN, OPT_MATCH, OPT_WORDS, OPT_MODE, OPT_OUTPUT, OPT_FORMAT, OPT_HELP };

static const b2_option options[] = {
    {OPT_CSV, 0, "csv", "FILE", "the table; - is stdin"},
    {OPT_COLUMN, 0, "column", "NAME|N", "the column with the text: its header or number"},
    {OPT_MATCH, 0, "match", "LISTS", "colors,textures,patterns,materials or all (default: all, or none with --words)"},
    {OPT_WORDS, 0, "words", "[NAME=]FILE", "another list, one term a line; again for more (data/words/README.md)"},
    {OPT_MODE, 0, "match-mode", "MODE", "word: whole words and inflections (default); substring: letters anywhere"},
    {OPT_OUTPUT, 'o', "output", "FILE", "write there, whole or not at all (default: stdout)"},
    {OPT_FORMAT, 0, "format", "FORMAT", "csv: the table with columns added (default); jsonl: the text and its words"},
    {OPT_HELP, 'h', "help", NULL, "this text"},
    {0, 0, NULL, NULL, NULL}};

typedef struct match_job {
    const char *csv_path, *column, *lists, *output_path;
    b2_match_mode mode;
    bool is_jsonl, wants_help;
    b2_words words;
    b2_csv csv;
    b2_matches matches;
    size_t n_rows_with_words;
} match_job;

static bool take_option(b2_args *args, int id, const char *value, match_job *j, int *code) {
    blip2_error err;
    switch (id) {
    case OPT_CSV: j->csv_path = value; return true;
    case OPT_COLUMN: j->column = value; return true;
    case OPT_MATCH: j->lists = value; return true;
    case OPT_WORDS:
        if (b2_words_add_file(&j->words, value, &err) == BLIP2_OK) return true;
        *code = b2_fail_with(&err, B2_EXIT_FILES);
        return false;
    case OPT_MODE:
        j->mode = strcmp(value, "substring") == 0 ? B2_MATCH_SUBSTRING : B2_MATCH_WORD;
        if (j->mode == B2_MATCH_SUBSTRING || strcmp(value, "word") == 0) return true;
        snprintf(args->error, sizeof args->error, "--match-mode: expected word or substring, got '%s'", value);
        return false;
    case OPT_OUTPUT: j->output_path = value; return true;
    case OPT_FORMAT:
        j->is_jsonl = strcmp(value, "jsonl") == 0;
        if (j->is_jsonl || strcmp(value, "csv") == 0) return true;
        snprintf(args->error, sizeof args->error, "--format: expected csv or jsonl, got '%s'", value);
        return false;
    default: return j->wants_help = true;
    }
}

/* 0, or the exit code after a sentence. */
static int parse(int argc, char **argv, match_job *j) {
    b2_args args = {.options = options, .argc = argc, .argv = argv, .at = 1};
    const char *value = NULL;
    int code = B2_EXIT_OK;
    for (int id; (id = b2_args_next(&args, &value)) != B2_ARG_END;) {
        if (id == B2_ARG_POSITIONAL) return b2_fail_usage(argv[0], "unexpected argument '%s': the table is named by --csv", value);
        if (id == B2_ARG_ERROR || !take_option(&args, id, value, j, &code)) return code != B2_EXIT_OK ? code : b2_fail_usage(argv[0], "%s", args.error);
        if (j->wants_help) return B2_EXIT_OK;
    }
    if (j->csv_path == NULL) return b2_fail_usage(argv[0], "no table: --csv FILE");
    if (j->column == NULL) return b2_fail_usage(argv[0], "no text column: --column NAME, or its number");
    if (j->is_jsonl && j->output_path != NULL && b2_path_is_same(j->output_path, j->csv_path))
        return b2_fail_usage(argv[0], "%s: is the table itself, its other columns would be lost: choose another name for the output", j->csv_path);
    return B2_EXIT_OK;
}

static blip2_status write_row(match_job *j, size_t row, const char *text, FILE *out, blip2_error *err) {
    if (!j->is_jsonl) b2_csv_write_row(&j->csv, row, out);
    else {
        fprintf(out, "{\"v\":1,\"index\":%zu,\"text\":", row - 1);
        b2_json_write_string(text, out);
        fputs(",\"matches\":{", out);
    }
    bool has_words = false;
    for (size_t i = 0; i < b2_match_columns(&j->words, j->mode); i++) {
        char *joined = b2_match_column(&j->words, j->mode, text, &j->matches, i);
        if (joined == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for the words of a text");
        has_words |= joined[0] != '\0' && i < j->words.n_categories;
        if (!j->is_jsonl) b2_csv_write_value(joined, true, out);
        else {
            if (i > 0) putc(',', out);
            b2_json_write_string(b2_match_column_name(&j->words, i), out);
            putc(':', out);
            b2_json_write_list(joined, j->mode == B2_MATCH_WORD ? "; " : ", ", out);
        }
        free(joined);
    }
    fputs(j->is_jsonl ? "}}\n" : "\n", out);
    j->n_rows_with_words += has_words;
    return BLIP2_OK;
}

static blip2_status match_rows(match_job *j, size_t column, FILE *out, blip2_error *err) {
    if (!j->is_jsonl) {
        b2_csv_write_row(&j->csv, 0, out);
        for (size_t i = 0; i < b2_match_columns(&j->words, j->mode); i++) b2_csv_write_value(b2_match_column_name(&j->words, i), true, out);
        putc('\n', out);
    }
    for (size_t row = 1; row < j->csv.n_rows; row++) {
        if (b2_signals_pending(NULL)) return b2_fail(err, BLIP2_CANCELLED, "interrupted after %zu of %zu rows", row - 1, j->csv.n_rows - 1);
        char *text = b2_csv_value(b2_csv_cell(&j->csv, row, column));
        blip2_status status = text != NULL ? b2_match_text(&j->words, j->mode, text, &j->matches, err) : b2_fail(err, BLIP2_MEMORY, "no memory for a cell");
        if (status == BLIP2_OK) status = write_row(j, row, text, out, err);
        free(text);
        B2_TRY(status);
    }
    return BLIP2_OK;
}

static int run(match_job *j) {
    blip2_error err;
    size_t column = 0;
    if (j->lists == NULL && j->words.n_categories == 0) j->lists = "all";
    if (j->lists != NULL && b2_words_add_builtin(&j->words, j->lists, &err) != BLIP2_OK) return b2_fail_with(&err, B2_EXIT_USAGE);
    if (b2_csv_load(j->csv_path, &j->csv, &err) != BLIP2_OK) return b2_fail_input(&err);
    if (b2_csv_find_column(&j->csv, j->column, &column, &err) != BLIP2_OK) {
        b2_error_prefix(&err, "%s", j->csv_path);
        return b2_fail_with(&err, B2_EXIT_FILES);
    }
    b2_output output;
    if (b2_output_open(&output, j->output_path, &err) != BLIP2_OK) return b2_fail_with(&err, B2_EXIT_FILES);
    blip2_status status = match_rows(j, column, output.file, &err);
    if (status == BLIP2_OK) status = b2_output_commit(&output, &err);
    else b2_output_abandon(&output);
    if (status != BLIP2_OK) return b2_fail_with(&err, status == BLIP2_CANCELLED ? b2_signals_exit_code() : B2_EXIT_FILES);
    b2_say("%zu rows, %zu with words", j->csv.n_rows - 1, j->n_rows_with_words);
    return B2_EXIT_OK;
}

int b2_cmd_match(int argc, char **argv) {
    match_job j = {0};
    int code = parse(argc, argv, &j);
    if (code == B2_EXIT_OK && j.wants_help) {
        puts("blip2 match --csv FILE --column NAME\n\nAdds the colour, texture, pattern and material words of a text column to its table. Options:\n");
        b2_args_print_options(options);
    } else if (code == B2_EXIT_OK) {
        code = run(&j);
    }
    b2_matches_free(&j.matches);
    b2_words_free(&j.words);
    b2_csv_free(&j.csv);
    return code;
}
