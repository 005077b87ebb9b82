/* prefetch.h: brings a mapped file into memory while others already work on its beginning. */
#ifndef B2_PREFETCH_H
#define B2_PREFETCH_H

#include "base/mapfile.h"

typedef struct b2_prefetch b2_prefetch;

/* Starts a thread that walks the map from its beginning to its end. Nothing is promised: without a thread, or where
 * the machine's memory would not hold the file (walking ahead would push out what is about to be used), NULL is
 * returned and pages come as they are touched. The map must outlive the prefetch. */
b2_prefetch *b2_prefetch_start(const b2_mapfile *map);

/* Stops after the piece at hand and frees; NULL is fine. */
void b2_prefetch_stop(b2_prefetch *prefetch);

#endif
