#include "convert/names.h"

#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VISION "vision_model.encoder.layers.%u."
#define QFORMER "qformer.encoder.layer.%u."
#define TEXT "language_model.model.decoder.layers.%u."
#define EMBEDDING "language_model.model.decoder.embed_tokens"
#define HEAD "language_model.lm_head"

/* For each row of parts.def the stored tensors that it is made of, from top to bottom; ".weight" and ".bias" follow,
 * except where `is_whole` says that the name is the whole name. */
static const struct {
    bool is_whole;
    const char *stored[B2_STORED_MAX];
} NAMES[B2_N_TENSOR_ROWS] = {
    [B2_ROW_vision_class_embd] = {true, {"vision_model.embeddings.class_embedding"}},
    [B2_ROW_vision_patch_embd] = {false, {"vision_model.embeddings.patch_embedding"}},
    [B2_ROW_vision_position_embd] = {true, {"vision_model.embeddings.position_embedding"}},
    [B2_ROW_vision_ln1] = {false, {VISION "layer_norm1"}},
    [B2_ROW_vision_attn_qkv] = {false, {VISION "self_attn.qkv"}},
    [B2_ROW_vision_attn_out] = {false, {VISION "self_attn.projection"}},
    [B2_ROW_vision_ln2] = {false, {VISION "layer_norm2"}},
    [B2_ROW_vision_ffn_up] = {false, {VISION "mlp.fc1"}},
    [B2_ROW_vision_ffn_down] = {false, {VISION "mlp.fc2"}},
    [B2_ROW_vision_post_ln] = {false, {"vision_model.post_layernorm"}},

    [B2_ROW_qformer_query] = {true, {"query_tokens"}},
    [B2_ROW_qformer_ln] = {false, {"qformer.layernorm"}},
    [B2_ROW_qformer_attn_qkv] = {false,
                                 {QFORMER "attention.attention.query", QFORMER "attention.attention.key",
                                  QFORMER "attention.attention.value"}},
    [B2_ROW_qformer_attn_out] = {false, {QFORMER "attention.output.dense"}},
    [B2_ROW_qformer_attn_norm] = {false, {QFORMER "attention.output.LayerNorm"}},
    [B2_ROW_qformer_cross_q] = {false, {QFORMER "crossattention.attention.query"}},
    [B2_ROW_qformer_cross_kv] = {false,
                                 {QFORMER "crossattention.attention.key", QFORMER "crossattention.attention.value"}},
    [B2_ROW_qformer_cross_out] = {false, {QFORMER "crossattention.output.dense"}},
    [B2_ROW_qformer_cross_norm] = {false, {QFORMER "crossattention.output.LayerNorm"}},
    [B2_ROW_qformer_ffn_up] = {false, {QFORMER "intermediate_query.dense"}},
    [B2_ROW_qformer_ffn_down] = {false, {QFORMER "output_query.dense"}},
    [B2_ROW_qformer_ffn_norm] = {false, {QFORMER "output_query.LayerNorm"}},
    [B2_ROW_qformer_proj] = {false, {"language_projection"}},

    [B2_ROW_opt_token_embd] = {false, {EMBEDDING}},
    [B2_ROW_opt_position_embd] = {true, {"language_model.model.decoder.embed_positions.weight"}},
    [B2_ROW_opt_attn_norm] = {false, {TEXT "self_attn_layer_norm"}},
    [B2_ROW_opt_attn_qkv] = {false, {TEXT "self_attn.q_proj", TEXT "self_attn.k_proj", TEXT "self_attn.v_proj"}},
    [B2_ROW_opt_attn_output] = {false, {TEXT "self_attn.out_proj"}},
    [B2_ROW_opt_ffn_norm] = {false, {TEXT "final_layer_norm"}}, /* before the FFN, whatever its name says */
    [B2_ROW_opt_ffn_up] = {false, {TEXT "fc1"}},
    [B2_ROW_opt_ffn_down] = {false, {TEXT "fc2"}},
    [B2_ROW_opt_output_norm] = {false, {"language_model.model.decoder.final_layer_norm"}},
    [B2_ROW_opt_output] = {false, {HEAD}},
};

/* ---- finding --------------------------------------------------------------------------------------------------- */

