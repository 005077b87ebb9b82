/* linear.c: out = epilogue(x W^T + bias).
 *
 * int8:     quantise the rows (once, for all strips), then work units of (64 outputs) x (up to 272 rows)
 * f32, f16: one row per item (decoding): dot products, units of 16 outputs
 *           more rows: BLAS on tiles of 32 rows from each item's row 0, zero padded, full K, strips of 64 outputs;
 *           measured with OpenBLAS 0.3.21: a row at its place in a tile of fixed shape always gives the same bits */
#include "kernels/cpu/cpu_verbs.h"

typedef struct linear_job {
    b2_cpu *cpu;
    const b2_matrix *w;
    const float *x;
    float *out;
    size_t n_items, rows_per_item, n_rows;
    b2_epilogue epilogue;
    size_t n_strips, rows_per_unit; /* int8 */
} linear_job;

static const float *bias_at(const b2_matrix *w, size_t first) { return w->bias == NULL ? NULL : w->bias + first; }

/* ---- int8 -------------------------------------------------------------------------------------------------------- */

enum { QUANTISE_ROWS_PER_UNIT = 4, UNITS_PER_THREAD = 4, MIN_UNIT_ROWS = 24, MANY_ROWS = 192 };

static void quantise_unit(void *context, size_t unit, int thread) {
    (void)thread;
    const linear_job *job = context;
    const b2_matrix *w = job->w;
    const b2_cpu *cpu = job->cpu;
    const size_t first = unit * QUANTISE_ROWS_PER_UNIT, stride = w->n_in_padded;
    for (size_t r = first; r < b2_min(job->n_rows, first + QUANTISE_ROWS_PER_UNIT); r++)
        cpu->isa.quantise_row(job->x + r * w->n_in, w->n_in, stride, w->group, cpu->plane_hi + r * stride,
                              w->planes == 2 ? cpu->plane_lo + r * stride : NULL,
                              cpu->plane_scale + r * (stride / w->group), cpu->plane_sum + r * (stride / w->group));
}

/* Up to 64 outputs, from output 64 strip on. */
static b2_weight_panels strip_panels(const b2_matrix *w, size_t strip) {
    const size_t first = strip * B2_GEMM_STRIP, n_left = b2_round_up(w->n_out, w->panel) - first;
    return (b2_weight_panels){
        .values = (const int8_t *)w->values + first * w->n_in_padded,
        .scales = w->scales + first * (w->n_in_padded / w->group),
        .panel = w->panel,
        .group = w->group,
        .n_panels = b2_min(B2_GEMM_STRIP, n_left) / w->panel,
    };
}

static void gemm_i8_unit(void *context, size_t unit, int thread) {
    const linear_job *job = context;
    const b2_matrix *w = job->w;
    const b2_cpu *cpu = job->cpu;
    const size_t strip = unit % job->n_strips, first = unit / job->n_strips * job->rows_per_unit;
    const size_t next_strip = (strip + 1) % job->n_strips, stride = w->n_in_padded;
    const b2_quantised_rows rows = {
        .hi = cpu->plane_hi + first * stride,
        .lo = w->planes == 2 ? cpu->plane_lo + first * stride : NULL,
        .scale = cpu->plane_scale + first * (stride / w->group),
        .sum = cpu->plane_sum + first * (stride / w->group),
        .n_rows = b2_min(job->rows_per_unit, job->n_rows - first),
        .stride = stride,
    };
    const b2_weight_panels next = strip_panels(w, next_strip);
    b2_weight_panels panels = strip_panels(w, strip);
    panels.next = &next;
    const size_t first_out = strip * B2_GEMM_STRIP;
    const b2_gemm_out out = {
        .out = job->out + first * w->n_out + first_out,
        .stride = w->n_out,
        .bias = bias_at(w, first_out),
        .n = b2_min(B2_GEMM_STRIP, w->n_out - first_out),
        .epilogue = job->epilogue,
        .finish = cpu->isa.finish_row,
    };
    uint8_t *scratch = b2_cpu_scratch(cpu, thread);
    float *y = (float *)(void *)(scratch + B2_GEMM_SCRATCH_BYTES);
    cpu->isa.gemm_i8(&rows, &panels, &out, y, scratch);
}

/* Parts of equal height, at most what a kernel takes; more of them where the strips alone would leave threads idle.
 * Many rows are halved: the first half of the threads then keeps the first half of the rows from one product to the
 * next, and on CPUs of several chips little travels between them (ViT on two chips 413 -> 383 ms; on one 349 -> 354,
 * since both halves prepare the weights). */
static size_t choose_rows_per_unit(size_t n_rows, size_t n_strips, size_t n_threads) {
    size_t n_parts = (n_rows + B2_GEMM_ROWS - 1) / B2_GEMM_ROWS;
    const size_t wanted = n_threads > 1 ? (UNITS_PER_THREAD * n_threads + n_strips - 1) / n_strips : 1;
    const size_t most = n_rows / MIN_UNIT_ROWS > 0 ? n_rows / MIN_UNIT_ROWS : 1;
    if (n_parts < wanted) n_parts = b2_min(wanted, most);
    if (n_threads > 1 && n_rows >= MANY_ROWS && n_parts % 2 != 0) n_parts++;
    return (n_rows + n_parts - 1) / n_parts;
}

