/* file.h: files read as a whole, and files that change all at once or not at all. */
#ifndef B2_FILE_H
#define B2_FILE_H

#include "base/status.h"

#include <stdio.h>

/* ---- reading ---------------------------------------------------------------------------------------------------- */

/* Each returns *bytes from malloc with a NUL after the last byte. Errors: BLIP2_IO, BLIP2_LIMIT (more than max_bytes),
 * BLIP2_MEMORY; then *bytes is NULL. */

/* A stream to its end, pipes too; name is for messages, expected_bytes a guess that saves copies. */
blip2_status b2_stream_read(FILE *stream, const char *name, size_t expected_bytes, size_t max_bytes, char **bytes,
                            size_t *n_bytes, blip2_error *err);

/* A file, a named pipe or a device. */
blip2_status b2_file_read(const char *path, size_t max_bytes, char **bytes, size_t *n_bytes, blip2_error *err);

/* A list or table that the user names: a file, or stdin for "-". At most 1 GiB. */
blip2_status b2_input_read(const char *path, char **bytes, size_t *n_bytes, blip2_error *err);

/* ---- replacing --------------------------------------------------------------------------------------------------- */

/* A file under construction beside the one that it will replace. */
typedef struct b2_replacement {
    FILE *file;     /* NULL: not open */
    int fd;         /* the descriptor below it */
    char *new_path; /* its name until then, from malloc */
    char *path;     /* its name afterwards, from malloc */
} b2_replacement;

/* Opens PATH.partial-PID-N, which exists only for this call. follows_links: where PATH is a link, the file that it
 * leads to is replaced; else the link itself. The permissions are those of the file that is replaced.
 * Errors: BLIP2_IO (also a pipe, a device), BLIP2_NO_SPACE, BLIP2_MEMORY. */
blip2_status b2_replacement_open(const char *path, bool follows_links, b2_replacement *r, blip2_error *err);

/* Flushes, syncs, closes and renames: the new content is there. On failure the old one stays and the new file is
 * removed. In both cases *r is empty afterwards. Errors: BLIP2_IO, BLIP2_NO_SPACE. */
blip2_status b2_replacement_commit(b2_replacement *r, blip2_error *err);

/* Removes the new file; fine for one that is not open. */
void b2_replacement_abandon(b2_replacement *r);

/* All three steps for content in memory. */
blip2_status b2_file_write(const char *path, const char *bytes, size_t n_bytes, blip2_error *err);

/* Makes a rename in the folder of a path last through a power cut, where the file system can. */
void b2_sync_folder(const char *path);

#endif
