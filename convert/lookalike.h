/* lookalike.h: files and folders that are not what they should be, but are known: what each is, and what to do. */
#ifndef B2_LOOKALIKE_H
#define B2_LOOKALIKE_H

#include "base/status.h"

enum { B2_LOOKALIKE_BYTES = 256 }; /* so much of a file's start tells */

/* The first n bytes of a file that should be weights, JSON or a list. BLIP2_OK: nothing that is known here.
 * Errors: BLIP2_FORMAT: a Git LFS pointer, a web page, a file whose space was reserved but never filled. */
blip2_status b2_lookalike_check(const char *path, const void *start, size_t n, blip2_error *err);

/* The same for a file of any size, which is read for it. BLIP2_OK also where it cannot be read. */
blip2_status b2_lookalike_check_file(const char *path, blip2_error *err);

/* A file where the folder of a checkpoint was expected. Always fails, with BLIP2_IO or what check finds. */
blip2_status b2_lookalike_source(const char *path, blip2_error *err);

/* A folder without `missing`, which says what was looked for. Always fails, with BLIP2_IO. */
blip2_status b2_lookalike_folder(const char *folder, const char *missing, blip2_error *err);

#endif
