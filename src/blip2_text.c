/* blip2_text.c: what the program adds to a text and takes off it: the words around a question, white space, the
 * echo test. */
#include "blip2_text.h"

#include "base/status.h"
#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

/* Decodes one character of a string. Returns its length, 0 at the end; *c is -1 for a byte that is not UTF-8. */
static size_t next_character(const char *s, int32_t *c) { return *s == '\0' ? 0 : b2_utf8_decode(s, B2_UTF8_MAX, c); }

static bool is_white_space(int32_t c) {
    if (c == 0x20 || (c >= 0x09 && c <= 0x0D) || c == 0x85) return true;
    const utf8proc_category_t category = utf8proc_category(c);
    return category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL || category == UTF8PROC_CATEGORY_ZP;
}

/* Length of s without its trailing white space. */
static size_t stripped_length(const char *s) {
    size_t end = 0;
    int32_t c;
    for (size_t i = 0, n; (n = next_character(s + i, &c)) > 0; i += n)
        if (!is_white_space(c)) end = i + n;
    return end;
}

/* Text that grows; len counts on where there is no room. */
typedef struct growing {
    char *text;
    size_t capacity, len;
} growing;

static void append(growing *g, const char *format, ...) B2_PRINTF(2, 3);
static void append(growing *g, const char *format, ...) {
    const bool has_room = g->len < g->capacity;
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(has_room ? g->text + g->len : NULL, has_room ? g->capacity - g->len : 0, format, args);
    va_end(args);
    if (n > 0) g->len += (size_t)n;
}

static void append_question(growing *g, const blip2_request *request, const char *question) {
    append(g, "Question: %.*s %s:", (int)stripped_length(question), question,
           request->is_short ? "Short answer" : "Answer");
}

/* A sentence has one mark at its end, its own or a full stop. */
static void append_turn(growing *g, const blip2_request *request, const blip2_turn *turn) {
    const char *answer = turn->answer != NULL ? turn->answer : "";
    int32_t c;
    for (size_t n; (n = next_character(answer, &c)) > 0 && is_white_space(c);) answer += n;
    const size_t len = stripped_length(answer);
    if (len == 0) return;
    append_question(g, request, turn->question);
    append(g, " %.*s%s ", (int)len, answer, strchr(".!?", answer[len - 1]) != NULL ? "" : ".");
}

size_t b2_text_wrap(const blip2_request *request, char *text, size_t capacity) {
    growing g = {.text = text, .capacity = capacity};
    for (size_t i = 0; request->question != NULL && i < request->n_turns; i++)
        append_turn(&g, request, &request->turns[i]);
    if (request->question != NULL) append_question(&g, request, request->question);
    else append(&g, "%s", request->prompt != NULL ? request->prompt : "");
    return g.len;
}

bool b2_text_begins_with_space(const char *text) {
    int32_t c;
    return next_character(text, &c) > 0 && is_white_space(c);
}

bool b2_text_ends_with_space(const char *text) { return stripped_length(text) < strlen(text); }

char *b2_text_strip(char *text) {
    int32_t c;
    size_t n;
    text[stripped_length(text)] = '\0';
    while ((n = next_character(text, &c)) > 0 && is_white_space(c)) text += n;
    return text;
}

/* The next letter, mark, number or symbol, lower case; 0 at the end. */
static int32_t next_significant(const char **s) {
    int32_t c;
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
        const int32_t q = next_significant(&question);
        if (q == 0) return any;
        if (next_significant(&answer) != q) return false;
        any = true;
    }
}
