/* abi.h: structs that cross the wall of blip2.h begin with their size as the caller's header has it. The library may
 * know more members than the caller (an older program) or fewer (a newer one): only what both know is copied. */
#ifndef B2_ABI_H
#define B2_ABI_H

#include "base/size.h"

#include <string.h>

/* The caller's struct `from` into ours, which holds the defaults and is all_bytes long; its size member stays ours. */
static inline void b2_struct_in(void *all, size_t all_bytes, const void *from) {
    size_t from_bytes;
    memcpy(&from_bytes, from, sizeof from_bytes);
    if (from_bytes > sizeof from_bytes) memcpy(all, from, b2_min(from_bytes, all_bytes));
    memcpy(all, &all_bytes, sizeof all_bytes);
}

/* Our struct, all_bytes long, into the caller's `to`, which has to_bytes; its size member becomes to_bytes. */
static inline void b2_struct_out(void *to, size_t to_bytes, const void *all, size_t all_bytes) {
    memcpy(to, all, b2_min(to_bytes, all_bytes));
    if (to_bytes >= sizeof to_bytes) memcpy(to, &to_bytes, sizeof to_bytes);
}

/* The same where the caller has set the size member of `to`. */
static inline void b2_struct_fill(void *to, const void *all, size_t all_bytes) {
    size_t to_bytes;
    memcpy(&to_bytes, to, sizeof to_bytes);
    b2_struct_out(to, to_bytes, all, all_bytes);
}

#endif
