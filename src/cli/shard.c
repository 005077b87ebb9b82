#include "cli/shard.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A whole number >= 0 in the environment; false when it is not set. */
static bool read_number(const char *name, size_t *number) {
    const char *text = getenv(name);
    char *end;
    if (text == NULL || text[0] < '0' || text[0] > '9') return false;
    errno = 0;
    const unsigned long long value = strtoull(text, &end, 10);
    *number = (size_t)value;
    return *end == '\0' && errno == 0 && value < 1000000000;
}

/* Arrays may start anywhere and have steps: 1-16, 0-30:2. */
static bool find_array(b2_shard *shard) {
    size_t id, min, count, step;
    if (!read_number("SLURM_ARRAY_TASK_ID", &id) || !read_number("SLURM_ARRAY_TASK_COUNT", &count)) return false;
    if (!read_number("SLURM_ARRAY_TASK_MIN", &min)) min = 0;
    if (!read_number("SLURM_ARRAY_TASK_STEP", &step) || step == 0) step = 1;
    if (id < min) return false;
    *shard = (b2_shard){.i = (id - min) / step, .n = count};
    return true;
}

/* The batch script itself has a SLURM_PROCID, 0, and the job's SLURM_NTASKS: who forgets srun there would do one part and leave
 * the others. Only what srun starts has SLURM_STEP_NUM_TASKS. */
static bool find_rank(b2_shard *shard) {
    static const char *const names[][2] = {
        {"SLURM_PROCID", "SLURM_STEP_NUM_TASKS"}, {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"}, {"PMI_RANK", "PMI_SIZE"}};
    for (size_t k = 0; k < sizeof names / sizeof names[0]; k++)
        if (read_number(names[k][0], &shard->i) && read_number(names[k][1], &shard->n)) return true;
    return false;
}

static blip2_status find_shard(b2_shard *shard, blip2_error *err) {
    b2_shard array, rank;
    const bool has_array = find_array(&array), has_rank = find_rank(&rank);
    if (has_array && has_rank && rank.n > 1) *shard = (b2_shard){.i = array.i * rank.n + rank.i, .n = array.n * rank.n};
    else if (has_array) *shard = array;
    else if (has_rank) *shard = rank;
    else
        return b2_fail(err, BLIP2_ARGUMENT, "--shard auto: none of SLURM_ARRAY_TASK_ID, SLURM_STEP_NUM_TASKS (srun), OMPI_COMM_WORLD_RANK, PMI_RANK is set; "
                                            "--shard i/n says which part this is");
    if (shard->n > 0 && shard->i < shard->n) return BLIP2_OK;
    return b2_fail(err, BLIP2_ARGUMENT, "--shard auto: the environment says part %zu of %zu (an array with gaps? --shard i/n says it)", shard->i, shard->n);
}

blip2_status b2_shard_parse(const char *text, b2_shard *shard, blip2_error *err) {
    if (strcmp(text, "auto") == 0) return find_shard(shard, err);
    int used = -1;
    unsigned long i = 0, n = 0;
    if (text[0] >= '0' && text[0] <= '9' && sscanf(text, "%9lu/%9lu%n", &i, &n, &used) == 2 && text[used] == '\0' && i < n) {
        *shard = (b2_shard){.i = i, .n = n};
        return BLIP2_OK;
    }
    return b2_fail(err, BLIP2_ARGUMENT, "--shard: expected i/n with 0 <= i < n, or auto, got '%s'", text);
}

char *b2_shard_path(const char *output_path, const b2_shard *shard) {
    const size_t len = strlen(output_path) + 48;
    char *path = malloc(len);
    if (path != NULL) snprintf(path, len, "%s.%04zu-of-%04zu", output_path, shard->i, shard->n);
    return path;
}
