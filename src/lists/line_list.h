/* line_list.h: texts that the user gives in a file, one a line: answers to choose from, captions to score. A line is a
 * text whatever it begins with: "#1" may be an answer. */
#ifndef B2_LINE_LIST_H
#define B2_LINE_LIST_H

#include "base/status.h"

enum { B2_MAX_LINES = 1 << 20, B2_MAX_LINE_BYTES = 4096 };

typedef struct b2_line_list {
    char *text;         /* which the lines point into */
    const char **lines; /* [n] not blank, without their ends */
    size_t n, capacity;
    bool keeps_spaces; /* at both ends of a line; set before */
} b2_line_list;

/* Takes text[n_bytes + 1] (UTF-8 with a NUL after it, from malloc), which belongs to the list from then on, and cuts
 * it. name: for messages. Errors: FORMAT (no lines, NUL bytes, not UTF-8; with the line), LIMIT (too many, too long),
 * MEMORY. */
blip2_status b2_line_list_parse(b2_line_list *list, char *text, size_t n_bytes, const char *name, blip2_error *err);

/* The same of a file, UTF-8 or UTF-16 with its mark; "-": stdin. Errors: those of b2_list_read() too. */
blip2_status b2_line_list_read(b2_line_list *list, const char *path, blip2_error *err);
void b2_line_list_free(b2_line_list *list);

/* XXH3-64 of the lines, their ends not counted; never 0. */
uint64_t b2_line_list_hash(const b2_line_list *list);

#endif
