/* json_list.c: each line or element is kept as its bytes; only its path is read. A line that is no JSON costs itself;
 * a broken array costs all, because nobody could say where its elements begin. */
#include "lists/json_list.h"

#include "base/grow.h"
#include "base/utf8.h"
#include "lists/json_scan.h"
#include "lists/list_text.h"

#include <stdlib.h>
#include <string.h>

/* The path of an object; "" where it has none. raw: of its member. */
static blip2_status add_object(b2_inputs *inputs, const char *name, b2_text json, b2_text raw, blip2_error *err) {
    if (!b2_grow(&inputs->lines, inputs->n, &inputs->line_capacity, sizeof *inputs->lines))
        return b2_fail(err, BLIP2_MEMORY, "%s: no memory to read it", name);
    inputs->lines[inputs->n] = json;
    if (raw.data == NULL) return b2_inputs_append(inputs, "", err);
    size_t len;
    char *path = b2_json_unescape(raw, &len);
    if (path == NULL) return b2_fail(err, BLIP2_MEMORY, "%s: no memory to read it", name);
    const blip2_status status = b2_inputs_append(inputs, strlen(path) == len ? path : "", err);
    free(path);
    return status;
}

bool b2_json_list_explain(const char *list, size_t line, b2_text json, const char *key, blip2_error *err) {
    b2_text raw;
    const char *why;
    if (!b2_json_is_value(json, key, &raw, &why))
        return b2_fail(err, BLIP2_FORMAT, "%s: line %zu is not valid JSON: %s", list, line, why);
    if (raw.data == NULL)
        return b2_fail(err, BLIP2_FORMAT,
                       "%s: line %zu has no text \"%s\" (--image-key names the member with the path)", list, line, key);
    return raw.len > 0 && b2_fail(err, BLIP2_FORMAT, "%s: line %zu: its \"%s\" holds a NUL character", list, line, key);
}

/* ---- lines ----------------------------------------------------------------------------------------------------- */

static b2_text next_line(const char **at, const char *end) {
    const char *newline = memchr(*at, '\n', (size_t)(end - *at));
    b2_text line = {*at, (size_t)((newline != NULL ? newline : end) - *at)};
    *at = newline != NULL ? newline + 1 : end;
    while (line.len > 0 && (line.data[line.len - 1] == '\r' || line.data[line.len - 1] == ' ')) line.len--;
    return line;
}

static bool is_blank(b2_text line) {
    b2_json_cursor c = {.at = line.data, .end = line.data + line.len};
    b2_json_skip_white(&c);
    return c.at == c.end;
}

static blip2_status add_lines(b2_inputs *inputs, const char *name, b2_text text, const char *key, blip2_error *err) {
    for (const char *at = text.data, *end = at + text.len; at < end;) {
        const b2_text line = next_line(&at, end);
        b2_text raw = {NULL, 0};
        const char *why;
        if (is_blank(line)) {
            inputs->n_blank++;
            continue;
        }
        if (!b2_json_is_value(line, key, &raw, &why)) raw.data = NULL;
        B2_TRY(add_object(inputs, name, line, raw, err));
    }
    return BLIP2_OK;
}

/* ---- an array -------------------------------------------------------------------------------------------------- */

static blip2_status fail_array(const char *name, b2_text text, const char *place, const char *why, blip2_error *err) {
    return b2_fail(err, BLIP2_FORMAT, "%s: line %zu: not a JSON array: %s", name, b2_list_line(text.data, place), why);
}

/* The text is one array, and valid. */
static blip2_status add_elements(b2_inputs *inputs, const char *name, b2_text text, const char *key, blip2_error *err) {
    b2_json_cursor c = {.at = text.data, .end = text.data + text.len};
    b2_json_skip_white(&c);
    c.at++;
    b2_json_skip_white(&c);
    while (*c.at != ']') {
        const char *start = c.at;
        b2_text raw;
        if (!b2_json_skip_value(&c, key, &raw)) return fail_array(name, text, c.at, c.why, err);
        B2_TRY(add_object(inputs, name, (b2_text){start, (size_t)(c.at - start)}, raw, err));
        b2_json_skip_white(&c);
        c.at += *c.at == ',';
        b2_json_skip_white(&c);
    }
    return BLIP2_OK;
}

/* JSON lines of which the first is broken may begin with a bracket, too; what ends like an object and is followed by
 * another line is one of them. */
static bool looks_like_lines(b2_text text) {
    const char *at = text.data, *end = at + text.len;
    b2_text first = next_line(&at, end);
    while (is_blank(first) && at < end) first = next_line(&at, end);
    return first.len > 0 && first.data[first.len - 1] == '}' && !is_blank((b2_text){at, (size_t)(end - at)});
}

blip2_status b2_inputs_add_jsonl(b2_inputs *inputs, const char *path, const char *key, blip2_error *err) {
    char *bytes = NULL;
    size_t n_bytes = 0;
    inputs->column = key;
    B2_TRY(b2_inputs_name_list(inputs, path, inputs->n, err));
    if (!b2_grow(&inputs->texts, inputs->n_texts, &inputs->text_capacity, sizeof *inputs->texts))
        return b2_fail(err, BLIP2_MEMORY, "%s: no memory to read it", path);
    B2_TRY(b2_list_read(path, &bytes, &n_bytes, err));
    inputs->texts[inputs->n_texts++] = bytes;
    const size_t mark = b2_utf8_mark(bytes, n_bytes);
    const b2_text text = {bytes + mark, n_bytes - mark};
    inputs->lists[inputs->n_lists - 1].text = text.data;
    b2_json_cursor c = {.at = text.data, .end = text.data + text.len};
    b2_json_skip_white(&c);
    if (c.at == c.end || *c.at != '[') return add_lines(inputs, path, text, key, err);
    bool is_array = b2_json_skip_value(&c, NULL, NULL);
    b2_json_skip_white(&c);
    if (is_array && c.at == c.end) return add_elements(inputs, path, text, key, err);
    if (looks_like_lines(text)) return add_lines(inputs, path, text, key, err);
    return fail_array(path, text, c.at, is_array ? "something after its end" : c.why, err);
}
