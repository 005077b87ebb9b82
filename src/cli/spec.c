/* spec.c: what decides the bytes of a job's records, as JSON in the journal's header and back. */
#include "cli/job.h"

#include "cli/files.h"

#include <stdlib.h>
#include <string.h>

static json_t *ask_to_json(const b2_ask *ask) {
    json_t *object = json_object();
    if (ask->prompt != NULL) json_object_set_new(object, "prompt", json_string(ask->prompt));
    if (ask->question != NULL) json_object_set_new(object, "question", json_string(ask->question));
    if (ask->column != NULL) json_object_set_new(object, "column", json_string(ask->column));
    return object;
}

json_t *b2_spec_to_json(const b2_spec *s) {
    json_t *options = json_object(), *asks = json_array(), *files = json_array();
    if (s->has_format) json_object_set_new(options, "format", json_string(b2_format_name(s->format)));
    for (size_t i = 0; i < s->n_asks; i++) json_array_append_new(asks, ask_to_json(&s->asks[i]));
    json_object_set_new(options, "asks", asks);
    json_object_set_new(options, "max_new_tokens", json_integer((json_int_t)s->n_new_tokens));
    json_object_set_new(options, "exif", json_boolean(s->apply_exif));
    json_object_set_new(options, "tokens", json_boolean(s->wants_tokens));
    json_object_set_new(options, "timings", json_boolean(s->wants_timings));
    json_object_set_new(options, "report", json_boolean(s->wants_thumbnails));
    if (s->match_lists != NULL) json_object_set_new(options, "match", json_string(s->match_lists));
    for (size_t i = 0; i < s->n_word_files; i++) json_array_append_new(files, json_string(s->word_files[i]));
    json_object_set_new(options, "words", files);
    json_object_set_new(options, "match_mode", json_string(s->match_mode == B2_MATCH_WORD ? "word" : "substring"));
    return options;
}

static bool read_format(const json_t *options, b2_spec *s) {
    const char *name = json_string_value(json_object_get(options, "format"));
    s->has_format = name != NULL;
    for (int i = 0; name != NULL && i < B2_N_FORMATS; i++) {
        s->format = (b2_format)i;
        if (strcmp(name, b2_format_name(s->format)) == 0) return true;
    }
    return name == NULL;
}

bool b2_spec_from_json(const json_t *options, b2_spec *s) {
    *s = (b2_spec){0};
    const json_t *asks = json_object_get(options, "asks"), *files = json_object_get(options, "words");
    s->n_asks = json_array_size(asks);
    s->n_word_files = json_array_size(files);
    if (!read_format(options, s) || s->n_asks < 1 || s->n_asks > B2_MAX_ASKS || s->n_word_files > B2_MAX_WORD_FILES) return false;
    for (size_t i = 0; i < s->n_asks; i++) {
        const json_t *ask = json_array_get(asks, i);
        s->asks[i] = (b2_ask){json_string_value(json_object_get(ask, "prompt")), json_string_value(json_object_get(ask, "question")),
                              json_string_value(json_object_get(ask, "column"))};
    }
    for (size_t i = 0; i < s->n_word_files; i++)
        if ((s->word_files[i] = json_string_value(json_array_get(files, i))) == NULL) return false;
    const char *mode = json_string_value(json_object_get(options, "match_mode"));
    s->n_new_tokens = (size_t)json_integer_value(json_object_get(options, "max_new_tokens"));
    s->apply_exif = json_is_true(json_object_get(options, "exif"));
    s->wants_tokens = json_is_true(json_object_get(options, "tokens"));
    s->wants_timings = json_is_true(json_object_get(options, "timings"));
    s->wants_thumbnails = json_is_true(json_object_get(options, "report"));
    s->match_lists = json_string_value(json_object_get(options, "match"));
    s->match_mode = mode != NULL && strcmp(mode, "substring") == 0 ? B2_MATCH_SUBSTRING : B2_MATCH_WORD;
    return true;
}

blip2_status b2_spec_load_words(const b2_spec *s, b2_words *words, blip2_error *err) {
    for (size_t i = 0; i < s->n_word_files; i++) B2_TRY(b2_words_add_file(words, s->word_files[i], err));
    return s->match_lists != NULL ? b2_words_add_builtin(words, s->match_lists, err) : BLIP2_OK;
}
