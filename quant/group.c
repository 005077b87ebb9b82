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

/* The outlier weights of a group; few. */
typedef struct outlier_weights {
    double w[B2_GROUP_LEN], counts[B2_GROUP_LEN];
    size_t n;
} outlier_weights;

/* What a scale costs: in double, in a fixed order, so that every machine chooses the same. */
static double scale_cost(const outlier_weights *outliers, float step) {
    double cost = 0;
    for (size_t i = 0; i < outliers->n; i++) {
        const double error = outliers->w[i] - (double)step * (double)nearest_even((float)outliers->w[i] / step);
        cost += outliers->counts[i] * error * error;
    }
    return cost + (double)step * (double)step / 12 * (double)(B2_GROUP_LEN - outliers->n);
}

static uint16_t choose_scale(const float *w, const float *outliers, float max) {
    const uint16_t least = b2_f32_to_bf16_up(max / (float)B2_QUANT_MAX);
    const float most = B2_GROUP_MOST_SCALE * (max / (float)B2_QUANT_MAX);
    outlier_weights few = {.n = 0};
    for (size_t k = 0; k < B2_GROUP_LEN; k++) {
        if (outliers[k] == 0) continue;
        few.w[few.n] = (double)w[k];
        few.counts[few.n++] = (double)outliers[k];
    }
    uint16_t best = least;
    double best_cost = scale_cost(&few, b2_bf16_to_f32(least));
    for (uint16_t scale = (uint16_t)(least + 1); b2_bf16_to_f32(scale) <= most;
         scale++) { /* the next BF16 is the next integer */
        const double cost = scale_cost(&few, b2_bf16_to_f32(scale));
        if (cost >= best_cost) continue;
        best = scale;
        best_cost = cost;
    }
    return best;
}

bool b2_group_quantise(const float *w, const float *outliers, int8_t *q, uint16_t *scale) {
    const uint32_t max_bits = max_magnitude_bits(w);
    const bool finite = max_bits < 0x7F800000u;
    const float max = b2_f32_from_bits(max_bits);
    if (!finite || max < B2_GROUP_TINY) {
        memset(q, 0, B2_GROUP_LEN);
        *scale = 0;
        return finite;
    }
    *scale = outliers == NULL ? b2_f32_to_bf16_up(max / (float)B2_QUANT_MAX) : choose_scale(w, outliers, max);
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