/* A checkpoint that was saved again by other code may have a prefix more, or the language model's one prefix less. */
const b2_stored_tensor *b2_names_find(const b2_tensor_source *source, const char *prefix, const char *name) {
    static const char *const PREFIXES[] = {"", "model."};
    static const struct {
        const char *ours, *theirs;
    } STARTS[] = {{"", ""}, {"language_model.model.", "language_model."}, {"language_model.lm_head", "lm_head"}};
    char other[B2_NAMES_BYTES + 48];
    for (size_t p = 0; p < sizeof PREFIXES / sizeof *PREFIXES; p++)
        for (size_t s = 0; s < sizeof STARTS / sizeof *STARTS; s++) {
            const size_t start_len = strlen(STARTS[s].ours);
            if (strncmp(name, STARTS[s].ours, start_len) != 0) continue;
            snprintf(other, sizeof other, "%s%s%s%s", prefix, PREFIXES[p], STARTS[s].theirs, name + start_len);
            const b2_stored_tensor *t = b2_tensor_source_find(source, other);
            if (t != NULL) return t;
        }
    return NULL;
}

/* What PEFT saves whole goes before the checkpoint's own; inside a module with a LoRA it is called base_layer. */
static const b2_stored_tensor *find(const b2_tensor_source *source, const char *name) {
    const b2_stored_tensor *t = b2_names_find(source, B2_ADAPTER_PREFIX, name);
    const char *dot = strrchr(name, '.');
    if (t == NULL && dot != NULL) {
        char inside[B2_NAMES_BYTES + 24];
        snprintf(inside, sizeof inside, "%.*s.base_layer%s", (int)(dot - name), name, dot);
        t = b2_names_find(source, B2_ADAPTER_PREFIX, inside);
    }
    return t != NULL ? t : b2_names_find(source, "", name);
}

typedef struct shape {
    uint32_t n_dims;
    uint64_t dims[4];
} shape;

static blip2_status bind_tensor(const b2_tensor_source *source, const char *name, const shape *expected,
                                bool may_be_int8, const b2_stored_tensor **out, blip2_error *err) {
    char want[B2_SHAPE_TEXT_BYTES], got[B2_SHAPE_TEXT_BYTES];
    const b2_stored_tensor *t = *out = find(source, name);
    const char *file = b2_tensor_source_file(source, t);
    b2_stored_print_shape(expected->dims, expected->n_dims, want);
    if (t == NULL) return b2_fail(err, BLIP2_SHAPE, "%s: tensor %s is missing, expected %s", file, name, want);
    if (t->n_dims != expected->n_dims || memcmp(t->dims, expected->dims, t->n_dims * sizeof *t->dims) != 0) {
        b2_stored_print_shape(t->dims, t->n_dims, got);
        return b2_fail(err, BLIP2_SHAPE, "%s: tensor %s: expected shape %s, got %s", file, name, want, got);
    }
    const bool is_int8 = t->dtype == B2_DTYPE_I8;
    if (t->refusal != NULL || (is_int8 && !may_be_int8))
        return b2_fail(err, BLIP2_SHAPE, "%s: tensor %s of type %s: %s", file, name, t->type_name,
                       t->refusal != NULL ? t->refusal : "its type is none of F32, F16 and BF16");
    return BLIP2_OK;
}

/* The shape in the checkpoint of one stored tensor of a stem's weight. */
static shape weight_shape(const b2_tensor_spec *spec, const b2_hparams *h, uint64_t n_rows) {
    switch (spec->row) {
    case B2_ROW_vision_class_embd:
    case B2_ROW_vision_position_embd:
    case B2_ROW_qformer_query: return (shape){3, {1, n_rows, spec->n_in}};
    case B2_ROW_vision_patch_embd: return (shape){4, {n_rows, 3, h->image.patch_size, h->image.patch_size}};
    default: break;
    }
    if (spec->kind == B2_KIND_NORM) return (shape){1, {n_rows}};
    return (shape){2, {n_rows, spec->n_in}};
}

static size_t count_stored(b2_tensor_row row) {
    size_t n = 0;
    while (n < B2_STORED_MAX && NAMES[row].stored[n] != NULL) n++;
    return n;
}

/* bitsandbytes' int8: one scale a row; weight_format 0 says that the rows lie as they are. */
static blip2_status bind_int8(b2_tensor_source *source, const b2_stored_tensor *weight, const char *module,
                              uint64_t n_rows, b2_merge *merge, blip2_error *err) {
    char name[B2_NAMES_BYTES + 16];
    uint8_t format = 0;
    const char *file = b2_tensor_source_file(source, weight);
    snprintf(name, sizeof name, "%s.SCB", module);
    merge->row_scale = find(source, name);
    if (merge->row_scale == NULL)
        return b2_fail(err, BLIP2_SHAPE, "%s: tensor %s of type I8 has no scales (%s) beside it", file, weight->name,
                       name);
    if (merge->row_scale->refusal != NULL || merge->row_scale->dtype == B2_DTYPE_I8 ||
        merge->row_scale->n_elements != n_rows)
        return b2_fail(err, BLIP2_SHAPE, "%s: tensor %s: expected a floating-point number for each of %llu rows", file,
                       name, (unsigned long long)n_rows);
    snprintf(name, sizeof name, "%s.weight_format", module);
    const b2_stored_tensor *t = find(source, name);
    if (t == NULL) return BLIP2_OK; /* older bitsandbytes */
    if (strcmp(t->type_name, "U8") == 0 && t->n_elements == 1)
        B2_TRY(b2_tensor_source_read(source, t, 0, 1, &format, err));
    else format = 1;
    if (format == 0) return BLIP2_OK;
    return b2_fail(err, BLIP2_UNSUPPORTED,
                   "%s: tensor %s says that the int8 weights lie in a GPU's order, expected rows",
                   b2_tensor_source_file(source, t), name);
}

