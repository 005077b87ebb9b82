/* rows.c: no row is taken apart further than to its picture's name: what was said about it stays the bytes that it is,
 * whoever mended it. Each format's reader leaves out what its writer puts back: a row's number, the user's line. */
#include "record/rows.h"

#include "base/file.h"
#include "base/memory_text.h"
#include "lists/json_scan.h"
#include "record/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct reading {
    const b2_style *style;
    const b2_rows_layout *layout;
    const char *path;
    b2_row_fn *fn;
    void *context;
    size_t n_unreadable;
    char *name, *taken; /* of jsonl: the row whose lines are being read; from malloc */
    size_t n_lines;
    char *number; /* its index, as text */
    bool has_answer;
} reading;

static blip2_status fail_memory(const reading *r, blip2_error *err) {
    return b2_fail(err, BLIP2_MEMORY, "%s: no memory to read it", r->path);
}

/* The columns that follow a row's own, status and error apart. */
static size_t count_cells(const b2_style *s, bool has_choices) {
    const size_t n_match = s->words != NULL ? b2_match_columns(s->words, s->match_mode) : 0;
    return b2_style_answers(s) * (1 + (has_choices ? b2_choices_count(s->choices) : 0) + n_match);
}

/* ---- tables ---------------------------------------------------------------------------------------------------- */

/* The last cells of a row, from its end: a row of the user's may be longer than its header. */
static bool write_cells(const b2_csv *csv, size_t row, size_t first, size_t n, const b2_csv_style *style, FILE *out) {
    bool is_done = true;
    for (size_t c = first; c < n && is_done; c++) {
        char *value = b2_csv_value(b2_csv_cell(csv, row, c));
        is_done = value != NULL;
        if (is_done) b2_csv_write_value(style, value, true, out);
        free(value);
    }
    return is_done;
}

static blip2_status read_row(reading *r, const b2_csv *csv, size_t row, size_t column, blip2_error *err) {
    const b2_style *s = r->style;
    const size_t n_tail = count_cells(s, true) + 2, n = b2_csv_n_cells(csv, row);
    const b2_csv_style *style = s->inputs != NULL && s->inputs->has_csv ? &s->inputs->csv.style : &b2_csv_plain;
    b2_memory_text taken;
    if (n <= n_tail || column >= n - n_tail) return r->n_unreadable++, BLIP2_OK;
    FILE *out = b2_memory_text_begin(&taken);
    const bool is_written = out != NULL && write_cells(csv, row, n - n_tail, n, style, out),
               is_whole = out != NULL && b2_memory_text_end(&taken);
    char *name = b2_csv_value(b2_csv_cell(csv, row, column));
    const blip2_status status =
        is_written && is_whole && name != NULL ? r->fn(r->context, name, taken.text, err) : fail_memory(r, err);
    free(name);
    if (is_whole) free(taken.text);
    return status;
}

static bool is_named(const b2_csv *csv, size_t column, const char *name) {
    char *value = b2_csv_value(b2_csv_cell(csv, 0, column));
    const bool is = value != NULL && strcmp(value, name) == 0;
    free(value);
    return is;
}

static blip2_status read_csv(reading *r, blip2_error *err) {
    b2_csv csv = {.no_header = r->layout->is_table && r->layout->no_header};
    size_t column = 0;
    blip2_status status = b2_csv_add_file(&csv, r->path, err);
    const size_t n = csv.n_columns;
    if (status == BLIP2_OK && !csv.no_header &&
        (n < 3 || !is_named(&csv, n - 2, "status") || !is_named(&csv, n - 1, "error")))
        status = b2_fail(err, BLIP2_ARGUMENT,
                         "%s: its last columns are not status and error, as this program writes it", r->path);
    if (status == BLIP2_OK && r->layout->is_table && r->layout->column != NULL)
        status = b2_csv_find_column(&csv, r->layout->column, &column, err);
    for (size_t row = b2_csv_first(&csv); status == BLIP2_OK && row < csv.n_rows; row++)
        status = read_row(r, &csv, row, column, err);
    b2_csv_free(&csv);
    return status;
}

/* ---- lines with tabs --------------------------------------------------------------------------------------------- */

/* Undoes the escapes of one cell, in place. */
static void undo_escapes(char *cell) {
    char *to = cell;
    for (const char *at = cell; *at != '\0'; at++) {
        if (*at == '\\' && at[1] != '\0') {
            at++;
            *to++ = *at == 't' ? '\t' : *at == 'n' ? '\n' : *at == 'r' ? '\r' : *at;
        } else {
            *to++ = *at;
        }
    }
    *to = '\0';
}

static blip2_status read_tsv_line(reading *r, char *line, size_t len, blip2_error *err) {
    size_t n_tabs = 0;
    for (size_t i = 0; i < len; i++) n_tabs += line[i] == '\t';
    if (n_tabs == 0 || n_tabs != count_cells(r->style, false)) return r->n_unreadable++, BLIP2_OK;
    char *tab = strchr(line, '\t'), *name = strndup(line, (size_t)(tab - line));
    if (name == NULL) return fail_memory(r, err);
    undo_escapes(name);
    const blip2_status status = r->fn(r->context, name, tab, err);
    free(name);
    return status;
}

