#include "convert/config.h"

#include "convert/json_file.h"
#include "convert/paths.h"

#include <stdlib.h>
#include <string.h>

/* Far above any model, far below where products of two overflow. The reader of model files has the same bounds. */
enum { MAX_SIZE = 1000000, MAX_BLOCKS = 1024, MAX_IMAGE_SIZE = 16384 };

/* ---- checks that repeat ---------------------------------------------------------------------------------------- */

/* The field must have this value, if it is there at all. */
static blip2_status require_string(const b2_json_section *s, const char *key, const char *expected, blip2_error *err) {
    const char *value = expected;
    B2_TRY(b2_json_get_string(s, key, &value, err));
    return strcmp(value, expected) == 0 ? BLIP2_OK : b2_json_refuse(s, key, expected, err);
}

static blip2_status require_bool(const b2_json_section *s, const char *key, bool expected, blip2_error *err) {
    bool value = expected;
    B2_TRY(b2_json_get_bool(s, key, &value, err));
    return value == expected ? BLIP2_OK : b2_json_refuse(s, key, expected ? "true" : "false", err);
}

static blip2_status require_divisor(const b2_json_section *s, uint32_t n_heads, uint32_t width, blip2_error *err) {
    if (width % n_heads == 0) return BLIP2_OK;
    return b2_fail(err, BLIP2_UNSUPPORTED, "%s: %snum_attention_heads is %u, expected a divisor of hidden_size %u",
                   s->path, s->name, (unsigned)n_heads, (unsigned)width);
}

static blip2_status get_size(const b2_json_section *s, const char *key, uint32_t *value, blip2_error *err) {
    return b2_json_get_u32(s, key, 1, MAX_SIZE, value, err);
}

static blip2_status get_eps(const b2_json_section *s, float *eps, blip2_error *err) {
    B2_TRY(b2_json_get_f32(s, "layer_norm_eps", eps, err));
    return *eps > 0.0f && *eps < 1.0f ? BLIP2_OK : b2_json_complain(s, "layer_norm_eps", "between 0 and 1", err);
}

/* ---- the three towers ------------------------------------------------------------------------------------------ */

static blip2_status parse_vision(const b2_json_section *s, b2_hparams *h, blip2_error *err) {
    h->vision_width = 1408;
    h->vision_ff = 6144;
    h->vision_blocks = 39;
    h->vision_heads = 16;
    h->image_size = 224;
    h->patch_size = 14;
    h->vision_eps = 1e-6f; /* since transformers 4.34; before it was 1e-5, but then files were written in full */
    B2_TRY(get_size(s, "hidden_size", &h->vision_width, err));
    B2_TRY(get_size(s, "intermediate_size", &h->vision_ff, err));
    B2_TRY(b2_json_get_u32(s, "num_hidden_layers", 1, MAX_BLOCKS, &h->vision_blocks, err));
    B2_TRY(get_size(s, "num_attention_heads", &h->vision_heads, err));
    B2_TRY(b2_json_get_u32(s, "image_size", 1, MAX_IMAGE_SIZE, &h->image_size, err));
    B2_TRY(b2_json_get_u32(s, "patch_size", 1, h->image_size, &h->patch_size, err));
    B2_TRY(get_eps(s, &h->vision_eps, err));
    B2_TRY(require_string(s, "hidden_act", "gelu", err));
    B2_TRY(require_bool(s, "qkv_bias", true, err));
    uint32_t n_channels = 3;
    B2_TRY(get_size(s, "num_channels", &n_channels, err));
    if (n_channels != 3) return b2_json_refuse(s, "num_channels", "3", err);
    return require_divisor(s, h->vision_heads, h->vision_width, err);
}

/* encoder_hidden_size is not read: Blip2Config overwrites it with the vision width. */
static blip2_status parse_qformer(const b2_json_section *s, b2_hparams *h, blip2_error *err) {
    h->qformer_width = 768;
    h->qformer_ff = 3072;
    h->qformer_blocks = 12;
    h->qformer_heads = 12;
    h->cross_frequency = 2;
    h->qformer_eps = 1e-12f;
    B2_TRY(get_size(s, "hidden_size", &h->qformer_width, err));
    B2_TRY(get_size(s, "intermediate_size", &h->qformer_ff, err));
    B2_TRY(b2_json_get_u32(s, "num_hidden_layers", 1, MAX_BLOCKS, &h->qformer_blocks, err));
    B2_TRY(get_size(s, "num_attention_heads", &h->qformer_heads, err));
    B2_TRY(b2_json_get_u32(s, "cross_attention_frequency", 1, MAX_BLOCKS, &h->cross_frequency, err));
    B2_TRY(get_eps(s, &h->qformer_eps, err));
    B2_TRY(require_string(s, "hidden_act", "gelu", err));
    B2_TRY(require_string(s, "position_embedding_type", "absolute", err));
    B2_TRY(require_bool(s, "use_qformer_text_input", false, err));
    B2_TRY(require_bool(s, "qformer_text_input", false, err)); /* its older name */
    return require_divisor(s, h->qformer_heads, h->qformer_width, err);
}

