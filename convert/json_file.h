/* json_file.h: JSON files read with jansson, and their fields fetched with a sentence ready for each way to be wrong.
 *
 * A field that is absent or null keeps the value that the caller has put in *value: the default of the class that
 * Hugging Face would build from the file. */
#ifndef B2_JSON_FILE_H
#define B2_JSON_FILE_H

#include "base/status.h"

#include <jansson.h>

enum { B2_JSON_FILE_MAX_BYTES = 64 << 20 }; /* a tokenizer.json has 3.5 MB */

/* Where a field stands, for the sentence. section is "" at top level, else "vision_config." and the like. */
typedef struct b2_json_section {
    const json_t *object;
    const char *path, *name;
} b2_json_section;

/* Reads a file whose outermost value is an object. The caller owns *out (json_decref).
 * Errors: BLIP2_IO, BLIP2_LIMIT (too large), BLIP2_FORMAT. */
blip2_status b2_json_load(const char *path, json_t **out, blip2_error *err);

/* The same from memory; path is only named. */
blip2_status b2_json_parse(const char *path, const char *text, size_t len, json_t **out, blip2_error *err);

/* An object inside a section; an empty section when it is absent or null. */
blip2_status b2_json_get_section(const b2_json_section *s, const char *key, const char *name, b2_json_section *out,
                                 blip2_error *err);

blip2_status b2_json_get_u32(const b2_json_section *s, const char *key, uint32_t min, uint32_t max, uint32_t *value,
                             blip2_error *err);
blip2_status b2_json_get_f32(const b2_json_section *s, const char *key, float *value, blip2_error *err);
blip2_status b2_json_get_f32x3(const b2_json_section *s, const char *key, float value[3], blip2_error *err);
blip2_status b2_json_get_bool(const b2_json_section *s, const char *key, bool *value, blip2_error *err);
/* *value points into the JSON. */
blip2_status b2_json_get_string(const b2_json_section *s, const char *key, const char **value, blip2_error *err);

/* BLIP2_FORMAT: "<path>: <section><key> is <value>, expected <expected>". */
blip2_status b2_json_complain(const b2_json_section *s, const char *key, const char *expected, blip2_error *err);

/* The same sentence with BLIP2_UNSUPPORTED: the value is fine, but not for this program. */
blip2_status b2_json_refuse(const b2_json_section *s, const char *key, const char *expected, blip2_error *err);

#endif
