/* folders.c: what a folder on the command line stands for. A file that is named itself is opened whatever its name;
 * in a folder only names that look like pictures count. Nothing is passed over in silence: a user who wonders where
 * half of the pictures are must be able to read it. */
#include "lists/folders.h"

#include "base/path.h"
#include "blip2.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- kinds ----------------------------------------------------------------------------------------------------- */

bool b2_looks_like_picture(const char *name) {
    bool is_read;
    return blip2_image_kind_of_name(name, &is_read) != NULL && is_read;
}

static void pass_over(b2_folder_walk *w, const char *path, const char *kind, bool is_picture) {
    b2_passed *p = &w->passed;
    size_t i = 0;
    while (i < p->n_kinds && strcmp(p->kinds[i].name, kind) != 0) i++;
    if (i == p->n_kinds && i < B2_PASSED_MAX) {
        p->kinds[i] = (struct b2_passed_kind){.name = kind, .is_picture = is_picture};
        p->n_kinds++;
    }
    if (i < B2_PASSED_MAX) p->kinds[i].n++;
    if (w->tell != NULL) w->tell(w->context, path, kind, false);
}

void b2_passed_print(const b2_passed *p, char *text, size_t capacity) {
    size_t len = 0;
    text[0] = '\0';
    for (size_t i = 0; i < p->n_kinds && len < capacity; i++)
        len += (size_t)snprintf(text + len, capacity - len, "%s%zu %s%s", i > 0 ? ", " : "", p->kinds[i].n,
                                p->kinds[i].name, p->kinds[i].is_picture ? " not read" : "");
}

/* ---- walking --------------------------------------------------------------------------------------------------- */

/* A folder and those that led to it: a link back to one of them is not followed, or the same pictures would come again
 * and again (two such links side by side: without end). */
typedef struct folder_chain {
    const struct folder_chain *above;
    dev_t device;
    ino_t inode;
} folder_chain;

typedef struct sink {
    blip2_status (*add)(void *list, const char *path, blip2_error *err);
    void *list;
} sink;

static bool is_on_chain(const struct stat *st, const folder_chain *chain) {
    for (; chain != NULL; chain = chain->above)
        if (chain->device == st->st_dev && chain->inode == st->st_ino) return true;
    return false;
}

static bool is_excluded(const b2_folder_walk *w, const char *name) {
    static const char *const USUAL[] = {"@eaDir", ".thumbnails", "__MACOSX", "._*"};
    for (size_t i = 0; i < sizeof USUAL / sizeof *USUAL; i++)
        if (fnmatch(USUAL[i], name, 0) == 0) return true;
    for (size_t i = 0; i < w->n_excludes; i++)
        if (fnmatch(w->excludes[i], name, 0) == 0) return true;
    return false;
}

static int is_entry(const struct dirent *entry) {
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

static int compare_bytes(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static blip2_status add_folder(b2_folder_walk *w, const sink *s, const char *folder, const folder_chain *chain,
                               blip2_error *err);

/* One name of a folder: a picture, a folder, or something else. Opening a pipe could wait for ever, so only files
 * count; a link that leads nowhere counts too, so that the user hears of it. */
static blip2_status add_entry(b2_folder_walk *w, const sink *s, const char *path, const folder_chain *chain,
                              blip2_error *err) {
    struct stat st;
    bool is_read = false;
    const char *name = b2_path_base(path), *kind = blip2_image_kind_of_name(name, &is_read);
    if (is_excluded(w, name)) return pass_over(w, path, "excluded", false), BLIP2_OK;
    if (name[0] == '.') return pass_over(w, path, "hidden", false), BLIP2_OK;
    const bool exists = stat(path, &st) == 0;
    if (exists && S_ISDIR(st.st_mode)) {
        const folder_chain mine = {chain, st.st_dev, st.st_ino};
        if (!w->recursive) return pass_over(w, path, "folders (no -r)", false), BLIP2_OK;
        if (is_on_chain(&st, chain)) return pass_over(w, path, "links back up", false), BLIP2_OK;
        return add_folder(w, s, path, &mine, err);
    }
    if (exists && !S_ISREG(st.st_mode)) return pass_over(w, path, "pipes or devices", false), BLIP2_OK;
    if (kind == NULL) return pass_over(w, path, "other files", false), BLIP2_OK;
    if (!is_read) return pass_over(w, path, kind, true), BLIP2_OK;
    return s->add(s->list, path, err);
}

static blip2_status add_folder(b2_folder_walk *w, const sink *s, const char *folder, const folder_chain *chain,
                               blip2_error *err) {
    struct dirent **entries;
    const int n = scandir(folder, &entries, is_entry, compare_bytes);
    if (n < 0 && errno == ENOMEM) return b2_fail(err, BLIP2_MEMORY, "%s: no memory to list it", folder);
    if (n < 0) {
        w->passed.n_unlisted++;
        if (w->tell != NULL) w->tell(w->context, folder, strerror(errno), true);
        return BLIP2_OK;
    }
    blip2_status status = BLIP2_OK;
    for (int i = 0; i < n; i++) {
        char *path = status == BLIP2_OK ? b2_path_join(folder, entries[i]->d_name) : NULL;
        if (path != NULL) status = add_entry(w, s, path, chain, err);
        else if (status == BLIP2_OK) status = b2_fail(err, BLIP2_MEMORY, "no memory for the list of pictures");
        free(path);
        free(entries[i]);
    }
    free(entries);
    return status;
}

blip2_status b2_folder_each(b2_folder_walk *walk, const char *folder,
                            blip2_status (*add)(void *list, const char *path, blip2_error *err), void *list,
                            blip2_error *err) {
    const sink s = {add, list};
    struct stat st;
    folder_chain top = {0};
    if (stat(folder, &st) == 0) top = (folder_chain){NULL, st.st_dev, st.st_ino}; /* else the listing says why */
    return add_folder(walk, &s, folder, &top, err);
}
