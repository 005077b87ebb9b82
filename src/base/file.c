/* file.c: whoever replaces a file writes another beside it and renames that: a reader finds the old content or the new,
 * never a part, however the program ends. */
#include "base/file.h"

#include "base/path.h"
#include "base/size.h"
#include "base/retry.h"
#include "base/target.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* ---- reading --------------------------------------------------------------------------------------------------- */

blip2_status b2_stream_read(FILE *stream, const char *name, size_t expected_bytes, size_t max_bytes, char **bytes,
                            size_t *n_bytes, blip2_error *err) {
    size_t capacity = b2_min(expected_bytes, max_bytes) + 1, n = 0, got; /* one more sees the end without growing */
    char *buffer = malloc(capacity + 1);
    *bytes = NULL;
    while (buffer != NULL && (got = fread(buffer + n, 1, capacity - n, stream)) > 0) {
        n += got;
        if (n < capacity) continue;
        if (n > max_bytes) {
            free(buffer);
            return b2_fail(err, BLIP2_LIMIT, "%s: has more than %zu bytes", name, max_bytes);
        }
        capacity = n < max_bytes / 2 ? 2 * n : max_bytes + 1;
        char *larger = realloc(buffer, capacity + 1);
        if (larger == NULL) free(buffer);
        buffer = larger;
    }
    if (buffer == NULL) return b2_fail(err, BLIP2_MEMORY, "%s: no memory to read it", name);
    if (ferror(stream)) {
        free(buffer);
        return b2_fail(err, BLIP2_IO, "%s: cannot be read: %s", name, strerror(errno));
    }
    buffer[n] = '\0';
    *bytes = buffer;
    *n_bytes = n;
    return BLIP2_OK;
}

blip2_status b2_file_read(const char *path, size_t max_bytes, char **bytes, size_t *n_bytes, blip2_error *err) {
    enum { PIPE_BYTES = 1 << 16 };
    struct stat st;
    const int fd = b2_open(path, O_RDONLY, 0);
    *bytes = NULL;
    if (fd < 0) return b2_fail(err, BLIP2_IO, "%s: cannot be opened: %s", path, strerror(errno));
    const bool is_known = fstat(fd, &st) == 0, is_regular = is_known && S_ISREG(st.st_mode);
    FILE *file = b2_fdopen(fd, "rb", NULL);
    if (file == NULL) return b2_fail(err, BLIP2_MEMORY, "%s: no memory to read it", path);
    blip2_status status;
    if (is_known && S_ISDIR(st.st_mode)) status = b2_fail(err, BLIP2_IO, "%s: is a folder, expected a file", path);
    else if (is_regular && (uintmax_t)st.st_size > max_bytes)
        status =
            b2_fail(err, BLIP2_LIMIT, "%s: has %jd bytes, expected at most %zu", path, (intmax_t)st.st_size, max_bytes);
    else
        status =
            b2_stream_read(file, path, is_regular ? (size_t)st.st_size : PIPE_BYTES, max_bytes, bytes, n_bytes, err);
    fclose(file);
    return status;
}

blip2_status b2_input_read(const char *path, char **bytes, size_t *n_bytes, blip2_error *err) {
    enum { MAX_BYTES = 1 << 30, FIRST_BYTES = 1 << 16 };
    if (strcmp(path, "-") != 0) return b2_file_read(path, MAX_BYTES, bytes, n_bytes, err);
    return b2_stream_read(stdin, path, FIRST_BYTES, MAX_BYTES, bytes, n_bytes, err);
}

/* ---- replacing ------------------------------------------------------------------------------------------------- */

static void forget(b2_replacement *r) {
    free(r->new_path);
    free(r->path);
    *r = (b2_replacement){0};
}

/* A name of its own, and never through a link: nothing that lies beside the file is touched, whoever put it there. The
 * permissions are those of the file that is replaced: who could read it still can, and no one else. */
