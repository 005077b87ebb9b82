/* checkamx.c: isa_amx.c against the definition, to the bit, on any CPU with AVX-512 VNNI: tile_trap.c carries out its
 * tile instructions where the CPU does not. The shapes of checkkernels, those made for tiles; every configuration is
 * released. TAP.
 *
 *   checkamx [--seed N] */
#include "base/cpu.h"
#include "kernels/isa_sets.h"
#include "tests/kernels/check_gemm.h"
#include "tile_trap.h"

#include <inttypes.h>

/* Every number of rows around whole tiles and blocks, both planes, narrow strips, both panels, odd groups. */
static void check_tiles(check *c) {
    static const size_t rows[] = {1,  2,  3,  4,  5,  8,  15, 16, 17, 19, 20, 21,
                                  31, 32, 33, 36, 37, 47, 48, 63, 64, 65, 80, 96};
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++)
        for (int planes = 1; planes <= 2; planes++)
            for (size_t n_groups = 1; n_groups <= 9; n_groups += n_groups < 6 ? 1 : 3)
                for (size_t n_panels = 0; n_panels <= 4; n_panels++) { /* 0: one panel of 64 */
                    const gemm_case g = {.n_rows = rows[r],
                                         .k = 128 * n_groups,
                                         .panel = n_panels == 0 ? 64 : 16,
                                         .n_panels = n_panels == 0 ? 1 : n_panels,
                                         .group = 128,
                                         .planes = planes,
                                         .a = (r + n_groups) % 3 == 0 ? FILL_MIN : FILL_RANDOM,
                                         .w = n_groups % 2 ? FILL_RANDOM : FILL_MIN,
                                         .scales = n_groups % 5 == 4 ? KIND_NAN : KIND_PLAIN};
                    check_gemm_case(c, &g);
                }
}

static void check_many_fills(check *c) { check_gemm_fills(c, 17); }

static int run(const char *title, void (*checks)(check *), uint64_t seed) {
    static int line;
    b2_isa scalar, amx;
    b2_isa_fill_scalar(&scalar);
    b2_isa_fill_amx(&amx);
    const tile_counts before = tile_trap_counts();
    check c = {.want = &scalar, .isa = &amx, .seed = seed};
    checks(&c);
    const tile_counts after = tile_trap_counts();
    const uint64_t n_configured = after.configured - before.configured, n_released = after.released - before.released;
    const bool has_multiplied = after.is_native || after.multiplied > before.multiplied,
               ok = c.n_failed == 0 && n_configured == n_released && has_multiplied && !after.is_left;
    printf("%s %d - amx %s: %zu cases, ", ok ? "ok" : "not ok", ++line, title, c.n_cases);
    if (after.is_native) printf("by the CPU's own tiles\n");
    else printf("%" PRIu64 " products\n", after.multiplied - before.multiplied);
    if (after.is_left) printf("# tiles are left configured\n");
    if (n_configured != n_released)
        printf("# configured %" PRIu64 " times, released %" PRIu64 "\n", n_configured, n_released);
    if (c.n_failed > 0) printf("# %zu cases differ; --seed %" PRIu64 "\n", c.n_failed, seed);
    fflush(stdout);
    return !ok;
}

int main(int argc, char **argv) {
    const uint64_t seed = argc > 2 && strcmp(argv[1], "--seed") == 0 ? strtoull(argv[2], NULL, 0) : 20251125;
    if ((b2_cpu_features() & B2_CPU_AVX512VNNI) == 0) {
        printf("1..0 # SKIP AMX is checked on a CPU with AVX-512 VNNI\n");
        return 0;
    }
    tile_trap_set();
    printf("1..3\n");
    int failed = run("shapes of checkkernels", check_gemm_i8, seed);
    failed |= run("shapes made for tiles", check_tiles, seed + 1);
    failed |= run("fills and scales from 17 rows on", check_many_fills, seed + 2);
    return failed;
}
