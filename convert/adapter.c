#include "convert/adapter.h"

#include "base/path.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool b2_adapter_is_in(const char *folder) { return b2_path_has(folder, B2_ADAPTER_CONFIG_NAME); }

blip2_status b2_adapter_add(const char *folder, b2_tensor_source *source, blip2_error *err) {
    static const char *const NAMES[] = {"adapter_model.safetensors", "adapter_model.bin"};
    for (size_t i = 0; i < 2; i++) {
        if (!b2_path_has(folder, NAMES[i])) continue;
        char *path = b2_path_join(folder, NAMES[i]);
        if (path == NULL) return b2_fail(err, BLIP2_MEMORY, "%s: no memory", folder);
        return b2_tensor_source_add(source, path, "base_model.model.", B2_ADAPTER_PREFIX, err);
    }
    return b2_fail(err, BLIP2_IO, "%s: holds neither %s nor %s: an incomplete download?", folder, NAMES[0], NAMES[1]);
}

/* The name in the adapter's file, but for its "base_model.model.". */
static const char *plain_name(const b2_stored_tensor *t) { return t->name + strlen(B2_ADAPTER_PREFIX); }

/* ---- one LoRA -------------------------------------------------------------------------------------------------- */

typedef struct binder {
    const b2_adapter_config *config;
    const b2_tensor_source *source;
    bool *used; /* per tensor of the source */
    b2_adapter_count count;
} binder;

static const b2_stored_tensor *take(binder *b, const char *module, const char *ending) {
    char name[B2_NAMES_BYTES + 32];
    snprintf(name, sizeof name, "%s%s", module, ending);
    const b2_stored_tensor *t = b2_names_find(b->source, B2_ADAPTER_PREFIX, name);
    if (t != NULL) b->used[t - b2_tensor_source_get(b->source, 0)] = true;
    return t;
}

static blip2_status check(const binder *b, const b2_stored_tensor *t, uint64_t n_first, uint64_t n_elements,
                          blip2_error *err) {
    char got[B2_SHAPE_TEXT_BYTES];
    const char *file = b2_tensor_source_file(b->source, t);
    if (t->refusal != NULL || t->dtype == B2_DTYPE_I8)
        return b2_fail(err, BLIP2_SHAPE, "%s: tensor %s has type %s, expected F32, F16 or BF16 stored row by row", file,
                       plain_name(t), t->type_name);
    if (t->n_dims >= 1 && t->n_elements == n_elements && (n_first == 0 || t->dims[0] == n_first)) return BLIP2_OK;
    b2_stored_print_shape(t->dims, t->n_dims, got);
    return b2_fail(err, BLIP2_SHAPE, "%s: tensor %s has shape %s, which does not fit the checkpoint's matrix", file,
                   plain_name(t), got);
}

/* "adapter:<module>.lora_A.weight" -> PEFT's name of the module, for patterns. */
static blip2_status find_scale(const binder *b, const b2_stored_tensor *a, float *scale, blip2_error *err) {
    char module[B2_STORED_NAME_MAX + 1];
    const char *start = plain_name(a), *end = strstr(start, ".lora_A.");
    snprintf(module, sizeof module, "%.*s", (int)(end - start), start);
    return b2_adapter_config_scale(b->config, module, a->dims[0], scale, err);
}

static blip2_status check_dora(const binder *b, const char *module, bool has_magnitude, blip2_error *err) {
    if (has_magnitude == b->config->is_dora) return BLIP2_OK;
    return b2_fail(err, BLIP2_SHAPE, "%s: use_dora is %s, but %s has %s lora_magnitude_vector", b->config->path,
                   b->config->is_dora ? "true" : "false", module, has_magnitude ? "a" : "no");
}

