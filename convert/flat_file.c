#include "convert/flat_file.h"

#include "base/retry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static blip2_status measure(b2_flat_file *file, blip2_error *err) {
    struct stat st;
    if (fstat(file->fd, &st) != 0 || !S_ISREG(st.st_mode))
        return b2_fail(err, BLIP2_IO, "%s: is not a regular file", file->path);
    file->n_bytes = (uint64_t)st.st_size;
    return BLIP2_OK;
}

blip2_status b2_flat_file_open(const char *path, b2_flat_file *file, blip2_error *err) {
    *file = (b2_flat_file){.fd = b2_open(path, O_RDONLY, 0)};
    if (file->fd < 0) return b2_fail(err, BLIP2_IO, "%s: cannot be opened: %s", path, strerror(errno));
    file->path = strdup(path);
    const blip2_status status =
        file->path == NULL ? b2_fail(err, BLIP2_MEMORY, "%s: no memory", path) : measure(file, err);
    if (status != BLIP2_OK) b2_flat_file_close(file);
    return status;
}

blip2_status b2_flat_file_read(const b2_flat_file *file, uint64_t offset_bytes, size_t n_bytes, void *out,
                               blip2_error *err) {
    uint8_t *to = out;
    while (n_bytes > 0) {
        const ssize_t got = pread(file->fd, to, n_bytes, (off_t)offset_bytes);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return b2_fail(err, BLIP2_IO, "%s: cannot be read: %s", file->path, strerror(errno));
        if (got == 0) return b2_fail(err, BLIP2_IO, "%s: became shorter while it was read", file->path);
        to += got;
        offset_bytes += (uint64_t)got;
        n_bytes -= (size_t)got;
    }
    return BLIP2_OK;
}

void b2_flat_file_close(b2_flat_file *file) {
    if (file->fd >= 0) close(file->fd);
    free(file->path);
    *file = (b2_flat_file){.fd = -1};
}
