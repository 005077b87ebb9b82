#include "cli/files.h"

#include "cli/inputs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_BYTES = 1 << 30 };

/* ---- names ------------------------------------------------------------------------------------------------------------ */

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

/* From a folder to a path, both absolute and normal. */
static char *relative_to(const char *folder, const char *path) {
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

char *b2_path_from_file(const char *from, const struct b2_inputs *inputs, const char *path) {
    char *resolved = inputs != NULL ? b2_inputs_resolve(inputs, path) : strdup(path);
    char *absolute = resolved != NULL ? b2_path_absolute(resolved) : NULL;
    char *folder_name = b2_path_folder(from), *folder = folder_name != NULL ? b2_path_absolute(folder_name) : NULL;
    char *relative = absolute != NULL && folder != NULL ? relative_to(folder, absolute) : NULL;
    free(resolved);
    free(absolute);
    free(folder_name);
    free(folder);
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
        if (mkdir(copy, 0777) != 0 && errno != EEXIST) status = b2_fail(err, BLIP2_IO, "%s: cannot be made: %s", copy, strerror(errno));
        *slash = '/';
    }
    free(copy);
    return status;
}

/* ---- whole files ------------------------------------------------------------------------------------------------------- */

static blip2_status read_stream(FILE *file, const char *path, char **bytes, size_t *n_bytes, blip2_error *err) {
    size_t capacity = 1 << 16, n = 0, got;
    char *buffer = malloc(capacity + 1);
    while (buffer != NULL && (got = fread(buffer + n, 1, capacity - n, file)) > 0) {
        n += got;
        if (n < capacity) continue;
        if (capacity >= MAX_BYTES) {
            free(buffer);
            return b2_fail(err, BLIP2_LIMIT, "%s: larger than 1 GiB", path);
        }
        char *larger = realloc(buffer, (capacity *= 2) + 1);
        if (larger == NULL) free(buffer);
        buffer = larger;
    }
    if (buffer == NULL) return b2_fail(err, BLIP2_MEMORY, "%s: no memory to read it", path);
    if (ferror(file)) {
        free(buffer);
        return b2_fail(err, BLIP2_IO, "%s: cannot be read: %s", path, strerror(errno));
    }
    buffer[n] = '\0';
    *bytes = buffer;
    *n_bytes = n;
    return BLIP2_OK;
}

blip2_status b2_read_whole(const char *path, char **bytes, size_t *n_bytes, blip2_error *err) {
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    if (file == NULL) return b2_fail(err, BLIP2_IO, "%s: cannot be opened: %s", path, strerror(errno));
    const blip2_status status = read_stream(file, path, bytes, n_bytes, err);
    if (file != stdin) fclose(file);
    return status;
}

void b2_sync_folder(const char *path) {
    char *folder = b2_path_folder(path);
    const int fd = folder != NULL ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    free(folder);
}

static bool write_and_sync(int fd, const char *bytes, size_t n) {
    while (n > 0) {
        const ssize_t done = write(fd, bytes, n);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return false;
        bytes += done;
        n -= (size_t)done;
    }
    return fsync(fd) == 0 || errno == EINVAL || errno == ENOTSUP;
}

blip2_status b2_write_whole(const char *path, const char *bytes, size_t n_bytes, blip2_error *err) {
    char *temporary = malloc(strlen(path) + sizeof ".new");
    if (temporary == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for a file name");
    sprintf(temporary, "%s.new", path);
    const int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    bool done = fd >= 0 && write_and_sync(fd, bytes, n_bytes);
    int why = errno;
    if (fd >= 0) done = close(fd) == 0 && done;
    done = done && rename(temporary, path) == 0;
    if (!done && why == 0) why = errno;
    if (!done) unlink(temporary);
    free(temporary);
    errno = why;
    return done ? BLIP2_OK : b2_fail(err, BLIP2_IO, "%s: cannot be written: %s", path, strerror(why));
}
