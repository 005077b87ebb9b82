/* blip2_model.c: opening, verifying and describing a model file. */
#include "blip2_model.h"

#include "abi.h"
#include "blip2_text.h"
#include "quant/tensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *blip2_version(void) { return BLIP2_VERSION; }
int blip2_abi_version(void) { return BLIP2_ABI_VERSION; }

/* The id of <image>; files of 2023 lack it: then the first one after their last token, where later files have it. */
static int32_t find_image_id(const b2_text *tokens, const int32_t *types, size_t n) {
    static const char name[] = "<image>";
    size_t first_unused = n;
    for (size_t i = n; i-- > 0;) {
        if (tokens[i].len == sizeof name - 1 && memcmp(tokens[i].data, name, sizeof name - 1) == 0) return (int32_t)i;
        if (types[i] == B2_TOKEN_UNUSED) first_unused = i;
    }
    return (int32_t)first_unused;
}

/* The file's strings become the tokenizer's vocabulary; they stay where they are, in the map. Opening the
 * checkpoint has made sure that all three lists are there, tokens and types of equal length. */
static blip2_status create_tokenizer(blip2_model *model, blip2_error *err) {
    const b2_checkpoint *c = model->checkpoint;
    const b2_hparams *h = &model->weights.h;
    size_t n_tokens, n_merges;
    const b2_text *tokens = b2_checkpoint_strings(c, B2_KEY_TOKENS, &n_tokens);
    const int32_t *types = b2_checkpoint_i32s(c, B2_KEY_TOKEN_TYPES, NULL);
    const b2_text *merges = b2_checkpoint_strings(c, B2_KEY_MERGES, &n_merges);
    for (size_t i = 0; i < n_tokens; i++)
        if (tokens[i].len > model->max_piece_bytes) model->max_piece_bytes = tokens[i].len;
    model->image_id = find_image_id(tokens, types, n_tokens);
    const b2_vocabulary vocabulary = {.n_tokens = n_tokens,
                                      .tokens = tokens,
                                      .token_types = types,
                                      .n_merges = n_merges,
                                      .merges = merges,
                                      .bos_id = (int32_t)h->tokenizer.bos_id,
                                      .add_bos = h->tokenizer.add_bos};
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
    model->device = b2_device_create();
    const blip2_status status =
        model->device != NULL ? fill_model(model, path, err) : b2_fail(err, BLIP2_MEMORY, "no memory for a model");
    if (status == BLIP2_OK) *out = model;
    else blip2_model_close(&model);
    return status;
}

void blip2_model_close(blip2_model **model) {
    if (model == NULL || *model == NULL) return;
    b2_tokenizer_free((*model)->tokenizer);
    b2_weights_free(&(*model)->weights);
    b2_checkpoint_close((*model)->checkpoint);
    b2_device_free((*model)->device);
    free(*model);
    *model = NULL;
}

blip2_status blip2_model_verify(const blip2_model *model, blip2_progress_fn *progress, void *context,
                                blip2_error *err) {
    return b2_checkpoint_verify(model->checkpoint, progress, context, err);
}

static uint64_t count_values(const b2_tensor *tensor) {
    uint64_t n = 1;
    for (uint32_t d = 0; d < tensor->n_dims; d++) n *= tensor->ne[d];
    return n;
}

/* The same number whatever the file's type: int8's scales and what fills its panels and groups are left out. */
static uint64_t count_parameters(const b2_checkpoint *c, const b2_hparams *h) {
    uint64_t n = 0;
    for (size_t i = 0; i < b2_checkpoint_n_tensors(c); i++) {
        const b2_tensor *tensor = b2_checkpoint_tensor(c, i);
        if (tensor->dtype != B2_DTYPE_BF16) n += count_values(tensor);
    }
    for (size_t i = 0; i < b2_tensors_count(h, true); i++) {
        const b2_tensor_spec spec = b2_tensors_get(h, true, i);
        char name[B2_TENSOR_NAME_BYTES + sizeof ".weight"];
        snprintf(name, sizeof name, "%s.weight", spec.name);
        const b2_tensor *tensor = b2_checkpoint_find(c, name);
        if (tensor != NULL && tensor->dtype == B2_DTYPE_I8) n -= count_values(tensor) - spec.n_out * spec.n_in;
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
        .name = string_or_empty(c, B2_KEY_NAME),
        .source = string_or_empty(c, B2_KEY_SOURCE),
        .revision = string_or_empty(c, B2_KEY_REVISION),
        .dtype = b2_dtype_name(model->weights.dtype),
        .file_bytes = b2_checkpoint_map(c)->size_bytes,
        .n_parameters = count_parameters(c, h),
        .n_tensors = (uint32_t)b2_checkpoint_n_tensors(c),
        .image_size = h->image.size,
        .patch_size = h->image.patch_size,
        .n_queries = h->qformer.n_queries,
        .n_vocab = h->opt.n_vocab,
        .max_positions = h->opt.max_positions,
        .vision_blocks = h->vision.blocks,
        .vision_width = h->vision.width,
        .vision_heads = h->vision.heads,
        .vision_ff = h->vision.ff,
        .qformer_blocks = h->qformer.blocks,
        .qformer_width = h->qformer.width,
        .qformer_heads = h->qformer.heads,
        .qformer_ff = h->qformer.ff,
        .cross_frequency = h->qformer.cross_frequency,
        .text_blocks = h->opt.blocks,
        .text_width = h->opt.width,
        .text_heads = h->opt.heads,
        .text_ff = h->opt.ff,
        .vision_eps = h->vision.eps,
        .qformer_eps = h->qformer.eps,
        .text_eps = h->opt.eps,
        .bos_id = (int32_t)h->tokenizer.bos_id,
        .stop_id = (int32_t)h->tokenizer.stop_id,
        .content_hash = b2_checkpoint_content_hash(c),
        .file_data = b2_checkpoint_map(c)->data,
    };
    b2_struct_fill(info, &all, sizeof all);
}

bool blip2_model_tensor(const blip2_model *model, size_t index, blip2_tensor_info *info) {
    if (index >= b2_checkpoint_n_tensors(model->checkpoint)) return false;
    const b2_tensor *tensor = b2_checkpoint_tensor(model->checkpoint, index);
    blip2_tensor_info all = {.dtype = b2_dtype_name(tensor->dtype),
                             .n_dims = tensor->n_dims,
                             .activation_planes = tensor->planes,
                             .size_bytes = tensor->n_bytes};
    snprintf(all.name, sizeof all.name, "%.*s", (int)tensor->name.len, tensor->name.data);
    for (uint32_t d = 0; d < tensor->n_dims; d++) all.shape[d] = tensor->ne[d];
    b2_struct_fill(info, &all, sizeof all);
    return true;
}

size_t blip2_prompt_tokens_sized(const blip2_model *model, const blip2_request *request, size_t request_bytes) {
    blip2_request all = {0};
    memcpy(&all, request, b2_min(request_bytes, sizeof all));
    const size_t len = b2_text_wrap(&all, NULL, 0), bound = b2_tokenizer_encode_bound(model->tokenizer, len);
    char *text = malloc(len + 1);
    int32_t *ids = malloc((bound + 1) * sizeof *ids);
    size_t n = 0;
    if (text != NULL && ids != NULL) {
        b2_text_wrap(&all, text, len + 1);
        if (b2_tokenizer_encode(model->tokenizer, text, len, ids, bound, &n, NULL) != BLIP2_OK) n = 0;
    }
    free(text);
    free(ids);
    return n;
}
