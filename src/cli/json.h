/* json.h: writing JSON to a stream, and what text needs before it may stand in it. */
#ifndef B2_JSON_H
#define B2_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* A JSON string, quotes included; bytes that are not UTF-8 become U+FFFD. */
void b2_json_write_string(const char *text, FILE *out);
/* The parts of a text between separators as an array of strings; "" is []. */
void b2_json_write_list(const char *joined, const char *separator, FILE *out);

/* Bytes of the valid UTF-8 sequence at s, or 0 (Unicode table 3-7); s is NUL-terminated. */
size_t b2_utf8_length(const unsigned char *s);
bool b2_is_utf8(const char *text);

void b2_base64_write(const uint8_t *bytes, size_t n, FILE *out);
/* The bytes of base64 text, NUL-terminated, from malloc; NULL where it is none, or without memory. */
uint8_t *b2_base64_read(const char *text, size_t *n);

#endif
