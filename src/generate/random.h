/* random.h: numbers that look drawn, each a pure function of what it is for: the same on every machine, whatever else
 * is drawn beside it. Philox4x32-10 (Salmon et al., SC11); exp and log of doubles from + - * / alone, since those of C
 * libraries differ in the last bit. */
#ifndef B2_RANDOM_H
#define B2_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* out = ten rounds of Philox over counter and key. */
void b2_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* The draws of one prompt. */
typedef struct b2_stream {
    uint32_t key[2];
} b2_stream;

b2_stream b2_stream_of(uint64_t seed, uint64_t picture, uint64_t prompt);

/* In (0, 1), never at its ends; 52 bits. index: of several draws for one id. */
double b2_stream_draw(const b2_stream *stream, size_t sample, size_t position, size_t index);

/* Error below 4 units in the last place; exp is 0 below -708, log of what is not above 0 is NaN or -infinity. */
double b2_exp_f64(double x);
double b2_log_f64(double x);

#endif
