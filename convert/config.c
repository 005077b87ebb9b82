#include "convert/config.h"

#include "convert/json_file.h"
#include "base/path.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXAMPLES "Salesforce/blip2-opt-2.7b, blip2-opt-6.7b and what was trained from them"

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

/* A number of the model, within the bounds that its row in quant's .def files has, into its field of *h. */
static blip2_status get_number(const b2_json_section *s, const char *key, b2_hparams *h, b2_hparam number,
                               blip2_error *err) {
    const b2_hparam_spec spec = b2_hparams_spec(h, number);
    void *field = (char *)h + spec.offset;
    const bool is_divisor = spec.type == B2_TYPE_DIVISOR; /* what it divides may come later: require_divisor */
    if (spec.type == B2_TYPE_U32 || is_divisor)
        return b2_json_get_u32(s, key, (uint32_t)spec.min, is_divisor ? B2_SIZES_MAX : (uint32_t)spec.max, field, err);
    const size_t n = spec.type == B2_TYPE_F32X3 ? 3 : 1;
    B2_TRY(n == 3 ? b2_json_get_f32x3(s, key, field, err) : b2_json_get_f32(s, key, field, err));
    char expected[64];
    if (n == 3) snprintf(expected, sizeof expected, "three numbers above %g", spec.min);
    else snprintf(expected, sizeof expected, "between %g and %g", spec.min, spec.max);
    for (size_t i = 0; i < n; i++) {
        const double value = (double)((const float *)field)[i];
        if (!(value > spec.min && value < spec.max)) return b2_json_complain(s, key, expected, err);
    }
    return BLIP2_OK;
}

/* ---- the three towers ------------------------------------------------------------------------------------------ */

static blip2_status parse_vision(const b2_json_section *s, b2_hparams *h, blip2_error *err) {
    h->vision.width = 1408;
    h->vision.ff = 6144;
    h->vision.blocks = 39;
    h->vision.heads = 16;
    h->image.size = 224;
    h->image.patch_size = 14;
    h->vision.eps = 1e-6f; /* since transformers 4.34; before it was 1e-5, but then files were written in full */
    B2_TRY(get_number(s, "hidden_size", h, B2_HPARAM_vision_width, err));
    B2_TRY(get_number(s, "intermediate_size", h, B2_HPARAM_vision_ff, err));
    B2_TRY(get_number(s, "num_hidden_layers", h, B2_HPARAM_vision_blocks, err));
    B2_TRY(get_number(s, "num_attention_heads", h, B2_HPARAM_vision_heads, err));
    B2_TRY(get_number(s, "image_size", h, B2_HPARAM_image_size, err));
    B2_TRY(get_number(s, "patch_size", h, B2_HPARAM_image_patch_size, err));
    B2_TRY(get_number(s, "layer_norm_eps", h, B2_HPARAM_vision_eps, err));
    B2_TRY(require_string(s, "hidden_act", "gelu", err));
    B2_TRY(require_bool(s, "qkv_bias", true, err));
    uint32_t n_channels = 3;
    B2_TRY(b2_json_get_u32(s, "num_channels", 1, B2_SIZES_MAX, &n_channels, err));
    if (n_channels != 3) return b2_json_refuse(s, "num_channels", "3", err);
    return require_divisor(s, h->vision.heads, h->vision.width, err);
}

/* encoder_hidden_size is not read: Blip2Config overwrites it with the vision width. */
static blip2_status parse_qformer(const b2_json_section *s, b2_hparams *h, blip2_error *err) {
    h->qformer.width = 768;
    h->qformer.ff = 3072;
    h->qformer.blocks = 12;
    h->qformer.heads = 12;
    h->qformer.cross_frequency = 2;
    h->qformer.eps = 1e-12f;
    B2_TRY(get_number(s, "hidden_size", h, B2_HPARAM_qformer_width, err));
    B2_TRY(get_number(s, "intermediate_size", h, B2_HPARAM_qformer_ff, err));
    B2_TRY(get_number(s, "num_hidden_layers", h, B2_HPARAM_qformer_blocks, err));
    B2_TRY(get_number(s, "num_attention_heads", h, B2_HPARAM_qformer_heads, err));
    B2_TRY(get_number(s, "cross_attention_frequency", h, B2_HPARAM_qformer_cross_frequency, err));
    B2_TRY(get_number(s, "layer_norm_eps", h, B2_HPARAM_qformer_eps, err));
    B2_TRY(require_string(s, "hidden_act", "gelu", err));
    B2_TRY(require_string(s, "position_embedding_type", "absolute", err));
    B2_TRY(require_bool(s, "use_qformer_text_input", false, err));
    B2_TRY(require_bool(s, "qformer_text_input", false, err)); /* its older name */
    return require_divisor(s, h->qformer.heads, h->qformer.width, err);
}