static blip2_status bind_stored(binder *b, b2_stem *stem, size_t i, blip2_error *err) {
    char module[B2_NAMES_BYTES];
    b2_names_module(&stem->spec, i, module);
    const uint64_t n_rows = stem->spec.n_out / stem->n_stored, n_in = stem->spec.n_in;
    const b2_stored_tensor *a = take(b, module, ".lora_A.weight"), *up = take(b, module, ".lora_B.weight"),
                           *bias = take(b, module, ".lora_B.bias"), *length = take(b, module, ".lora_magnitude_vector");
    if (length == NULL) length = take(b, module, ".lora_magnitude_vector.weight"); /* PEFT 0.9 to 0.11 */
    const b2_stored_tensor *some = a != NULL ? a : up != NULL ? up : bias != NULL ? bias : length;
    if (some == NULL) return BLIP2_OK;
    if (a == NULL || up == NULL)
        return b2_fail(err, BLIP2_SHAPE, "%s: tensor %s has no %s beside it", b2_tensor_source_file(b->source, some),
                       plain_name(some), a == NULL ? "lora_A.weight" : "lora_B.weight");
    B2_TRY(check(b, a, 0, a->dims[0] * n_in, err));
    B2_TRY(check(b, up, n_rows, n_rows * a->dims[0], err));
    B2_TRY(check_dora(b, module, length != NULL, err));
    if (length != NULL) B2_TRY(check(b, length, 0, n_rows, err));
    b2_merge *merge = &stem->weight_merge[i];
    merge->a = a;
    merge->b = up;
    merge->magnitude = length;
    merge->rank = (size_t)a->dims[0];
    B2_TRY(find_scale(b, a, &merge->scale, err));
    b->count.n_loras++;
    if (bias == NULL) return BLIP2_OK;
    B2_TRY(check(b, bias, n_rows, n_rows, err));
    stem->bias_merge[i] = (b2_merge){.b = bias, .rank = 1, .scale = merge->scale};
    if (stem->bias[i] != NULL) return BLIP2_OK;
    return b2_fail(err, BLIP2_UNSUPPORTED, "%s: tensor %s belongs to a matrix without a bias",
                   b2_tensor_source_file(b->source, bias), plain_name(bias));
}

/* ---- all of them ----------------------------------------------------------------------------------------------- */

static bool is_of_adapter(const b2_stored_tensor *t) {
    return t != NULL && strncmp(t->name, B2_ADAPTER_PREFIX, strlen(B2_ADAPTER_PREFIX)) == 0;
}

static void mark(binder *b, const b2_stored_tensor *t) {
    if (!is_of_adapter(t)) return;
    b->used[t - b2_tensor_source_get(b->source, 0)] = true;
    b->count.n_tensors++;
}

/* A tied LM head shares its matrix with the token embedding: a LoRA on one of the two finds no matrix of its own. */
static blip2_status check_surplus(const binder *b, blip2_error *err) {
    for (size_t i = 0; i < b2_tensor_source_count(b->source); i++) {
        const b2_stored_tensor *t = b2_tensor_source_get(b->source, i);
        if (!is_of_adapter(t) || b->used[i]) continue;
        const bool is_tied = strstr(t->name, "lm_head.") != NULL || strstr(t->name, "embed_tokens.") != NULL;
        return b2_fail(err, BLIP2_UNSUPPORTED, "%s: tensor %s %s", b2_tensor_source_file(b->source, t), plain_name(t),
                       is_tied ? "changes the token embedding or the LM head that is tied to it: this is not merged"
                               : "has no place in this checkpoint: is it for another model, or no LoRA?");
    }
    return BLIP2_OK;
}

static blip2_status bind_all(binder *b, b2_stems *stems, blip2_error *err) {
    for (size_t i = 0; i < stems->n; i++) {
        b2_stem *stem = &stems->items[i];
        const bool is_matrix = stem->spec.kind == B2_KIND_LINEAR || stem->spec.row == B2_ROW_opt_output;
        for (size_t k = 0; k < stem->n_stored; k++) {
            mark(b, stem->weight[k]);
            mark(b, stem->bias[k]);
            if (is_matrix) B2_TRY(bind_stored(b, stem, k, err));
        }
    }
    return check_surplus(b, err);
}

blip2_status b2_adapter_bind(const b2_adapter_config *config, const b2_tensor_source *source, b2_stems *stems,
                             b2_adapter_count *count, blip2_error *err) {
    binder b = {.config = config, .source = source, .used = calloc(b2_tensor_source_count(source) + 1, sizeof(bool))};
    if (b.used == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for the list of tensors");
    const blip2_status status = bind_all(&b, stems, err);
    free(b.used);
    *count = b.count;
    return status;
}
