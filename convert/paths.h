/* paths.h: names of files in folders. */
#ifndef B2_PATHS_H
#define B2_PATHS_H

#include <stdbool.h>
#include <sys/stat.h>

/* "folder/name"; the caller frees it. NULL when there is no memory. */
char *b2_path_join(const char *folder, const char *name);

/* Whether the folder has an entry of this name: a link that leads nowhere counts, so that opening it says why. */
bool b2_path_has(const char *folder, const char *name);

bool b2_path_is_folder(const char *path);

/* Whether this file is in the folder, by whatever name or link, names with that ending apart. */
bool b2_path_holds(const char *folder, const struct stat *file, const char *except_ending);

/* What follows the last slash. */
const char *b2_path_base(const char *path);

/* One plain component: not empty, no slash, not "." or "..", printable ASCII. Names out of files must be that before
 * they are joined to anything. */
bool b2_path_is_component(const char *name);

#endif