static blip2_status parse_opt(const b2_json_section *s, b2_hparams *h, blip2_error *err) {
    h->opt.width = 768;
    h->opt.ff = 3072;
    h->opt.blocks = 12;
    h->opt.heads = 12;
    h->opt.max_positions = 2048;
    h->opt.eps = 1e-5f; /* no key: OPT's LayerNorms have PyTorch's default */
    h->tokenizer.pad_id = 1;
    h->tokenizer.bos_id = 2;
    h->tokenizer.stop_id = 2;
    B2_TRY(get_number(s, "hidden_size", h, B2_HPARAM_opt_width, err));
    B2_TRY(get_number(s, "ffn_dim", h, B2_HPARAM_opt_ff, err));
    B2_TRY(get_number(s, "num_hidden_layers", h, B2_HPARAM_opt_blocks, err));
    B2_TRY(get_number(s, "num_attention_heads", h, B2_HPARAM_opt_heads, err));
    B2_TRY(get_number(s, "max_position_embeddings", h, B2_HPARAM_opt_max_positions, err));
    B2_TRY(get_number(s, "pad_token_id", h, B2_HPARAM_tokenizer_pad_id, err));
    B2_TRY(get_number(s, "bos_token_id", h, B2_HPARAM_tokenizer_bos_id, err));
    B2_TRY(get_number(s, "eos_token_id", h, B2_HPARAM_tokenizer_stop_id, err));
    uint32_t projected = h->opt.width;
    B2_TRY(b2_json_get_u32(s, "word_embed_proj_dim", 1, B2_SIZES_MAX, &projected, err));
    if (projected != h->opt.width) return b2_json_refuse(s, "word_embed_proj_dim", "the same as hidden_size", err);
    B2_TRY(require_bool(s, "do_layer_norm_before", true, err));
    B2_TRY(require_bool(s, "_remove_final_layer_norm", false, err));
    B2_TRY(require_bool(s, "enable_bias", true, err));
    B2_TRY(require_bool(s, "layer_norm_elementwise_affine", true, err));
    B2_TRY(require_string(s, "activation_function", "relu", err));
    return require_divisor(s, h->opt.heads, h->opt.width, err);
}

/* ---- config.json ----------------------------------------------------------------------------------------------- */

/* Later transformers call the index an id; either may be there. */
static blip2_status parse_image_token(const b2_json_section *s, int64_t *id, blip2_error *err) {
    static const char *const KEYS[] = {"image_token_index", "image_token_id"};
    *id = -1;
    for (size_t i = 0; i < 2; i++) {
        uint32_t value = UINT32_MAX;
        B2_TRY(b2_json_get_u32(s, KEYS[i], 0, B2_SIZES_MAX - 1, &value, err));
        if (value != UINT32_MAX) *id = value;
    }
    return BLIP2_OK;
}

/* What bitsandbytes saves in 8 bits is converted. All else has lost what a good int8 file is made of. */
static blip2_status check_quantisation(const b2_json_section *s, blip2_error *err) {
    static const char ADVICE[] = "none, or bitsandbytes in 8 bits: convert the checkpoint that it was made from";
    b2_json_section q;
    const char *method = "bitsandbytes";
    bool in_8_bits = false;
    B2_TRY(b2_json_get_section(s, "quantization_config", "quantization_config.", &q, err));
    if (q.object == NULL) return BLIP2_OK;
    B2_TRY(b2_json_get_string(&q, "quant_method", &method, err)); /* absent in files of early 2023 */
    if (strcmp(method, "bitsandbytes") != 0) return b2_json_refuse(&q, "quant_method", ADVICE, err);
    B2_TRY(b2_json_get_bool(&q, "load_in_8bit", &in_8_bits, err));
    return in_8_bits ? BLIP2_OK : b2_json_refuse(&q, "load_in_8bit", ADVICE, err);
}