static blip2_status parse_opt(const b2_json_section *s, b2_hparams *h, blip2_error *err) {
    h->text_width = 768;
    h->text_ff = 3072;
    h->text_blocks = 12;
    h->text_heads = 12;
    h->max_positions = 2048;
    h->text_eps = 1e-5f; /* no key: OPT's LayerNorms have PyTorch's default */
    h->pad_id = 1;
    h->bos_id = 2;
    h->stop_id = 2;
    B2_TRY(get_size(s, "hidden_size", &h->text_width, err));
    B2_TRY(get_size(s, "ffn_dim", &h->text_ff, err));
    B2_TRY(b2_json_get_u32(s, "num_hidden_layers", 1, MAX_BLOCKS, &h->text_blocks, err));
    B2_TRY(get_size(s, "num_attention_heads", &h->text_heads, err));
    B2_TRY(get_size(s, "max_position_embeddings", &h->max_positions, err));
    B2_TRY(b2_json_get_u32(s, "pad_token_id", 0, MAX_SIZE - 1, &h->pad_id, err));
    B2_TRY(b2_json_get_u32(s, "bos_token_id", 0, MAX_SIZE - 1, &h->bos_id, err));
    B2_TRY(b2_json_get_u32(s, "eos_token_id", 0, MAX_SIZE - 1, &h->stop_id, err));
    uint32_t projected = h->text_width;
    B2_TRY(get_size(s, "word_embed_proj_dim", &projected, err));
    if (projected != h->text_width) return b2_json_refuse(s, "word_embed_proj_dim", "the same as hidden_size", err);
    B2_TRY(require_bool(s, "do_layer_norm_before", true, err));
    B2_TRY(require_bool(s, "_remove_final_layer_norm", false, err));
    B2_TRY(require_bool(s, "enable_bias", true, err));
    B2_TRY(require_bool(s, "layer_norm_elementwise_affine", true, err));
    B2_TRY(require_string(s, "activation_function", "relu", err));
    return require_divisor(s, h->text_heads, h->text_width, err);
}

/* ---- config.json ----------------------------------------------------------------------------------------------- */

/* Later transformers call the index an id; either may be there. */
static blip2_status parse_image_token(const b2_json_section *s, int64_t *id, blip2_error *err) {
    static const char *const KEYS[] = {"image_token_index", "image_token_id"};
    *id = -1;
    for (size_t i = 0; i < 2; i++) {
        uint32_t value = UINT32_MAX;
        B2_TRY(b2_json_get_u32(s, KEYS[i], 0, MAX_SIZE - 1, &value, err));
        if (value != UINT32_MAX) *id = value;
    }
    return BLIP2_OK;
}

/* model_type has no default: a file without it is no configuration of a model. */
static blip2_status check_architecture(const b2_json_section *s, blip2_error *err) {
    const char *type = "", *class_name = "Blip2ForConditionalGeneration";
    B2_TRY(b2_json_get_string(s, "model_type", &type, err));
    if (strcmp(type, "blip-2") != 0) return b2_json_refuse(s, "model_type", "\"blip-2\"", err);
    const json_t *first = json_array_get(json_object_get(s->object, "architectures"), 0);
    if (json_is_string(first)) class_name = json_string_value(first);
    if (strcmp(class_name, "Blip2ForConditionalGeneration") == 0 || strcmp(class_name, "Blip2Model") == 0)
        return BLIP2_OK;
    return b2_json_refuse(s, "architectures", "Blip2ForConditionalGeneration", err);
}