void b2_cpu_quantise(b2_cpu *cpu, const b2_matrix *w, const float *x, size_t n_rows) {
    linear_job job = {.cpu = cpu, .w = w, .x = x, .n_rows = n_rows};
    b2_parallel_for(cpu->team, b2_parts(n_rows, QUANTISE_ROWS_PER_UNIT), quantise_unit, &job);
}

void b2_cpu_multiply(b2_cpu *cpu, const b2_matrix *w, size_t n_rows, b2_epilogue epilogue, float *out) {
    linear_job job = {.cpu = cpu, .w = w, .out = out, .n_rows = n_rows, .epilogue = epilogue};
    job.n_strips = b2_parts(w->n_out, B2_GEMM_STRIP);
    job.rows_per_unit = choose_rows_per_unit(n_rows, job.n_strips, (size_t)b2_team_threads(cpu->team));
    b2_parallel_for(cpu->team, job.n_strips * b2_parts(n_rows, job.rows_per_unit), gemm_i8_unit, &job);
}

/* ---- f32, f16 ------------------------------------------------------------------------------------------------ */

enum { TILE_ROWS = B2_TILE_ROWS, FLOAT_STRIP = B2_GEMM_STRIP, DOT_OUTPUTS = 16 };

static void dot_unit(void *context, size_t unit, int thread) {
    (void)thread;
    const linear_job *job = context;
    const b2_matrix *w = job->w;
    const b2_isa *isa = &job->cpu->isa;
    const size_t first = unit * DOT_OUTPUTS, n = b2_min(DOT_OUTPUTS, w->n_out - first);
    float y[DOT_OUTPUTS];
    for (size_t m = 0; m < job->n_rows; m++) {
        const float *x = job->x + m * w->n_in;
        for (size_t i = 0; i < n; i++) {
            const size_t at = (first + i) * w->n_in;
            y[i] = w->dtype == B2_DTYPE_F16 ? isa->dot_f16((const uint16_t *)w->values + at, x, w->n_in)
                                            : isa->dot_f32((const float *)w->values + at, x, w->n_in);
        }
        isa->finish_row(y, bias_at(w, first), n, job->epilogue, job->out + m * w->n_out + first);
    }
}

/* The rows after the last whole tile of an item, padded with zero rows to a tile of their own. */
static void fill_tails(const linear_job *job) {
    const size_t n_in = job->w->n_in, whole = job->rows_per_item / TILE_ROWS * TILE_ROWS;
    const size_t n_left = job->rows_per_item - whole;
    for (size_t item = 0; item < job->n_items && n_left > 0; item++) {
        float *tail = job->cpu->tail + item * TILE_ROWS * n_in;
        memcpy(tail, job->x + (item * job->rows_per_item + whole) * n_in, n_left * n_in * sizeof *tail);
        memset(tail + n_left * n_in, 0, (TILE_ROWS - n_left) * n_in * sizeof *tail);
    }
}

static void tile_unit(void *context, size_t unit, int thread) {
    const linear_job *job = context;
    const b2_matrix *w = job->w;
    const b2_isa *isa = &job->cpu->isa;
    const size_t first = unit * FLOAT_STRIP, n = b2_min(FLOAT_STRIP, w->n_out - first), n_in = w->n_in;
    uint8_t *scratch = b2_cpu_scratch(job->cpu, thread);
    float *y = (float *)(void *)(scratch + B2_GEMM_SCRATCH_BYTES), *widened = y + B2_GEMM_ROWS * B2_GEMM_STRIP;
    const float *strip = (const float *)w->values + first * n_in;
    if (w->dtype == B2_DTYPE_F16) {
        isa->widen_f16((const uint16_t *)w->values + first * n_in, widened, n * n_in);
        strip = widened;
    }
    for (size_t item = 0; item < job->n_items; item++)
        for (size_t row = 0; row < job->rows_per_item; row += TILE_ROWS) {
            const size_t n_left = b2_min(TILE_ROWS, job->rows_per_item - row), at = item * job->rows_per_item + row;
            const float *tile = n_left == TILE_ROWS ? job->x + at * n_in : job->cpu->tail + item * TILE_ROWS * n_in;
            isa->gemm_f32(tile, n_in, TILE_ROWS, strip, n_in, n, y, FLOAT_STRIP);
            for (size_t m = 0; m < n_left; m++)
                isa->finish_row(y + m * FLOAT_STRIP, bias_at(w, first), n, job->epilogue,
                                job->out + (at + m) * w->n_out + first);
        }
}

void b2_cpu_linear(b2_ops *ops, const b2_matrix *w, const float *x, size_t n_items, size_t rows_per_item,
                   b2_epilogue epilogue, float *out) {
    b2_cpu *cpu = b2_cpu_of(ops);
    linear_job job = {
        .cpu = cpu,
        .w = w,
        .x = x,
        .out = out,
        .n_items = n_items,
        .rows_per_item = rows_per_item,
        .n_rows = n_items * rows_per_item,
        .epilogue = epilogue,
    };
    if (job.n_rows == 0) return;
    if (w->dtype == B2_DTYPE_I8) {
        b2_cpu_quantise(cpu, w, x, job.n_rows);
        b2_cpu_multiply(cpu, w, job.n_rows, epilogue, out);
    } else if (rows_per_item == 1) {
        b2_parallel_for(cpu->team, b2_parts(w->n_out, DOT_OUTPUTS), dot_unit, &job);
    } else {
        fill_tails(&job);
        b2_parallel_for(cpu->team, b2_parts(w->n_out, FLOAT_STRIP), tile_unit, &job);
    }
}
