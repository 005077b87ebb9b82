/* inputs.h: the list of pictures of a run, in the order in which the user gave them. */
#ifndef B2_INPUTS_H
#define B2_INPUTS_H

#include "lists/csv.h"
#include "lists/folders.h"

/* A list that the user named: its pictures are those from `first` to the next list's. */
typedef struct b2_list_part {
    const char *path; /* "-": stdin */
    size_t first;
    const char *text; /* where line numbers are counted from; NULL: not kept */
} b2_list_part;

typedef struct b2_inputs {
    char **paths; /* as the user wrote them; "" where a row or line has none that could be opened */
    size_t n, capacity;
    b2_csv csv; /* of --csv: input i is row i + b2_csv_first() */
    bool has_csv, has_stdin_picture;
    b2_text *lines; /* of --jsonl: input i's whole line, or element of an array; NULL without */
    size_t line_capacity;
    char **texts; /* [n_texts], which they point into */
    size_t n_texts, text_capacity;
    b2_list_part *lists; /* in the order in which they were named */
    size_t n_lists, list_capacity;
    size_t n_blank;          /* blank lines of the lists, dropped */
    const char *base_folder; /* --base-dir: where relative paths begin; NULL: the working folder, then the list's */
    const char *column;      /* of --csv, or the key of --jsonl; NULL: the first */
    b2_folder_walk folders;  /* how folders are walked, and what was left out */
} b2_inputs;

enum { B2_LIST_LINES, B2_LIST_NUL };

/* A file, "-" (the picture's bytes on stdin), or a folder: its pictures in sorted order, as inputs->folders says. */
blip2_status b2_inputs_add_path(b2_inputs *inputs, const char *path, blip2_error *err);

/* Lists (JSON lines: json_list.h): each may be called again for another list of its kind, whose pictures come after.
 * "-": stdin. Paths, one a line, or NUL-terminated. */
blip2_status b2_inputs_add_list(b2_inputs *inputs, const char *path, int kind, blip2_error *err);
/* A table; inputs->csv.no_header is set before. column NULL: the first. Errors: of b2_csv_add_file() and
 * b2_csv_find_column(). */
blip2_status b2_inputs_add_csv(b2_inputs *inputs, const char *path, const char *column, blip2_error *err);
/* Adds a picture, or a list by its name alone. */
blip2_status b2_inputs_append(b2_inputs *inputs, const char *path, blip2_error *err);
blip2_status b2_inputs_name_list(b2_inputs *inputs, const char *path, size_t first, blip2_error *err);
void b2_inputs_free(b2_inputs *inputs);

/* What the list takes in memory, about. */
uint64_t b2_inputs_bytes(const b2_inputs *inputs);

/* The list that input i came from; NULL: none. */
const b2_list_part *b2_inputs_list_of(const b2_inputs *inputs, size_t i);

/* The path to open, from malloc, of input i. A relative path begins at base_folder or, without one, in the working
 * folder or beside i's list, wherever it exists. Where the path as written does not exist, backslashes become slashes,
 * and accented letters are looked for in both forms that Unicode has for them (NFC; NFD, as macOS wrote them).
 * is_other_form may be NULL: whether that found it. */
char *b2_inputs_resolve(const b2_inputs *inputs, size_t i, const char *path, bool *is_other_form);

/* How a file written at `from` names the path of input i (inputs NULL: of none): relative to from's folder. From
 * malloc; NULL without memory. */
char *b2_inputs_path_from(const char *from, const b2_inputs *inputs, size_t i, const char *path);

/* XXH3-64 of all paths in order, of the list's other bytes that reach the output, and of base_folder. */
uint64_t b2_inputs_hash(const b2_inputs *inputs);

#endif