blip2_status b2_config_parse(const char *path, const json_t *config, b2_config *out, blip2_error *err) {
    const b2_json_section top = {.object = config, .path = path, .name = ""};
    b2_json_section vision, qformer, text;
    *out = (b2_config){.head_is_tied = true};
    B2_TRY(check_architecture(&top, err));
    B2_TRY(b2_json_get_section(&top, "vision_config", "vision_config.", &vision, err));
    B2_TRY(b2_json_get_section(&top, "qformer_config", "qformer_config.", &qformer, err));
    B2_TRY(b2_json_get_section(&top, "text_config", "text_config.", &text, err));
    const char *text_type = "opt";
    B2_TRY(b2_json_get_string(&text, "model_type", &text_type, err));
    if (strcmp(text_type, "opt") != 0) return b2_json_refuse(&text, "model_type", "\"opt\"", err);

    B2_TRY(parse_vision(&vision, &out->h, err));
    B2_TRY(parse_qformer(&qformer, &out->h, err));
    B2_TRY(parse_opt(&text, &out->h, err));
    out->h.n_queries = 32;
    B2_TRY(get_size(&top, "num_query_tokens", &out->h.n_queries, err));
    if (out->h.n_queries >= out->h.max_positions)
        return b2_json_refuse(&top, "num_query_tokens", "fewer than text_config.max_position_embeddings", err);
    B2_TRY(parse_image_token(&top, &out->image_token_id, err));
    return b2_json_get_bool(&text, "tie_word_embeddings", &out->head_is_tied, err);
}

/* ---- generation_config.json ------------------------------------------------------------------------------------ */

blip2_status b2_config_parse_generation(const char *path, const json_t *generation, b2_config *config,
                                        size_t *n_ignored, blip2_error *err) {
    const b2_json_section s = {.object = generation, .path = path, .name = ""};
    const json_t *eos = json_object_get(generation, "eos_token_id");
    *n_ignored = 0;
    if (!json_is_array(eos)) return b2_json_get_u32(&s, "eos_token_id", 0, MAX_SIZE - 1, &config->h.stop_id, err);

    uint32_t chosen = UINT32_MAX;
    for (size_t i = 0; i < json_array_size(eos); i++) {
        const json_t *item = json_array_get(eos, i);
        const json_int_t id = json_integer_value(item);
        if (!json_is_integer(item) || id < 0 || id >= MAX_SIZE)
            return b2_json_complain(&s, "eos_token_id", "an id or a list of ids", err);
        if (i == 0 || (uint32_t)id == config->h.stop_id) chosen = (uint32_t)id;
    }
    if (chosen == UINT32_MAX) return b2_json_complain(&s, "eos_token_id", "an id or a list of ids", err);
    config->h.stop_id = chosen;
    *n_ignored = json_array_size(eos) - 1;
    return BLIP2_OK;
}

/* ---- preprocessor_config.json ---------------------------------------------------------------------------------- */

enum { DEFAULT_IMAGE_SIZE = 384, BICUBIC = 3 };

/* An int in old files, {"height", "width"} in newer ones. */
static blip2_status check_image_size(const b2_json_section *s, uint32_t expected, blip2_error *err) {
    const json_t *size = json_object_get(s->object, "size");
    uint32_t height = DEFAULT_IMAGE_SIZE, width = DEFAULT_IMAGE_SIZE;
    if (json_is_object(size)) {
        const b2_json_section sides = {.object = size, .path = s->path, .name = "size."};
        height = width = 0;
        B2_TRY(b2_json_get_u32(&sides, "height", 1, MAX_IMAGE_SIZE, &height, err));
        B2_TRY(b2_json_get_u32(&sides, "width", 1, MAX_IMAGE_SIZE, &width, err));
        if (height == 0 || width == 0) return b2_json_complain(s, "size", "height and width", err);
    } else {
        B2_TRY(b2_json_get_u32(s, "size", 1, MAX_IMAGE_SIZE, &height, err));
        width = height;
    }
    if (height == expected && width == expected) return BLIP2_OK;
    const char *why = size == NULL || json_is_null(size) ? " (the default of a missing size)" : "";
    return b2_fail(err, BLIP2_UNSUPPORTED,
                   "%s: pictures are made %u x %u%s, expected %u x %u, vision_config.image_size of config.json",
                   s->path, (unsigned)height, (unsigned)width, why, (unsigned)expected, (unsigned)expected);
}

/* BlipImageProcessor also comes as ...Fast and ...Pil: the same steps. */
static blip2_status check_processor_class(const b2_json_section *s, blip2_error *err) {
    static const char *const KEYS[] = {"image_processor_type", "feature_extractor_type"};
    for (size_t i = 0; i < 2; i++) {
        const char *name = "BlipImageProcessor";
        B2_TRY(b2_json_get_string(s, KEYS[i], &name, err));
        if (strncmp(name, "BlipImageProcessor", strlen("BlipImageProcessor")) != 0)
            return b2_json_refuse(s, KEYS[i], "BlipImageProcessor", err);
    }
    return BLIP2_OK;
}

