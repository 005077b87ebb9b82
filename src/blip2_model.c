/* blip2_model.c: opening, verifying and describing a model file. */
#include "blip2_model.h"

#include "blip2_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The file's strings become the tokenizer's vocabulary; they stay where they are, in the map. */
static blip2_status create_tokenizer(blip2_model *model, blip2_error *err) {
    const b2_checkpoint *c = model->checkpoint;
    const b2_hparams *h = &model->weights.h;
    size_t n_tokens, n_types, n_merges;
    const b2_text *tokens = b2_checkpoint_strings(c, "tokenizer.ggml.tokens", &n_tokens);
    const int32_t *types = b2_checkpoint_i32s(c, "tokenizer.ggml.token_type", &n_types);
    const b2_text *merges = b2_checkpoint_strings(c, "tokenizer.ggml.merges", &n_merges);
    if (tokens == NULL || types == NULL || merges == NULL)
        return b2_fail(err, BLIP2_FORMAT, "the file holds no complete tokenizer (tokenizer.ggml.tokens, token_type, merges)");
    if (n_tokens != h->n_vocab || n_types != h->n_vocab)
        return b2_fail(err, BLIP2_FORMAT, "tokenizer.ggml.tokens: expected %u entries, got %zu (and %zu types)",
                       h->n_vocab, n_tokens, n_types);
    for (size_t i = 0; i < n_tokens; i++)
        if (tokens[i].len > model->max_piece_bytes) model->max_piece_bytes = tokens[i].len;
    const b2_vocabulary vocabulary = {.n_tokens = n_tokens, .tokens = tokens, .token_types = types,
                                      .n_merges = n_merges, .merges = merges, .bos_id = (int32_t)h->bos_id,
                                      .add_bos = h->add_bos};
    return b2_tokenizer_create(&vocabulary, &model->tokenizer, err);
}

static blip2_status fill_model(blip2_model *model, const char *path, blip2_error *err) {
    B2_TRY(b2_checkpoint_open(path, &model->checkpoint, err));
    blip2_status status = b2_weights_bind(model->checkpoint, &model->weights, err);
    if (status == BLIP2_OK) status = create_tokenizer(model, err);
    if (status != BLIP2_OK) b2_error_prefix(err, "%s", path);
    return status;
}

blip2_status blip2_model_open(const char *path, blip2_model **out, blip2_error *err) {
    *out = NULL;
    blip2_model *model = calloc(1, sizeof *model);
    if (model == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for a model");
    const blip2_status status = fill_model(model, path, err);
    if (status == BLIP2_OK) *out = model;
    else blip2_model_close(&model);
    return status;
}

void blip2_model_close(blip2_model **model) {
    if (model == NULL || *model == NULL) return;
    b2_tokenizer_free((*model)->tokenizer);
    b2_weights_free(&(*model)->weights);
    b2_checkpoint_close((*model)->checkpoint);
    free(*model);
    *model = NULL;
}

blip2_status blip2_model_verify(const blip2_model *model, blip2_progress_fn *progress, void *context,
                                blip2_error *err) {
    return b2_checkpoint_verify(model->checkpoint, progress, context, err);
}

static uint64_t count_parameters(const b2_checkpoint *c) {
    uint64_t n = 0;
    for (size_t i = 0; i < b2_checkpoint_n_tensors(c); i++) {
        const b2_tensor *tensor = b2_checkpoint_tensor(c, i);
        if (tensor->dtype == B2_DTYPE_BF16) continue; /* scales are no parameters of the model */
        uint64_t values = 1;
        for (uint32_t d = 0; d < tensor->n_dims; d++) values *= tensor->ne[d];
        n += values;
    }
    return n;
}

static const char *string_or_empty(const b2_checkpoint *c, const char *key) {
    const char *string = b2_checkpoint_string(c, key);
    return string != NULL ? string : "";
}

void blip2_model_describe(const blip2_model *model, blip2_model_info *info) {
    const b2_hparams *h = &model->weights.h;
    const b2_checkpoint *c = model->checkpoint;
    const blip2_model_info all = {
        .struct_bytes = info->struct_bytes,
        .name = string_or_empty(c, "general.name"),
        .source = string_or_empty(c, "general.source.repo_url"),
        .revision = string_or_empty(c, "general.source.revision"),
        .license = string_or_empty(c, "general.license"),
        .dtype = b2_dtype_name(model->weights.dtype),
        .file_bytes = b2_checkpoint_map(c)->size_bytes,
        .n_parameters = count_parameters(c),
        .n_tensors = (uint32_t)b2_checkpoint_n_tensors(c),
        .image_size = h->image_size, .patch_size = h->patch_size, .n_queries = h->n_queries, .n_vocab = h->n_vocab,
        .max_positions = h->max_positions,
        .vision_blocks = h->vision_blocks, .vision_width = h->vision_width, .vision_heads = h->vision_heads,
        .vision_ff = h->vision_ff,
        .qformer_blocks = h->qformer_blocks, .qformer_width = h->qformer_width, .qformer_heads = h->qformer_heads,
        .qformer_ff = h->qformer_ff, .cross_frequency = h->cross_frequency,
        .text_blocks = h->text_blocks, .text_width = h->text_width, .text_heads = h->text_heads, .text_ff = h->text_ff,
        .vision_eps = h->vision_eps, .qformer_eps = h->qformer_eps, .text_eps = h->text_eps,
        .bos_id = (int32_t)h->bos_id, .stop_id = (int32_t)h->stop_id,
        .content_hash = b2_checkpoint_content_hash(c),
    };
    /* a caller built with an older header has a shorter struct */
    memcpy(info, &all, info->struct_bytes < sizeof all ? info->struct_bytes : sizeof all);
}

bool blip2_model_tensor(const blip2_model *model, uint32_t index, blip2_tensor_info *info) {
    if (index >= b2_checkpoint_n_tensors(model->checkpoint)) return false;
    const b2_tensor *tensor = b2_checkpoint_tensor(model->checkpoint, index);
    *info = (blip2_tensor_info){.struct_bytes = sizeof *info, .dtype = b2_dtype_name(tensor->dtype),
                                .n_dims = tensor->n_dims, .activation_planes = tensor->planes,
                                .size_bytes = tensor->n_bytes};
    snprintf(info->name, sizeof info->name, "%.*s", (int)tensor->name.len, tensor->name.data);
    for (uint32_t d = 0; d < tensor->n_dims; d++) info->shape[d] = tensor->ne[d];
    return true;
}

size_t blip2_prompt_tokens(const blip2_model *model, const blip2_request *request) {
    const size_t len = b2_text_wrap(request, NULL, 0), bound = b2_tokenizer_encode_bound(model->tokenizer, len);
    char *text = malloc(len + 1);
    int32_t *ids = malloc((bound + 1) * sizeof *ids);
    size_t n = 0;
    if (text != NULL && ids != NULL) {
        b2_text_wrap(request, text, len + 1);
        if (b2_tokenizer_encode(model->tokenizer, text, len, ids, bound, &n, NULL) != BLIP2_OK) n = 0;
    }
    free(text);
    free(ids);
    return n;
}
