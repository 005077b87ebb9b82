/* fidelity.h: how much of a tensor was lost on its way into the file. */
#ifndef B2_FIDELITY_H
#define B2_FIDELITY_H

#include <stddef.h>

/* Sums over all elements seen so far; {0} to begin with. */
typedef struct b2_fidelity {
    size_t n;
    double sum_square_error, sum_square; /* of stored - original; of original */
    double max_error, max_magnitude;
} b2_fidelity;

/* Takes in n elements: what they were and what the file gives back. */
void b2_fidelity_add(b2_fidelity *f, const float *original, const float *stored, size_t n);

/* Takes in what another thread has summed. */
void b2_fidelity_merge(b2_fidelity *f, const b2_fidelity *other);

/* ||stored - original|| / ||original||, and max|stored - original| / max|original|. Nothing lost is 0, also of zeros;
 * something lost of zeros is infinity. */
double b2_fidelity_relative_rmse(const b2_fidelity *f);
double b2_fidelity_relative_max(const b2_fidelity *f);

#endif
