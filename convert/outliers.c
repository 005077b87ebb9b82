#include "convert/outliers.h"

#include "convert/tensor_source.h"

#include <math.h>
#include <stdlib.h>

/* A gain is an outlier when it is more than 8 times the median. */
#define OUTLIER_GAIN 8.0f

static int compare_floats(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Matrices that read a LayerNorm's output: the one before them in the order of execution. */
static bool reads_norm_before(b2_tensor_row row) {
    switch (row) {
    case B2_ROW_vision_attn_qkv:
    case B2_ROW_vision_ffn_up:
    case B2_ROW_qformer_attn_qkv:
    case B2_ROW_qformer_cross_q:
    case B2_ROW_qformer_ffn_up:
    case B2_ROW_qformer_proj:
    case B2_ROW_opt_attn_qkv:
    case B2_ROW_opt_ffn_up:
    case B2_ROW_opt_output: return true;
    default: return false;
    }
}

/* The norm whose output stem i reads; NULL: it reads none. */
static const b2_stem *find_norm(const b2_stems *stems, size_t i) {
    const b2_tensor_row row = stems->items[i].spec.row;
    const b2_stem *latest = NULL, *post = NULL, *output = NULL;
    bool has_head = false;
    for (size_t k = 0; k < stems->n; k++) {
        const b2_stem *stem = &stems->items[k];
        has_head |= stem->spec.row == B2_ROW_opt_output;
        if (stem->spec.row == B2_ROW_vision_post_ln) post = stem;
        if (stem->spec.row == B2_ROW_opt_output_norm) output = stem;
        if (stem->spec.kind == B2_KIND_NORM && k < i) latest = stem;
    }
    if (row == B2_ROW_qformer_cross_kv) return post;
    if (row == B2_ROW_opt_token_embd) return has_head ? NULL : output; /* it is the head, too */
    return reads_norm_before(row) ? latest : NULL;
}

/* gain[n] -> *outliers: from malloc, or NULL when none is. */
static blip2_status find_outliers(float *gain, size_t n, float **outliers, blip2_error *err) {
    float *sorted = malloc(n * sizeof *sorted), *squares = calloc(n, sizeof *squares);
    bool any = false;
    *outliers = NULL;
    if (sorted != NULL && squares != NULL) {
        for (size_t i = 0; i < n; i++)
            sorted[i] = gain[i] = isfinite(gain[i]) ? fabsf(gain[i]) : 0.0f; /* refused when it is converted */
        qsort(sorted, n, sizeof *sorted, compare_floats);
        const float median = n % 2 == 1 ? sorted[n / 2] : 0.5f * (sorted[n / 2 - 1] + sorted[n / 2]);
        for (size_t i = 0; i < n && median > 0; i++) {
            if (gain[i] <= OUTLIER_GAIN * median) continue;
            squares[i] = gain[i] / median * (gain[i] / median);
            any = true;
        }
    }
    const bool has_memory = sorted != NULL && squares != NULL;
    free(sorted);
    if (any) *outliers = squares;
    else free(squares);
    return has_memory ? BLIP2_OK : b2_fail(err, BLIP2_MEMORY, "no memory to read a LayerNorm");
}

static blip2_status fill(b2_tensor_source *tensors, const b2_stems *stems, b2_outliers *out, blip2_error *err) {
    for (size_t i = 0; i < stems->n; i++) {
        const b2_stem *norm = find_norm(stems, i);
        if (norm == NULL || norm->weight[0]->n_elements != stems->items[i].spec.n_in) continue;
        const size_t n = (size_t)norm->weight[0]->n_elements;
        float *gain = malloc(n * sizeof *gain);
        if (gain == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory to read tensor %s", norm->weight[0]->name);
        blip2_status status = b2_tensor_source_read_f32(tensors, norm->weight[0], 0, n, gain, err);
        if (status == BLIP2_OK) status = find_outliers(gain, n, &out->of_stem[i], err);
        free(gain);
        B2_TRY(status);
    }
    return BLIP2_OK;
}

blip2_status b2_outliers_find(b2_tensor_source *tensors, const b2_stems *stems, b2_outliers *out, blip2_error *err) {
    *out = (b2_outliers){.of_stem = calloc(stems->n, sizeof(float *)), .n = stems->n};
    const blip2_status status = out->of_stem != NULL ? fill(tensors, stems, out, err)
                                                     : b2_fail(err, BLIP2_MEMORY, "no memory for the list of tensors");
    if (status != BLIP2_OK) b2_outliers_free(out);
    return status;
}

void b2_outliers_free(b2_outliers *outliers) {
    for (size_t i = 0; outliers->of_stem != NULL && i < outliers->n; i++) free(outliers->of_stem[i]);
    free(outliers->of_stem);
    *outliers = (b2_outliers){0};
}
