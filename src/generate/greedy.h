/* greedy.h: which id comes next: the most probable one. */
#ifndef B2_GREEDY_H
#define B2_GREEDY_H

#include "kernels/ops.h"

/* The id with the largest of logits[n], the lowest one on a tie, and its log-probability. False where that
 * is not finite: a logit is NaN, or the best one infinite. */
bool b2_greedy_choose(b2_ops *ops, const float *logits, size_t n, int32_t *id, float *logprob);

#endif
