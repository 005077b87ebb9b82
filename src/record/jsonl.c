/* jsonl.c: see jsonl.h. */
#include "record/jsonl.h"

#include "lists/json_scan.h"
#include "record/json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- matched words --------------------------------------------------------------------------------------------- */

typedef struct word_list {
    FILE *out;
    size_t n;
} word_list;

static void write_word(void *context, const char *word) {
    word_list *list = context;
    if (list->n++ > 0) putc(',', list->out);
    b2_json_write_string(word, list->out);
}

bool b2_jsonl_write_matches(const b2_words *words, b2_match_mode mode, const char *text, const b2_matches *matches,
                            FILE *out) {
    bool is_done = true;
    fputs(",\"matches\":{", out);
    for (size_t i = 0; is_done && i < b2_match_columns(words, mode); i++) {
        word_list list = {.out = out};
        if (i > 0) putc(',', out);
        b2_json_write_string(b2_match_column_name(words, i), out);
        fputs(":[", out);
        is_done = b2_match_each(words, mode, text, matches, i, write_word, &list);
        putc(']', out);
    }
    putc('}', out);
    return is_done;
}

static bool match_and_write(const b2_style *style, const char *text, FILE *out) {
    b2_matches matches = {0};
    const bool is_done = b2_match_text(style->words, style->match_mode, text, &matches, NULL) == BLIP2_OK &&
                         b2_jsonl_write_matches(style->words, style->match_mode, text, &matches, out);
    b2_matches_free(&matches);
    return is_done;
}

/* ---- JSON lines ------------------------------------------------------------------------------------------------ */

static void write_timings(const blip2_timings *t, FILE *out) {
    fprintf(
        out,
        ",\"timings\":{\"vision_ms\":%.2f,\"qformer_ms\":%.2f,\"prefill_ms\":%.2f,\"decode_ms\":%.2f,\"decode_steps\":%zu",
        (double)t->vision_ns * 1e-6, (double)t->qformer_ns * 1e-6, (double)t->prefill_ns * 1e-6,
        (double)t->decode_ns * 1e-6, t->n_decode_steps);
    if (t->device_ns > 0) fprintf(out, ",\"gpu_ms\":%.2f", (double)t->device_ns * 1e-6);
    putc('}', out);
}

static void write_processed(const b2_answer *a, FILE *out) {
    double sum = 0;
    for (size_t i = 0; i < a->n_processed; i++) sum += (double)a->processed[i];
    b2_json_write_floats("processed_logprobs", a->processed, a->n_processed, out);
    fputs(",\"processed_logprob\":", out);
    b2_json_write_number(sum, out);
}

static void write_details(const b2_answer *a, FILE *out) {
    if (a->is_retried) fputs(",\"retried\":true", out);
    if (a->tokens != NULL) {
        b2_json_write_ints("tokens", a->tokens, a->n_tokens, out);
        b2_json_write_floats("token_logprobs", a->logprobs, a->n_tokens, out);
        fprintf(out, ",\"logprob\":%.9g", a->logprob);
    }
    if (a->processed != NULL) write_processed(a, out);
    if (a->alternatives != NULL) fprintf(out, ",\"alternatives\":%s", a->alternatives);
}

/* ,"probabilities":{"red":0.75,"green":0.25} */
static void write_shares(const b2_style *style, const b2_answer *a, FILE *out) {
    b2_text choice;
    if (a->shares == NULL) return;
    fputs(",\"probabilities\":{", out);
    for (size_t i = 0; b2_choice_at(style->choices, i, &choice); i++) {
        if (i > 0) putc(',', out);
        b2_json_write_text(choice.data, choice.len, out);
        fprintf(out, ":%.6g", a->shares[i]);
    }
    putc('}', out);
}

/* All answers to one ask, best first: ,"captions":[{"caption":...,"status":...,"score":...},...] */
static bool write_several(const b2_style *style, const b2_record *record, const char *key, const b2_answer *answers,
                          FILE *out) {
    bool is_done = true;
    fprintf(out, ",\"%ss\":[", key);
    for (size_t i = 0; i < style->n_results; i++) {
        fprintf(out, "%s{\"%s\":", i > 0 ? "," : "", key);
        b2_json_write_string(answers[i].text, out);
        b2_json_write_member("status", b2_record_status_name(answers[i].outcome), out);
        if (answers[i].outcome != B2_RECORD_ERROR) fprintf(out, ",\"score\":%.9g", answers[i].score);
        else b2_json_write_member("error", b2_record_why(record), out);
        if (style->words != NULL) is_done = match_and_write(style, answers[i].text, out) && is_done;
        write_details(&answers[i], out);
        putc('}', out);
    }
    putc(']', out);
    return is_done;
}

