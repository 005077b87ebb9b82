#include "convert/encode.h"

#include "base/size.h"
#include "base/parallel.h"
#include "quant/half.h"
#include "quant/panel.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { UNIT_ELEMENTS = 1 << 16 }; /* what a thread takes at a time of plain rows: 256 KB */

struct b2_encoder {
    const b2_stems *stems;
    const b2_outliers *outliers;
    b2_dtype type;
    b2_team *team;
    bool with_fidelity;
    uint8_t *out;     /* bytes of one piece */
    uint16_t *scales; /* of one whole matrix */
    float *scratch;   /* per thread: rows of one unit twice, [2][scratch_len] */
    size_t scratch_len;
    bool *refused; /* per unit: something in it cannot be stored */
    b2_fidelity *unit_fidelity, fidelity;

    const b2_piece *piece; /* the one being run */
    b2_panel_shape shape;  /* of its matrix, when int8 */
    size_t unit_rows;
};

b2_dtype b2_encode_dtype(const b2_tensor_spec *spec, b2_dtype type) {
    return spec->kind == B2_KIND_LINEAR || spec->kind == B2_KIND_EMBED ? type : B2_DTYPE_F32;
}

static b2_dtype piece_dtype(const b2_encoder *e, const b2_piece *p) {
    return p->is_bias ? B2_DTYPE_F32 : b2_encode_dtype(&p->stem->spec, e->type);
}

/* A unit is one panel, or as many plain rows as are worth a thread's while. */
static size_t rows_per_unit(const b2_encoder *e, const b2_piece *p) {
    if (piece_dtype(e, p) == B2_DTYPE_I8) return p->stem->spec.panel;
    return UNIT_ELEMENTS / p->n_in > 0 ? UNIT_ELEMENTS / p->n_in : 1;
}

static size_t count_units(const b2_encoder *e, const b2_piece *p) {
    const size_t n = rows_per_unit(e, p);
    return (p->n_rows + n - 1) / n;
}

static b2_panel_shape matrix_shape(const b2_piece *p) {
    return b2_panel_shape_make(p->n_rows_all, p->n_in, p->stem->spec.panel);
}

static size_t encoded_bytes(const b2_encoder *e, const b2_piece *p) {
    const b2_dtype dtype = piece_dtype(e, p);
    if (dtype == B2_DTYPE_I8) return count_units(e, p) * p->stem->spec.panel * matrix_shape(p).n_in_padded;
    return p->n_rows * p->n_in * b2_dtype_bytes(dtype);
}

/* ---- memory ---------------------------------------------------------------------------------------------------- */

static bool allocate(b2_encoder *e, const b2_stems *stems, int n_threads) {
    size_t out_bytes = 1, scales_bytes = 1, n_units = 1;
    b2_piece_cursor cursor = {0};
    b2_piece p;
    e->scratch_len = 1;
    while (b2_piece_next(stems, &cursor, &p)) {
        out_bytes = b2_max(out_bytes, encoded_bytes(e, &p));
        n_units = b2_max(n_units, count_units(e, &p));
        e->scratch_len = b2_max(e->scratch_len, rows_per_unit(e, &p) * p.n_in);
        if (piece_dtype(e, &p) != B2_DTYPE_I8) continue;
        const b2_panel_shape shape = matrix_shape(&p);
        scales_bytes = b2_max(scales_bytes, b2_panel_scales_bytes(&shape));
    }
    e->team = b2_team_create(n_threads);
    if (e->team == NULL) return false;
    e->out = malloc(out_bytes);
    e->scales = malloc(scales_bytes);
    e->scratch = calloc((size_t)b2_team_threads(e->team), 2 * e->scratch_len * sizeof *e->scratch);
    e->refused = calloc(n_units, sizeof *e->refused);
    e->unit_fidelity = calloc(n_units, sizeof *e->unit_fidelity);
    return e->out != NULL && e->scales != NULL && e->scratch != NULL && e->refused != NULL && e->unit_fidelity != NULL;
}

blip2_status b2_encoder_create(const b2_stems *stems, const b2_outliers *outliers, b2_dtype type, int n_threads,
                               bool with_fidelity, b2_encoder **out, blip2_error *err) {
    *out = NULL;
    b2_encoder *e = calloc(1, sizeof *e);
    if (e == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory to convert");
    e->stems = stems;
    e->outliers = outliers;
    e->type = type;
    e->with_fidelity = with_fidelity;
    if (!allocate(e, stems, n_threads)) {
        b2_encoder_free(e);
        return b2_fail(err, BLIP2_MEMORY, "no memory to convert");
    }
    *out = e;
    return BLIP2_OK;
}

void b2_encoder_free(b2_encoder *e) {
    if (e == NULL) return;
    b2_team_free(e->team);
    free(e->out);
    free(e->scales);
    free(e->scratch);
    free(e->refused);
    free(e->unit_fidelity);
    free(e);
}

/* ---- one unit -------------------------------------------------------------------------------------------------- */

static bool all_finite(const float *x, size_t n) {
    uint32_t max = 0;
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = b2_f32_bits(x[i]) & 0x7FFFFFFFu;
        max = bits > max ? bits : max;
    }
    return max < 0x7F800000u;
}

