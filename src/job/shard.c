/* shard.c: which part this process does, said by the user or found in the environment of a cluster. */
#include "job/shard.h"

#include "console/environment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char none_is_set[] =
    "none of SLURM_ARRAY_TASK_ID, SLURM_STEP_NUM_TASKS (srun), OMPI_COMM_WORLD_RANK, PMI_RANK is set";

/* Arrays may start anywhere and have steps: 1-16, 0-30:2. */
static bool find_array(b2_shard *shard) {
    size_t id, min, count, step;
    if (!b2_environment_number("SLURM_ARRAY_TASK_ID", &id) || !b2_environment_number("SLURM_ARRAY_TASK_COUNT", &count))
        return false;
    if (!b2_environment_number("SLURM_ARRAY_TASK_MIN", &min)) min = 0;
    if (!b2_environment_number("SLURM_ARRAY_TASK_STEP", &step) || step == 0) step = 1;
    if (id < min) return false;
    *shard = (b2_shard){.i = (id - min) / step, .n = count};
    return true;
}

/* SLURM_NTASKS does not help: the batch script itself has it, with SLURM_PROCID 0, and without srun one part would be
 * done and the others left. Only what srun starts has SLURM_STEP_NUM_TASKS. */
static bool find_rank(b2_shard *shard) {
    static const char *const names[][2] = {{"SLURM_PROCID", "SLURM_STEP_NUM_TASKS"},
                                           {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"},
                                           {"PMI_RANK", "PMI_SIZE"}};
    for (size_t k = 0; k < sizeof names / sizeof names[0]; k++)
        if (b2_environment_number(names[k][0], &shard->i) && b2_environment_number(names[k][1], &shard->n)) return true;
    return false;
}

static blip2_status find_shard(b2_shard *shard, blip2_error *err) {
    b2_shard array, rank;
    const bool has_array = find_array(&array), has_rank = find_rank(&rank);
    if (has_array && has_rank && rank.n > 1) *shard = (b2_shard){.i = array.i * rank.n + rank.i, .n = array.n * rank.n};
    else if (has_array) *shard = array;
    else if (has_rank) *shard = rank;
    else return b2_fail(err, BLIP2_ARGUMENT, "--shard auto: %s; --shard i/n says which part this is", none_is_set);
    if (shard->n > 0 && shard->i < shard->n) return BLIP2_OK;
    return b2_fail(err, BLIP2_ARGUMENT,
                   "--shard auto: the environment says part %zu of %zu (an array with gaps? --shard i/n says it)",
                   shard->i, shard->n);
}

/* The task's own number, of n that the user says. */
static blip2_status find_task(size_t n, b2_shard *shard, blip2_error *err) {
    b2_shard rank = {0, 1};
    size_t id = 0;
    const bool has_rank = find_rank(&rank), has_array = b2_environment_number("SLURM_ARRAY_TASK_ID", &id);
    *shard = (b2_shard){.i = has_array ? id * (rank.n > 1 ? rank.n : 1) + (rank.n > 1 ? rank.i : 0) : rank.i, .n = n};
    if ((has_array || has_rank) && shard->i < n) return BLIP2_OK;
    if (has_array || has_rank)
        return b2_fail(
            err, BLIP2_ARGUMENT,
            "--shard auto/%zu: the environment says part %zu, expected 0 to %zu: number the tasks so, or say "
            "--shard i/%zu",
            n, shard->i, n - 1, n);
    return b2_fail(err, BLIP2_ARGUMENT, "--shard auto/%zu: %s; --shard i/%zu says which part this is", n, none_is_set,
                   n);
}

blip2_status b2_shard_parse(const char *text, b2_shard *shard, blip2_error *err) {
    if (strcmp(text, "auto") == 0) return find_shard(shard, err);
    int used = -1;
    unsigned long i = 0, n = 0;
    if (sscanf(text, "auto/%9lu%n", &n, &used) == 1 && text[used] == '\0' && n > 0 && text[5] >= '0' && text[5] <= '9')
        return find_task(n, shard, err);
    used = -1;
    if (text[0] >= '0' && text[0] <= '9' && sscanf(text, "%9lu/%9lu%n", &i, &n, &used) == 2 && text[used] == '\0' &&
        i < n) {
        *shard = (b2_shard){.i = i, .n = n};
        return BLIP2_OK;
    }
    return b2_fail(err, BLIP2_ARGUMENT, "--shard: expected i/n with 0 <= i < n, auto, or auto/n, got '%s'", text);
}

char *b2_shard_path(const char *output_path, const b2_shard *shard) {
    const size_t len = strlen(output_path) + 48;
    char *path = malloc(len);
    if (path != NULL) snprintf(path, len, "%s.%04zu-of-%04zu", output_path, shard->i, shard->n);
    return path;
}
