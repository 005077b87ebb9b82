/* record.c: one record in each format. Cells and lines of the user's own list are written back as they were. */
#include "cli/record.h"

#include "cli/json.h"
#include "cli/files.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *const format_names[B2_N_FORMATS] = {"text", "jsonl", "csv", "tsv", "imagefolder"};
const char *b2_format_name(b2_format format) { return format_names[format]; }

void b2_record_free(b2_record *r) {
    for (size_t i = 0; r->answers != NULL && i < r->n_answers; i++) {
        free(r->answers[i].text);
        free(r->answers[i].tokens);
        free(r->answers[i].logprobs);
    }
    free(r->answers);
    free(r->path);
    free(r->error);
    free(r->thumbnail);
    *r = (b2_record){0};
}

const char *b2_outcome_name(blip2_outcome outcome) {
    switch (outcome) {
    case BLIP2_OUTCOME_OK: return "ok";
    case BLIP2_OUTCOME_TRUNCATED: return "truncated";
    case BLIP2_OUTCOME_ECHO: return "echo";
    case BLIP2_OUTCOME_EMPTY: return "empty";
    case BLIP2_OUTCOME_ERROR: return "error";
    }
    return "error";
}

const char *b2_record_status(const b2_record *record) {
    if (record->error != NULL) return "error";
    if (record->is_skipped) return "skipped";
    blip2_outcome worst = BLIP2_OUTCOME_OK; /* the enum's order is that of "the first that fits" */
    for (size_t i = 0; i < record->n_answers; i++)
        if (record->answers[i].outcome > worst) worst = record->answers[i].outcome;
    return b2_outcome_name(worst);
}

const char *b2_record_why(const b2_record *record) {
    if (record->error != NULL) return record->error;
    for (size_t i = 0; !record->is_skipped && i < record->n_answers; i++)
        if (record->answers[i].outcome == BLIP2_OUTCOME_ERROR) return "the logits are not finite numbers";
    return "";
}

static bool has_answers(const b2_record *record) { return record->error == NULL && !record->is_skipped; }

const char *b2_style_column(const b2_style *style, size_t i) {
    const b2_ask *ask = &style->asks[i];
    if (ask->column != NULL) return ask->column;
    size_t n_alike = 0; /* asks of this kind */
    for (size_t k = 0; k < style->n_asks; k++) n_alike += (style->asks[k].question != NULL) == (ask->question != NULL);
    if (n_alike > 1 && ask->question != NULL) return ask->question;
    if (n_alike > 1 && ask->prompt != NULL && ask->prompt[0] != '\0') return ask->prompt;
    return ask->question != NULL ? "answer" : "caption";
}

/* ---- matched words ----------------------------------------------------------------------------------------------------- */

/* Word mode also says what it dropped and what is ambiguous. */
size_t b2_match_columns(const b2_words *words, b2_match_mode mode) { return words->n_categories + (mode == B2_MATCH_WORD ? 2 : 0); }

const char *b2_match_column_name(const b2_words *words, size_t i) {
    return i < words->n_categories ? words->categories[i].name : i == words->n_categories ? "dropped" : "ambiguous";
}

char *b2_match_column(const b2_words *words, b2_match_mode mode, const char *text, const b2_matches *matches, size_t i) {
    return b2_match_join(words, mode, text, matches, i < words->n_categories ? i : B2_MATCH_DROPPED + (i - words->n_categories));
}

typedef void write_column_fn(const b2_style *style, size_t i, const char *joined, FILE *out);

/* Calls write for each match column of a text; false without memory. */
static bool each_match_column(const b2_style *style, const char *text, write_column_fn *write, FILE *out) {
    b2_matches matches = {0};
    bool done = b2_match_text(style->words, style->match_mode, text, &matches, NULL) == BLIP2_OK;
    for (size_t i = 0; done && i < b2_match_columns(style->words, style->match_mode); i++) {
        char *joined = b2_match_column(style->words, style->match_mode, text, &matches, i);
        if (joined != NULL) write(style, i, joined, out);
        done = joined != NULL;
        free(joined);
    }
    b2_matches_free(&matches);
    return done;
}

/* ---- JSON lines ---------------------------------------------------------------------------------------------------------- */

static void write_key(const char *key, FILE *out) { fprintf(out, ",\"%s\":", key); }

static void write_member(const char *key, const char *value, FILE *out) {
    write_key(key, out);
    b2_json_write_string(value, out);
}

