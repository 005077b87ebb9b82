/* half.h: the 16-bit floats of model files. Everything is exact or rounds to nearest even; written without branches
 * and tables, so that a compiler turns the loops over it into vector code. NaN stays NaN. */
#ifndef B2_HALF_H
#define B2_HALF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t b2_f32_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float b2_f32_from_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* BF16 is the upper half of an f32: exact. */
static inline float b2_bf16_to_f32(uint16_t h) { return b2_f32_from_bits((uint32_t)h << 16); }

/* The least BF16 that is not below x, for finite x >= 0 up to 2^127. */
static inline uint16_t b2_f32_to_bf16_up(float x) { return (uint16_t)((b2_f32_bits(x) + 0xFFFFu) >> 16); }

/* Exact. Exponent and mantissa move into an f32's place; times 2^112 corrects the bias, subnormals included. */
static inline float b2_f16_to_f32(uint16_t h) {
    const uint32_t magnitude = (uint32_t)(h & 0x7FFF) << 13, sign = (uint32_t)(h & 0x8000) << 16;
    const uint32_t finite = b2_f32_bits(b2_f32_from_bits(magnitude) * 0x1p112f);
    const uint32_t special = (h & 0x7C00) == 0x7C00 ? 0x7F800000u : 0; /* infinity and NaN keep their mantissa */
    return b2_f32_from_bits(finite | special | sign);
}

/* Rounds to nearest even. False when the result is not finite: |x| >= 65520, infinity, NaN (*out says which). */
static inline bool b2_f32_to_f16(float x, uint16_t *out) {
    const uint32_t magnitude = b2_f32_bits(x) & 0x7FFFFFFFu, sign = (b2_f32_bits(x) >> 16) & 0x8000u;
    /* at and above 2^-14: drop 13 bits of the mantissa; the carry may walk into the exponent, as it should */
    const uint32_t normal = (magnitude + 0xFFFu + ((magnitude >> 13) & 1u) - (112u << 23)) >> 13;
    /* below: 0.5 has the spacing of f16's subnormals, so the addition rounds where it must */
    const uint32_t subnormal = b2_f32_bits(b2_f32_from_bits(magnitude) + 0.5f) - 0x3F000000u;
    uint32_t h = magnitude < 0x38800000u ? subnormal : normal;
    h = magnitude >= 0x477FF000u ? 0x7C00u : h;
    h = magnitude > 0x7F800000u ? 0x7E00u : h;
    *out = (uint16_t)(h | sign);
    return h < 0x7C00u;
}

/* Rows. out does not overlap the input. */
void b2_f16_to_f32_row(const uint16_t *x, size_t n, float *out);
void b2_bf16_to_f32_row(const uint16_t *x, size_t n, float *out);

/* False when any element did not become a finite number. */
bool b2_f32_to_f16_row(const float *x, size_t n, uint16_t *out);

#endif
