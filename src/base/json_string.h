/* json_string.h: bytes as a JSON string. Documents are jansson's; lines of ours are written member by member. */
#ifndef B2_JSON_STRING_H
#define B2_JSON_STRING_H

#include <stddef.h>
#include <stdio.h>

/* Quotes included; bytes that are not UTF-8 become U+FFFD, NUL is a byte like any other. */
void b2_json_write_text(const char *text, size_t len, FILE *out);

#endif
