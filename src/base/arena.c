/* arena.c: see arena.h. Sizes that overflow are remembered and refused once, at the end: planning code need not
 * check. */
#include "base/arena.h"

#include <stdlib.h>
#include <string.h>

size_t b2_size_multiply(size_t a, size_t b) {
    if (a != 0 && b > SIZE_MAX / a) return SIZE_MAX;
    return a * b;
}

void *b2_arena_take(b2_arena *arena, size_t count, size_t item_bytes) {
    const size_t bytes = b2_size_multiply(count, item_bytes), mask = B2_ARENA_ALIGN_BYTES - 1;
    if (bytes > SIZE_MAX - mask || ((bytes + mask) & ~mask) > SIZE_MAX - arena->used_bytes) {
        arena->overflow = true;
        return NULL;
    }
    const size_t start = arena->used_bytes;
    arena->used_bytes += (bytes + mask) & ~mask;
    if (arena->base == NULL || arena->used_bytes > arena->capacity_bytes) return NULL;
    return arena->base + start;
}

size_t b2_arena_mark(const b2_arena *arena) { return arena->used_bytes; }

void b2_arena_rewind(b2_arena *arena, size_t mark) { arena->used_bytes = mark; }

blip2_status b2_arena_reserve(b2_arena *arena, blip2_error *err) {
    if (arena->overflow)
        return b2_fail(err, BLIP2_LIMIT, "the memory needed does not fit this machine's address space");
    const size_t bytes = arena->used_bytes > 0 ? arena->used_bytes : B2_ARENA_ALIGN_BYTES;
    void *memory = NULL;
    if (posix_memalign(&memory, B2_ARENA_ALIGN_BYTES, bytes) != 0)
        return b2_fail(err, BLIP2_MEMORY, "no memory: %zu bytes were asked for", bytes);
    memset(memory, 0, bytes); /* every page is ours before the first picture, not in the middle of it */
    arena->base = memory;
    arena->capacity_bytes = bytes;
    arena->used_bytes = 0;
    return BLIP2_OK;
}

void b2_arena_free(b2_arena *arena) {
    free(arena->base);
    *arena = (b2_arena){0};
}
