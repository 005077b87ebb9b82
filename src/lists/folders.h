/* folders.h: the pictures of a folder, in the same order on every machine, and what else lies there. */
#ifndef B2_FOLDERS_H
#define B2_FOLDERS_H

#include "base/status.h"

enum { B2_EXCLUDES_MAX = 64, B2_PASSED_MAX = 32 };

/* What walks left out, by kind; one of everything else counts as "other file". */
typedef struct b2_passed {
    struct b2_passed_kind {
        const char *name; /* "hidden", "WebP"; lives as long as the program */
        bool is_picture;  /* of a type that this build does not read */
        size_t n;
    } kinds[B2_PASSED_MAX];
    size_t n_kinds, n_unlisted; /* folders that could not be listed */
} b2_passed;

/* "2 WebP not read, 1 hidden"; "" when nothing was left out. */
void b2_passed_print(const b2_passed *passed, char *text, size_t capacity);

typedef struct b2_folder_walk {
    bool recursive; /* folders below, too */
    /* Patterns of names (fnmatch) that are left out, beside what photo servers and archivers leave: @eaDir,
     * .thumbnails, __MACOSX, ._* */
    const char *excludes[B2_EXCLUDES_MAX];
    size_t n_excludes;
    /* Told of each path that is left out and why: a kind's name or, with is_error, why a folder cannot be listed. May
     * be NULL. */
    void (*tell)(void *context, const char *path, const char *why, bool is_error);
    void *context;
    b2_passed passed;
} b2_folder_walk;

/* Does a name end as those of pictures do? */
bool b2_looks_like_picture(const char *name);

/* Hands each picture's path to add, sorted by the bytes of the names; recursive: those of the folders below too, in
 * their place. Hidden and excluded names, pipes and devices are left out; links are followed, but not back into a
 * folder that led to them. A folder that cannot be listed is told and counted, and the walk goes on. Errors:
 * BLIP2_MEMORY, those of add. */
blip2_status b2_folder_each(b2_folder_walk *walk, const char *folder,
                            blip2_status (*add)(void *list, const char *path, blip2_error *err), void *list,
                            blip2_error *err);

#endif
