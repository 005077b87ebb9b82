#include "convert/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VISION "vision_model.encoder.layers.%u."
#define QFORMER "qformer.encoder.layer.%u."
#define TEXT "language_model.model.decoder.layers.%u."
#define EMBEDDING "language_model.model.decoder.embed_tokens"
#define HEAD "language_model.lm_head"

enum { NAME_BYTES = 160, MAX_VOCAB = 1000000 };

/* For each row of tensors.def the names of its parts, from top to bottom; ".weight" and ".bias" follow, except where
 * `is_whole` says that the name is the whole name. */
static const struct {
    bool is_whole;
    const char *parts[B2_PARTS_MAX];
} NAMES[B2_N_TENSOR_ROWS] = {
    [B2_ROW_ONCE_v_class_embd] = {true, {"vision_model.embeddings.class_embedding"}},
    [B2_ROW_ONCE_v_patch_embd] = {false, {"vision_model.embeddings.patch_embedding"}},
    [B2_ROW_ONCE_v_position_embd] = {true, {"vision_model.embeddings.position_embedding"}},
    [B2_ROW_VISION_ln1] = {false, {VISION "layer_norm1"}},
    [B2_ROW_VISION_attn_qkv] = {false, {VISION "self_attn.qkv"}},
    [B2_ROW_VISION_attn_out] = {false, {VISION "self_attn.projection"}},
    [B2_ROW_VISION_ln2] = {false, {VISION "layer_norm2"}},
    [B2_ROW_VISION_ffn_up] = {false, {VISION "mlp.fc1"}},
    [B2_ROW_VISION_ffn_down] = {false, {VISION "mlp.fc2"}},
    [B2_ROW_ONCE_v_post_ln] = {false, {"vision_model.post_layernorm"}},

    [B2_ROW_ONCE_qf_query] = {true, {"query_tokens"}},
    [B2_ROW_ONCE_qf_ln] = {false, {"qformer.layernorm"}},
    [B2_ROW_QFORMER_attn_qkv] = {false, {QFORMER "attention.attention.query", QFORMER "attention.attention.key",
                                         QFORMER "attention.attention.value"}},
    [B2_ROW_QFORMER_attn_out] = {false, {QFORMER "attention.output.dense"}},
    [B2_ROW_QFORMER_attn_norm] = {false, {QFORMER "attention.output.LayerNorm"}},
    [B2_ROW_CROSS_cross_q] = {false, {QFORMER "crossattention.attention.query"}},
    [B2_ROW_CROSS_cross_kv] = {false, {QFORMER "crossattention.attention.key",
                                       QFORMER "crossattention.attention.value"}},
    [B2_ROW_CROSS_cross_out] = {false, {QFORMER "crossattention.output.dense"}},
    [B2_ROW_CROSS_cross_norm] = {false, {QFORMER "crossattention.output.LayerNorm"}},
    [B2_ROW_QFORMER_ffn_up] = {false, {QFORMER "intermediate_query.dense"}},
    [B2_ROW_QFORMER_ffn_down] = {false, {QFORMER "output_query.dense"}},
    [B2_ROW_QFORMER_ffn_norm] = {false, {QFORMER "output_query.LayerNorm"}},
    [B2_ROW_ONCE_proj] = {false, {"language_projection"}},

    [B2_ROW_ONCE_token_embd] = {false, {EMBEDDING}},
    [B2_ROW_ONCE_position_embd] = {true, {"language_model.model.decoder.embed_positions.weight"}},
    [B2_ROW_TEXT_attn_norm] = {false, {TEXT "self_attn_layer_norm"}},
    [B2_ROW_TEXT_attn_qkv] = {false, {TEXT "self_attn.q_proj", TEXT "self_attn.k_proj", TEXT "self_attn.v_proj"}},
    [B2_ROW_TEXT_attn_output] = {false, {TEXT "self_attn.out_proj"}},
    [B2_ROW_TEXT_ffn_norm] = {false, {TEXT "final_layer_norm"}}, /* before the FFN, whatever its name says */
    [B2_ROW_TEXT_ffn_up] = {false, {TEXT "fc1"}},
    [B2_ROW_TEXT_ffn_down] = {false, {TEXT "fc2"}},
    [B2_ROW_ONCE_output_norm] = {false, {"language_model.model.decoder.final_layer_norm"}},
    [B2_ROW_HEAD_output] = {false, {HEAD}},
};

