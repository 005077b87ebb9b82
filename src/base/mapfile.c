/* mapfile.c: the only caller of mmap. A map costs nothing until its pages are touched, and processes share them. */
#define _GNU_SOURCE /* MADV_POPULATE_READ */
#include "base/mapfile.h"

#include "base/retry.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
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
        return b2_fail(err, errno == ENOMEM ? BLIP2_MEMORY : BLIP2_IO, "%s: cannot be mapped: %s", path,
                       strerror(errno));
    }
    map->data = data;
    return BLIP2_OK;
}

blip2_status b2_mapfile_open(const char *path, b2_mapfile *map, blip2_error *err) {
    *map = (b2_mapfile){0};
    const int fd = b2_open(path, O_RDONLY, 0);
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

bool b2_mapfile_populate(const b2_mapfile *map, size_t offset, size_t length_bytes) {
    uintptr_t start;
    size_t bytes;
    if (!page_range(map, offset, length_bytes, &start, &bytes)) return true;
#ifdef MADV_POPULATE_READ
    return madvise((void *)start, bytes, MADV_POPULATE_READ) == 0;
#else
    madvise((void *)start, bytes, MADV_WILLNEED);
    return false;
#endif
}

static int lock(const void *data, size_t size_bytes) {
#ifdef MLOCK_ONFAULT
    if (mlock2(data, size_bytes, MLOCK_ONFAULT) == 0) return 0;
    if (errno != ENOSYS) return -1; /* a kernel before 4.4 */
#endif
    return mlock(data, size_bytes);
}

blip2_status b2_mapfile_lock(const void *data, size_t size_bytes, blip2_error *err) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_MEMLOCK, &limit);
    }
    if (lock(data, size_bytes) == 0) return BLIP2_OK;
    const int why = errno;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur < size_bytes && (why == ENOMEM || why == EPERM))
        return b2_fail(err, BLIP2_LIMIT, "at most %.0f KB may be locked (ulimit -l), expected %.0f",
                       (double)limit.rlim_cur / 1024, (double)size_bytes / 1024);
    return b2_fail(err, BLIP2_MEMORY, "memory cannot be locked: %s", strerror(why));
}
