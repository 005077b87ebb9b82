#include "quant/panel.h"

#include "base/size.h"
#include "base/arena.h"
#include "quant/half.h"

#include <string.h>

b2_panel_shape b2_panel_shape_make(size_t n_out, size_t n_in, size_t panel) {
    return (b2_panel_shape){
        .n_out = n_out,
        .n_in = n_in,
        .n_out_padded = b2_round_up(n_out, panel),
        .n_in_padded = b2_round_up(n_in, B2_GROUP_LEN),
        .panel = panel,
        .group = B2_GROUP_LEN,
    };
}

size_t b2_panel_values_bytes(const b2_panel_shape *s) { return b2_size_multiply(s->n_out_padded, s->n_in_padded); }

size_t b2_panel_scales_bytes(const b2_panel_shape *s) {
    return b2_size_multiply(b2_size_multiply(s->n_out_padded, s->n_in_padded / s->group), sizeof(uint16_t));
}

/* The group of row `rows` that starts at input k; a short last group is filled with zeros. */
static const float *whole_group(const b2_panel_shape *s, const float *row, size_t k, float *padded) {
    if (s->n_in - k >= B2_GROUP_LEN) return row + k;
    memset(padded, 0, B2_GROUP_LEN * sizeof *padded);
    memcpy(padded, row + k, (s->n_in - k) * sizeof *padded);
    return padded;
}

static bool has_outlier(const float *outliers) {
    for (size_t k = 0; k < B2_GROUP_LEN; k++)
        if (outliers[k] != 0) return true;
    return false;
}

bool b2_panel_quantise(const b2_panel_shape *s, const float *rows, size_t n_rows, const float *outliers, int8_t *values,
                       uint16_t *scales) {
    float padded[B2_GROUP_LEN], padded_outliers[B2_GROUP_LEN];
    int8_t q[B2_GROUP_LEN];
    bool finite = true;
    if (n_rows < s->panel) {
        memset(values, 0, s->panel * s->n_in_padded);
        memset(scales, 0, s->panel * (s->n_in_padded / s->group) * sizeof *scales);
    }
    /* group by group, so that the stretch of the panel being written stays in the first cache */
    for (size_t k = 0; k < s->n_in; k += B2_GROUP_LEN) {
        int8_t *group_values = values + k * s->panel;
        uint16_t *group_scales = scales + k / B2_GROUP_LEN * s->panel;
        const float *group_outliers = outliers != NULL ? whole_group(s, outliers, k, padded_outliers) : NULL;
        if (group_outliers != NULL && !has_outlier(group_outliers)) group_outliers = NULL;
        for (size_t r = 0; r < n_rows; r++) {
            finite &=
                b2_group_quantise(whole_group(s, rows + r * s->n_in, k, padded), group_outliers, q, &group_scales[r]);
            for (size_t i = 0; i < B2_GROUP_LEN; i += 4) memcpy(group_values + i * s->panel + r * 4, q + i, 4);
        }
    }
    return finite;
}

void b2_panel_dequantise_row(const b2_panel_shape *s, const int8_t *values, const uint16_t *scales, size_t row,
                             float *out) {
    for (size_t k = 0; k < s->n_in; k++)
        out[k] = (float)values[b2_panel_value_idx(s, row, k)] * b2_bf16_to_f32(scales[b2_panel_scale_idx(s, row, k)]);
}
