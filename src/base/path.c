/* path.c: see path.h. */
#include "base/path.h"

#include "base/text.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *b2_path_join(const char *folder, const char *name) {
    const size_t len = strlen(folder);
    const char *slash = len > 0 && folder[len - 1] == '/' ? "" : "/";
    const size_t capacity = len + strlen(name) + 2;
    char *path = malloc(capacity);
    if (path != NULL) snprintf(path, capacity, "%s%s%s", folder, slash, name);
    return path;
}

bool b2_path_has(const char *folder, const char *name) {
    char *path = b2_path_join(folder, name);
    struct stat st;
    const bool has = path != NULL && lstat(path, &st) == 0;
    free(path);
    return has;
}

bool b2_path_is_folder(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool b2_path_holds(const char *folder, const struct stat *file, const char *except_ending) {
    DIR *dir = opendir(folder);
    bool holds = false;
    for (const struct dirent *entry; dir != NULL && !holds && (entry = readdir(dir)) != NULL;) {
        char *path = b2_path_join(folder, entry->d_name);
        struct stat st;
        holds = path != NULL && !b2_ends_with(path, except_ending) && stat(path, &st) == 0 &&
                st.st_dev == file->st_dev && st.st_ino == file->st_ino;
        free(path);
    }
    if (dir != NULL) closedir(dir);
    return holds;
}

const char *b2_path_base(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

bool b2_path_is_component(const char *name) {
    if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strlen(name) > 255) return false;
    for (; *name != '\0'; name++)
        if (*name <= 0x20 || *name > 0x7E || *name == '/') return false;
    return true;
}

char *b2_path_folder(const char *path) {
    const char *slash = strrchr(path, '/');
    if (slash == NULL) return strdup(".");
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

/* Takes "." and ".." and double slashes out of an absolute path, in place. */
static void normalise(char *path) {
    char *to = path;
    for (const char *at = path; *at != '\0';) {
        while (*at == '/') at++;
        const size_t len = strcspn(at, "/");
        if (len == 2 && strncmp(at, "..", 2) == 0) {
            while (to > path && *--to != '/') continue;
        } else if (len > 0 && !(len == 1 && *at == '.')) {
            *to++ = '/';
            memmove(to, at, len);
            to += len;
        }
        at += len;
    }
    if (to == path) *to++ = '/';
    *to = '\0';
}

char *b2_path_absolute(const char *path) {
    char *absolute;
    if (path[0] == '/') {
        absolute = strdup(path);
    } else {
        char *here = getcwd(NULL, 0);
        absolute = here != NULL ? b2_path_join(here, path) : NULL;
        free(here);
    }
    if (absolute != NULL) normalise(absolute);
    return absolute;
}

char *b2_path_relative(const char *folder, const char *path) {
    size_t common = 0; /* bytes up to the last slash that both share */
    for (size_t i = 0;; i++) {
        const bool folder_ends = folder[i] == '\0', at_boundary = (folder_ends || folder[i] == '/') && path[i] == '/';
        if (at_boundary) common = i;
        if (folder_ends || folder[i] != path[i]) break;
    }
    size_t n_up = 0;
    for (const char *s = folder + common; *s != '\0'; s++) n_up += *s == '/' && s[1] != '\0';
    const char *rest = path + common;
    while (*rest == '/') rest++;
    char *relative = malloc(3 * n_up + strlen(rest) + 1);
    if (relative == NULL) return NULL;
    for (size_t i = 0; i < n_up; i++) memcpy(relative + 3 * i, "../", 3);
    strcpy(relative + 3 * n_up, rest);
    return relative;
}

bool b2_path_is_same(const char *a, const char *b) {
    char *absolute_a = b2_path_absolute(a), *absolute_b = b2_path_absolute(b);
    const bool are_same = absolute_a != NULL && absolute_b != NULL && strcmp(absolute_a, absolute_b) == 0;
    free(absolute_a);
    free(absolute_b);
    return are_same;
}

blip2_status b2_path_make_folders(const char *path, blip2_error *err) {
    char *copy = strdup(path);
    if (copy == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for a file name");
    blip2_status status = BLIP2_OK;
    for (char *slash = strchr(copy + 1, '/'); slash != NULL && status == BLIP2_OK; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(copy, 0777) != 0 && errno != EEXIST) status = b2_fail_write(err, copy, "cannot be made");
        *slash = '/';
    }
    free(copy);
    return status;
}
