/* greedy.c: see greedy.h. */
#include "generate/greedy.h"

#include <math.h>

bool b2_greedy_choose(b2_ops *ops, const float *logits, size_t n, int32_t *id, float *logprob) {
    size_t best;
    if (!b2_ops_argmax(ops, logits, n, &best)) return false;
    *id = (int32_t)best;
    *logprob = b2_ops_log_probability(ops, logits, n, best);
    return isfinite(*logprob);
}
