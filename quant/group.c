#include "quant/group.h"

#include "quant/half.h"

#include <string.h>

/* Compared as bit patterns, magnitudes order as integers do, and infinity and NaN come out on top. */
static uint32_t max_magnitude_bits(const float *w) {
    int32_t max = 0;
    for (size_t k = 0; k < B2_GROUP_LEN; k++) {
        const int32_t bits = (int32_t)(b2_f32_bits(w[k]) & 0x7FFFFFFFu);
        max = bits > max ? bits : max;
    }
    return (uint32_t)max;
}

/* Nearest integer, ties to even, of |x| < 2^22: in the sum with 1.5 * 2^23 the last bit is worth one, so the addition
 * rounds, and the low bits hold the integer. The same as rintf, which a baseline x86 CPU cannot do in a register. */
static int32_t nearest_even(float x) { return (int32_t)(b2_f32_bits(x + 0x1.8p23f) - 0x4B400000u); }

bool b2_group_quantise(const float *w, int8_t *q, uint16_t *scale) {
    const uint32_t max_bits = max_magnitude_bits(w);
    const bool finite = max_bits < 0x7F800000u;
    const float max = b2_f32_from_bits(max_bits);
    if (!finite || max < B2_GROUP_TINY) {
        memset(q, 0, B2_GROUP_LEN);
        *scale = 0;
        return finite;
    }
    *scale = b2_f32_to_bf16_up(max / (float)B2_QUANT_MAX);
    const float step = b2_bf16_to_f32(*scale);
    for (size_t k = 0; k < B2_GROUP_LEN; k++) {
        int32_t value = nearest_even(w[k] / step);
        value = value > B2_QUANT_MAX ? B2_QUANT_MAX : value;
        value = value < -B2_QUANT_MAX ? -B2_QUANT_MAX : value;
        q[k] = (int8_t)value;
    }
    return true;
}

void b2_group_dequantise(const int8_t *q, uint16_t scale, float *out) {
    const float step = b2_bf16_to_f32(scale);
    for (size_t k = 0; k < B2_GROUP_LEN; k++) out[k] = (float)q[k] * step;
}
