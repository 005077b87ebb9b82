#include "cli/record.h"

#include <inttypes.h>
#include <string.h>

static const char *outcome_name(blip2_outcome outcome) {
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
    blip2_outcome worst = BLIP2_OUTCOME_OK; /* the enum's order is that of "the first that fits" */
    for (size_t i = 0; i < record->n_answers; i++)
        if (record->answers[i].outcome > worst) worst = record->answers[i].outcome;
    return outcome_name(worst);
}

/* ---- JSON --------------------------------------------------------------------------------------------------------- */

/* Bytes of the valid UTF-8 sequence at s, or 0 (Unicode table 3-7). */
static size_t utf8_length(const unsigned char *s) {
    if (s[0] < 0x80) return 1;
    const size_t n = s[0] >= 0xC2 && s[0] <= 0xDF ? 2 : s[0] >= 0xE0 && s[0] <= 0xEF ? 3 : s[0] >= 0xF0 && s[0] <= 0xF4 ? 4 : 0;
    const unsigned char low = s[0] == 0xE0 ? 0xA0 : s[0] == 0xF0 ? 0x90 : 0x80;
    const unsigned char high = s[0] == 0xED ? 0x9F : s[0] == 0xF4 ? 0x8F : 0xBF;
    if (n > 0 && (s[1] < low || s[1] > high)) return 0;
    for (size_t i = 2; i < n; i++)
        if ((s[i] & 0xC0) != 0x80) return 0;
    return n;
}

bool b2_is_utf8(const char *text) {
    for (const unsigned char *s = (const unsigned char *)text; *s != '\0';) {
        const size_t n = utf8_length(s);
        if (n == 0) return false;
        s += n;
    }
    return true;
}

void b2_json_write_string(const char *text, FILE *out) {
    putc('"', out);
    for (const unsigned char *s = (const unsigned char *)text; *s != '\0';) {
        const size_t n = utf8_length(s);
        if (n == 0) fputs("\\ufffd", out);
        else if (*s == '"' || *s == '\\') fprintf(out, "\\%c", *s);
        else if (*s == '\n') fputs("\\n", out);
        else if (*s == '\r') fputs("\\r", out);
        else if (*s == '\t') fputs("\\t", out);
        else if (*s < 0x20) fprintf(out, "\\u%04x", *s);
        else fwrite(s, 1, n, out);
        s += n > 0 ? n : 1;
    }
    putc('"', out);
}

static void write_base64(const char *bytes, FILE *out) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const size_t len = strlen(bytes);
    for (size_t i = 0; i < len; i += 3) {
        uint32_t group = 0;
        for (size_t k = 0; k < 3; k++) group = group << 8 | (i + k < len ? (unsigned char)bytes[i + k] : 0);
        for (size_t k = 0; k < 4; k++) putc(i + k <= len ? alphabet[group >> (18 - 6 * k) & 63] : '=', out);
    }
}

static void write_key(const char *key, FILE *out) { fprintf(out, ",\"%s\":", key); }

static void write_member(const char *key, const char *value, FILE *out) {
    write_key(key, out);
    b2_json_write_string(value, out);
}

