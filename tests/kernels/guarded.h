/* guarded.h: memory in which a kernel cannot step aside unnoticed, and numbers that try it out.
 *
 * Each block ends exactly at a page that nobody may touch, so a read or write past the end is a crash at the guilty
 * instruction; the bytes in front of it are a pattern that guard_check finds disturbed. Blocks of odd size are
 * unaligned by nature. */
#ifndef B2_TESTS_GUARDED_H
#define B2_TESTS_GUARDED_H

#include "tests/random.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { GUARD_BLOCKS = 32, GUARD_BYTE = 0xA5 };

typedef struct guard_pool {
    struct guard_block {
        uint8_t *map, *data;
        size_t map_bytes;
    } blocks[GUARD_BLOCKS];
    int n_blocks;
} guard_pool;

static inline void *guard_alloc(guard_pool *pool, size_t bytes) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), body = (bytes + page) / page * page;
    uint8_t *map = mmap(NULL, body + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED || pool->n_blocks == GUARD_BLOCKS || mprotect(map + body, page, PROT_NONE) != 0) abort();
    struct guard_block *block = &pool->blocks[pool->n_blocks++];
    *block = (struct guard_block){.map = map, .data = map + body - bytes, .map_bytes = body + page};
    memset(map, GUARD_BYTE, body);
    return block->data;
}

/* Frees all blocks; false when bytes in front of one were written. */
static inline bool guard_release(guard_pool *pool) {
    bool intact = true;
    for (int i = 0; i < pool->n_blocks; i++) {
        const struct guard_block *block = &pool->blocks[i];
        for (const uint8_t *p = block->map; p < block->data; p++) intact &= *p == GUARD_BYTE;
        munmap(block->map, block->map_bytes);
    }
    pool->n_blocks = 0;
    return intact;
}

/* ---- numbers ------------------------------------------------------------------------------------------------- */

static inline float from_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* What a row of floats may be made of. */
typedef enum kind {
    KIND_PLAIN,    /* [-1, 1) */
    KIND_LOUD,     /* plain, every 37th a hundred times larger */
    KIND_ZERO,     /* +0 and -0 */
    KIND_SPARSE,   /* nine zeros in ten */
    KIND_TIES,     /* multiples of 1/2: rounding decides */
    KIND_EQUAL,    /* all the same magnitude */
    KIND_DENORMAL, /* below the smallest normal number */
    KIND_TINY,     /* around 2^-100, where quantising gives up */
    KIND_HUGE,     /* around 1e38: sums overflow */
    KIND_ANY_SIZE, /* any finite bit pattern */
    KIND_INFINITE, /* plain with a few infinities */
    KIND_NAN,      /* plain with one NaN now and then */
    N_KINDS
} kind;

static const char *const kind_names[N_KINDS] = {"plain",    "loud", "zero", "sparse",   "ties",     "equal",
                                                "denormal", "tiny", "huge", "any size", "infinite", "nan"};

static inline float next_of(kind k, size_t i, uint64_t *seed) {
    const float u = next_unit(seed);
    const uint64_t bits = next_bits(seed);
    switch (k) {
    case KIND_LOUD: return i % 37 == 5 ? 100.0f * u : u;
    case KIND_ZERO: return bits & 1 ? 0.0f : -0.0f;
    case KIND_SPARSE: return bits % 10 == 0 ? u : 0.0f;
    case KIND_TIES: return (float)((int)(bits % 511) - 255) * 0.5f;
    case KIND_EQUAL: return bits & 1 ? 0.75f : -0.75f;
    case KIND_DENORMAL: return from_bits((uint32_t)bits & 0x807FFFFFu);
    case KIND_TINY: return u * 0x1p-99f;
    case KIND_HUGE: return u * 3e38f;
    case KIND_ANY_SIZE: {
        const float x = from_bits((uint32_t)bits);
        return isfinite(x) ? x : u;
    }
    case KIND_INFINITE: return bits % 41 == 7 ? (bits & 64 ? INFINITY : -INFINITY) : u;
    case KIND_NAN: return bits % 97 == 11 ? from_bits(0x7FC00000u | ((uint32_t)bits & 0x80000000u)) : u;
    default: return u;
    }
}

static inline void fill_floats(float *x, size_t n, kind k, uint64_t *seed) {
    for (size_t i = 0; i < n; i++) x[i] = next_of(k, i, seed);
}

/* The same bits; a NaN equals any NaN (its sign and payload are not numbers). */
static inline bool same_floats(const float *a, const float *b, size_t n, size_t *at) {
    for (*at = 0; *at < n; ++*at) {
        const bool both_nan = isnan(a[*at]) && isnan(b[*at]);
        if (!both_nan && memcmp(&a[*at], &b[*at], sizeof *a) != 0) return false;
    }
    return true;
}

#endif
