/* panel.h: the one layout of int8 matrices, read by every kernel straight from the map.
 *
 * A matrix W [N][K] (N outputs, K inputs) is cut into panels of P outputs:
 *
 *   values  i8   [N/P][K/4][P][4]   one 64-byte line holds 4 inputs of 16 outputs: what one integer dot-product
 *                                   instruction eats, for 16 outputs at once
 *   scales  bf16 [N/P][K/G][P]      one per output and group of G = 128 inputs
 *
 * N is padded to whole panels, K to whole groups; padding is zero, values and scales. */
#ifndef B2_PANEL_H
#define B2_PANEL_H

#include "quant/group.h"

typedef struct b2_panel_shape {
    size_t n_out, n_in;               /* N and K of the model */
    size_t n_out_padded, n_in_padded; /* as stored */
    size_t panel, group;              /* P and G */
} b2_panel_shape;

/* panel > 0; n_out and n_in far below SIZE_MAX (an open checkpoint bounds them by 10^6 and a few). */
b2_panel_shape b2_panel_shape_make(size_t n_out, size_t n_in, size_t panel);

/* Bytes of the two tensors; SIZE_MAX when they do not fit size_t. */
size_t b2_panel_values_bytes(const b2_panel_shape *shape);
size_t b2_panel_scales_bytes(const b2_panel_shape *shape);

static inline size_t b2_panel_count(const b2_panel_shape *s) { return s->n_out_padded / s->panel; }

/* Where W[row][k] and the scale of its group lie, in elements. */
static inline size_t b2_panel_value_idx(const b2_panel_shape *s, size_t row, size_t k) {
    return ((row / s->panel * (s->n_in_padded / 4) + k / 4) * s->panel + row % s->panel) * 4 + k % 4;
}
static inline size_t b2_panel_scale_idx(const b2_panel_shape *s, size_t row, size_t k) {
    return (row / s->panel * (s->n_in_padded / s->group) + k / s->group) * s->panel + row % s->panel;
}

/* Quantises one panel: rows [n_rows][n_in], n_rows <= P (fewer in the last panel) -> values [K/4][P][4] and scales
 * [K/G][P] of that panel, padding written. Panels are independent: threads may take one each. outliers [n_in]: what the
 * error of each outlier counts for, 0 for the other inputs (group.h); NULL: there are none.
 * False when a weight is infinite or NaN. */
bool b2_panel_quantise(const b2_panel_shape *shape, const float *rows, size_t n_rows, const float *outliers,
                       int8_t *values, uint16_t *scales);

/* One row back: out[n_in]. values and scales are those of the whole matrix. */
void b2_panel_dequantise_row(const b2_panel_shape *shape, const int8_t *values, const uint16_t *scales, size_t row,
                             float *out);

#endif