void b2_names_module(const b2_tensor_spec *spec, size_t i, char module[B2_NAMES_BYTES]) {
    snprintf(module, B2_NAMES_BYTES, NAMES[spec->row].stored[i], (unsigned)spec->block);
}

static blip2_status bind_stem(b2_tensor_source *source, const b2_hparams *h, const b2_tensor_spec *spec, b2_stem *stem,
                              blip2_error *err) {
    *stem = (b2_stem){.spec = *spec, .n_stored = count_stored(spec->row)};
    const uint64_t n_rows = spec->n_out / stem->n_stored;
    const bool is_matrix = spec->kind == B2_KIND_LINEAR || spec->kind == B2_KIND_EMBED;
    const bool has_bias = spec->kind == B2_KIND_NORM || spec->kind == B2_KIND_LINEAR;
    const shape weight = weight_shape(spec, h, n_rows), bias = {1, {n_rows}};
    for (size_t i = 0; i < stem->n_stored; i++) {
        char base[B2_NAMES_BYTES], name[B2_NAMES_BYTES + 8];
        b2_names_module(spec, i, base);
        snprintf(name, sizeof name, "%s%s", base, NAMES[spec->row].is_whole ? "" : ".weight");
        B2_TRY(bind_tensor(source, name, &weight, is_matrix, &stem->weight[i], err));
        if (stem->weight[i]->dtype == B2_DTYPE_I8)
            B2_TRY(bind_int8(source, stem->weight[i], base, n_rows, &stem->weight_merge[i], err));
        snprintf(name, sizeof name, "%s.bias", base);
        if (has_bias) B2_TRY(bind_tensor(source, name, &bias, false, &stem->bias[i], err));
    }
    return BLIP2_OK;
}