/* model_type has no default: a file without it does not describe a model. */
static blip2_status check_architecture(const b2_json_section *s, blip2_error *err) {
    const char *type = "", *class_name = "Blip2ForConditionalGeneration";
    B2_TRY(b2_json_get_string(s, "model_type", &type, err));
    if (strcmp(type, "blip-2") != 0)
        return b2_json_refuse(s, "model_type", "\"blip-2\": only BLIP-2 with OPT is run (" EXAMPLES ")", err);
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
    if (strcmp(text_type, "opt") != 0)
        return b2_json_refuse(&text, "model_type", "\"opt\": only BLIP-2 with OPT is run (" EXAMPLES ")", err);
    B2_TRY(check_quantisation(&top, err));

    B2_TRY(parse_vision(&vision, &out->h, err));
    B2_TRY(parse_qformer(&qformer, &out->h, err));
    B2_TRY(parse_opt(&text, &out->h, err));
    out->h.qformer.n_queries = 32;
    B2_TRY(get_number(&top, "num_query_tokens", &out->h, B2_HPARAM_qformer_n_queries, err));
    if (out->h.qformer.n_queries >= out->h.opt.max_positions)
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
    if (!json_is_array(eos)) return get_number(&s, "eos_token_id", &config->h, B2_HPARAM_tokenizer_stop_id, err);

    uint32_t chosen = UINT32_MAX;
    for (size_t i = 0; i < json_array_size(eos); i++) {
        const json_t *item = json_array_get(eos, i);
        const json_int_t id = json_integer_value(item);
        if (!json_is_integer(item) || id < 0 || id >= B2_SIZES_MAX)
            return b2_json_complain(&s, "eos_token_id", "an id or a list of ids", err);
        if (i == 0 || (uint32_t)id == config->h.tokenizer.stop_id) chosen = (uint32_t)id;
    }
    if (chosen == UINT32_MAX) return b2_json_complain(&s, "eos_token_id", "an id or a list of ids", err);
    config->h.tokenizer.stop_id = chosen;
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
        B2_TRY(b2_json_get_u32(&sides, "height", 1, B2_IMAGE_SIDE_MAX, &height, err));
        B2_TRY(b2_json_get_u32(&sides, "width", 1, B2_IMAGE_SIDE_MAX, &width, err));
        if (height == 0 || width == 0) return b2_json_complain(s, "size", "height and width", err);
    } else {
        B2_TRY(b2_json_get_u32(s, "size", 1, B2_IMAGE_SIDE_MAX, &height, err));
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
    memcpy(h->image.mean, CLIP_MEAN, sizeof h->image.mean);
    memcpy(h->image.std, CLIP_STD, sizeof h->image.std);
    B2_TRY(get_number(&s, "image_mean", h, B2_HPARAM_image_mean, err));
    B2_TRY(get_number(&s, "image_std", h, B2_HPARAM_image_std, err));
    return check_image_size(&s, h->image.size, err);
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
    const char *name =
        b2_path_has(folder, "preprocessor_config.json") ? "preprocessor_config.json" : "processor_config.json";
    if (!b2_path_has(folder, name))
        return b2_fail(err, BLIP2_IO, "%s: holds no preprocessor_config.json, which says how pictures are prepared",
                       folder);
    blip2_status status = load(folder, name, &json, &path, err);
    const json_t *processor = json;
    if (status == BLIP2_OK && strcmp(name, "processor_config.json") == 0) {
        processor = json_object_get(json, "image_processor");
        if (!json_is_object(processor))
            status =
                b2_fail(err, BLIP2_IO, "%s: says nothing of pictures, and there is no preprocessor_config.json", path);
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
