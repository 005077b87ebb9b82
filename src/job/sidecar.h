/* sidecar.h: a picture's text in a file of its own beside it: dog.jpg -> dog.txt. */
#ifndef B2_SIDECAR_H
#define B2_SIDECAR_H

#include "lists/inputs.h"
#include "record/record.h"

typedef enum b2_existing {
    B2_EXISTING_SKIP,
    B2_EXISTING_OVERWRITE,
    B2_EXISTING_APPEND,
    B2_EXISTING_PREPEND
} b2_existing;

typedef struct b2_sidecar_options {
    bool is_wanted;
    const char *extension;       /* with or without its dot; NULL: .txt */
    const char *out_folder;      /* the pictures' paths are mirrored below it; NULL: beside the pictures */
    b2_existing existing;        /* what happens to a file that is there */
    const char *prefix, *suffix; /* of each line; NULL: none */
    const char *separator;       /* all answers on one line, with this between them; NULL: one a line */
} b2_sidecar_options;

/* The name of each value, in their order; NULL after the last. */
extern const char *const b2_existing_names[];

/* Where the text of input i belongs, whose path is picture, from malloc; NULL without memory. A path that leads out of
 * out_folder ("..") loses those steps. */
char *b2_sidecar_path(const b2_sidecar_options *options, const b2_inputs *inputs, size_t i, const char *picture);

/* An extension, with or without its dot: can it end a name, and would that be a picture's? */
bool b2_sidecar_is_ending(const char *extension);
bool b2_sidecar_is_picture(const char *extension);

/* Finds two pictures of one list whose texts would overwrite each other, and folders that take no files.
 * Errors: BLIP2_ARGUMENT, naming the two; BLIP2_IO. */
blip2_status b2_sidecar_check(const b2_sidecar_options *options, const b2_inputs *inputs, blip2_error *err);

/* Does a file with something in it have this name? One that is empty or blank counts as absent: other tools make such
 * files beforehand. */
bool b2_sidecar_is_there(const char *path);

/* Removes what a job that was killed left of the sidecar of a record. */
void b2_sidecar_sweep(const b2_sidecar_options *options, const b2_inputs *inputs, const b2_record *record);

/* Writes the answers of a record, one a line, at once (temporary name, rename). Append and prepend leave a file alone
 * that ends or begins with them already: a job done twice adds nothing. Errors: BLIP2_IO, BLIP2_NO_SPACE,
 * BLIP2_LIMIT (more than 1 GiB to add to), BLIP2_MEMORY. */
blip2_status b2_sidecar_write(const b2_sidecar_options *options, const b2_inputs *inputs, const b2_record *record,
                              blip2_error *err);

#endif
