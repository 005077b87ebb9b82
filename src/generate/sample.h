/* sample.h: drawing an id. What is left to draw from is cut down first, in the order and by the definitions of
 * transformers 5.24 (its logits warpers); sums and probabilities are doubles. One row in host memory. */
#ifndef B2_SAMPLE_H
#define B2_SAMPLE_H

#include "generate/random.h"

#include <stdbool.h>

/* 0 everywhere: nothing is cut; temperature 0 is 1. */
typedef struct b2_sampling {
    double temperature;
    size_t top_k;
    double top_p, min_p, typical_p, epsilon_cutoff, eta_cutoff;
    size_t n_kept; /* so many are left at least (top_k may be less): 1, with beams 2 */
    uint64_t seed;
} b2_sampling;

/* Scratch of a row: [n_vocab] each. */
typedef struct b2_sample_scratch {
    uint32_t *heap;
    double *keys;
} b2_sample_scratch;

/* scores[n], divided by the temperature; what is cut becomes -infinity. */
void b2_sample_warp(const b2_sampling *s, float *scores, size_t n, const b2_sample_scratch *scratch);

/* The id that draw in (0, 1) stands for, where id i has the probability softmax(scores)[i]: the ids lie side by side,
 * ascending. */
size_t b2_sample_draw(const float *scores, size_t n, double draw);

/* A heap of items with the largest of keys on top, the lowest item on a tie: build it of the n items in heap[], then
 * pop. */
void b2_heap_build(uint32_t *heap, size_t n, const double *keys);
uint32_t b2_heap_pop(uint32_t *heap, size_t *n, const double *keys);

#endif