blip2_status b2_config_parse_images(const char *path, const json_t *processor, b2_config *config, blip2_error *err) {
    static const char *const STEPS[] = {"do_convert_rgb", "do_resize", "do_rescale", "do_normalize"};
    static const char *const OTHER_STEPS[] = {"do_center_crop", "do_pad"};
    static const float CLIP_MEAN[3] = {0.48145466f, 0.4578275f, 0.40821073f};
    static const float CLIP_STD[3] = {0.26862954f, 0.26130258f, 0.27577711f};
    const b2_json_section s = {.object = processor, .path = path, .name = ""};
    B2_TRY(check_processor_class(&s, err));
    for (size_t i = 0; i < sizeof STEPS / sizeof *STEPS; i++) B2_TRY(require_bool(&s, STEPS[i], true, err));
    for (size_t i = 0; i < sizeof OTHER_STEPS / sizeof *OTHER_STEPS; i++)
        B2_TRY(require_bool(&s, OTHER_STEPS[i], false, err));

    uint32_t resample = BICUBIC;
    float factor = 1.0f / 255.0f;
    B2_TRY(b2_json_get_u32(&s, "resample", 0, 5, &resample, err));
    if (resample != BICUBIC) return b2_json_refuse(&s, "resample", "3 (bicubic)", err);
    B2_TRY(b2_json_get_f32(&s, "rescale_factor", &factor, err));
    if (factor != 1.0f / 255.0f) return b2_json_refuse(&s, "rescale_factor", "1/255", err);

    b2_hparams *h = &config->h;
    memcpy(h->image_mean, CLIP_MEAN, sizeof h->image_mean);
    memcpy(h->image_std, CLIP_STD, sizeof h->image_std);
    B2_TRY(b2_json_get_f32x3(&s, "image_mean", h->image_mean, err));
    B2_TRY(b2_json_get_f32x3(&s, "image_std", h->image_std, err));
    for (size_t i = 0; i < 3; i++)
        if (!(h->image_std[i] > 0.0f)) return b2_json_complain(&s, "image_std", "three numbers above 0", err);
    return check_image_size(&s, h->image_size, err);
}

/* ---- the folder ------------------------------------------------------------------------------------------------ */

static blip2_status load(const char *folder, const char *name, json_t **out, char **path, blip2_error *err) {
    *out = NULL;
    *path = b2_path_join(folder, name);
    if (*path == NULL) return b2_fail(err, BLIP2_MEMORY, "%s: no memory", folder);
    return b2_json_load(*path, out, err);
}

static blip2_status load_model(const char *folder, b2_config *out, blip2_error *err) {
    json_t *json;
    char *path;
    blip2_status status = load(folder, "config.json", &json, &path, err);
    if (status == BLIP2_OK) status = b2_config_parse(path, json, out, err);
    json_decref(json);
    free(path);
    return status;
}

static blip2_status load_generation(const char *folder, b2_config *out, size_t *n_ignored, blip2_error *err) {
    json_t *json;
    char *path;
    *n_ignored = 0;
    if (!b2_path_has(folder, "generation_config.json")) return BLIP2_OK;
    blip2_status status = load(folder, "generation_config.json", &json, &path, err);
    if (status == BLIP2_OK) status = b2_config_parse_generation(path, json, out, n_ignored, err);
    json_decref(json);
    free(path);
    return status;
}

/* transformers 5 puts the image processor into processor_config.json. */
static blip2_status load_images(const char *folder, b2_config *out, blip2_error *err) {
    json_t *json = NULL;
    char *path = NULL;
    const char *name = b2_path_has(folder, "preprocessor_config.json") ? "preprocessor_config.json"
                                                                       : "processor_config.json";
    if (!b2_path_has(folder, name))
        return b2_fail(err, BLIP2_IO, "%s: holds no preprocessor_config.json, which says how pictures are prepared",
                       folder);
    blip2_status status = load(folder, name, &json, &path, err);
    const json_t *processor = json;
    if (status == BLIP2_OK && strcmp(name, "processor_config.json") == 0) {
        processor = json_object_get(json, "image_processor");
        if (!json_is_object(processor))
            status = b2_fail(err, BLIP2_IO, "%s: says nothing of pictures, and there is no preprocessor_config.json",
                             path);
    }
    if (status == BLIP2_OK) status = b2_config_parse_images(path, processor, out, err);
    json_decref(json);
    free(path);
    return status;
}

blip2_status b2_config_load(const char *folder, b2_config *out, size_t *n_ignored_stops, blip2_error *err) {
    B2_TRY(load_model(folder, out, err));
    B2_TRY(load_generation(folder, out, n_ignored_stops, err));
    return load_images(folder, out, err);
}
