/* bench_count.h: what each stage of a caption has to do, counted from the file's tensors, so that blip2 bench can say
 * times as shares of what the machine can do. */
#ifndef B2_BENCH_COUNT_H
#define B2_BENCH_COUNT_H

#include "blip2.h"

enum { B2_STAGE_VISION, B2_STAGE_QFORMER, B2_STAGE_PREFILL, B2_STAGE_DECODE, B2_N_STAGES };

typedef struct b2_bench_work {
    double ops, bytes; /* of int8 products (each plane counts), of weights read */
} b2_bench_work;

/* Of a batch of captions without a prompt; a decode step is one token of each. */
void b2_bench_count(const blip2_model *model, size_t batch, b2_bench_work stages[B2_N_STAGES]);

#endif
