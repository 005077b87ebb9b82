/* random.c: see random.h. */
#include "generate/random.h"

#include <math.h>
#include <string.h>

void b2_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c[4] = {counter[0], counter[1], counter[2], counter[3]}, k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
        const uint64_t a = (uint64_t)c[0] * 0xD2511F53u, b = (uint64_t)c[2] * 0xCD9E8D57u;
        const uint32_t before_1 = c[1], before_3 = c[3];
        c[0] = (uint32_t)(b >> 32) ^ before_1 ^ k0;
        c[1] = (uint32_t)b;
        c[2] = (uint32_t)(a >> 32) ^ before_3 ^ k1;
        c[3] = (uint32_t)a;
    }
    memcpy(out, c, sizeof c);
}

b2_stream b2_stream_of(uint64_t seed, uint64_t picture, uint64_t prompt) {
    const uint32_t counter[4] = {(uint32_t)picture, (uint32_t)(picture >> 32), (uint32_t)prompt,
                                 (uint32_t)(prompt >> 32)};
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t out[4];
    b2_philox(counter, key, out);
    return (b2_stream){{out[0], out[1]}};
}

double b2_stream_draw(const b2_stream *stream, size_t sample, size_t position, size_t index) {
    const uint32_t counter[4] = {(uint32_t)index, (uint32_t)position, (uint32_t)sample, 0};
    uint32_t out[4];
    b2_philox(counter, stream->key, out);
    const uint64_t bits = ((uint64_t)out[1] << 32 | out[0]) >> 12;
    return ((double)bits + 0.5) * 0x1p-52;
}

/* x = n ln 2 + r; the series of exp(r), |r| <= ln 2 / 2, and 2^n put together from bits. */
double b2_exp_f64(double x) {
    static const double inverse_factorials[] = {1.0,
                                                1.0,
                                                1.0 / 2,
                                                1.0 / 6,
                                                1.0 / 24,
                                                1.0 / 120,
                                                1.0 / 720,
                                                1.0 / 5040,
                                                1.0 / 40320,
                                                1.0 / 362880,
                                                1.0 / 3628800,
                                                1.0 / 39916800,
                                                1.0 / 479001600,
                                                1.0 / 6227020800,
                                                1.0 / 87178291200};
    if (isnan(x)) return x;
    if (x <= -708.0) return 0.0;
    if (x > 709.0) return INFINITY;
    const double n = rint(x * 1.4426950408889634);
    const double r = (x - n * 0x1.62e42feep-1) - n * 0x1.a39ef35793c76p-33;
    double sum = 0.0;
    for (int i = 14; i >= 0; i--) sum = sum * r + inverse_factorials[i];
    const uint64_t bits = (uint64_t)((int64_t)n + 1023) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return sum * power;
}

/* x = 2^e m, sqrt(1/2) <= m < sqrt(2); log m = 2 atanh((m - 1) / (m + 1)). */
double b2_log_f64(double x) {
    if (!(x > 0.0)) return x < 0.0 || isnan(x) ? NAN : -INFINITY;
    if (isinf(x)) return x;
    int e;
    double m = frexp(x, &e);
    if (m < 0.70710678118654752) m *= 2.0, e--;
    const double s = (m - 1.0) / (m + 1.0), square = s * s;
    double sum = 0.0;
    for (int i = 25; i > 0; i -= 2) sum = sum * square + 1.0 / i;
    return e * 0x1.a39ef35793c76p-33 + 2.0 * s * sum + e * 0x1.62e42feep-1;
}
