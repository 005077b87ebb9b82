/* sizes.h: how many pictures go together and how many sessions there are, where the user does not say. */
#ifndef B2_SIZES_H
#define B2_SIZES_H

#include "job/worker.h"
#include "job/options.h"

enum { B2_MAX_WORKERS = 256 };

/* What they depend on. */
typedef struct b2_sizes_task {
    const b2_work *work;
    const b2_job_options *options;
    const blip2_model_info *info;
    const b2_inputs *inputs;
    size_t n_todo; /* B2_LENGTH_UNKNOWN: a stream */
} b2_sizes_task;

typedef struct b2_sizes {
    size_t batch, n_workers; /* at least 1 */
    int n_threads;           /* of each worker */
} b2_sizes;

b2_sizes b2_sizes_choose(const b2_sizes_task *task);

/* Pictures that are ready, or being read, before a place is free. */
size_t b2_sizes_read_ahead(const b2_sizes *sizes);

/* All memory that n_workers sessions with these options, the list and the pictures will take; 0: options that no
 * session can have (creating one says why). */
uint64_t b2_sizes_own_bytes(const b2_sizes_task *task, const blip2_session_options *options, size_t n_workers);

#endif