static void write_tokens(const b2_answer *a, FILE *out) {
    write_key("tokens", out);
    for (size_t i = 0; i < a->n_tokens; i++) fprintf(out, "%c%" PRId32, i > 0 ? ',' : '[', a->tokens[i]);
    fputs(a->n_tokens > 0 ? "]" : "[]", out);
    write_key("token_logprobs", out);
    for (size_t i = 0; i < a->n_tokens; i++) fprintf(out, "%c%.9g", i > 0 ? ',' : '[', (double)a->logprobs[i]);
    fputs(a->n_tokens > 0 ? "]" : "[]", out);
    write_key("logprob", out);
    fprintf(out, "%.9g", a->logprob);
}

static void write_timings(const blip2_timings *t, FILE *out) {
    write_key("timings", out);
    fprintf(out, "{\"vision_ms\":%.2f,\"qformer_ms\":%.2f,\"prefill_ms\":%.2f,\"decode_ms\":%.2f,\"decode_steps\":%zu}",
            (double)t->vision_ns * 1e-6, (double)t->qformer_ns * 1e-6, (double)t->prefill_ns * 1e-6, (double)t->decode_ns * 1e-6,
            t->n_decode_steps);
}

static void write_match_member(const b2_style *style, size_t i, const char *joined, FILE *out) {
    if (i > 0) putc(',', out);
    b2_json_write_string(b2_match_column_name(style->words, i), out);
    putc(':', out);
    b2_json_write_list(joined, style->match_mode == B2_MATCH_WORD ? "; " : ", ", out);
}

static bool write_matches(const b2_style *style, const char *text, FILE *out) {
    write_key("matches", out);
    putc('{', out);
    const bool done = each_match_column(style, text, write_match_member, out);
    putc('}', out);
    return done;
}

static bool write_answer(const b2_style *style, const b2_record *record, size_t i, FILE *out) {
    const b2_answer *a = &record->answers[i];
    const b2_ask *ask = &style->asks[i];
    if (ask->prompt != NULL && ask->prompt[0] != '\0') write_member("prompt", ask->prompt, out);
    if (ask->question != NULL) write_member("question", ask->question, out);
    write_member(ask->question != NULL ? "answer" : "caption", a->text, out);
    write_member("status", b2_outcome_name(a->outcome), out);
    if (a->outcome == BLIP2_OUTCOME_ERROR) write_member("error", b2_record_why(record), out);
    if (record->rotated) fputs(",\"rotated\":true", out);
    if (style->words != NULL && !write_matches(style, a->text, out)) return false;
    if (a->tokens != NULL) write_tokens(a, out);
    if (record->has_timings) write_timings(&record->timings, out);
    return true;
}

/* The user's own JSON line, as it was. */
static void write_input_line(const b2_style *style, const b2_record *record, FILE *out) {
    if (style->inputs == NULL || style->inputs->lines == NULL) return;
    const b2_text line = style->inputs->lines[record->index];
    write_key("input", out);
    fwrite(line.data, 1, line.len, out);
}

/* One line for each answer; a failed picture has one line. */
static bool write_jsonl(const b2_style *style, const b2_record *record, FILE *out) {
    const size_t n = has_answers(record) ? record->n_answers : 1;
    bool done = true;
    for (size_t i = 0; i < n; i++) {
        fprintf(out, "{\"v\":1,\"index\":%zu", record->index);
        write_member("path", record->path, out);
        if (!b2_is_utf8(record->path)) {
            fputs(",\"path_base64\":\"", out);
            b2_base64_write((const uint8_t *)record->path, strlen(record->path), out);
            putc('"', out);
        }
        if (has_answers(record)) {
            done = write_answer(style, record, i, out) && done;
        } else {
            write_member("status", b2_record_status(record), out);
            if (record->error != NULL) write_member("error", record->error, out);
        }
        write_input_line(style, record, out);
        fputs("}\n", out);
    }
    return done;
}

/* What Hugging Face's ImageFolder reads beside the pictures; it knows no pictures without a text. */
static void write_imagefolder(const b2_style *style, const b2_record *record, FILE *out) {
    if (!has_answers(record)) return;
    char *name = b2_path_from_file(style->output_path, style->inputs, record->path);
    fputs("{\"file_name\":", out);
    b2_json_write_string(name != NULL ? name : record->path, out);
    free(name);
    for (size_t i = 0; i < record->n_answers; i++) {
        putc(',', out);
        b2_json_write_string(style->asks[i].column != NULL ? style->asks[i].column : style->n_asks == 1 ? "text" : b2_style_column(style, i), out);
        putc(':', out);
        b2_json_write_string(record->answers[i].text, out);
    }
    fputs("}\n", out);
}

