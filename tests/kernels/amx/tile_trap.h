/* tile_trap.h: AMX for tests, on any CPU. Without tiles each tile instruction raises SIGILL; the handler (tile_trap.c)
 * carries it out as Intel's manual says, on the very machine code that ships. A CPU with tiles does it itself. */
#ifndef B2_TESTS_TILE_TRAP_H
#define B2_TESTS_TILE_TRAP_H

#include <stdbool.h>
#include <stdint.h>

typedef struct tile_counts {
    uint64_t configured, released, zeroed, loaded, stored, multiplied;
    bool is_native; /* the CPU's own tiles: nothing is counted, but */
    bool is_left;   /* the calling thread's tiles are configured now */
} tile_counts;

/* From here on; a test's own handler for SIGILL must have been set before. On a CPU with tiles the system is asked to
 * permit them instead. */
void tile_trap_set(void);

/* Of all threads so far. */
tile_counts tile_trap_counts(void);

#endif
