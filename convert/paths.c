#include "convert/paths.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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
