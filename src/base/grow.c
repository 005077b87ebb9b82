/* grow.c: see grow.h. */
#include "base/grow.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

bool b2_grow(void *array, size_t n, size_t *capacity, size_t item_bytes) {
    enum { FIRST = 64 };
    if (n < *capacity) return true;
    const size_t wanted = *capacity > 0 ? 2 * *capacity : FIRST;
    if (wanted <= n || wanted > SIZE_MAX / item_bytes) return false;
    void *items; /* copied: a T * may not be reached through a void ** */
    memcpy(&items, array, sizeof items);
    items = realloc(items, wanted * item_bytes);
    if (items == NULL) return false;
    memcpy(array, &items, sizeof items);
    *capacity = wanted;
    return true;
}
