/* list_source.h: the files of a list as a source. */
#ifndef B2_LIST_SOURCE_H
#define B2_LIST_SOURCE_H

#include "lists/inputs.h"
#include "lists/source.h"

typedef struct b2_list_source {
    b2_source source; /* first: what next() is given */
    const b2_inputs *inputs;
    const size_t *todo; /* ascending; NULL: all */
    size_t n_todo, at;
    size_t n_other_form; /* so far: paths that were found in the other of Unicode's forms */
    const char *counted; /* lines of counted_list are counted up to here */
    const b2_list_part *counted_list;
    size_t n_lines;
} b2_list_source;

/* All pictures of a list, which outlives the source. */
b2_list_source b2_list_source_of(const b2_inputs *inputs);
/* Only the pictures todo[0 .. n) of it. todo outlives the source. */
void b2_list_source_select(b2_list_source *source, const size_t *todo, size_t n);

#endif