blip2_status b2_names_count_vocab(const b2_tensor_source *source, uint32_t *n_vocab, blip2_error *err) {
    const double most = b2_hparams_spec(&(b2_hparams){0}, B2_HPARAM_opt_n_vocab).max;
    const b2_stored_tensor *t = find(source, EMBEDDING ".weight");
    const char *file = b2_tensor_source_file(source, t);
    if (t == NULL) return b2_fail(err, BLIP2_SHAPE, "%s: tensor " EMBEDDING ".weight is missing", file);
    if (t->n_dims != 2 || t->dims[0] == 0 || (double)t->dims[0] > most) {
        char got[B2_SHAPE_TEXT_BYTES];
        b2_stored_print_shape(t->dims, t->n_dims, got);
        return b2_fail(err, BLIP2_SHAPE, "%s: tensor " EMBEDDING ".weight: expected at most %.0f rows, got %s", file,
                       most, got);
    }
    *n_vocab = (uint32_t)t->dims[0];
    return BLIP2_OK;
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */

static void mark(const b2_tensor_source *source, const b2_stored_tensor *t, bool *used) {
    if (t != NULL) used[t - b2_tensor_source_get(source, 0)] = true;
}

static bool is_of_adapter(const b2_stored_tensor *t) {
    return t != NULL && strncmp(t->name, B2_ADAPTER_PREFIX, strlen(B2_ADAPTER_PREFIX)) == 0;
}

/* The tensor that a stem is made of and, where an adapter brings it whole, the checkpoint's own. */
static void mark_with_base(const b2_tensor_source *source, const b2_tensor_spec *spec, size_t i,
                           const b2_stored_tensor *t, const char *ending, bool *used) {
    char module[B2_NAMES_BYTES], name[B2_NAMES_BYTES + 8];
    mark(source, t, used);
    if (!is_of_adapter(t)) return;
    b2_names_module(spec, i, module);
    snprintf(name, sizeof name, "%s%s", module, ending);
    mark(source, b2_names_find(source, "", name), used);
}

/* No sign of another model: constants, and what lies beside int8 matrices; an adapter's tensors are adapter.c's. */
static bool is_idle(const b2_stored_tensor *t) {
    return b2_ends_with(t->name, "position_ids") || b2_ends_with(t->name, ".weight_format") || is_of_adapter(t);
}

/* What is left over was made for another model, or for another program. */
static blip2_status check_surplus(const b2_tensor_source *source, const b2_stems *stems, bool *used, blip2_error *err) {
    for (size_t i = 0; i < stems->n; i++)
        for (size_t p = 0; p < stems->items[i].n_stored; p++) {
            const b2_stem *stem = &stems->items[i];
            mark_with_base(source, &stem->spec, p, stem->weight[p], ".weight", used);
            mark_with_base(source, &stem->spec, p, stem->bias[p], ".bias", used);
            mark(source, stem->weight_merge[p].row_scale, used);
        }
    static const char *const HEADS[] = {HEAD ".weight", HEAD ".SCB"}; /* bind_head's */
    for (size_t i = 0; i < 2; i++) mark(source, b2_names_find(source, "", HEADS[i]), used);
    const b2_stored_tensor *first = NULL;
    size_t n_surplus = 0;
    for (size_t i = 0; i < b2_tensor_source_count(source); i++) {
        const b2_stored_tensor *t = b2_tensor_source_get(source, i);
        if (used[i] || is_idle(t)) continue;
        if (first == NULL) first = t;
        n_surplus++;
    }
    if (first == NULL) return BLIP2_OK;
    char shape_text[B2_SHAPE_TEXT_BYTES], others[48] = "";
    b2_stored_print_shape(first->dims, first->n_dims, shape_text);
    if (n_surplus > 1) snprintf(others, sizeof others, " (and %zu more)", n_surplus - 1);
    return b2_fail(err, BLIP2_SHAPE, "%s: tensor %s %s does not belong to a BLIP-2 with OPT of this size%s",
                   b2_tensor_source_file(source, first), first->name, shape_text, others);
}

/* The LM head is the last stem. It is stored only when it is not the token embedding. An adapter that brings a token
 * embedding of its own leaves the head as it was: the checkpoint's embedding. */
static blip2_status bind_head(b2_tensor_source *source, const b2_hparams *h, bool head_is_tied, b2_stems *stems,
                              blip2_error *err) {
    const b2_stored_tensor *embedding = find(source, EMBEDDING ".weight");
    const bool is_stored = find(source, HEAD ".weight") != NULL;
    if (head_is_tied && !is_stored && !is_of_adapter(embedding)) return BLIP2_OK;
    b2_stem *head = &stems->items[stems->n];
    const b2_tensor_spec spec = b2_tensors_spec(h, B2_ROW_opt_output, 0);
    if (head_is_tied && !is_stored) {
        *head = (b2_stem){.spec = spec, .n_stored = 1, .weight = {b2_names_find(source, "", EMBEDDING ".weight")}};
        if (head->weight[0] == NULL || head->weight[0]->n_elements != embedding->n_elements)
            return b2_fail(err, BLIP2_SHAPE, "%s: changes the number of tokens, but brings no LM head",
                           b2_tensor_source_file(source, embedding));
    } else {
        B2_TRY(bind_stem(source, h, &spec, head, err));
    }
    bool equal = false;
    const bool has_int8 = head->weight[0]->dtype == B2_DTYPE_I8 || embedding->dtype == B2_DTYPE_I8;
    if (!has_int8) B2_TRY(b2_tensor_source_compare(source, head->weight[0], embedding, &equal, err));
    if (!equal) stems->n++;
    return BLIP2_OK;
}

static blip2_status bind_all(b2_tensor_source *source, const b2_hparams *h, bool head_is_tied, b2_stems *out,
                             blip2_error *err) {
    const size_t n = b2_tensors_count(h, false);
    bool *used = calloc(b2_tensor_source_count(source) + 1, sizeof *used);
    out->items = calloc(n + 1, sizeof *out->items);
    blip2_status status = BLIP2_OK;
    if (used == NULL || out->items == NULL) status = b2_fail(err, BLIP2_MEMORY, "no memory for the list of tensors");
    for (; status == BLIP2_OK && out->n < n; out->n++) {
        const b2_tensor_spec spec = b2_tensors_get(h, false, out->n);
        status = bind_stem(source, h, &spec, &out->items[out->n], err);
    }
    if (status == BLIP2_OK) status = check_surplus(source, out, used, err);
    if (status == BLIP2_OK) status = bind_head(source, h, head_is_tied, out, err);
    free(used);
    return status;
}

blip2_status b2_names_bind(b2_tensor_source *source, const b2_hparams *h, bool head_is_tied, b2_stems *out,
                           blip2_error *err) {
    *out = (b2_stems){0};
    const blip2_status status = bind_all(source, h, head_is_tied, out, err);
    if (status != BLIP2_OK) b2_stems_free(out);
    return status;
}

void b2_stems_free(b2_stems *stems) {
    free(stems->items);
    *stems = (b2_stems){0};
}
