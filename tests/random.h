/* random.h: splitmix64: numbers that are the same on every machine and with every library. */
#ifndef B2_TESTS_RANDOM_H
#define B2_TESTS_RANDOM_H

#include <stddef.h>
#include <stdint.h>

static inline uint64_t next_bits(uint64_t *seed) {
    uint64_t z = (*seed += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static inline size_t next_below(uint64_t *seed, size_t n) { return (size_t)(next_bits(seed) % n); }

/* [-1, 1) */
static inline float next_unit(uint64_t *seed) { return (float)((int64_t)next_bits(seed) >> 40) / 8388608.0f; }

#endif
