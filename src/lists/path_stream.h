/* path_stream.h: the lines of a pipe, paths or JSON, as a source: each is a picture as soon as it has come. */
#ifndef B2_PATH_STREAM_H
#define B2_PATH_STREAM_H

#include "lists/inputs.h"
#include "lists/source.h"

#include <stdio.h>

typedef struct b2_path_stream {
    b2_source source;
    const b2_inputs *inputs; /* says where relative paths begin; column: the key of JSON lines, NULL: of paths */
    FILE *file;              /* stdin; or, of a list in UTF-16, its text */
    char *text, *line;       /* that text; the line at hand; from malloc */
    size_t line_bytes, number, n_items, n_blank;
    int end; /* what ends a line: '\n' or NUL */
} b2_path_stream;

/* kind: B2_LIST_LINES or B2_LIST_NUL, of stdin. inputs outlives the source. */
b2_path_stream b2_path_stream_of(const b2_inputs *inputs, int kind);
void b2_path_stream_close(b2_path_stream *source);

#endif
