/* rows.c: the verbs that go over rows once: copies, sums, patches, the embedding, LayerNorm, and what is read off a row
 * of logits. All but LayerNorm are too small to be worth a region of threads. */
#include "kernels/cpu/cpu_verbs.h"

#include <math.h>

/* ---- copies and sums ------------------------------------------------------------------------------------------ */

void b2_cpu_copy_rows(b2_ops *ops, const float *x, size_t x_stride, size_t n_rows, size_t width, float *y) {
    (void)ops;
    for (size_t r = 0; r < n_rows; r++) memcpy(y + r * width, x + r * x_stride, width * sizeof *y);
}

void b2_cpu_add_rows(b2_ops *ops, const float *x, const float *table, const size_t *rows, size_t n_rows, size_t width,
                     float *y) {
    (void)ops;
    for (size_t r = 0; r < n_rows; r++, x += width, y += width) {
        const float *row = table + (rows == NULL ? r : rows[r]) * width;
        for (size_t i = 0; i < width; i++) y[i] = x[i] + row[i];
    }
}

void b2_cpu_cut_patches(b2_ops *ops, const float *pixels, size_t size, size_t patch, float *patches) {
    (void)ops;
    const size_t side = size / patch;
    for (size_t r = 0; r < side; r++)
        for (size_t c = 0; c < side; c++)
            for (size_t channel = 0; channel < 3; channel++)
                for (size_t y = 0; y < patch; y++, patches += patch)
                    memcpy(patches, pixels + (channel * size + r * patch + y) * size + c * patch,
                           patch * sizeof *patches);
}

static void gather_row(const b2_isa *isa, const b2_matrix *w, size_t row, float *out) {
    switch (w->dtype) {
    case B2_DTYPE_I8: {
        const b2_weight_panels all = {.values = w->values, .scales = w->scales, .panel = w->panel, .group = w->group};
        isa->gather_row(&all, w->n_in_padded, row, out, w->n_in);
        return;
    }
    case B2_DTYPE_F16: isa->widen_f16((const uint16_t *)w->values + row * w->n_in, out, w->n_in); return;
    default: memcpy(out, (const float *)w->values + row * w->n_in, w->n_in * sizeof *out); return;
    }
}

void b2_cpu_gather_rows(b2_ops *ops, const b2_matrix *w, const int32_t *ids, size_t n, float *out) {
    for (size_t i = 0; i < n; i++) gather_row(&b2_cpu_of(ops)->isa, w, (size_t)ids[i], out + i * w->n_in);
}

/* ---- layer normalisation -------------------------------------------------------------------------------------- */

enum { ROWS_PER_UNIT = 8 };

typedef struct layernorm_job {
    const b2_isa *isa;
    const b2_norm *norm;
    const float *x;
    float *y;
    size_t n_rows;
} layernorm_job;

static void layernorm_unit(void *context, size_t unit, int thread) {
    (void)thread;
    const layernorm_job *job = context;
    const b2_norm *norm = job->norm;
    for (size_t r = unit * ROWS_PER_UNIT; r < job->n_rows && r < (unit + 1) * ROWS_PER_UNIT; r++)
        job->isa->layernorm_row(job->x + r * norm->n, norm->n, norm->gamma, norm->beta, norm->eps,
                                job->y + r * norm->n);
}

void b2_cpu_layernorm(b2_ops *ops, const b2_norm *norm, const float *x, size_t n_rows, float *y) {
    b2_cpu *cpu = b2_cpu_of(ops);
    layernorm_job job = {.isa = &cpu->isa, .norm = norm, .x = x, .y = y, .n_rows = n_rows};
    b2_parallel_for(cpu->team, b2_parts(n_rows, ROWS_PER_UNIT), layernorm_unit, &job);
}

/* ---- logits --------------------------------------------------------------------------------------------------- */

float b2_cpu_max(b2_ops *ops, const float *x, size_t n) { return b2_cpu_of(ops)->isa.max(x, n); }

bool b2_cpu_argmax(b2_ops *ops, const float *x, size_t n, size_t *index) {
    const float max = b2_cpu_max(ops, x, n);
    *index = 0;
    if (isnan(max)) return false;
    while (*index + 1 < n && x[*index] != max) ++*index;
    return true;
}

float b2_cpu_log_probability(b2_ops *ops, const float *x, size_t n, size_t index) {
    const float max = b2_cpu_max(ops, x, n);
    return (x[index] - max) - b2_log_f32(b2_cpu_of(ops)->isa.sum_exp(x, n, max));
}

void b2_cpu_log_softmax(b2_ops *ops, const float *x, size_t n, float *y) {
    const float max = b2_cpu_max(ops, x, n), log_sum = b2_log_f32(b2_cpu_of(ops)->isa.sum_exp(x, n, max));
    for (size_t i = 0; i < n; i++) y[i] = (x[i] - max) - log_sum;
}
