#include "quant/fidelity.h"

#include <math.h>

void b2_fidelity_add(b2_fidelity *f, const float *original, const float *stored, size_t n) {
    b2_fidelity part = {.n = n};
    for (size_t i = 0; i < n; i++) {
        const double value = (double)original[i], error = (double)stored[i] - value;
        part.sum_square_error += error * error;
        part.sum_square += value * value;
        part.max_error = fabs(error) > part.max_error ? fabs(error) : part.max_error;
        part.max_magnitude = fabs(value) > part.max_magnitude ? fabs(value) : part.max_magnitude;
    }
    b2_fidelity_merge(f, &part);
}

void b2_fidelity_merge(b2_fidelity *f, const b2_fidelity *other) {
    f->n += other->n;
    f->sum_square_error += other->sum_square_error;
    f->sum_square += other->sum_square;
    f->max_error = other->max_error > f->max_error ? other->max_error : f->max_error;
    f->max_magnitude = other->max_magnitude > f->max_magnitude ? other->max_magnitude : f->max_magnitude;
}

static double ratio(double part, double whole) { return part == 0.0 ? 0.0 : part / whole; }

double b2_fidelity_relative_rmse(const b2_fidelity *f) { return sqrt(ratio(f->sum_square_error, f->sum_square)); }
double b2_fidelity_relative_max(const b2_fidelity *f) { return ratio(f->max_error, f->max_magnitude); }
