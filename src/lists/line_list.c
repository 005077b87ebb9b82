/* line_list.c: see line_list.h. */
#include "lists/line_list.h"

#include "base/grow.h"
#include "base/utf8.h"
#include "lists/list_text.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static bool is_space(char c) { return c == ' ' || c == '\t'; }

/* The line [at, end) without white space at its ends, NUL after it; "": blank. */
static char *cut_line(const b2_line_list *list, char *at, char *end) {
    if (end > at && end[-1] == '\r') end--;
    while (!list->keeps_spaces && end > at && is_space(end[-1])) end--;
    while (!list->keeps_spaces && end > at && is_space(*at)) at++;
    *end = '\0';
    return at;
}

static blip2_status add_line(b2_line_list *list, const char *line, const char *name, size_t number, blip2_error *err) {
    const size_t len = strlen(line);
    if (len > B2_MAX_LINE_BYTES)
        return b2_fail(err, BLIP2_LIMIT, "%s: line %zu has %zu bytes, expected at most %d", name, number, len,
                       B2_MAX_LINE_BYTES);
    if (list->n == B2_MAX_LINES) return b2_fail(err, BLIP2_LIMIT, "%s: more than %d lines", name, B2_MAX_LINES);
    if (!b2_is_utf8(line)) return b2_fail(err, BLIP2_FORMAT, "%s: line %zu is not UTF-8", name, number);
    if (!b2_grow(&list->lines, list->n, &list->capacity, sizeof *list->lines))
        return b2_fail(err, BLIP2_MEMORY, "%s: no memory for its lines", name);
    list->lines[list->n++] = line;
    return BLIP2_OK;
}

blip2_status b2_line_list_parse(b2_line_list *list, char *text, size_t n_bytes, const char *name, blip2_error *err) {
    char *end = text + n_bytes;
    list->text = text;
    if (memchr(text, '\0', n_bytes) != NULL)
        return b2_fail(err, BLIP2_FORMAT, "%s: expected text, one a line: it holds NUL bytes", name);
    size_t number = 1;
    for (char *at = text + b2_utf8_mark(text, n_bytes); at < end; number++) {
        char *newline = memchr(at, '\n', (size_t)(end - at)), *stop = newline != NULL ? newline : end;
        const char *line = cut_line(list, at, stop);
        if (line[0] != '\0') B2_TRY(add_line(list, line, name, number, err));
        at = stop + 1;
    }
    return list->n > 0 ? BLIP2_OK : b2_fail(err, BLIP2_FORMAT, "%s: no texts, expected one a line", name);
}

blip2_status b2_line_list_read(b2_line_list *list, const char *path, blip2_error *err) {
    char *text;
    size_t n_bytes;
    B2_TRY(b2_list_read(path, &text, &n_bytes, err));
    return b2_line_list_parse(list, text, n_bytes, path, err);
}

void b2_line_list_free(b2_line_list *list) {
    free(list->text);
    free(list->lines);
    *list = (b2_line_list){0};
}

uint64_t b2_line_list_hash(const b2_line_list *list) {
    uint64_t hash = 1;
    for (size_t i = 0; i < list->n; i++) hash = XXH3_64bits_withSeed(list->lines[i], strlen(list->lines[i]) + 1, hash);
    return hash != 0 ? hash : 1;
}
