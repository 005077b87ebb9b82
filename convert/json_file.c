#include "convert/json_file.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static blip2_status read_stream(FILE *file, const char *path, size_t n, char *text, blip2_error *err) {
    const size_t got = fread(text, 1, n, file);
    if (got == n) return BLIP2_OK;
    if (ferror(file)) return b2_fail(err, BLIP2_IO, "%s: cannot be read: %s", path, strerror(errno));
    return b2_fail(err, BLIP2_IO, "%s: ends after %zu bytes, expected %zu", path, got, n);
}

blip2_status b2_file_load(const char *path, size_t max_bytes, char **out, size_t *len, blip2_error *err) {
    *out = NULL;
    *len = 0;
    FILE *file = fopen(path, "rb");
    struct stat st;
    if (file == NULL) return b2_fail(err, BLIP2_IO, "%s: cannot be opened: %s", path, strerror(errno));
    blip2_status status = BLIP2_OK;
    if (fstat(fileno(file), &st) != 0 || !S_ISREG(st.st_mode))
        status = b2_fail(err, BLIP2_IO, "%s: is not a regular file", path);
    else if (st.st_size < 0 || (uint64_t)st.st_size > max_bytes)
        status = b2_fail(err, BLIP2_LIMIT, "%s: has %lld bytes, expected at most %zu", path, (long long)st.st_size,
                         max_bytes);
    const size_t n = status == BLIP2_OK ? (size_t)st.st_size : 0;
    char *text = status == BLIP2_OK ? malloc(n + 1) : NULL;
    if (status == BLIP2_OK && text == NULL) status = b2_fail(err, BLIP2_MEMORY, "%s: no memory to read it", path);
    if (status == BLIP2_OK) status = read_stream(file, path, n, text, err);
    fclose(file);
    if (status != BLIP2_OK) {
        free(text);
        return status;
    }
    text[n] = '\0';
    *out = text;
    *len = n;
    return BLIP2_OK;
}

blip2_status b2_json_parse(const char *path, const char *text, size_t len, json_t **out, blip2_error *err) {
    json_error_t error;
    *out = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    /* tokenizer_config.json's model_max_length is int(1e30) where nobody set it: such files are read as reals. */
    if (*out == NULL && json_error_code(&error) == json_error_numeric_overflow)
        *out = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &error);
    if (*out == NULL && json_error_code(&error) == json_error_out_of_memory)
        return b2_fail(err, BLIP2_MEMORY, "%s: no memory to read it", path);
    if (*out == NULL)
        return b2_fail(err, BLIP2_FORMAT, "%s: broken JSON in line %d: %s", path, error.line, error.text);
    if (json_is_object(*out)) return BLIP2_OK;
    json_decref(*out);
    *out = NULL;
    return b2_fail(err, BLIP2_FORMAT, "%s: expected a JSON object", path);
}

blip2_status b2_json_load(const char *path, json_t **out, blip2_error *err) {
    char *text;
    size_t len;
    *out = NULL;
    B2_TRY(b2_file_load(path, B2_JSON_FILE_MAX_BYTES, &text, &len, err));
    const blip2_status status = b2_json_parse(path, text, len, out, err);
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
