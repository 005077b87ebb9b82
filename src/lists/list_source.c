/* list_source.c: a path becomes the file to open only here, so that a list of a million names costs a look at the disk
 * a picture, on the reader's threads. */
#include "lists/list_source.h"

#include "base/file.h"
#include "lists/json_list.h"
#include "lists/list_text.h"

#include <stdlib.h>
#include <string.h>

/* A row's cells or a JSON line, as they stand in the list. */
static b2_text find_carried(const b2_inputs *inputs, size_t i) {
    if (inputs->lines != NULL) return inputs->lines[i];
    if (!inputs->has_csv) return (b2_text){NULL, 0};
    return inputs->csv.rows[b2_csv_first(&inputs->csv) + i];
}

static void read_stdin(b2_item *item) {
    char *bytes = NULL;
    if (b2_input_read("-", &bytes, &item->n_bytes, &item->error) == BLIP2_OK) item->bytes = (uint8_t *)bytes;
}

static const char *find_place(const b2_inputs *inputs, size_t i) {
    if (inputs->lines != NULL) return inputs->lines[i].data;
    return inputs->has_csv ? inputs->csv.rows[b2_csv_first(&inputs->csv) + i].data : NULL;
}

/* The line of input i in its list. They come in ascending order: each line is counted once, however many are bad. */
static size_t find_line(b2_list_source *s, size_t i) {
    const b2_list_part *list = b2_inputs_list_of(s->inputs, i);
    const char *place = find_place(s->inputs, i);
    if (list == NULL || list->text == NULL || place == NULL) return 0;
    if (s->counted_list != list || s->counted > place) {
        s->counted_list = list;
        s->counted = list->text;
        s->n_lines = 1;
    }
    s->n_lines += b2_list_line(s->counted, place) - 1;
    s->counted = place;
    return s->n_lines;
}

/* Why input i has no path, in item->error. */
static void explain(b2_list_source *s, size_t i, b2_item *item) {
    const b2_inputs *inputs = s->inputs;
    const b2_list_part *list = b2_inputs_list_of(inputs, i);
    const b2_text carried = item->carried;
    if (inputs->lines != NULL &&
        b2_json_list_explain(list->path, find_line(s, i), carried, inputs->column, &item->error))
        return;
    if (inputs->has_csv && memchr(carried.data, '\0', carried.len) != NULL)
        b2_fail(&item->error, BLIP2_FORMAT, "%s: line %zu holds NUL bytes", list->path, find_line(s, i));
    else b2_fail(&item->error, BLIP2_ARGUMENT, "picture %zu of the list has an empty path", i + 1);
}

static blip2_status next(b2_source *source, b2_item *item, bool *has_item, blip2_error *err) {
    b2_list_source *s = (b2_list_source *)source;
    *has_item = s->at < s->n_todo;
    if (!*has_item) return BLIP2_OK;
    const size_t i = s->todo != NULL ? s->todo[s->at] : s->at;
    s->at++;
    const char *name = s->inputs->paths[i];
    *item = (b2_item){.index = i, .name = strdup(name), .carried = find_carried(s->inputs, i)};
    const bool is_stdin = strcmp(name, "-") == 0 && s->inputs->has_stdin_picture, is_empty = name[0] == '\0';
    bool is_other_form = false;
    if (is_stdin) read_stdin(item);
    else if (is_empty) explain(s, i, item);
    else item->path = b2_inputs_resolve(s->inputs, i, name, &is_other_form);
    s->n_other_form += is_other_form;
    if (item->name != NULL && (is_stdin || is_empty || item->path != NULL)) return BLIP2_OK;
    b2_item_free(item);
    return b2_fail(err, BLIP2_MEMORY, "%s: no memory for its path", name);
}

b2_list_source b2_list_source_of(const b2_inputs *inputs) {
    return (b2_list_source){.source = {.n = inputs->n, .hash = b2_inputs_hash(inputs), .next = next},
                            .inputs = inputs,
                            .n_todo = inputs->n};
}

void b2_list_source_select(b2_list_source *s, const size_t *todo, size_t n) {
    s->todo = todo;
    s->n_todo = n;
}