/* The panel whose first row is `row` of the piece. */
static bool encode_panel(b2_encoder *e, size_t row, const float *rows, size_t n_rows, float *stored,
                         b2_fidelity *fidelity) {
    const b2_panel_shape *s = &e->shape;
    const size_t panel = row / s->panel, panel_of_matrix = (e->piece->first_row + row) / s->panel;
    int8_t *values = (int8_t *)e->out + panel * s->panel * s->n_in_padded;
    uint16_t *scales = e->scales + panel_of_matrix * s->panel * (s->n_in_padded / s->group);
    const float *outliers = e->outliers->of_stem[e->piece->stem - e->stems->items];
    if (!b2_panel_quantise(s, rows, n_rows, outliers, values, scales)) return false;
    for (size_t r = 0; e->with_fidelity && r < n_rows; r++) {
        b2_panel_dequantise_row(s, values, scales, r, stored);
        b2_fidelity_add(fidelity, rows + r * s->n_in, stored, s->n_in);
    }
    return true;
}

static bool encode_f16(b2_encoder *e, size_t first, const float *x, size_t n, float *stored, b2_fidelity *fidelity) {
    uint16_t *to = (uint16_t *)(void *)e->out + first;
    if (!b2_f32_to_f16_row(x, n, to)) return false;
    if (!e->with_fidelity) return true;
    b2_f16_to_f32_row(to, n, stored);
    b2_fidelity_add(fidelity, x, stored, n);
    return true;
}

static void encode_unit(void *context, size_t unit, int thread) {
    b2_encoder *e = context;
    const b2_piece *p = e->piece;
    const size_t row = unit * e->unit_rows, n_left = p->n_rows - row;
    const size_t n_rows = n_left < e->unit_rows ? n_left : e->unit_rows, n = n_rows * p->n_in;
    float *scratch = e->scratch + (size_t)thread * 2 * e->scratch_len, *stored = scratch + e->scratch_len;
    const float *x = b2_piece_rows(p, row, n_rows, scratch);
    b2_fidelity *fidelity = &e->unit_fidelity[unit];
    *fidelity = (b2_fidelity){0};
    switch (piece_dtype(e, p)) {
    case B2_DTYPE_I8: e->refused[unit] = !encode_panel(e, row, x, n_rows, stored, fidelity); return;
    case B2_DTYPE_F16: e->refused[unit] = !encode_f16(e, row * p->n_in, x, n, stored, fidelity); return;
    case B2_DTYPE_F32:
    case B2_DTYPE_BF16: break;
    }
    memcpy((float *)(void *)e->out + row * p->n_in, x, n * sizeof *x);
    e->refused[unit] = !all_finite(x, n);
}

/* ---- one piece ------------------------------------------------------------------------------------------------- */

/* The sentence about the first value that cannot be stored. */
static blip2_status complain(b2_encoder *e, size_t unit, const b2_stored_tensor **culprit, blip2_error *err) {
    const b2_piece *p = e->piece;
    const bool is_f16 = piece_dtype(e, p) == B2_DTYPE_F16;
    for (size_t row = unit * e->unit_rows; row < p->n_rows; row++) {
        const float *x = b2_piece_rows(p, row, 1, e->scratch);
        for (size_t k = 0; k < p->n_in; k++) {
            uint16_t half;
            const bool finite = all_finite(&x[k], 1), fits = !is_f16 || b2_f32_to_f16(x[k], &half);
            if (finite && fits) continue;
            uint64_t element = 0;
            const b2_stored_tensor *t = *culprit = b2_piece_locate(p, row, &element);
            if (finite)
                return b2_fail(err, BLIP2_UNSUPPORTED,
                               "tensor %s: value %g at element %" PRIu64 " does not fit f16 (at most 65504): use "
                               "--type f32 or i8",
                               t->name, (double)x[k], element + k);
            return b2_fail(err, BLIP2_FORMAT, "tensor %s: expected finite numbers, got %s at element %" PRIu64, t->name,
                           x[k] != x[k] ? "NaN" : "infinity", element + k);
        }
    }
    *culprit = p->segments[0].tensor;
    return b2_fail(err, BLIP2_FORMAT, "tensor %s cannot be stored", (*culprit)->name);
}

blip2_status b2_encoder_run(b2_encoder *e, const b2_piece *p, b2_encoded *out, blip2_error *err) {
    const size_t n_units = count_units(e, p);
    const bool is_panels = piece_dtype(e, p) == B2_DTYPE_I8;
    *out = (b2_encoded){.bytes = e->out, .n_bytes = encoded_bytes(e, p)};
    e->piece = p;
    e->unit_rows = rows_per_unit(e, p);
    if (is_panels) e->shape = matrix_shape(p);
    if (p->first_row == 0) e->fidelity = (b2_fidelity){0};
    b2_parallel_for(e->team, n_units, encode_unit, e);
    for (size_t unit = 0; unit < n_units; unit++) {
        if (e->refused[unit]) return complain(e, unit, &out->culprit, err);
        b2_fidelity_merge(&e->fidelity, &e->unit_fidelity[unit]); /* in order: the sums do not depend on threads */
    }
    if (is_panels && b2_piece_is_last(p)) {
        out->scales = e->scales;
        out->scales_bytes = b2_panel_scales_bytes(&e->shape);
    }
    return BLIP2_OK;
}

const b2_fidelity *b2_encoder_fidelity(const b2_encoder *e) { return &e->fidelity; }
