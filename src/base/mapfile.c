#define _GNU_SOURCE /* MADV_POPULATE_READ */
#include "base/mapfile.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static blip2_status map_descriptor(int fd, const char *path, b2_mapfile *map, blip2_error *err) {
    struct stat st;
    if (fstat(fd, &st) != 0) return b2_fail(err, BLIP2_IO, "%s: cannot be examined: %s", path, strerror(errno));
    if (S_ISDIR(st.st_mode)) return b2_fail(err, BLIP2_IO, "%s: is a folder, expected a file", path);
    if (!S_ISREG(st.st_mode)) return b2_fail(err, BLIP2_IO, "%s: is not a regular file", path);
    if ((uintmax_t)st.st_size > SIZE_MAX) return b2_fail(err, BLIP2_LIMIT, "%s: too large for this machine", path);
    map->size_bytes = (size_t)st.st_size;
    if (map->size_bytes == 0) return BLIP2_OK;
    void *data = mmap(NULL, map->size_bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED) {
        map->size_bytes = 0;
        return b2_fail(err, errno == ENOMEM ? BLIP2_MEMORY : BLIP2_IO, "%s: cannot be mapped: %s", path, strerror(errno));
    }
    map->data = data;
    return BLIP2_OK;
}

blip2_status b2_mapfile_open(const char *path, b2_mapfile *map, blip2_error *err) {
    *map = (b2_mapfile){0};
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return b2_fail(err, BLIP2_IO, "%s: cannot be opened: %s", path, strerror(errno));
    const blip2_status status = map_descriptor(fd, path, map, err);
    close(fd);
    return status;
}

void b2_mapfile_close(b2_mapfile *map) {
    if (map->data != NULL) munmap((void *)(uintptr_t)map->data, map->size_bytes);
    *map = (b2_mapfile){0};
}

/* Pages are not 4 KB everywhere: the range grows to whole pages of this machine. */
static bool page_range(const b2_mapfile *map, size_t offset, size_t length, uintptr_t *start, size_t *bytes) {
    if (map->data == NULL || length == 0 || offset >= map->size_bytes) return false;
    if (length > map->size_bytes - offset) length = map->size_bytes - offset;
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), first = (uintptr_t)map->data + offset;
    *start = first & ~(page - 1);
    *bytes = (size_t)(first + length - *start);
    return true;
}

void b2_mapfile_advise(const b2_mapfile *map, size_t offset, size_t length_bytes) {
    uintptr_t start;
    size_t bytes;
    if (page_range(map, offset, length_bytes, &start, &bytes)) madvise((void *)start, bytes, MADV_WILLNEED);
}

bool b2_mapfile_populate(const b2_mapfile *map, size_t offset, size_t length_bytes) {
#ifdef MADV_POPULATE_READ
    uintptr_t start;
    size_t bytes;
    if (!page_range(map, offset, length_bytes, &start, &bytes)) return true;
    return madvise((void *)start, bytes, MADV_POPULATE_READ) == 0;
#else
    b2_mapfile_advise(map, offset, length_bytes);
    return false;
#endif
}
