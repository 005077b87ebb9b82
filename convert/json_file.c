#include "convert/json_file.h"

#include "convert/lookalike.h"

#include "base/file.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

blip2_status b2_json_parse(const char *path, const char *text, size_t len, json_t **out, blip2_error *err) {
    json_error_t error;
    errno = 0; /* jansson does not always say when it was memory that failed */
    *out = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    /* tokenizer_config.json's model_max_length is int(1e30) where nobody set it: such files are read as reals. */
    if (*out == NULL && json_error_code(&error) == json_error_numeric_overflow)
        *out = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &error);
    if (*out == NULL && (errno == ENOMEM || json_error_code(&error) == json_error_out_of_memory))
        return b2_fail(err, BLIP2_MEMORY, "%s: no memory to read it", path);
    if (*out == NULL) return b2_fail(err, BLIP2_FORMAT, "%s: broken JSON in line %d: %s", path, error.line, error.text);
    if (json_is_object(*out)) return BLIP2_OK;
    json_decref(*out);
    *out = NULL;
    return b2_fail(err, BLIP2_FORMAT, "%s: expected a JSON object", path);
}

blip2_status b2_json_load(const char *path, json_t **out, blip2_error *err) {
    char *text;
    size_t len;
    *out = NULL;
    B2_TRY(b2_file_read(path, B2_JSON_FILE_MAX_BYTES, &text, &len, err));
    blip2_status status = b2_lookalike_check(path, text, len, err);
    if (status == BLIP2_OK) status = b2_json_parse(path, text, len, out, err);
    free(text);
    return status;
}

/* ---- fields ---------------------------------------------------------------------------------------------------- */

/* The field, or NULL when it is absent or null. */
static const json_t *find(const b2_json_section *s, const char *key) {
    const json_t *value = json_object_get(s->object, key);
    return json_is_null(value) ? NULL : value;
}

static blip2_status report(const b2_json_section *s, const char *key, const char *expected, blip2_status status,
                           blip2_error *err) {
    char text[64];
    const json_t *value = json_object_get(s->object, key);
    const size_t n = value == NULL ? 0 : json_dumpb(value, text, sizeof text - 1, JSON_ENCODE_ANY | JSON_COMPACT);
    if (n == 0) return b2_fail(err, status, "%s: %s%s is missing, expected %s", s->path, s->name, key, expected);
    if (n >= sizeof text)
        return b2_fail(err, status, "%s: %s%s has another form, expected %s", s->path, s->name, key, expected);
    text[n] = '\0';
    return b2_fail(err, status, "%s: %s%s is %s, expected %s", s->path, s->name, key, text, expected);
}

blip2_status b2_json_complain(const b2_json_section *s, const char *key, const char *expected, blip2_error *err) {
    return report(s, key, expected, BLIP2_FORMAT, err);
}

blip2_status b2_json_refuse(const b2_json_section *s, const char *key, const char *expected, blip2_error *err) {
    return report(s, key, expected, BLIP2_UNSUPPORTED, err);
}

blip2_status b2_json_get_section(const b2_json_section *s, const char *key, const char *name, b2_json_section *out,
                                 blip2_error *err) {
    *out = (b2_json_section){.object = find(s, key), .path = s->path, .name = name};
    if (out->object == NULL || json_is_object(out->object)) return BLIP2_OK;
    return b2_json_complain(s, key, "an object", err);
}

blip2_status b2_json_get_u32(const b2_json_section *s, const char *key, uint32_t min, uint32_t max, uint32_t *value,
                             blip2_error *err) {
    const json_t *field = find(s, key);
    if (field == NULL) return BLIP2_OK;
    const double number = json_number_value(field);
    if (!json_is_number(field) || !(number >= min && number <= max) || number != floor(number)) {
        char expected[64];
        snprintf(expected, sizeof expected, "a whole number from %lu to %lu", (unsigned long)min, (unsigned long)max);
        return b2_json_complain(s, key, expected, err);
    }
    *value = (uint32_t)number;
    return BLIP2_OK;
}

static bool read_f32(const json_t *field, float *value) {
    const double number = json_number_value(field);
    if (!json_is_number(field) || fabs(number) > 1e30) return false;
    *value = (float)number;
    return true;
}

blip2_status b2_json_get_f32(const b2_json_section *s, const char *key, float *value, blip2_error *err) {
    const json_t *field = find(s, key);
    if (field == NULL || read_f32(field, value)) return BLIP2_OK;
    return b2_json_complain(s, key, "a number", err);
}

blip2_status b2_json_get_f32x3(const b2_json_section *s, const char *key, float value[3], blip2_error *err) {
    const json_t *field = find(s, key);
    if (field == NULL) return BLIP2_OK;
    bool good = json_is_array(field) && json_array_size(field) == 3;
    for (size_t i = 0; good && i < 3; i++) good = read_f32(json_array_get(field, i), &value[i]);
    return good ? BLIP2_OK : b2_json_complain(s, key, "three numbers", err);
}

blip2_status b2_json_get_bool(const b2_json_section *s, const char *key, bool *value, blip2_error *err) {
    const json_t *field = find(s, key);
    if (field == NULL) return BLIP2_OK;
    if (!json_is_boolean(field)) return b2_json_complain(s, key, "true or false", err);
    *value = json_is_true(field);
    return BLIP2_OK;
}

blip2_status b2_json_get_string(const b2_json_section *s, const char *key, const char **value, blip2_error *err) {
    const json_t *field = find(s, key);
    if (field == NULL) return BLIP2_OK;
    if (!json_is_string(field)) return b2_json_complain(s, key, "a string", err);
    *value = json_string_value(field);
    return BLIP2_OK;
}
