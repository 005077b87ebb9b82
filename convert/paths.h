/* paths.h: names of files in folders. */
#ifndef B2_PATHS_H
#define B2_PATHS_H

#include <stdbool.h>

/* "folder/name"; the caller frees it. NULL when there is no memory. */
char *b2_path_join(const char *folder, const char *name);

/* Whether the folder has an entry of this name: a link that leads nowhere counts, so that opening it says why. */
bool b2_path_has(const char *folder, const char *name);

bool b2_path_is_folder(const char *path);

/* What follows the last slash. */
const char *b2_path_base(const char *path);

/* One plain component: not empty, no slash, not "." or "..", printable ASCII. Names out of files must be that before
 * they are joined to anything. */
bool b2_path_is_component(const char *name);

#endif