/* ---- finding --------------------------------------------------------------------------------------------------- */

/* A checkpoint that was saved again by other code may have a prefix more, or the language model's one prefix less. */
static const b2_stored_tensor *find(const b2_tensor_source *source, const char *name) {
    static const char *const PREFIXES[] = {"", "model."};
    static const struct {
        const char *ours, *theirs;
    } STARTS[] = {{"", ""}, {"language_model.model.", "language_model."}, {"language_model.lm_head", "lm_head"}};
    char other[NAME_BYTES + 16];
    for (size_t p = 0; p < sizeof PREFIXES / sizeof *PREFIXES; p++)
        for (size_t s = 0; s < sizeof STARTS / sizeof *STARTS; s++) {
            const size_t start_len = strlen(STARTS[s].ours);
            if (strncmp(name, STARTS[s].ours, start_len) != 0) continue;
            snprintf(other, sizeof other, "%s%s%s", PREFIXES[p], STARTS[s].theirs, name + start_len);
            const b2_stored_tensor *t = b2_tensor_source_find(source, other);
            if (t != NULL) return t;
        }
    return NULL;
}

typedef struct shape {
    uint32_t n_dims;
    uint64_t dims[4];
} shape;

static blip2_status bind_tensor(const b2_tensor_source *source, const char *name, const shape *expected,
                                const b2_stored_tensor **out, blip2_error *err) {
    char want[B2_SHAPE_TEXT_BYTES], got[B2_SHAPE_TEXT_BYTES];
    const b2_stored_tensor *t = *out = find(source, name);
    const char *file = b2_tensor_source_file(source, t);
    b2_stored_print_shape(expected->dims, expected->n_dims, want);
    if (t == NULL) return b2_fail(err, BLIP2_SHAPE, "%s: tensor %s is missing, expected %s", file, name, want);
    if (t->n_dims != expected->n_dims || memcmp(t->dims, expected->dims, t->n_dims * sizeof *t->dims) != 0) {
        b2_stored_print_shape(t->dims, t->n_dims, got);
        return b2_fail(err, BLIP2_SHAPE, "%s: tensor %s: expected shape %s, got %s", file, name, want, got);
    }
    if (t->refusal != NULL)
        return b2_fail(err, BLIP2_SHAPE, "%s: tensor %s of type %s: %s", file, name, t->type_name, t->refusal);
    return BLIP2_OK;
}

/* The shape in the checkpoint of one part of a stem's weight. */
static shape weight_shape(const b2_tensor_spec *spec, const b2_hparams *h, uint64_t n_rows) {
    switch (spec->row) {
    case B2_ROW_ONCE_v_class_embd:
    case B2_ROW_ONCE_v_position_embd:
    case B2_ROW_ONCE_qf_query: return (shape){3, {1, n_rows, spec->n_in}};
    case B2_ROW_ONCE_v_patch_embd: return (shape){4, {n_rows, 3, h->patch_size, h->patch_size}};
    default: break;
    }
    if (spec->kind == B2_KIND_NORM) return (shape){1, {n_rows}};
    return (shape){2, {n_rows, spec->n_in}};
}

static size_t count_parts(b2_tensor_row row) {
    size_t n = 0;
    while (n < B2_PARTS_MAX && NAMES[row].parts[n] != NULL) n++;
    return n;
}

