/* shard.h: one job cut over many processes: shard i of n does the pictures whose index mod n is i. */
#ifndef B2_SHARD_H
#define B2_SHARD_H

#include "base/status.h"

typedef struct b2_shard {
    size_t i, n; /* n 0: the whole list */
} b2_shard;

/* "i/n" with 0 <= i < n, or "auto": from the first of these that is set
 *   SLURM_ARRAY_TASK_ID with _MIN, _STEP, _COUNT    SLURM_PROCID, SLURM_STEP_NUM_TASKS (srun; more than 1 task)
 *   OMPI_COMM_WORLD_RANK, _SIZE                     PMI_RANK, PMI_SIZE
 * An array of several tasks a step counts both: i = array place * tasks + task. Or "auto/n": only i comes from there,
 * of arrays from SLURM_ARRAY_TASK_ID as it is: one task of an array that is repeated does not know how many there were.
 * Errors: BLIP2_ARGUMENT, with what was found. */
blip2_status b2_shard_parse(const char *text, b2_shard *shard, blip2_error *err);

/* "OUT.0003-of-0016", from malloc; NULL without memory. */
char *b2_shard_path(const char *output_path, const b2_shard *shard);

#endif