static int open_beside(b2_replacement *r, size_t capacity, const struct stat *old, bool may_shorten) {
    const mode_t mode = old != NULL ? old->st_mode & 0777 : 0666;
    int fd = -1;
    for (int i = 0; i < 100 && fd < 0; i++) { /* a process that was killed may have left a file of the same name */
        snprintf(r->new_path, capacity, "%s.partial-%ld-%d", r->path, (long)getpid(), i);
        fd = b2_open(r->new_path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode);
        if (fd < 0 && errno == ENAMETOOLONG && may_shorten) { /* the file's own name is not too long */
            const size_t n_folder = strlen(r->path) - strlen(b2_path_base(r->path));
            snprintf(r->new_path, capacity, "%.*s.partial-%ld-%d", (int)n_folder, r->path, (long)getpid(), i);
            fd = b2_open(r->new_path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode);
        }
        if (fd < 0 && errno != EEXIST) break;
    }
    if (fd >= 0) flock(fd, LOCK_EX | LOCK_NB);    /* for leftovers.h: it is being written; best effort */
    if (fd >= 0 && old != NULL) fchmod(fd, mode); /* what umask took away */
    return fd;
}

blip2_status b2_replacement_open(const char *path, bool follows_links, b2_replacement *r, blip2_error *err) {
    b2_target target = {.path = strdup(path), .fd = -1};
    *r = (b2_replacement){0};
    if (follows_links) {
        free(target.path);
        const blip2_status found = b2_target_find(path, &target, err);
        if (found != BLIP2_OK) b2_target_free(&target);
        B2_TRY(found);
    }
    const size_t capacity = target.path != NULL ? strlen(target.path) + 64 : 1;
    *r = (b2_replacement){.path = target.path, .new_path = malloc(capacity)};
    blip2_status status = BLIP2_OK;
    if (target.kind != B2_TARGET_FILE) {
        status = b2_fail(err, BLIP2_IO, "%s: is a pipe or a device, expected the name of a file", path);
    } else if (r->path == NULL || r->new_path == NULL) {
        status = b2_fail(err, BLIP2_MEMORY, "%s: no memory for its name", path);
    } else {
        struct stat st;
        const bool is_there = lstat(r->path, &st) == 0 && S_ISREG(st.st_mode);
        /* an output whose name leaves no room for OUT.part and OUT.blip2 is refused before any work */
        r->fd = open_beside(r, capacity, is_there ? &st : NULL, !follows_links);
        r->file = r->fd >= 0 ? b2_fdopen(r->fd, "wb", NULL) : NULL;
        if (r->file == NULL) status = b2_fail_write(err, path, "cannot be written");
        if (r->file == NULL && r->fd >= 0) unlink(r->new_path);
    }
    if (status != BLIP2_OK) forget(r);
    return status;
}

blip2_status b2_replacement_commit(b2_replacement *r, blip2_error *err) {
    bool is_done = fflush(r->file) == 0 && !ferror(r->file);
    is_done = is_done && b2_sync(r->fd);
    int why = errno; /* of the first step that failed */
    if (fclose(r->file) != 0 && is_done) is_done = false, why = errno;
    if (is_done && rename(r->new_path, r->path) != 0) is_done = false, why = errno;
    if (!is_done) unlink(r->new_path);
    errno = why;
    const blip2_status status = is_done ? BLIP2_OK : b2_fail_write(err, r->path, "cannot be written");
    forget(r);
    return status;
}

void b2_replacement_abandon(b2_replacement *r) {
    if (r->file == NULL) return;
    fclose(r->file);
    unlink(r->new_path);
    forget(r);
}

blip2_status b2_file_write(const char *path, const char *bytes, size_t n_bytes, blip2_error *err) {
    b2_replacement r;
    B2_TRY(b2_replacement_open(path, false, &r, err));
    fwrite(bytes, 1, n_bytes, r.file); /* commit sees whether it failed */
    return b2_replacement_commit(&r, err);
}

void b2_sync_folder(const char *path) {
    char *folder = b2_path_folder(path);
    const int fd = folder != NULL ? b2_open(folder, O_RDONLY | O_DIRECTORY, 0) : -1;
    if (fd >= 0) {
        b2_sync(fd);
        close(fd);
    }
    free(folder);
}
