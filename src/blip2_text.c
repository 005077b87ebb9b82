#include "blip2_text.h"

#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

/* Decodes one character; broken bytes count as one character each. Returns its length, 0 at the end. */
static size_t next_character(const char *s, utf8proc_int32_t *c) {
    if (*s == '\0') return 0;
    const utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)s, -1, c);
    if (n > 0) return (size_t)n;
    *c = (unsigned char)*s;
    return 1;
}

static bool is_white_space(utf8proc_int32_t c) {
    if (c == 0x20 || (c >= 0x09 && c <= 0x0D) || c == 0x85) return true;
    const utf8proc_category_t category = utf8proc_category(c);
    return category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL || category == UTF8PROC_CATEGORY_ZP;
}

/* Length of s without its trailing white space. */
static size_t stripped_length(const char *s) {
    size_t end = 0;
    utf8proc_int32_t c;
    for (size_t i = 0, n; (n = next_character(s + i, &c)) > 0; i += n)
        if (!is_white_space(c)) end = i + n;
    return end;
}

size_t b2_text_wrap(const blip2_request *request, char *text, size_t capacity) {
    int n = 0;
    if (request->question != NULL) {
        const int len = (int)stripped_length(request->question);
        n = snprintf(text, capacity, "Question: %.*s Answer:", len, request->question);
    } else {
        n = snprintf(text, capacity, "%s", request->prompt != NULL ? request->prompt : "");
    }
    return n < 0 ? 0 : (size_t)n;
}

char *b2_text_strip(char *text) {
    utf8proc_int32_t c;
    size_t n;
    text[stripped_length(text)] = '\0';
    while ((n = next_character(text, &c)) > 0 && is_white_space(c)) text += n;
    return text;
}

/* The next letter, mark, number or symbol, lower case; 0 at the end. */
static utf8proc_int32_t next_significant(const char **s) {
    utf8proc_int32_t c;
    for (size_t n; (n = next_character(*s, &c)) > 0;) {
        *s += n;
        const utf8proc_category_t category = utf8proc_category(c);
        const bool is_punctuation = category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
        if (!is_punctuation && !is_white_space(c)) return utf8proc_tolower(c);
    }
    return 0;
}

bool b2_text_is_echo(const char *question, const char *answer) {
    bool any = false;
    for (;;) {
        const utf8proc_int32_t q = next_significant(&question);
        if (q == 0) return any;
        if (next_significant(&answer) != q) return false;
        any = true;
    }
}