/* ---- JSON lines ------------------------------------------------------------------------------------------------ */

typedef struct member {
    b2_text key, value; /* the key with its quotes */
} member;

static bool is_key(const member *m, const char *key) {
    const size_t n = strlen(key);
    return m->key.len == n + 2 && memcmp(m->key.data + 1, key, n) == 0;
}

/* The next member of an object whose brace the cursor has passed. *is_end: there is none. False: no JSON. */
static bool next_member(b2_json_cursor *c, member *m, bool *is_end) {
    b2_json_skip_white(c);
    if (c->at < c->end && *c->at == ',') c->at++;
    b2_json_skip_white(c);
    *is_end = c->at < c->end && *c->at == '}';
    if (*is_end) return true;
    m->key.data = c->at;
    if (c->at == c->end || *c->at != '"' || !b2_json_skip_value(c, NULL, NULL)) return false;
    m->key.len = (size_t)(c->at - m->key.data);
    b2_json_skip_white(c);
    if (c->at == c->end || *c->at++ != ':') return false;
    b2_json_skip_white(c);
    m->value.data = c->at;
    if (!b2_json_skip_value(c, NULL, NULL)) return false;
    m->value.len = (size_t)(c->at - m->value.data);
    return true;
}

/* A string's value, from malloc; NULL where it is none. */
static char *read_string(b2_text value) {
    size_t len;
    if (value.len < 2 || value.data[0] != '"') return NULL;
    char *text = b2_json_unescape((b2_text){value.data + 1, value.len - 2}, &len);
    if (text == NULL || strlen(text) == len) return text;
    free(text);
    return NULL;
}

typedef struct json_line {
    char *name, *number, *members; /* members: those that are taken, each after a comma; all from malloc */
    bool has_answer;
} json_line;

static void free_line(json_line *l) {
    free(l->name);
    free(l->number);
    free(l->members);
    *l = (json_line){0};
}

static void take_name(json_line *l, const member *m) {
    size_t n;
    char *text = read_string(m->value), *bytes = NULL;
    if (is_key(m, "path_base64") && text != NULL) bytes = (char *)b2_base64_read(text, &n);
    if (bytes != NULL) free(text);
    if (bytes != NULL) text = bytes;
    free(l->name);
    l->name = text;
}

static bool read_members(b2_json_cursor *c, bool is_folder, json_line *l, FILE *out) {
    member m;
    bool is_end = false;
    while (next_member(c, &m, &is_end) && !is_end) {
        if (is_folder ? is_key(&m, "file_name") : is_key(&m, "path") || is_key(&m, "path_base64")) take_name(l, &m);
        if (is_folder && is_key(&m, "file_name")) continue;
        if (!is_folder && is_key(&m, "index") && l->number == NULL) l->number = strndup(m.value.data, m.value.len);
        if (!is_folder && (is_key(&m, "v") || is_key(&m, "index") || is_key(&m, "input"))) continue;
        l->has_answer |= is_key(&m, "caption") || is_key(&m, "answer");
        fprintf(out, ",%.*s:%.*s", (int)m.key.len, m.key.data, (int)m.value.len, m.value.data);
    }
    return is_end;
}

/* False where the line is not one of ours, or without memory. */
static bool read_json(const char *text, size_t len, bool is_folder, json_line *l) {
    b2_json_cursor c = {text, text + len, NULL};
    b2_memory_text members;
    const char *why;
    *l = (json_line){0};
    b2_json_skip_white(&c);
    if (!b2_json_is_value((b2_text){text, len}, NULL, NULL, &why) || c.at == c.end || *c.at++ != '{') return false;
    FILE *out = b2_memory_text_begin(&members);
    if (out == NULL) return false;
    const bool is_read = read_members(&c, is_folder, l, out), is_whole = b2_memory_text_end(&members);
    l->members = members.text;
    return is_whole && is_read && l->name != NULL && (is_folder || l->number != NULL);
}

static blip2_status read_folder_line(reading *r, char *line, size_t len, blip2_error *err) {
    json_line l;
    blip2_status status = BLIP2_OK;
    if (read_json(line, len, true, &l)) status = r->fn(r->context, l.name, l.members, err);
    else r->n_unreadable++;
    free_line(&l);
    return status;
}

/* Hands over the row whose lines were read: one for each question, or one without an answer. */
static blip2_status finish_row(reading *r, blip2_error *err) {
    const bool is_whole = r->n_lines == (r->has_answer ? r->style->n_asks : 1);
    blip2_status status = BLIP2_OK;
    if (r->name != NULL && is_whole) status = r->fn(r->context, r->name, r->taken, err);
    else if (r->name != NULL) r->n_unreadable++;
    free(r->name);
    free(r->taken);
    free(r->number);
    r->name = r->taken = r->number = NULL;
    r->n_lines = 0;
    r->has_answer = false;
    return status;
}

