/* scores.c: see scores.h. What each format puts around them is in tables.c and jsonl.c. */
#include "record/scores.h"

#include "lists/json_scan.h"
#include "record/json.h"

#include <stdlib.h>
#include <string.h>

void b2_scores_write_header(const b2_csv_style *csv, FILE *out) {
    b2_csv_write_value(csv, "logprob", true, out);
    b2_csv_write_value(csv, "mean_logprob", true, out);
}

/* score NULL: the row failed. */
static void write_row(const b2_scored *s, const blip2_score *score, const char *why, FILE *out) {
    char sum[32] = "", mean[32] = "";
    if (score != NULL) snprintf(sum, sizeof sum, "%.9g", score->logprob);
    if (score != NULL) snprintf(mean, sizeof mean, "%.9g", score->mean_logprob);
    const char *const cells[] = {sum, mean, b2_record_status_name(score != NULL ? B2_RECORD_OK : B2_RECORD_ERROR), why};
    for (size_t i = 0; i < sizeof cells / sizeof cells[0]; i++)
        b2_csv_write_value(&s->style->inputs->csv.style, cells[i], true, out);
}

/* What stands in a line of JSON before the scores. */
static void write_picture(const b2_scored *s, FILE *out) {
    const b2_ask *ask = &s->style->asks[0];
    b2_json_write_path(s->path, out);
    if (ask->prompt != NULL) b2_json_write_member("prompt", ask->prompt, out);
    if (ask->question != NULL) b2_json_write_member("question", ask->question, out);
}

static void write_json(const b2_scored *s, const char *text, const blip2_score *score, FILE *out) {
    write_picture(s, out);
    b2_json_write_member("text", text, out);
    fprintf(out, ",\"status\":\"ok\",\"logprob\":%.9g,\"mean_logprob\":%.9g,\"text_logprob\":%.9g", score->logprob,
            score->mean_logprob, score->text_logprob);
    if (s->is_common) fprintf(out, ",\"probability\":%.6g", score->probability);
    b2_json_write_ints("tokens", score->tokens, score->n_tokens, out);
    b2_json_write_floats("token_logprobs", score->token_logprobs, score->n_tokens, out);
}

void b2_scores_write(const b2_scored *s, const char *text, const blip2_score *score, bool is_first, FILE *out) {
    switch (s->style->format) {
    case B2_FORMAT_CSV: write_row(s, score, "", out); break;
    case B2_FORMAT_JSONL:
        if (!is_first) putc('\n', out); /* the next line of the same picture */
        write_json(s, text, score, out);
        break;
    default:
        if (s->n_pictures > 1) fprintf(out, "%s\t", s->path);
        fprintf(out, "%.6f\t%.6f\t%.6f\t%s\n", score->logprob, score->mean_logprob, score->probability, text);
    }
}

void b2_scores_write_failure(const b2_scored *s, const char *why, FILE *out) {
    if (s->style->format == B2_FORMAT_CSV) write_row(s, NULL, why, out);
    if (s->style->format != B2_FORMAT_JSONL) return;
    write_picture(s, out);
    b2_json_write_member("status", "error", out);
    b2_json_write_member("error", why, out);
}

/* ---- and whether they hold -------------------------------------------------------------------------------------- */

/* Four cells, each after its separator. */
static bool holds_cells(const char *taken) {
    const char separator = taken[0];
    size_t n = 0;
    bool is_quoted = false;
    if (separator == '\0' || strchr(",;\t", separator) == NULL) return false;
    for (const char *at = taken; *at != '\0'; at++) {
        if (*at == '"') is_quoted = !is_quoted;
        else if (!is_quoted && (*at == '\n' || *at == '\r')) return false;
        else if (!is_quoted && *at == separator) n++;
    }
    return n == 4 && !is_quoted;
}

/* The members of an object, after a comma, on a line of n bytes. */
static bool holds_members(const char *line, size_t n) {
    const char *why;
    if (n < 2 || line[0] != ',') return false;
    char *object = malloc(n + 1);
    if (object == NULL) return false;
    memcpy(object, line, n);
    object[0] = '{';
    object[n] = '}';
    const bool holds = b2_json_is_value((b2_text){object, n + 1}, NULL, NULL, &why);
    free(object);
    return holds;
}

bool b2_scores_hold(b2_format format, const char *taken) {
    const size_t len = strlen(taken);
    if (format == B2_FORMAT_CSV) return holds_cells(taken);
    if (format != B2_FORMAT_JSONL) return len == 0 || taken[len - 1] == '\n';
    for (const char *line = taken;; line++) {
        const size_t n = strcspn(line, "\n");
        if (!holds_members(line, n)) return false;
        line += n;
        if (*line == '\0') return true;
    }
}
