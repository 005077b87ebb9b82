/* loud.h: which inputs of a matrix are loud: fed by a LayerNorm whose gain for them is many times its usual one. A weight's
 * rounding error reaches the output multiplied by its input, so these few columns decide how good an int8 matrix is, and a
 * row of activations that holds them needs two planes. */
#ifndef B2_LOUD_H
#define B2_LOUD_H

#include "convert/names.h"

typedef struct b2_loud {
    float **of_stem; /* [n stems]; NULL: no loud input. Else [n_in]: (gain / median gain)^2 of loud inputs, 0 for the others */
    size_t n;
} b2_loud;

/* Reads the gains. Errors: those of reading, BLIP2_MEMORY. On failure *out is empty. */
blip2_status b2_loud_find(b2_tensor_source *tensors, const b2_stems *stems, b2_loud *out, blip2_error *err);
void b2_loud_free(b2_loud *loud);

#endif
