/* tar_source.h: the samples of tar files, one archive after another, as a source of unknown length. */
#ifndef B2_TAR_SOURCE_H
#define B2_TAR_SOURCE_H

#include "lists/source.h"
#include "lists/tar.h"

typedef struct b2_tar_source {
    b2_source source;
    const char *const *paths; /* [n_paths] */
    size_t n_paths, at, n_samples, max_bytes;
    b2_tar *tar; /* NULL: none is open */
} b2_tar_source;

/* paths ("-": stdin) outlive the source. Its hash is that of their names, sizes and times. A name is the archive's with
 * the member's below it; of stdin the member's alone. An archive that cannot be read is one item with an error. */
b2_tar_source b2_tar_source_of(const char *const *paths, size_t n_paths, size_t max_bytes);
void b2_tar_source_close(b2_tar_source *source);

/* Is each of them there, and does this build read them? Errors: BLIP2_IO, BLIP2_FORMAT. */
blip2_status b2_tar_source_check(const char *const *paths, size_t n_paths, blip2_error *err);

/* Hands each name that a brace list means to add: data-{000..009}.tar, {train,val}.tar; several multiply. A name
 * without one, or that exists as it is, is handed on. add returns false to stop. False: it did, no memory, or more than
 * 100,000 names. */
bool b2_braces_each(const char *text, bool (*add)(void *context, const char *name), void *context);

#endif
