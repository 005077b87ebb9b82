/* target.c: links are followed by hand, one at a time, because stat() hides the one case that matters: /dev/stdout is a
 * link to whatever stdout is. If that is a regular file, a rename would replace /dev/stdout itself. */
#include "base/target.h"

#include "base/path.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A whole number without a sign, or -1. */
static int parse_descriptor(const char *digits) {
    const size_t n = strspn(digits, "0123456789");
    return n > 0 && n < 8 && digits[n] == '\0' ? atoi(digits) : -1;
}

/* The folder of our own descriptors, by its real name: /proc/PID/fd, or /dev/fd where that is a file system. */
static bool is_descriptor_folder(const char *path) {
    char own[64], *folder = b2_path_folder(path), *real = folder != NULL ? realpath(folder, NULL) : NULL;
    snprintf(own, sizeof own, "/proc/%ld/fd", (long)getpid());
    const bool is_one = real != NULL && (strcmp(real, own) == 0 || strcmp(real, "/dev/fd") == 0);
    free(folder);
    free(real);
    return is_one;
}

static int find_descriptor(const char *path) {
    static const char *const names[] = {"/dev/stdin", "/dev/stdout", "/dev/stderr"};
    for (int fd = 0; fd < 3; fd++)
        if (b2_path_is_same(path, names[fd])) return fd;
    const int fd = parse_descriptor(b2_path_base(path));
    return fd >= 0 && is_descriptor_folder(path) ? fd : -1;
}

/* Where the link at path leads, from malloc; NULL: it is not a link. *has_failed: no memory. */
static char *read_link(const char *path, bool *has_failed) {
    char text[PATH_MAX];
    const ssize_t n = readlink(path, text, sizeof text - 1);
    if (n < 0) return NULL;
    text[n] = '\0';
    char *folder = text[0] != '/' ? b2_path_folder(path) : NULL;
    char *next = text[0] == '/' ? strdup(text) : folder != NULL ? b2_path_join(folder, text) : NULL;
    free(folder);
    *has_failed = next == NULL;
    return next;
}

static blip2_status follow(const char *name, b2_target *t, blip2_error *err) {
    enum { MAX_LINKS = 40 };
    for (int i = 0; i < MAX_LINKS; i++) {
        bool has_failed = false;
        t->fd = find_descriptor(t->path);
        if (t->fd >= 0) return BLIP2_OK;
        char *next = read_link(t->path, &has_failed);
        if (has_failed) return b2_fail(err, BLIP2_MEMORY, "%s: no memory for its name", name);
        if (next == NULL) return BLIP2_OK;
        free(t->path);
        t->path = next;
    }
    return b2_fail(err, BLIP2_IO, "%s: cannot be written: %s", name, strerror(ELOOP));
}

blip2_status b2_target_find(const char *name, b2_target *t, blip2_error *err) {
    *t = (b2_target){.path = strdup(name), .fd = -1};
    if (t->path == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for a file name");
    const blip2_status status = strcmp(name, "-") == 0 ? BLIP2_OK : follow(name, t, err);
    if (status != BLIP2_OK) {
        b2_target_free(t);
        return status;
    }
    if (strcmp(name, "-") == 0) t->fd = STDOUT_FILENO;
    t->exists = t->fd >= 0 ? fstat(t->fd, &t->st) == 0 : lstat(t->path, &t->st) == 0;
    if (t->fd >= 0) t->kind = B2_TARGET_DESCRIPTOR;
    else if (t->exists && !S_ISREG(t->st.st_mode) && !S_ISDIR(t->st.st_mode)) t->kind = B2_TARGET_STREAM;
    return BLIP2_OK;
}

void b2_target_free(b2_target *t) {
    free(t->path);
    *t = (b2_target){.fd = -1};
}

bool b2_target_is_same(const b2_target *a, const b2_target *b) {
    if (a->exists && b->exists) return a->st.st_dev == b->st.st_dev && a->st.st_ino == b->st.st_ino;
    if (a->exists != b->exists || strcmp(b2_path_base(a->path), b2_path_base(b->path)) != 0) return false;
    char *folder_a = b2_path_folder(a->path), *folder_b = b2_path_folder(b->path);
    struct stat st_a, st_b;
    const bool is_same = folder_a != NULL && folder_b != NULL && stat(folder_a, &st_a) == 0 &&
                         stat(folder_b, &st_b) == 0 && st_a.st_dev == st_b.st_dev && st_a.st_ino == st_b.st_ino;
    free(folder_a);
    free(folder_b);
    return is_same;
}
