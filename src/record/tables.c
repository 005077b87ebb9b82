/* tables.c: see tables.h. Cells of the user's own table are written back as they were. */
#include "record/tables.h"

#include "base/size.h"
#include "record/scores.h"

#include <stdlib.h>

static const char *text_of(const b2_record *record, size_t answer) {
    return b2_record_has_answers(record) ? record->answers[answer].text : "";
}

static void write_tsv_value(const char *value, FILE *out) {
    for (; *value != '\0'; value++) switch (*value) {
        case '\t': fputs("\\t", out); break;
        case '\n': fputs("\\n", out); break;
        case '\r': fputs("\\r", out); break;
        case '\\': fputs("\\\\", out); break;
        default: putc(*value, out);
        }
}

/* A cell that follows another. csv NULL: of a TSV line. */
static void write_cell(const b2_csv_style *csv, const char *value, FILE *out) {
    if (csv != NULL) {
        b2_csv_write_value(csv, value, true, out);
        return;
    }
    putc('\t', out);
    write_tsv_value(value, out);
}

/* The probability of each choice. */
static void write_shares(const b2_style *style, const b2_record *record, size_t answer, const b2_csv_style *csv,
                         FILE *out) {
    const double *shares = b2_record_has_answers(record) ? record->answers[answer].shares : NULL;
    for (size_t c = 0; c < b2_choices_count(style->choices); c++) {
        char number[32] = "";
        if (shares != NULL) snprintf(number, sizeof number, "%.6g", shares[c]);
        write_cell(csv, number, out);
    }
}

/* The answers, each followed by the probabilities of the choices and the columns of its matched words. */
static bool write_answers(const b2_style *style, const b2_record *record, const b2_csv_style *csv, FILE *out) {
    b2_matches matches = {0};
    const b2_words *words = style->words;
    bool is_done = true;
    for (size_t i = 0; i < b2_style_answers(style) && is_done; i++) {
        const char *text = text_of(record, i);
        write_cell(csv, text, out);
        if (csv != NULL) write_shares(style, record, i, csv, out);
        if (words != NULL) is_done = b2_match_text(words, style->match_mode, text, &matches, NULL) == BLIP2_OK;
        for (size_t c = 0; words != NULL && is_done && c < b2_match_columns(words, style->match_mode); c++) {
            char *joined = b2_match_join(words, style->match_mode, text, &matches, c);
            is_done = joined != NULL;
            if (is_done) write_cell(csv, joined, out);
            free(joined);
        }
    }
    b2_matches_free(&matches);
    return is_done;
}

/* ---- CSV ------------------------------------------------------------------------------------------------------- */

/* The user's table, whose cells come first; NULL: there is none. */
static const b2_csv *table_of(const b2_style *style) {
    return style->inputs != NULL && style->inputs->has_csv ? &style->inputs->csv : NULL;
}

static void write_match_header(const b2_style *style, const char *answer, const b2_csv_style *csv, FILE *out) {
    for (size_t i = 0; i < b2_match_columns(style->words, style->match_mode); i++) {
        char name[B2_COLUMN_BYTES + 256];
        const char *column = b2_match_column_name(style->words, i);
        if (b2_style_answers(style) == 1) snprintf(name, sizeof name, "%s", column);
        else snprintf(name, sizeof name, "%s, %s", answer, column);
        write_cell(csv, name, out);
    }
}

static void write_choice_header(const b2_style *style, const char *answer, const b2_csv_style *csv, FILE *out) {
    b2_text choice;
    for (size_t i = 0; b2_choice_at(style->choices, i, &choice); i++) {
        char name[2 * B2_COLUMN_BYTES];
        const int len = (int)b2_min(choice.len, B2_COLUMN_BYTES / 2);
        if (b2_style_answers(style) == 1) snprintf(name, sizeof name, "%.*s", len, choice.data);
        else snprintf(name, sizeof name, "%s, %.*s", answer, len, choice.data);
        write_cell(csv, name, out);
    }
}

void b2_table_write_header(const b2_style *style, FILE *out) {
    const b2_csv *table = table_of(style);
    const b2_csv_style *csv = table != NULL ? &table->style : &b2_csv_plain;
    if (table != NULL) fwrite(table->preamble.data, 1, table->preamble.len, out);
    if (table != NULL && table->no_header) return;
    if (table != NULL) b2_csv_write_row(table, 0, out);
    else fputs("path", out);
    if (style->has_scores) b2_scores_write_header(csv, out);
    for (size_t i = 0; !style->has_scores && i < b2_style_answers(style); i++) {
        char name[B2_COLUMN_BYTES];
        const char *column = b2_style_answer_column(style, i, name);
        write_cell(csv, column, out);
        write_choice_header(style, column, csv, out);
        if (style->words != NULL) write_match_header(style, column, csv, out);
    }
    write_cell(csv, "status", out);
    write_cell(csv, "error", out);
    fputs(csv->line_end, out);
}

bool b2_table_write(const b2_style *style, const b2_record *record, FILE *out) {
    const b2_csv *table = table_of(style);
    const b2_csv_style *csv = table != NULL ? &table->style : &b2_csv_plain;
    if (table != NULL) b2_csv_write_row(table, b2_csv_first(table) + record->index, out);
    else b2_csv_write_value(csv, record->path, false, out);
    bool is_done = true;
    if (record->taken != NULL) {
        fputs(record->taken, out);
    } else {
        is_done = write_answers(style, record, csv, out);
        write_cell(csv, b2_record_status_name(b2_record_get_status(record)), out);
        write_cell(csv, b2_record_why(record), out);
    }
    fputs(csv->line_end, out);
    return is_done;
}

/* ---- TSV and text ---------------------------------------------------------------------------------------------- */

bool b2_tsv_write(const b2_style *style, const b2_record *record, FILE *out) {
    write_tsv_value(record->path, out);
    const bool is_done = record->taken != NULL || write_answers(style, record, NULL, out);
    if (record->taken != NULL) fputs(record->taken, out);
    putc('\n', out);
    return is_done;
}

bool b2_text_write(const b2_style *style, const b2_record *record, FILE *out) {
    if (style->has_scores) return record->taken == NULL || fputs(record->taken, out) >= 0;
    if (!style->only_text) return b2_tsv_write(style, record, out);
    for (size_t i = 0; i < record->n_answers && b2_record_has_answers(record); i++)
        fprintf(out, "%s\n", record->answers[i].text);
    return true;
}