static blip2_status bind_stem(const b2_tensor_source *source, const b2_hparams *h, const b2_tensor_spec *spec,
                              b2_stem *stem, blip2_error *err) {
    *stem = (b2_stem){.spec = *spec, .n_parts = count_parts(spec->row)};
    const uint64_t n_rows = spec->n_out / stem->n_parts;
    const bool has_bias = spec->kind == B2_KIND_NORM || spec->kind == B2_KIND_LINEAR;
    const shape weight = weight_shape(spec, h, n_rows), bias = {1, {n_rows}};
    for (size_t i = 0; i < stem->n_parts; i++) {
        char base[NAME_BYTES], name[NAME_BYTES + 8];
        snprintf(base, sizeof base, NAMES[spec->row].parts[i], (unsigned)spec->block);
        snprintf(name, sizeof name, "%s%s", base, NAMES[spec->row].is_whole ? "" : ".weight");
        B2_TRY(bind_tensor(source, name, &weight, &stem->weight[i], err));
        snprintf(name, sizeof name, "%s.bias", base);
        if (has_bias) B2_TRY(bind_tensor(source, name, &bias, &stem->bias[i], err));
    }
    return BLIP2_OK;
}

blip2_status b2_names_count_vocab(const b2_tensor_source *source, uint32_t *n_vocab, blip2_error *err) {
    const b2_stored_tensor *t = find(source, EMBEDDING ".weight");
    const char *file = b2_tensor_source_file(source, t);
    if (t == NULL) return b2_fail(err, BLIP2_SHAPE, "%s: tensor " EMBEDDING ".weight is missing", file);
    if (t->n_dims != 2 || t->dims[0] == 0 || t->dims[0] > MAX_VOCAB) {
        char got[B2_SHAPE_TEXT_BYTES];
        b2_stored_print_shape(t->dims, t->n_dims, got);
        return b2_fail(err, BLIP2_SHAPE, "%s: tensor " EMBEDDING ".weight: expected at most %d rows, got %s", file,
                       (int)MAX_VOCAB, got);
    }
    *n_vocab = (uint32_t)t->dims[0];
    return BLIP2_OK;
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */

static bool ends_with(const char *text, const char *end) {
    const size_t len = strlen(text), end_len = strlen(end);
    return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

static void mark(const b2_tensor_source *source, const b2_stored_tensor *t, bool *used) {
    if (t != NULL) used[t - b2_tensor_source_get(source, 0)] = true;
}

/* What is left over was made for another model, or for another program. */
static blip2_status check_surplus(const b2_tensor_source *source, const b2_stems *stems, bool *used,
                                  blip2_error *err) {
    for (size_t i = 0; i < stems->n; i++)
        for (size_t p = 0; p < stems->items[i].n_parts; p++) {
            mark(source, stems->items[i].weight[p], used);
            mark(source, stems->items[i].bias[p], used);
        }
    mark(source, find(source, HEAD ".weight"), used); /* bind_head's */
    const b2_stored_tensor *first = NULL;
    size_t n_surplus = 0;
    for (size_t i = 0; i < b2_tensor_source_count(source); i++) {
        const b2_stored_tensor *t = b2_tensor_source_get(source, i);
        if (used[i] || ends_with(t->name, "position_ids")) continue;
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

/* The LM head is the last stem. It is stored only when it is not the token embedding. */
static blip2_status bind_head(b2_tensor_source *source, const b2_hparams *h, bool head_is_tied, b2_stems *stems,
                              blip2_error *err) {
    if (head_is_tied && find(source, HEAD ".weight") == NULL) return BLIP2_OK;
    b2_stem *head = &stems->items[stems->n];
    const b2_tensor_spec spec = b2_tensors_spec(h, B2_ROW_HEAD_output, 0);
    B2_TRY(bind_stem(source, h, &spec, head, err));
    const b2_stored_tensor *embedding = find(source, EMBEDDING ".weight");
    bool equal = false;
    B2_TRY(b2_tensor_source_compare(source, head->weight[0], embedding, &equal, err));
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
