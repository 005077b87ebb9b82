/* arena.h: one block of memory, handed out once. The same planning function runs twice: first on an arena without
 * memory (it measures), then on one with memory (it places), so the two can never disagree. */
#ifndef B2_ARENA_H
#define B2_ARENA_H

#include "base/status.h"

enum { B2_ARENA_ALIGN_BYTES = 64 }; /* a cache line, and the widest vector register */

typedef struct b2_arena {
    uint8_t *base;         /* NULL while measuring */
    size_t capacity_bytes; /* 0 while measuring */
    size_t used_bytes;
    bool overflow; /* a size did not fit size_t: creation fails */
} b2_arena;

/* Reserves count * item_bytes, aligned to 64; NULL while measuring (the caller must not touch it then). */
void *b2_arena_take(b2_arena *arena, size_t count, size_t item_bytes);

/* Where the arena stands, and back (or forward) to where it stood: two purposes that never live together may lie over
 * each other. Go on from the farther of their ends. */
size_t b2_arena_mark(const b2_arena *arena);
void b2_arena_rewind(b2_arena *arena, size_t mark);

/* Allocates what was measured: arena->used_bytes becomes the capacity and use starts at 0 again. Memory is zeroed. */
blip2_status b2_arena_reserve(b2_arena *arena, blip2_error *err);
void b2_arena_free(b2_arena *arena);

/* a * b, or SIZE_MAX when it does not fit. */
size_t b2_size_multiply(size_t a, size_t b);

#endif
