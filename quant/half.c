#include "quant/half.h"

void b2_f16_to_f32_row(const uint16_t *restrict x, size_t n, float *restrict out) {
    for (size_t i = 0; i < n; i++) out[i] = b2_f16_to_f32(x[i]);
}

void b2_bf16_to_f32_row(const uint16_t *restrict x, size_t n, float *restrict out) {
    for (size_t i = 0; i < n; i++) out[i] = b2_bf16_to_f32(x[i]);
}

bool b2_f32_to_f16_row(const float *restrict x, size_t n, uint16_t *restrict out) {
    uint32_t n_overflows = 0;
    for (size_t i = 0; i < n; i++) {
        uint16_t h;
        n_overflows |= b2_f32_to_f16(x[i], &h) ? 0u : 1u;
        out[i] = h;
    }
    return n_overflows == 0;
}