static bool write_answer(const b2_style *style, const b2_record *record, size_t i, FILE *out) {
    const b2_answer *a = &record->answers[i * style->n_results];
    const b2_ask *ask = &style->asks[i];
    const char *key = ask->question != NULL ? "answer" : "caption";
    if (ask->prompt != NULL && ask->prompt[0] != '\0') b2_json_write_member("prompt", ask->prompt, out);
    if (ask->question != NULL) b2_json_write_member("question", ask->question, out);
    b2_json_write_member(key, a->text, out);
    b2_json_write_member("status", b2_record_status_name(a->outcome), out);
    if (a->outcome == B2_RECORD_ERROR) b2_json_write_member("error", b2_record_why(record), out);
    if (record->rotated) fputs(",\"rotated\":true", out);
    if (style->words != NULL && !match_and_write(style, a->text, out)) return false;
    write_shares(style, a, out);
    if (style->n_results > 1) {
        if (!write_several(style, record, key, a, out)) return false;
    } else {
        write_details(a, out);
    }
    if (record->has_timings) write_timings(&record->timings, out);
    return true;
}

/* An element of an array may be laid out over several lines; only between tokens. */
static void write_on_one_line(b2_text json, FILE *out) {
    for (size_t i = 0; i < json.len;) {
        size_t n = 0;
        bool breaks = false;
        while (i + n < json.len && memchr(" \t\r\n", json.data[i + n], 4) != NULL) breaks |= json.data[i + n++] == '\n';
        if (!breaks) fwrite(json.data + i, 1, n, out);
        else if (i > 0 && json.data[i - 1] == ',') putc(' ', out);
        i += n;
        if (i < json.len) putc(json.data[i++], out);
    }
}

/* What names a sample of an archive: raw, as it stands in the sample. JSON lines on a pipe have their own members. */
static void write_key(const b2_style *style, const b2_record *record, FILE *out) {
    b2_text key = {NULL, 0};
    const char *why;
    if (record->sample == NULL || (style->inputs != NULL && style->inputs->column != NULL)) return;
    b2_json_is_value((b2_text){record->sample, strlen(record->sample)}, "__key__", &key, &why);
    if (key.data != NULL) fprintf(out, ",\"__key__\":\"%.*s\"", (int)key.len, key.data);
}

/* The user's own line or element, as it was; one that is no JSON as a string. */
static void write_input_line(const b2_style *style, const b2_record *record, FILE *out) {
    if (record->sample != NULL) fprintf(out, ",\"input\":%s", record->sample);
    if (style->inputs == NULL || style->inputs->lines == NULL) return;
    const b2_text line = style->inputs->lines[record->index];
    const char *why;
    const bool has_path = style->inputs->paths[record->index][0] != '\0';
    fputs(",\"input\":", out);
    if (!has_path && !b2_json_is_value(line, NULL, NULL, &why)) b2_json_write_text(line.data, line.len, out);
    else if (memchr(line.data, '\n', line.len) != NULL) write_on_one_line(line, out);
    else fwrite(line.data, 1, line.len, out);
}

/* Lines of an earlier output, under the number that the picture has now; or of scores. */
static void write_taken(const b2_style *style, const b2_record *record, FILE *out) {
    for (const char *line = record->taken; line != NULL;) {
        const char *end = strchr(line, '\n');
        const size_t n = end != NULL ? (size_t)(end - line) : strlen(line);
        fprintf(out, "{\"v\":1,\"index\":%zu", record->index);
        fwrite(line, 1, n, out);
        write_input_line(style, record, out);
        fputs("}\n", out);
        line = end != NULL ? end + 1 : NULL;
    }
}

bool b2_jsonl_write(const b2_style *style, const b2_record *record, FILE *out) {
    const bool has_answers = b2_record_has_answers(record);
    const size_t n = has_answers ? style->n_asks : 1;
    bool is_done = true;
    if (record->taken != NULL) write_taken(style, record, out);
    for (size_t i = 0; i < n && record->taken == NULL; i++) {
        fprintf(out, "{\"v\":1,\"index\":%zu", record->index);
        b2_json_write_path(record->path, out);
        write_key(style, record, out);
        if (has_answers) {
            is_done = write_answer(style, record, i, out) && is_done;
        } else {
            b2_json_write_member("status", b2_record_status_name(b2_record_get_status(record)), out);
            if (record->error != NULL) b2_json_write_member("error", record->error, out);
        }
        write_input_line(style, record, out);
        fputs("}\n", out);
    }
    return is_done;
}

bool b2_imagefolder_write(const b2_style *style, const b2_record *record, FILE *out) {
    if (record->taken == NULL && (!b2_record_has_answers(record) || b2_record_get_status(record) == B2_RECORD_ERROR))
        return true;
    char *name = b2_inputs_path_from(style->output_path, style->inputs, record->index, record->path);
    fputs("{\"file_name\":", out);
    b2_json_write_string(name != NULL ? name : record->path, out);
    free(name);
    if (record->taken != NULL) fputs(record->taken, out);
    for (size_t i = 0; i < style->n_asks && record->taken == NULL; i++) {
        const bool is_named = style->asks[i].column != NULL || style->n_asks > 1;
        const b2_answer *answers = &record->answers[i * style->n_results];
        putc(',', out);
        b2_json_write_string(is_named ? b2_style_column(style, i) : "text", out);
        fputs(style->n_results > 1 ? ":[" : ":", out);
        for (size_t k = 0; k < style->n_results; k++) {
            if (k > 0) putc(',', out);
            b2_json_write_string(answers[k].text, out);
        }
        if (style->n_results > 1) putc(']', out);
    }
    fputs("}\n", out);
    return true;
}
