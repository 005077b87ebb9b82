/* files.h: files and folders of a test. Included by one .c each, after cmocka's headers or before. */
#ifndef B2_FILES_H
#define B2_FILES_H

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static inline char *read_all(const char *path, size_t *n) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) fail_msg("%s cannot be opened", path);
    fseek(file, 0, SEEK_END);
    *n = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*n + 1);
    assert_int_equal(fread(bytes, 1, *n, file), *n);
    bytes[*n] = '\0';
    fclose(file);
    return bytes;
}

static inline void write_all(const char *path, const char *bytes, size_t n) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    fclose(file);
}

static inline void make_folder(char *path) { assert_non_null(mkdtemp(path)); }

static inline char *join(const char *folder, const char *name) {
    const size_t capacity = strlen(folder) + strlen(name) + 2;
    char *path = malloc(capacity);
    assert_non_null(path);
    snprintf(path, capacity, "%s/%s", folder, name);
    return path;
}

static inline void remove_folder(const char *folder) {
    DIR *dir = opendir(folder);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        char *path = join(folder, e->d_name);
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && unlink(path) != 0) remove_folder(path);
        free(path);
    }
    if (dir != NULL) closedir(dir);
    rmdir(folder);
}

static inline void copy_file(const char *from, const char *to) {
    size_t n;
    char *bytes = read_all(from, &n);
    write_all(to, bytes, n);
    free(bytes);
}

static inline void copy_folder(const char *from, const char *to) {
    DIR *dir = opendir(from);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        if (e->d_name[0] == '.') continue;
        char *a = join(from, e->d_name), *b = join(to, e->d_name);
        copy_file(a, b);
        free(a);
        free(b);
    }
    closedir(dir);
}

static inline size_t count_entries(const char *folder) {
    DIR *dir = opendir(folder);
    size_t n = 0;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) n += e->d_name[0] != '.' || strlen(e->d_name) > 2;
    closedir(dir);
    return n;
}

#endif
