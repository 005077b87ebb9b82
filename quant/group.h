/* group.h: how 128 weights become 128 integers and one scale. This is the definition; FORMAT.md tells it in words.
 *
 * Symmetric: weight ~ q * scale, q in [-127, 127]. The scale is max|w| / 127 rounded up to BF16: a BF16 spans every
 * size a weight can have, unpacks by a shift, and rounded up it never pushes the largest weight beyond 127. */
#ifndef B2_GROUP_H
#define B2_GROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { B2_GROUP_LEN = 128, B2_QUANT_MAX = 127 };

/* Groups whose largest magnitude is below this are zero: q = 0, scale = 0. It keeps every quotient a normal number. */
#define B2_GROUP_TINY 0x1p-100f

/* Of a group with outlier inputs the scale is a little larger where that brings their weights nearer to whole multiples
 * of it: among the BF16 numbers from the usual scale to 1.25 times max|w| / 127, the first for which
 *     sum over outliers k of outliers_k (w_k - s q_k)^2  +  s^2 / 12 * the number of other inputs
 * is least. Some twenty candidates bring one or two outlier weights about four times nearer (root mean square) and cost
 * the others a tenth of a bit. Measured on a full-size checkpoint with outlier dimensions: mean KL 4.6e-3 for
 * 7.2e-3. */
#define B2_GROUP_MOST_SCALE 1.25f

/* w[128] -> q[128], *scale (BF16). outliers[128]: what the squared error of each outlier counts for, 0 for the other
 * inputs; NULL: there are none. False when a weight is infinite or NaN: then q and scale are all zero. */
bool b2_group_quantise(const float *w, const float *outliers, int8_t *q, uint16_t *scale);

/* out[128] = q * scale, exact up to one rounding. */
void b2_group_dequantise(const int8_t *q, uint16_t scale, float *out);

#endif
