/* outliers.h: which inputs of a matrix are outliers: fed by a LayerNorm whose gain for them is many times its usual
 * one. A weight's rounding error reaches the output multiplied by its input, so these few columns decide how good an
 * int8 matrix is, and a row of activations that holds them needs two planes. */
#ifndef B2_OUTLIERS_H
#define B2_OUTLIERS_H

#include "convert/names.h"

typedef struct b2_outliers {
    /* [n stems]; NULL: no outlier. Else [n_in]: (gain / median gain)^2 of each outlier, 0 for the others */
    float **of_stem;
    size_t n;
} b2_outliers;

/* Reads the gains. Errors: those of reading, BLIP2_MEMORY. On failure *out is empty. */
blip2_status b2_outliers_find(b2_tensor_source *tensors, const b2_stems *stems, b2_outliers *out, blip2_error *err);
void b2_outliers_free(b2_outliers *outliers);

#endif
