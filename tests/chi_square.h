/* chi_square.h: how likely counts are to be as far from their expectation as these. */
#ifndef B2_TESTS_CHI_SQUARE_H
#define B2_TESTS_CHI_SQUARE_H

#include <math.h>

/* P(chi-square of n degrees of freedom > x): the upper incomplete gamma function, by series or continued fraction. */
static double chi_square_tail(double x, double n) {
    const double a = n / 2, y = x / 2, front = exp(-y + a * log(y) - lgamma(a));
    if (y <= 0) return 1;
    if (y < a + 1) {
        double term = 1 / a, sum = term;
        for (int i = 1; i < 2000; i++) sum += term *= y / (a + i);
        return 1 - front * sum;
    }
    double b = y + 1 - a, c = 1e300, d = 1 / b, h = d;
    for (int i = 1; i < 2000; i++) {
        const double an = -i * (i - a);
        b += 2;
        d = 1 / (an * d + b);
        c = b + an / c;
        h *= d * c;
    }
    return front * h;
}

#endif
