/* path_stream.c: stdin, line by line. Of JSON lines each item carries its whole line, as samples of archives do: it
 * goes through the journal into the output. */
#include "lists/path_stream.h"

#include "base/file.h"
#include "base/json_string.h"
#include "base/memory_text.h"
#include "base/utf8.h"
#include "lists/json_list.h"
#include "lists/json_scan.h"
#include "lists/list_text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { GUESS_BYTES = 1 << 16, MAX_BYTES = 1 << 30 };

/* The first line shows UTF-16, whose lines end otherwise: the rest is read to its end. */
static blip2_status turn_into_utf8(b2_path_stream *s, size_t n_first, blip2_error *err) {
    char *rest = NULL;
    size_t n = 0;
    B2_TRY(b2_stream_read(s->file, "stdin", GUESS_BYTES, MAX_BYTES, &rest, &n, err));
    s->text = malloc(n_first + n + 1);
    if (s->text != NULL) {
        memcpy(s->text, s->line, n_first);
        memcpy(s->text + n_first, rest, n);
        n += n_first;
    }
    free(rest);
    if (s->text == NULL) return b2_fail(err, BLIP2_MEMORY, "stdin: no memory to read it");
    B2_TRY(b2_list_to_utf8(&s->text, &n, "stdin", err));
    s->file = fmemopen(s->text, n, "rb");
    return s->file != NULL ? BLIP2_OK : b2_fail(err, BLIP2_MEMORY, "stdin: no memory to read it");
}

static bool is_end(const b2_path_stream *s, char c) {
    return c == '\n' || c == '\r' || (s->inputs->column != NULL && (c == ' ' || c == '\t'));
}

/* The next line that is not blank, without its end; *n 0: there is none. */
static blip2_status read_line(b2_path_stream *s, char **line, size_t *n, blip2_error *err) {
    for (;;) {
        errno = 0;
        const ssize_t got = getdelim(&s->line, &s->line_bytes, s->end, s->file);
        *n = 0;
        if (got < 0 && errno == EINTR) {
            clearerr(s->file);
            continue;
        }
        if (got < 0 && errno == ENOMEM) return b2_fail(err, BLIP2_MEMORY, "stdin: no memory to read it");
        if (got < 0)
            return ferror(s->file) ? b2_fail(err, BLIP2_IO, "stdin: cannot be read: %s", strerror(errno)) : BLIP2_OK;
        *line = s->line;
        *n = (size_t)got;
        if (++s->number == 1 && s->end == '\n' && s->text == NULL && b2_utf16_has_mark(*line, *n)) {
            s->number = 0;
            B2_TRY(turn_into_utf8(s, *n, err));
            continue;
        }
        if (s->end == '\0') *n -= (*line)[*n - 1] == '\0';
        while (s->end == '\n' && *n > 0 && is_end(s, (*line)[*n - 1])) --*n;
        (*line)[*n] = '\0';
        const size_t n_mark = s->number == 1 && s->end == '\n' ? b2_utf8_mark(*line, *n) : 0;
        *line += n_mark;
        *n -= n_mark;
        if (*n > 0) return BLIP2_OK;
        s->n_blank++;
    }
}

/* JSON as it stands in a journal: valid UTF-8; what is no JSON becomes a string. NULL without memory. */
static char *copy_json(b2_text json, bool is_valid) {
    b2_utf8_writer w = {.capacity = 3 * json.len + 1};
    b2_memory_text text;
    if (is_valid) {
        w.text = malloc(w.capacity);
        for (size_t i = 0; w.text != NULL && i < json.len; i++) b2_utf8_put(&w, (uint8_t)json.data[i]);
        if (w.text != NULL) b2_utf8_finish(&w);
        return w.text;
    }
    FILE *out = b2_memory_text_begin(&text);
    if (out != NULL) b2_json_write_text(json.data, json.len, out);
    return out != NULL && b2_memory_text_end(&text) ? text.text : NULL;
}

/* A line of JSON as an item; like a list's, it is an error of its own where it names no picture. */
static blip2_status read_json(b2_path_stream *s, b2_text json, b2_item *item, blip2_error *err) {
    const char *key = s->inputs->column, *why;
    b2_text raw = {NULL, 0};
    size_t len = 0;
    const bool is_valid = b2_json_is_value(json, key, &raw, &why);
    item->sample = copy_json(json, is_valid);
    item->name = is_valid && raw.data != NULL ? b2_json_unescape(raw, &len) : strdup("");
    if (item->name == NULL || item->sample == NULL) return b2_fail(err, BLIP2_MEMORY, "stdin: no memory for a line");
    if (strlen(item->name) < len) item->name[0] = '\0';
    if (item->name[0] != '\0') item->path = b2_inputs_resolve(s->inputs, 0, item->name, NULL);
    else if (!b2_json_list_explain("stdin", s->number, json, key, &item->error))
        b2_fail(&item->error, BLIP2_ARGUMENT, "stdin: line %zu: its \"%s\" is empty", s->number, key);
    if (item->path == NULL && item->error.status == BLIP2_OK)
        return b2_fail(err, BLIP2_MEMORY, "stdin: no memory for a path");
    return BLIP2_OK;
}

static blip2_status read_path(b2_path_stream *s, b2_text line, b2_item *item, blip2_error *err) {
    item->name = strdup(line.data);
    if (strlen(line.data) < line.len)
        b2_fail(&item->error, BLIP2_FORMAT, "stdin: line %zu holds NUL bytes (-0 reads paths that end with them)",
                s->number);
    else item->path = b2_inputs_resolve(s->inputs, 0, line.data, NULL);
    if (item->name != NULL && (item->path != NULL || item->error.status != BLIP2_OK)) return BLIP2_OK;
    return b2_fail(err, BLIP2_MEMORY, "stdin: no memory for a path");
}

static blip2_status next(b2_source *source, b2_item *item, bool *has_item, blip2_error *err) {
    b2_path_stream *s = (b2_path_stream *)source;
    char *line = NULL;
    size_t n = 0;
    B2_TRY(read_line(s, &line, &n, err));
    *has_item = n > 0;
    if (n == 0) return BLIP2_OK;
    *item = (b2_item){.index = s->n_items++};
    const b2_text text = {line, n};
    const blip2_status status =
        s->inputs->column != NULL ? read_json(s, text, item, err) : read_path(s, text, item, err);
    if (status != BLIP2_OK) b2_item_free(item);
    return status;
}

b2_path_stream b2_path_stream_of(const b2_inputs *inputs, int kind) {
    return (b2_path_stream){.source = {.n = B2_LENGTH_UNKNOWN, .next = next},
                            .inputs = inputs,
                            .file = stdin,
                            .end = kind == B2_LIST_NUL ? '\0' : '\n'};
}

void b2_path_stream_close(b2_path_stream *s) {
    if (s->text != NULL && s->file != NULL && s->file != stdin) fclose(s->file);
    free(s->text);
    free(s->line);
    s->text = s->line = NULL;
}
