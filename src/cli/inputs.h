/* inputs.h: the list of pictures of a run, in the order in which the user gave them. */
#ifndef B2_INPUTS_H
#define B2_INPUTS_H

#include "cli/csv.h"

typedef struct b2_inputs {
    char **paths; /* as the user wrote them */
    size_t n, capacity;
    b2_csv csv;   /* of --csv: input i is row i + 1 */
    bool has_csv, has_stdin_picture;
} b2_inputs;

enum { B2_LIST_LINES, B2_LIST_NUL };

/* A file, "-" (the picture's bytes on stdin), or a folder: its pictures in sorted order, with recursive those below too. */
blip2_status b2_inputs_add_path(b2_inputs *inputs, const char *path, bool recursive, blip2_error *err);
/* Paths from a file or "-" (stdin), one a line, or NUL-terminated. */
blip2_status b2_inputs_add_list(b2_inputs *inputs, const char *path, int kind, blip2_error *err);
/* column NULL: the first. */
blip2_status b2_inputs_add_csv(b2_inputs *inputs, const char *path, const char *column, blip2_error *err);
void b2_inputs_free(b2_inputs *inputs);

/* The path to open, from malloc: backslashes become slashes where the path as written does not exist. */
char *b2_inputs_resolve(const char *path);

#endif