static void write_answer(const b2_record *record, const b2_answer *a, FILE *out) {
    if (a->prompt != NULL) write_member("prompt", a->prompt, out);
    if (a->question != NULL) write_member("question", a->question, out);
    write_member(record->is_ask ? "answer" : "caption", a->text, out);
    write_member("status", outcome_name(a->outcome), out);
    if (a->outcome == BLIP2_OUTCOME_ERROR) write_member("error", "the logits are not finite numbers", out);
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

/* One line for each answer; a failed picture has one line. */
static void write_jsonl(const b2_record *record, FILE *out) {
    const size_t n = record->error != NULL ? 1 : record->n_answers;
    for (size_t i = 0; i < n; i++) {
        fprintf(out, "{\"v\":1,\"index\":%zu", record->index);
        write_member("path", record->path, out);
        if (!b2_is_utf8(record->path)) {
            write_key("path_base64", out);
            putc('"', out);
            write_base64(record->path, out);
            putc('"', out);
        }
        if (record->error != NULL) {
            write_member("status", "error", out);
            write_member("error", record->error, out);
        } else {
            write_answer(record, &record->answers[i], out);
            if (record->rotated) fputs(",\"rotated\":true", out);
            if (record->answers[i].tokens != NULL) write_tokens(&record->answers[i], out);
            if (record->has_timings) write_timings(&record->timings, out);
        }
        fputs("}\n", out);
    }
}

/* ---- CSV ------------------------------------------------------------------------------------------------------------ */

static void write_cell(const char *value, FILE *out) {
    putc(',', out);
    if (!b2_csv_needs_quotes(value)) {
        fputs(value, out);
        return;
    }
    putc('"', out);
    for (; *value != '\0'; value++) {
        if (*value == '"') putc('"', out);
        putc(*value, out);
    }
    putc('"', out);
}

/* The cells of an input row as they were, as many as the header has. */
static void write_input_cells(const b2_csv *csv, size_t row, FILE *out) {
    const size_t n_columns = csv->row_start[1], n_cells = csv->row_start[row + 1] - csv->row_start[row];
    const size_t n = n_cells > n_columns ? n_cells : n_columns;
    for (size_t c = 0; c < n; c++) {
        const b2_text cell = b2_csv_cell(csv, row, c);
        if (c > 0) putc(',', out);
        fwrite(cell.data, 1, cell.len, out);
    }
}

static const char *column_name(const b2_record *record, size_t i) {
    const b2_answer *a = &record->answers[i];
    if (record->n_answers > 1 && a->question != NULL) return a->question;
    return record->is_ask ? "answer" : "caption";
}

static void write_csv_header(const b2_record_style *style, const b2_record *first, FILE *out) {
    if (style->csv != NULL) write_input_cells(style->csv, 0, out);
    else fputs("path", out);
    for (size_t i = 0; i < first->n_answers; i++) write_cell(column_name(first, i), out);
    fputs(",status,error\n", out);
}

static void write_csv(const b2_record_style *style, const b2_record *record, FILE *out) {
    if (style->csv != NULL) write_input_cells(style->csv, record->index + 1, out);
    else {
        const bool quote = b2_csv_needs_quotes(record->path);
        if (quote) putc('"', out);
        for (const char *s = record->path; *s != '\0'; s++) {
            if (*s == '"') putc('"', out);
            putc(*s, out);
        }
        if (quote) putc('"', out);
    }
    for (size_t i = 0; i < record->n_answers; i++) write_cell(record->error != NULL ? "" : record->answers[i].text, out);
    write_cell(b2_record_status(record), out);
    write_cell(record->error != NULL ? record->error : "", out);
    putc('\n', out);
}

/* ---- text and TSV --------------------------------------------------------------------------------------------------- */

static void write_tsv_value(const char *value, FILE *out) {
    for (; *value != '\0'; value++) switch (*value) {
        case '\t': fputs("\\t", out); break;
        case '\n': fputs("\\n", out); break;
        case '\r': fputs("\\r", out); break;
        case '\\': fputs("\\\\", out); break;
        default: putc(*value, out);
        }
}

static void write_tsv(const b2_record *record, FILE *out) {
    write_tsv_value(record->path, out);
    for (size_t i = 0; i < record->n_answers; i++) {
        putc('\t', out);
        if (record->error == NULL) write_tsv_value(record->answers[i].text, out);
    }
    putc('\n', out);
}

/* ---------------------------------------------------------------------------------------------------------------------- */

bool b2_record_write_header(const b2_record_style *style, const b2_record *first, FILE *out) {
    if (style->format == B2_FORMAT_CSV) write_csv_header(style, first, out);
    return fflush(out) == 0 && !ferror(out);
}

bool b2_record_write(const b2_record_style *style, const b2_record *record, FILE *out) {
    switch (style->format) {
    case B2_FORMAT_JSONL: write_jsonl(record, out); break;
    case B2_FORMAT_CSV: write_csv(style, record, out); break;
    case B2_FORMAT_TSV: write_tsv(record, out); break;
    case B2_FORMAT_TEXT:
        if (!style->only_text) write_tsv(record, out);
        else
            for (size_t i = 0; i < record->n_answers && record->error == NULL; i++) fprintf(out, "%s\n", record->answers[i].text);
        break;
    }
    return fflush(out) == 0 && !ferror(out);
}
