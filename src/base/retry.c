/* retry.c: see retry.h. */
#ifdef __linux__
#define _GNU_SOURCE /* fopencookie */
#endif
#include "base/retry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

int b2_open(const char *path, int flags, unsigned mode) {
    int fd;
    do fd = open(path, flags | O_CLOEXEC, (mode_t)mode);
    while (fd < 0 && errno == EINTR);
    return fd;
}

bool b2_sync(int fd) {
    while (fsync(fd) != 0)
        if (errno != EINTR) return errno == EINVAL || errno == ENOTSUP;
    return true;
}

bool b2_truncate(int fd, off_t n_bytes) {
    while (ftruncate(fd, n_bytes) != 0)
        if (errno != EINTR) return false;
    return true;
}

typedef struct source {
    int fd;
    bool (*gives_up)(void *unused);
} source;

static bool goes_on(const source *s) { return errno == EINTR && (s->gives_up == NULL || !s->gives_up(NULL)); }

static ssize_t read_some(void *context, char *to, size_t n) {
    const source *s = context;
    ssize_t got;
    do got = read(s->fd, to, n);
    while (got < 0 && goes_on(s));
    return got;
}

#ifdef __linux__

/* All of it, or 0: so a cookie says that it failed. */
static ssize_t write_all(void *context, const char *from, size_t n) {
    const source *s = context;
    for (size_t done = 0; done < n;) {
        const ssize_t step = write(s->fd, from + done, n - done);
        if (step == 0) errno = ENOSPC;
        if (step > 0) done += (size_t)step;
        else if (step == 0 || !goes_on(s)) return 0;
    }
    return (ssize_t)n;
}

/* An interrupted close() has closed all the same. */
static int close_source(void *context) {
    source *s = context;
    const int result = close(s->fd);
    free(s);
    return result != 0 && errno != EINTR ? EOF : 0;
}

FILE *b2_fdopen(int fd, const char *mode, bool (*gives_up)(void *unused)) {
    source *s = malloc(sizeof *s);
    FILE *file = NULL;
    if (s != NULL) {
        *s = (source){.fd = fd, .gives_up = gives_up};
        file = fopencookie(s, mode, (cookie_io_functions_t){read_some, write_all, NULL, close_source});
    }
    if (file != NULL) return file;
    const int why = errno;
    free(s);
    close(fd);
    errno = why;
    return NULL;
}

#else

/* Only the C libraries of Linux have fopencookie(): elsewhere an interrupted call ends the stream. */
FILE *b2_fdopen(int fd, const char *mode, bool (*gives_up)(void *unused)) {
    (void)gives_up;
    FILE *file = fdopen(fd, mode);
    const int why = errno;
    if (file == NULL) close(fd);
    errno = why;
    return file;
}

#endif

size_t b2_file_start(const char *path, void *bytes, size_t n) {
    source s = {.fd = b2_open(path, O_RDONLY, 0)};
    size_t n_read = 0;
    if (s.fd < 0) return 0;
    for (ssize_t got = 1; n_read < n && got > 0;) {
        got = read_some(&s, (char *)bytes + n_read, n - n_read);
        if (got > 0) n_read += (size_t)got;
    }
    close(s.fd);
    return n_read;
}
