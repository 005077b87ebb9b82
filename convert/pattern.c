/* pattern.c: all places of the pattern that the text so far can lead to are kept at once, so nothing is tried twice. */
#include "convert/pattern.h"

#include <stddef.h>
#include <string.h>

/* ---- pieces of a pattern --------------------------------------------------------------------------------------- */

/* What one character of the text is compared with begins at p: its length; 0: something else begins there. */
static size_t atom_len(const char *p) {
    if (p[0] == '\\') return p[1] == '.' || p[1] == 'd' ? 2 : 0;
    if (p[0] == '[') {
        const char *first = p + 1 + (p[1] == '^'), *end = *first == '\0' || *first == ']' ? NULL : strchr(first, ']');
        return end == NULL ? 0 : (size_t)(end + 1 - p);
    }
    return p[0] == '\0' || strchr("()|^$*+?]{}", p[0]) != NULL ? 0 : 1;
}

static bool is_in_set(const char *set, size_t len, char c) {
    const bool is_negated = set[1] == '^';
    bool found = false;
    for (size_t i = 1 + (size_t)is_negated; i + 1 < len; i++) {
        const bool is_range = set[i + 1] == '-' && i + 3 < len;
        found = found || (is_range ? set[i] <= c && c <= set[i + 2] : set[i] == c);
        i += is_range ? 2 : 0;
    }
    return found != is_negated;
}

static bool atom_matches(const char *p, size_t len, char c) {
    if (p[0] == '\\') return p[1] == 'd' ? c >= '0' && c <= '9' : c == '.';
    if (p[0] == '[') return is_in_set(p, len, c);
    return p[0] == '.' || p[0] == c;
}

static bool is_repeat(char c) { return c == '*' || c == '+' || c == '?'; }

bool b2_pattern_is_known(const char *pattern) {
    size_t depth = 0;
    if (strlen(pattern) > B2_PATTERN_MAX_BYTES) return false;
    for (const char *p = pattern; *p != '\0';) {
        const size_t len = atom_len(p);
        if (len > 0 && p[0] == '[' && memchr(p + 1, '\\', len - 2) != NULL) return false;
        if (len > 0) {
            p += len;
            p += is_repeat(*p);
            continue;
        }
        if (strchr("()|^$", *p) == NULL || (*p == ')' && depth == 0) || (*p == '(' && p[1] == '?')) return false;
        depth += *p == '(';
        depth -= *p == ')';
        p++;
    }
    return depth == 0;
}

/* ---- matching -------------------------------------------------------------------------------------------------- */

typedef struct places {
    const char *pattern;
    bool at_start, at_end;             /* of the text */
    bool on[B2_PATTERN_MAX_BYTES + 1]; /* the last one: all of the pattern has matched */
} places;

/* From p on, at the same depth: the next | or the group's end, a ) or the pattern's end. */
static const char *find_end(const char *p, bool stops_at_bar) {
    size_t depth = 0;
    while (*p != '\0' && (depth > 0 || (*p != ')' && (!stops_at_bar || *p != '|')))) {
        depth += *p == '(';
        depth -= *p == ')';
        const size_t len = atom_len(p);
        p += len > 0 ? len : 1;
    }
    return p;
}

static void add(places *s, const char *p);

static void add_alternatives(places *s, const char *p) {
    add(s, p);
    for (p = find_end(p, true); *p == '|'; p = find_end(p + 1, true)) add(s, p + 1);
}

/* The place p, and those that it leads to without a character. */
static void add(places *s, const char *p) {
    bool *on = &s->on[p - s->pattern];
    if (*on) return;
    *on = true;
    const size_t len = atom_len(p);
    if (len > 0 && (p[len] == '*' || p[len] == '?')) add(s, p + len + 1);
    if (len > 0) return;
    if (*p == '(') add_alternatives(s, p + 1);
    if (*p == '|') add(s, find_end(p, false));
    if (*p == ')' || (*p == '^' && s->at_start) || (*p == '$' && s->at_end)) add(s, p + 1);
}

static bool matches_here(const char *pattern, const char *text, bool at_start) {
    places now = {.pattern = pattern, .at_start = at_start, .at_end = *text == '\0'};
    const size_t n = strlen(pattern);
    add_alternatives(&now, pattern);
    for (; *text != '\0'; text++) {
        places next = {.pattern = pattern, .at_end = text[1] == '\0'};
        for (const char *p = pattern; p < pattern + n; p++) {
            const size_t len = now.on[p - pattern] ? atom_len(p) : 0;
            if (len == 0 || !atom_matches(p, len, *text)) continue;
            if (p[len] == '*' || p[len] == '+') add(&next, p);
            add(&next, p + len + is_repeat(p[len]));
        }
        now = next;
    }
    return now.on[n];
}

bool b2_pattern_matches(const char *pattern, const char *name) {
    if (matches_here(pattern, name, true)) return true;
    for (const char *dot = strchr(name, '.'); dot != NULL; dot = strchr(dot + 1, '.'))
        if (matches_here(pattern, dot + 1, false)) return true;
    return false;
}
