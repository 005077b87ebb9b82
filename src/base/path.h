/* path.h: names of files and folders, as text and as what is on the disk. Links are not followed unless it says so.
 * Whatever returns a char * returns it from malloc, NULL without memory. */
#ifndef B2_PATH_H
#define B2_PATH_H

#include "base/status.h"

#include <stdbool.h>
#include <sys/stat.h>

/* "folder/name" */
char *b2_path_join(const char *folder, const char *name);

/* What follows the last slash: a place in path, not from malloc. */
const char *b2_path_base(const char *path);

/* What precedes the last slash; "." where the path names no folder. */
char *b2_path_folder(const char *path);

/* The absolute path without "." and ".."; the file need not exist. */
char *b2_path_absolute(const char *path);

/* The way from a folder to a path, both absolute and without "." and "..". */
char *b2_path_relative(const char *folder, const char *path);

/* Do two names mean the same place? */
bool b2_path_is_same(const char *a, const char *b);

/* One plain component: not empty, no slash, not "." or "..", printable ASCII. Names out of files must be that before
 * they are joined to anything. */
bool b2_path_is_component(const char *name);

/* Whether the folder has an entry of this name: a link that leads nowhere counts, so that opening it says why. */
bool b2_path_has(const char *folder, const char *name);

/* Follows links. */
bool b2_path_is_folder(const char *path);

/* Whether this file is in the folder, by whatever name or link, names with that ending apart. */
bool b2_path_holds(const char *folder, const struct stat *file, const char *except_ending);

/* Makes the folder of a path, and those above it. Errors: BLIP2_IO, BLIP2_MEMORY. */
blip2_status b2_path_make_folders(const char *path, blip2_error *err);

#endif