/* ---- CSV ------------------------------------------------------------------------------------------------------------------ */

static void write_match_header(const b2_style *style, size_t ask, FILE *out) {
    for (size_t i = 0; i < b2_match_columns(style->words, style->match_mode); i++) {
        char name[256];
        const char *column = b2_match_column_name(style->words, i);
        if (style->n_asks == 1) snprintf(name, sizeof name, "%s", column);
        else snprintf(name, sizeof name, "%s, %s", b2_style_column(style, ask), column);
        b2_csv_write_value(name, true, out);
    }
}

static void write_csv_header(const b2_style *style, FILE *out) {
    if (style->inputs != NULL && style->inputs->has_csv) b2_csv_write_row(&style->inputs->csv, 0, out);
    else fputs("path", out);
    for (size_t i = 0; i < style->n_asks; i++) {
        b2_csv_write_value(b2_style_column(style, i), true, out);
        if (style->words != NULL) write_match_header(style, i, out);
    }
    fputs(",status,error\n", out);
}

static void write_match_cell(const b2_style *style, size_t i, const char *joined, FILE *out) {
    (void)style, (void)i;
    b2_csv_write_value(joined, true, out);
}

static bool write_csv(const b2_style *style, const b2_record *record, FILE *out) {
    bool done = true;
    if (style->inputs != NULL && style->inputs->has_csv) b2_csv_write_row(&style->inputs->csv, record->index + 1, out);
    else b2_csv_write_value(record->path, false, out);
    for (size_t i = 0; i < style->n_asks; i++) {
        const char *text = has_answers(record) ? record->answers[i].text : "";
        b2_csv_write_value(text, true, out);
        if (style->words != NULL) done = each_match_column(style, text, write_match_cell, out) && done;
    }
    b2_csv_write_value(b2_record_status(record), true, out);
    b2_csv_write_value(b2_record_why(record), true, out);
    putc('\n', out);
    return done;
}

/* ---- text and TSV ----------------------------------------------------------------------------------------------------------- */

static void write_tsv_value(const char *value, FILE *out) {
    for (; *value != '\0'; value++) switch (*value) {
        case '\t': fputs("\\t", out); break;
        case '\n': fputs("\\n", out); break;
        case '\r': fputs("\\r", out); break;
        case '\\': fputs("\\\\", out); break;
        default: putc(*value, out);
        }
}

static void write_match_tsv(const b2_style *style, size_t i, const char *joined, FILE *out) {
    (void)style, (void)i;
    putc('\t', out);
    write_tsv_value(joined, out);
}

static bool write_tsv(const b2_style *style, const b2_record *record, FILE *out) {
    bool done = true;
    write_tsv_value(record->path, out);
    for (size_t i = 0; i < style->n_asks; i++) {
        const char *text = has_answers(record) ? record->answers[i].text : "";
        putc('\t', out);
        write_tsv_value(text, out);
        if (style->words != NULL) done = each_match_column(style, text, write_match_tsv, out) && done;
    }
    putc('\n', out);
    return done;
}

/* ------------------------------------------------------------------------------------------------------------------------------ */

bool b2_record_write_header(const b2_style *style, FILE *out) {
    if (style->format == B2_FORMAT_CSV) write_csv_header(style, out);
    return fflush(out) == 0 && !ferror(out);
}

bool b2_record_write(const b2_style *style, const b2_record *record, FILE *out) {
    bool done = true;
    switch (style->format) {
    case B2_FORMAT_JSONL: done = write_jsonl(style, record, out); break;
    case B2_FORMAT_CSV: done = write_csv(style, record, out); break;
    case B2_FORMAT_TSV: done = write_tsv(style, record, out); break;
    case B2_FORMAT_IMAGEFOLDER: write_imagefolder(style, record, out); break;
    case B2_FORMAT_TEXT:
        if (!style->only_text) done = write_tsv(style, record, out);
        else
            for (size_t i = 0; i < record->n_answers && has_answers(record); i++) fprintf(out, "%s\n", record->answers[i].text);
        break;
    }
    return done && fflush(out) == 0 && !ferror(out);
}
