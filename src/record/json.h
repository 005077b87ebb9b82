/* json.h: writing JSON to a stream, and base64 for bytes that JSON cannot hold. */
#ifndef B2_JSON_H
#define B2_JSON_H

#include "base/json_string.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* A JSON string, quotes included; bytes that are not UTF-8 become U+FFFD. */
void b2_json_write_string(const char *text, FILE *out);

/* Members that follow others, a comma first: ,"key":"value"; ,"key":[1,2]; numbers have the nine digits that bring
 * every float back; one that is not finite is null. */
void b2_json_write_member(const char *key, const char *value, FILE *out);
void b2_json_write_ints(const char *key, const int32_t *values, size_t n, FILE *out);
void b2_json_write_number(double value, FILE *out);
void b2_json_write_floats(const char *key, const float *values, size_t n, FILE *out);

/* ,"key":"..." and, where the text is not UTF-8, ,"key_base64":"..." with all its bytes. */
void b2_json_write_bytes(const char *key, const char *text, FILE *out);
static inline void b2_json_write_path(const char *path, FILE *out) { b2_json_write_bytes("path", path, out); }

/* RFC 4648. */
void b2_base64_write(const uint8_t *bytes, size_t n, FILE *out);

/* The bytes of base64 text, NUL-terminated, from malloc; NULL where it is not base64, or without memory. */
uint8_t *b2_base64_read(const char *text, size_t *n);

#endif
