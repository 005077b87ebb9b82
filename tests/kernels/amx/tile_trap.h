/* tile_trap.h: AMX on CPUs without it, for tests. Each tile instruction raises SIGILL; the handler (tile_trap.c)
 * carries it out as Intel's manual says, on the very machine code that ships. */
#ifndef B2_TESTS_TILE_TRAP_H
#define B2_TESTS_TILE_TRAP_H

#include <stdint.h>

typedef struct tile_counts {
    uint64_t configured, released, zeroed, loaded, stored, multiplied;
} tile_counts;

/* From here on; a test's own handler for SIGILL must have been set before. */
void tile_trap_set(void);

/* Of all threads so far. */
tile_counts tile_trap_counts(void);

#endif