/* Takes over what is in the line. */
static blip2_status add_line(reading *r, json_line *l, blip2_error *err) {
    const bool goes_on = r->name != NULL && strcmp(r->name, l->name) == 0 && strcmp(r->number, l->number) == 0;
    if (!goes_on) B2_TRY(finish_row(r, err));
    const size_t n_before = goes_on ? strlen(r->taken) + 1 : 0, n = strlen(l->members);
    char *taken = realloc(r->taken, n_before + n + 1);
    if (taken == NULL) return fail_memory(r, err);
    if (goes_on) taken[n_before - 1] = '\n';
    memcpy(taken + n_before, l->members, n + 1);
    r->taken = taken;
    r->n_lines++;
    r->has_answer |= l->has_answer;
    if (goes_on) return BLIP2_OK;
    r->name = l->name;
    r->number = l->number;
    l->name = l->number = NULL;
    return BLIP2_OK;
}

static blip2_status read_json_line(reading *r, char *line, size_t len, blip2_error *err) {
    json_line l;
    blip2_status status = BLIP2_OK;
    if (read_json(line, len, false, &l)) status = add_line(r, &l, err);
    else r->n_unreadable++;
    free_line(&l);
    return status;
}

/* ---- all ------------------------------------------------------------------------------------------------------- */

static blip2_status read_lines(reading *r, blip2_status (*take)(reading *, char *, size_t, blip2_error *),
                               blip2_error *err) {
    FILE *file = fopen(r->path, "rb");
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n = 0;
    blip2_status status = BLIP2_OK;
    if (file == NULL) return b2_fail(err, BLIP2_IO, "%s: cannot be opened: %s", r->path, strerror(errno));
    errno = 0;
    while (status == BLIP2_OK && (n = getline(&line, &capacity, file)) > 0) {
        if (line[n - 1] == '\n') line[--n] = '\0';
        if (n > 0 && line[n - 1] == '\r') line[--n] = '\0'; /* an editor's */
        if (memchr(line, '\0', (size_t)n) == NULL) status = take(r, line, (size_t)n, err);
        else r->n_unreadable++;
    }
    if (status == BLIP2_OK && errno == ENOMEM) status = fail_memory(r, err);
    else if (status == BLIP2_OK && ferror(file))
        status = b2_fail(err, BLIP2_IO, "%s: cannot be read: %s", r->path, strerror(errno));
    free(line);
    fclose(file);
    return status;
}

/* The answers of the only picture, an answer a line; none: it failed. They get a name, and escapes. */
static blip2_status read_only_text(reading *r, blip2_error *err) {
    char *text;
    b2_memory_text taken = {.text = NULL};
    size_t n, n_lines = 0;
    const size_t n_answers = b2_style_answers(r->style);
    B2_TRY(b2_file_read(r->path, 1 << 30, &text, &n, err));
    for (size_t i = 0; i < n; i++) n_lines += text[i] == '\n';
    FILE *out = b2_memory_text_begin(&taken);
    for (size_t i = 0; out != NULL && i < n; i++) {
        if (i == 0 || text[i - 1] == '\n') putc('\t', out);
        if (text[i] == '\\' || text[i] == '\t') fputs(text[i] == '\t' ? "\\t" : "\\\\", out);
        else if (text[i] != '\n' && text[i] != '\r' && text[i] != '\0') putc(text[i], out);
    }
    for (size_t i = 0; out != NULL && n == 0 && i < n_answers; i++) putc('\t', out);
    blip2_status status = out != NULL && b2_memory_text_end(&taken) ? BLIP2_OK : fail_memory(r, err);
    const bool fits = (n == 0 || n_lines == n_answers) && r->style->words == NULL;
    if (status == BLIP2_OK && fits) status = r->fn(r->context, NULL, taken.text, err);
    else r->n_unreadable++;
    free(taken.text);
    free(text);
    return status;
}

blip2_status b2_rows_each(const b2_style *style, const b2_rows_layout *layout, const char *path, b2_row_fn *fn,
                          void *context, size_t *n_unreadable, blip2_error *err) {
    reading r = {.style = style, .layout = layout, .path = path, .fn = fn, .context = context};
    blip2_status status;
    switch (style->format) {
    case B2_FORMAT_CSV: status = read_csv(&r, err); break;
    case B2_FORMAT_JSONL: status = read_lines(&r, read_json_line, err); break;
    case B2_FORMAT_IMAGEFOLDER: status = read_lines(&r, read_folder_line, err); break;
    default: status = layout->only_text ? read_only_text(&r, err) : read_lines(&r, read_tsv_line, err);
    }
    if (status == BLIP2_OK) status = finish_row(&r, err);
    free(r.name);
    free(r.taken);
    free(r.number);
    *n_unreadable = r.n_unreadable;
    return status;
}
