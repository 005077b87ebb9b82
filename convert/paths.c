#include "convert/paths.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static bool ends_with(const char *path, const char *ending) {
    const size_t len = strlen(path), ending_len = strlen(ending);
    return len >= ending_len && strcmp(path + len - ending_len, ending) == 0;
}

bool b2_path_holds(const char *folder, const struct stat *file, const char *except_ending) {
    DIR *dir = opendir(folder);
    bool holds = false;
    for (const struct dirent *entry; dir != NULL && !holds && (entry = readdir(dir)) != NULL;) {
        char *path = b2_path_join(folder, entry->d_name);
        struct stat st;
        holds = path != NULL && !ends_with(path, except_ending) && stat(path, &st) == 0 &&
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
