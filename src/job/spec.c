/* spec.c: the spec as JSON in the journal's header, and back. Old journals must stay readable: keys are only added. */
#include "job/spec.h"
#include "record/writer.h"

#include "base/utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const b2_match_mode_names[] = {"word", "substring", NULL};

static const b2_decoding_row asking[] = {
#define B2_ASKING(type, member, flag, value, key, help)                                                                \
    {B2_DECODING_##type, offsetof(b2_spec, member), 0, 1, 0, key, NULL, NULL},
#include "asking.def"
};
enum { N_ASKING = sizeof asking / sizeof asking[0] };

json_t *b2_hash_to_json(uint64_t hash) {
    char text[17];
    snprintf(text, sizeof text, "%016" PRIx64, hash);
    return json_string(text);
}

uint64_t b2_hash_from_json(const json_t *value) {
    const char *text = json_string_value(value);
    return text != NULL ? strtoull(text, NULL, 16) : 0;
}

static json_t *ask_to_json(const b2_ask *ask) {
    json_t *object = json_object();
    if (ask->prompt != NULL) json_object_set_new(object, "prompt", json_string(ask->prompt));
    if (ask->question != NULL) json_object_set_new(object, "question", json_string(ask->question));
    if (ask->column != NULL) json_object_set_new(object, "column", json_string(ask->column));
    return object;
}

bool b2_spec_set_background(b2_spec *s, const char *text) {
    const char *digits = strcmp(text, "white") == 0 ? "ffffff" : strcmp(text, "black") == 0 ? "000000" : text;
    s->has_background = true;
    s->keeps_hidden = strcmp(text, "keep") == 0;
    if (s->keeps_hidden) return true;
    if (strlen(digits) != 6 || strspn(digits, "0123456789abcdefABCDEF") != 6) return false;
    const unsigned long value = strtoul(digits, NULL, 16);
    for (size_t i = 0; i < 3; i++) s->background[i] = (uint8_t)(value >> (16 - 8 * i));
    return true;
}

static json_t *background_to_json(const b2_spec *s) {
    char digits[8];
    snprintf(digits, sizeof digits, "%02x%02x%02x", s->background[0], s->background[1], s->background[2]);
    return json_string(s->keeps_hidden ? "keep" : digits);
}

json_t *b2_spec_to_json(const b2_spec *s) {
    json_t *options = json_object(), *asks = json_array(), *files = json_array();
    size_t n_rows;
    const b2_decoding_row *rows = b2_decoding_rows(&n_rows);
    if (s->has_format) json_object_set_new(options, "format", json_string(b2_format_name(s->format)));
    for (size_t i = 0; i < s->n_asks; i++) json_array_append_new(asks, ask_to_json(&s->asks[i]));
    json_object_set_new(options, "asks", asks);
    b2_decoding_to_json(rows, n_rows, &s->decoding, options);
    b2_decoding_to_json(asking, N_ASKING, s, options);
    if (s->answers != 0) json_object_set_new(options, "answers", b2_hash_to_json(s->answers));
    if (s->scored != 0) json_object_set_new(options, "scored_texts", b2_hash_to_json(s->scored));
    json_object_set_new(options, "exif", json_boolean(s->apply_exif));
    json_object_set_new(options, "background", background_to_json(s));
    json_object_set_new(options, "truncated", json_boolean(s->reads_truncated));
    json_object_set_new(options, "tokens", json_boolean(s->wants_tokens));
    json_object_set_new(options, "timings", json_boolean(s->wants_timings));
    json_object_set_new(options, "report", json_boolean(s->wants_thumbnails));
    if (s->match_lists != NULL) json_object_set_new(options, "match", json_string(s->match_lists));
    for (size_t i = 0; i < s->n_word_files; i++) json_array_append_new(files, json_string(s->word_files[i]));
    json_object_set_new(options, "words", files);
    json_object_set_new(options, "match_mode", json_string(b2_match_mode_names[s->match_mode]));
    return options;
}

static bool read_format(const json_t *options, b2_spec *s) {
    const char *name = json_string_value(json_object_get(options, "format"));
    s->has_format = name != NULL;
    return name == NULL || b2_format_find(name, &s->format);
}

static bool is_decoding_key(const char *key) {
    size_t n;
    const b2_decoding_row *rows = b2_decoding_rows(&n);
    for (size_t i = 0; i < n; i++)
        if (strcmp(key, rows[i].key) == 0) return true;
    return false;
}

/* An option that only a later program knows would change the records: its journal is not ours to continue. */
static bool knows_all(const json_t *options, const b2_spec *s) {
    json_t *ours = b2_spec_to_json(s);
    bool knows = true;
    for (void *i = json_object_iter((json_t *)(uintptr_t)options); i != NULL;
         i = json_object_iter_next((json_t *)(uintptr_t)options, i))
        knows &= json_object_get(ours, json_object_iter_key(i)) != NULL || is_decoding_key(json_object_iter_key(i));
    json_decref(ours);
    return knows;
}

bool b2_spec_from_json(const json_t *options, b2_spec *s) {
    *s = (b2_spec){.decoding = b2_decoding_fallback()};
    size_t n_rows;
    const b2_decoding_row *rows = b2_decoding_rows(&n_rows);
    const json_t *asks = json_object_get(options, "asks"), *files = json_object_get(options, "words");
    s->n_asks = json_array_size(asks);
    s->n_word_files = json_array_size(files);
    if (!read_format(options, s) || s->n_asks < 1 || s->n_asks > B2_MAX_ASKS || s->n_word_files > B2_MAX_WORD_FILES ||
        !b2_decoding_from_json(rows, n_rows, options, &s->decoding) ||
        !b2_decoding_from_json(asking, N_ASKING, options, s))
        return false;
    for (size_t i = 0; i < s->n_asks; i++) {
        const json_t *ask = json_array_get(asks, i);
        s->asks[i] = (b2_ask){json_string_value(json_object_get(ask, "prompt")),
                              json_string_value(json_object_get(ask, "question")),
                              json_string_value(json_object_get(ask, "column"))};
    }
    for (size_t i = 0; i < s->n_word_files; i++)
        if ((s->word_files[i] = json_string_value(json_array_get(files, i))) == NULL) return false;
    const char *mode = json_string_value(json_object_get(options, "match_mode"));
    s->answers = b2_hash_from_json(json_object_get(options, "answers"));
    s->scored = b2_hash_from_json(json_object_get(options, "scored_texts"));
    if (s->choices != NULL && !b2_choices_check(s->choices, NULL)) return false;
    s->apply_exif = json_is_true(json_object_get(options, "exif"));
    const char *background = json_string_value(json_object_get(options, "background"));
    if (background != NULL && !b2_spec_set_background(s, background)) return false;
    s->keeps_hidden |= background == NULL; /* as 0.1.0 did, which knew nothing else */
    s->reads_truncated = json_is_true(json_object_get(options, "truncated"));
    s->wants_tokens = json_is_true(json_object_get(options, "tokens"));
    s->wants_timings = json_is_true(json_object_get(options, "timings"));
    s->wants_thumbnails = json_is_true(json_object_get(options, "report"));
    s->match_lists = json_string_value(json_object_get(options, "match"));
    s->match_mode =
        mode != NULL && strcmp(mode, b2_match_mode_names[B2_MATCH_SUBSTRING]) == 0 ? B2_MATCH_SUBSTRING : B2_MATCH_WORD;
    return knows_all(options, s);
}

blip2_image_options b2_spec_image_options(const b2_spec *s, size_t thumbnail_side) {
    blip2_image_options options;
    blip2_image_options_default(&options);
    options.apply_exif = s->apply_exif;
    options.keep_hidden = s->keeps_hidden;
    options.read_truncated = s->reads_truncated;
    options.thumbnail_side = thumbnail_side;
    memcpy(options.background, s->background, sizeof options.background);
    return options;
}

blip2_status b2_spec_load_words(const b2_spec *s, b2_words *words, blip2_error *err) {
    for (size_t i = 0; i < s->n_word_files; i++) B2_TRY(b2_words_add_file(words, s->word_files[i], err));
    return s->match_lists != NULL ? b2_words_add_builtin(words, s->match_lists, err) : BLIP2_OK;
}

static bool is_there_before(const char *choices, size_t i, b2_text choice) {
    b2_text other;
    for (size_t k = 0; k < i && b2_choice_at(choices, k, &other); k++)
        if (other.len == choice.len && memcmp(other.data, choice.data, other.len) == 0) return true;
    return false;
}

bool b2_choices_check(const char *choices, blip2_error *err) {
    const size_t n = b2_choices_count(choices);
    b2_text choice;
    if (!b2_is_utf8(choices)) return b2_fail(err, BLIP2_ARGUMENT, "not UTF-8") == BLIP2_OK;
    if (n < 2 || n > B2_MAX_CHOICES)
        return b2_fail(err, BLIP2_ARGUMENT, "expected 2 to %d choices like red|green, got %zu", B2_MAX_CHOICES, n) ==
               BLIP2_OK;
    for (size_t i = 0; b2_choice_at(choices, i, &choice); i++) {
        if (strspn(choice.data, " \t") >= choice.len)
            return b2_fail(err, BLIP2_ARGUMENT, "choice %zu is empty", i + 1) == BLIP2_OK;
        if (is_there_before(choices, i, choice))
            return b2_fail(err, BLIP2_ARGUMENT, "choice %zu is there before", i + 1) == BLIP2_OK;
    }
    return true;
}

size_t b2_spec_results(const b2_spec *s) {
    return s->decoding.num_return_sequences > 1 ? s->decoding.num_return_sequences : 1;
}

b2_style b2_spec_style(const b2_spec *s, const b2_inputs *inputs, const b2_words *words, size_t n,
                       const char *output_path) {
    return (b2_style){.format = s->format,
                      .only_text = n == 1 && !s->has_format,
                      .asks = s->asks,
                      .n_asks = s->n_asks,
                      .n_results = b2_spec_results(s),
                      .has_scores = s->scored != 0,
                      .choices = s->choices,
                      .inputs = inputs,
                      .words = words->n_categories > 0 ? words : NULL,
                      .match_mode = s->match_mode,
                      .output_path = output_path};
}
