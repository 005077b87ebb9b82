/* pretend.c: linked with --wrap into the program and a test, so that they choose amx; the trap carries out its tiles,
 * or the CPU does: whole captions through the machine code that ships. Prints at the end whether every configuration
 * was released. */
#include "base/cpu.h"
#include "tile_trap.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

unsigned __real_b2_cpu_features(void);
unsigned __wrap_b2_cpu_features(void);
bool __wrap_b2_cpu_permit_amx(void);

unsigned __wrap_b2_cpu_features(void) {
    const unsigned features = __real_b2_cpu_features();
    return features & B2_CPU_AVX512VNNI ? features | B2_CPU_AMX : features;
}

/* $AMX_REFUSED: as a kernel that does not permit. Without permission there is no trap either, so a tile is a SIGILL. */
bool __wrap_b2_cpu_permit_amx(void) {
    if (getenv("AMX_REFUSED") != NULL) return false;
    tile_trap_set();
    return true;
}

__attribute__((destructor)) static void report(void) {
    const tile_counts n = tile_trap_counts();
    if (n.is_native) {
        fprintf(stderr, "tile_trap: this CPU's own tiles, left configured: %d\n", n.is_left);
        return;
    }
    fprintf(stderr, "tile_trap: %" PRIu64 " products, configured %" PRIu64 ", released %" PRIu64 "\n", n.multiplied,
            n.configured, n.released);
}
