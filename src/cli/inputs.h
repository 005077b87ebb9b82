/* inputs.h: the list of pictures of a run, in the order in which the user gave them. */
#ifndef B2_INPUTS_H
#define B2_INPUTS_H

#include "cli/csv.h"

typedef struct b2_inputs {
    char **paths; /* as the user wrote them */
    size_t n, capacity;
    b2_csv csv;   /* of --csv: input i is row i + 1 */
    bool has_csv, has_stdin_picture;
    b2_text *lines;          /* of --jsonl: input i's whole line; NULL without */
    char *line_bytes;        /* which they point into */
    size_t n_blank;          /* blank lines of the list, dropped */
    const char *base_folder; /* --base-dir: where relative paths begin; NULL: the working folder, then the list's */
    const char *column;      /* of --csv, or the key of --jsonl; NULL: the first */
    const char *list_path;   /* of --csv, --jsonl or --files-from; NULL */
} b2_inputs;

enum { B2_LIST_LINES, B2_LIST_NUL };

/* A file, "-" (the picture's bytes on stdin), or a folder: its pictures in sorted order, with recursive those below too. */
blip2_status b2_inputs_add_path(b2_inputs *inputs, const char *path, bool recursive, blip2_error *err);
/* Paths from a file or "-" (stdin), one a line, or NUL-terminated. */
blip2_status b2_inputs_add_list(b2_inputs *inputs, const char *path, int kind, blip2_error *err);
/* column NULL: the first. */
blip2_status b2_inputs_add_csv(b2_inputs *inputs, const char *path, const char *column, blip2_error *err);
/* One JSON object a line; key names the member with the path. */
blip2_status b2_inputs_add_jsonl(b2_inputs *inputs, const char *path, const char *key, blip2_error *err);
void b2_inputs_free(b2_inputs *inputs);

/* Does a name end as those of pictures do? */
bool b2_looks_like_picture(const char *name);

/* What the list takes in memory, about. */
uint64_t b2_inputs_bytes(const b2_inputs *inputs);

/* The path to open, from malloc. A relative path begins at base_folder or, without one, in the working folder or beside the
 * list, wherever it exists; backslashes become slashes where the path as written does not exist. */
char *b2_inputs_resolve(const b2_inputs *inputs, const char *path);

/* XXH3-64 of all paths in order, of the list's other bytes that reach the output, and of base_folder. */
uint64_t b2_inputs_hash(const b2_inputs *inputs);

#endif
