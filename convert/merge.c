#include "convert/merge.h"

#include <math.h>

/* Columns of a row that are summed at a time: they stay in the first cache. */
enum { STRIP = 512 };

/* Where the numbers of each kind begin in what b2_merge_read read. */
typedef struct layout {
    size_t row_scale, a, b, magnitude, end;
} layout;

static layout lay_out(const b2_merge *m, size_t n_rows, size_t n_in) {
    layout l = {0};
    l.a = l.row_scale + (m->row_scale != NULL ? n_rows : 0);
    l.b = l.a + (m->a != NULL ? m->rank * n_in : 0);
    l.magnitude = l.b + m->rank * n_rows;
    l.end = l.magnitude + (m->magnitude != NULL ? n_rows : 0);
    return l;
}

size_t b2_merge_count(const b2_merge *m, size_t n_rows, size_t n_in) { return lay_out(m, n_rows, n_in).end; }

blip2_status b2_merge_read(const b2_merge *m, b2_tensor_source *source, size_t first_row, size_t n_rows, size_t n_in,
                           float *out, blip2_error *err) {
    const layout l = lay_out(m, n_rows, n_in);
    if (m->row_scale != NULL)
        B2_TRY(b2_tensor_source_read_f32(source, m->row_scale, first_row, n_rows, out + l.row_scale, err));
    if (m->a != NULL) B2_TRY(b2_tensor_source_read_f32(source, m->a, 0, m->rank * n_in, out + l.a, err));
    if (m->b != NULL)
        B2_TRY(b2_tensor_source_read_f32(source, m->b, first_row * m->rank, n_rows * m->rank, out + l.b, err));
    if (m->magnitude != NULL)
        B2_TRY(b2_tensor_source_read_f32(source, m->magnitude, first_row, n_rows, out + l.magnitude, err));
    return BLIP2_OK;
}

/* row[n] += scale * (b[rank] . a[rank][n_in]), for n columns from a's column `at` on. */
static void add_product(const b2_merge *m, const float *a, const float *b, size_t at, size_t n, size_t n_in,
                        float *row) {
    float sum[STRIP] = {0};
    for (size_t j = 0; j < m->rank; j++)
        for (size_t k = 0; k < n; k++) sum[k] += b[j] * a[j * n_in + at + k];
    for (size_t k = 0; k < n; k++) row[k] += sum[k] * m->scale;
}

/* As torch: the norm of a row, here summed in f64. A row of zeros has no direction: its factor is not finite, and the
 * encoder refuses the row by name. */
static void set_length(float magnitude, size_t n_in, float *row) {
    double sum = 0;
    for (size_t k = 0; k < n_in; k++) sum += (double)row[k] * row[k];
    const float factor = magnitude / (float)sqrt(sum);
    for (size_t k = 0; k < n_in; k++) row[k] *= factor;
}

static void change_row(const b2_merge *m, const float *data, const layout *l, size_t r, size_t n_in, float *row) {
    static const float one[1] = {1.0f};
    const float *a = m->a != NULL ? data + l->a : one, *b = data + l->b + r * m->rank;
    for (size_t k = 0; m->row_scale != NULL && k < n_in; k++)
        row[k] = row[k] * data[l->row_scale + r] * (1.0f / 127.0f);
    for (size_t at = 0; m->rank > 0 && at < n_in; at += STRIP)
        add_product(m, a, b, at, n_in - at < STRIP ? n_in - at : STRIP, n_in, row + at);
    if (m->magnitude != NULL) set_length(data[l->magnitude + r], n_in, row);
}

void b2_merge_rows(const b2_merge *m, const float *data, size_t n_rows_read, size_t first, size_t n, size_t n_in,
                   float *rows) {
    const layout l = lay_out(m, n_rows_read, n_in);
    for (size_t i = 0; i < n; i++) change_row(m, data, &l, first + i, n_in, rows + i * n_in);
}
