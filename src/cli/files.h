/* files.h: names of files, and files read or written as a whole. */
#ifndef B2_FILES_H
#define B2_FILES_H

#include "base/status.h"
#include "convert/paths.h"

struct b2_inputs;

/* All from malloc; NULL without memory. */
char *b2_path_folder(const char *path); /* "." where the path names none */
/* The absolute path without "." and "..", links left alone; the file need not exist. */
char *b2_path_absolute(const char *path);
/* Do two names mean the same place? Links are not followed. */
bool b2_path_is_same(const char *a, const char *b);
/* How a file written at `from` names the picture of a list: relative to from's folder. */
char *b2_path_from_file(const char *from, const struct b2_inputs *inputs, const char *path);

/* Makes the folder of a path, and those above it. */
blip2_status b2_path_make_folders(const char *path, blip2_error *err);

/* A whole file, or stdin for "-": *bytes from malloc, with a NUL behind them. Errors: BLIP2_IO, BLIP2_LIMIT (1 GiB),
 * BLIP2_MEMORY. */
blip2_status b2_read_whole(const char *path, char **bytes, size_t *n_bytes, blip2_error *err);

/* Makes a rename in the folder of a path last through a power cut, where the file system can. */
void b2_sync_folder(const char *path);

/* Replaces a file's content at once: temporary name, fsync, rename. Errors: BLIP2_IO. */
blip2_status b2_write_whole(const char *path, const char *bytes, size_t n_bytes, blip2_error *err);

#endif
