/* size.h: small arithmetic on sizes. Sums and products that could overflow are arena.h's business. */
#ifndef B2_SIZE_H
#define B2_SIZE_H

#include <stddef.h>

static inline size_t b2_min(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t b2_max(size_t a, size_t b) { return a > b ? a : b; }
static inline size_t b2_round_up(size_t n, size_t multiple) { return (n + multiple - 1) / multiple * multiple; }
/* How many parts of at most `part` cover n. */
static inline size_t b2_parts(size_t n, size_t part) { return (n + part - 1) / part; }

#endif
