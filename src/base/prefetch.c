/* prefetch.c: without it the first pass waits for the disk page by page; one thread that reads in file order, which
 * is the order of execution, keeps ahead of it. */
#include "base/prefetch.h"

#include "base/cpu.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { PIECE_BYTES = 16 << 20 }; /* some milliseconds of reading: how late a stop may come */

struct b2_prefetch {
    const b2_mapfile *map;
    pthread_t thread;
    atomic_bool stop;
};

static void *prefetch_main(void *argument) {
    b2_prefetch *p = argument;
    for (size_t at = 0; at < p->map->size_bytes && !atomic_load(&p->stop); at += PIECE_BYTES)
        if (!b2_mapfile_populate(p->map, at, PIECE_BYTES)) break;
    return NULL;
}

b2_prefetch *b2_prefetch_start(const b2_mapfile *map) {
    const uint64_t available = b2_memory_available().available_bytes;
    if (available < map->size_bytes + map->size_bytes / 8) return NULL;
    b2_prefetch *p = calloc(1, sizeof *p);
    if (p == NULL) return NULL;
    p->map = map;
    if (pthread_create(&p->thread, NULL, prefetch_main, p) == 0) return p;
    free(p);
    return NULL;
}

void b2_prefetch_stop(b2_prefetch *p) {
    if (p == NULL) return;
    atomic_store(&p->stop, true);
    pthread_join(p->thread, NULL);
    free(p);
}
