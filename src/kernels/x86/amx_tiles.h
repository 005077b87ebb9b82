/* amx_tiles.h: the tiles of Intel's matrix unit and the six instructions that isa_amx.c and amx_few_rows.h use.
 *
 * tdpbssd multiplies 16 rows x 64 inputs by 64 inputs x 16 outputs, signed by signed. 16 lines of the file as they lie
 * are one tile of weights; a tile of rows is read with the activations' own stride. Nothing is prepared or flipped. */
#ifndef B2_AMX_TILES_H
#define B2_AMX_TILES_H

#include "kernels/unroll.h"
#include "quant/group.h"

#include <stddef.h>
#include <stdint.h>

/* SIDE: rows, and outputs, of a tile; STEP: inputs; STEPS of them are a group */
enum { SIDE = 16, STEP = 64, STEPS = B2_GROUP_LEN / STEP, TILE_SUMS = SIDE * SIDE, LINE_BYTES = 64 };

/* As asm with memory operands: GCC's intrinsics do not say what they read, so a store to it may come later. */
#define TILE_ZERO(t) __asm__ volatile("tilezero %%tmm" #t : :)
#define TILE_DOT(sums, rows, weights) __asm__ volatile("tdpbssd %%tmm" #weights ", %%tmm" #rows ", %%tmm" #sums : :)
#define TILE_LOAD(t, from, stride)                                                                                     \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t                                                                   \
                     :                                                                                                 \
                     : "r"(from), "r"((size_t)(stride)), "m"(*(const char(*)[1 << 30])(const void *)(from)))
#define TILE_STORE(t, to)                                                                                              \
    __asm__ volatile("tilestored %%tmm" #t ", (%1,%2,1)"                                                               \
                     : "=m"(*(int32_t(*)[TILE_SUMS])(void *)(to))                                                      \
                     : "r"(to), "r"((size_t)(SIDE * 4)))

INLINE void zero_sums(void) {
    TILE_ZERO(0);
    TILE_ZERO(1);
    TILE_ZERO(2);
    TILE_ZERO(3);
}

/* Tiles 0 to 3: sums; 4 and 5: rows; 6 and 7: weights. Sizes are checked by the CPU: fewer rows than 16 need a
 * configuration of their own. */
static void configure_tiles(size_t n_rows) {
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1};
    for (int t = 0; t < 8; t++) {
        config.row_bytes[t] = STEP;
        config.rows[t] = t < 6 ? (uint8_t)n_rows : SIDE;
    }
    __asm__ volatile("ldtilecfg %0" : : "m"(config));
}
static void release_tiles(void) { __asm__ volatile("tilerelease" : :); }

#endif
