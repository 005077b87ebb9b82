#include "convert/adapter_config.h"

#include "base/path.h"
#include "convert/json_file.h"
#include "convert/pattern.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RANK_MAX = 65536 };
#define MERGE_ADVICE "merge it with peft (merge_and_unload, save_pretrained) and convert the result"

/* ---- keys ------------------------------------------------------------------------------------------------------ */

/* Read below, or seen from the tensors themselves (bias, lora_bias, modules_to_save), or of no meaning for the modules
 * of a BLIP-2 (fan_in_fan_out is for transformers' Conv1D; peft, too, ignores it for what a BLIP-2 has), or of
 * training only. */
static bool is_known(const char *key) {
    static const char *const KEYS[] = {"peft_type",
                                       "base_model_name_or_path",
                                       "revision",
                                       "r",
                                       "lora_alpha",
                                       "use_rslora",
                                       "use_dora",
                                       "rank_pattern",
                                       "alpha_pattern",
                                       "init_lora_weights",
                                       "bias",
                                       "lora_bias",
                                       "modules_to_save",
                                       "fan_in_fan_out",
                                       "auto_mapping",
                                       "corda_config",
                                       "enable_lora",
                                       "eva_config",
                                       "exclude_modules",
                                       "inference_mode",
                                       "layers_pattern",
                                       "layers_to_transform",
                                       "loftq_config",
                                       "lora_dropout",
                                       "lora_ga_config",
                                       "megatron_config",
                                       "megatron_core",
                                       "merge_weights",
                                       "peft_version",
                                       "qalora_group_size",
                                       "runtime_config",
                                       "target_modules",
                                       "task_type"};
    for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++)
        if (strcmp(key, KEYS[i]) == 0) return true;
    return false;
}

static bool is_unset(const json_t *value) {
    return json_is_null(value) || json_is_false(value) || (json_is_array(value) && json_array_size(value) == 0) ||
           (json_is_object(value) && json_object_size(value) == 0);
}

/* Keys are outside bytes: what is not plain text does not reach the terminal. */
static const char *printable(const char *key) {
    const size_t len = strlen(key);
    for (size_t i = 0; i < len; i++)
        if (key[i] <= 0x20 || key[i] > 0x7E) return "(an unprintable key)";
    return len > 64 ? "(a long key)" : key;
}

static blip2_status check_keys(const b2_adapter_config *c, blip2_error *err) {
    const char *key;
    json_t *value;
    json_object_foreach(c->json, key, value) {
        if (is_known(key) || is_unset(value)) continue;
        return b2_fail(err, BLIP2_UNSUPPORTED, "%s: %s is set, which this program does not merge: " MERGE_ADVICE,
                       c->path, printable(key));
    }
    return BLIP2_OK;
}

/* PiSSA and its like take a part of the base's weights away before training begins: their adapters fit another base. */
static blip2_status check_start(const b2_json_section *s, blip2_error *err) {
    static const char *const HARMLESS[] = {"gaussian", "eva", "orthogonal"};
    const json_t *start = json_object_get(s->object, "init_lora_weights");
    if (start == NULL || json_is_null(start) || json_is_boolean(start)) return BLIP2_OK;
    for (size_t i = 0; json_is_string(start) && i < sizeof HARMLESS / sizeof *HARMLESS; i++)
        if (strcmp(json_string_value(start), HARMLESS[i]) == 0) return BLIP2_OK;
    return b2_json_refuse(s, "init_lora_weights",
                          "true, false, \"gaussian\", \"eva\" or \"orthogonal\" (others change the base, too)", err);
}

static blip2_status check_pattern(const b2_json_section *s, const char *key, bool is_rank, blip2_error *err) {
    b2_json_section pattern;
    const char *module;
    json_t *value;
    B2_TRY(b2_json_get_section(s, key, key, &pattern, err));
    json_object_foreach((json_t *)pattern.object, module, value) {
        const double number = json_number_value(value);
        if (!json_is_number(value) || !(fabs(number) <= 1e6) ||
            (is_rank && (number < 1 || number > RANK_MAX || number != floor(number))))
            return b2_fail(err, BLIP2_FORMAT, "%s: %s holds another value than a number for %s", s->path, key,
                           printable(module));
    }
    return BLIP2_OK;
}

/* ---- the file -------------------------------------------------------------------------------------------------- */

static blip2_status parse(b2_adapter_config *c, blip2_error *err) {
    const b2_json_section s = {.object = c->json, .path = c->path, .name = ""};
    const char *type = "";
    B2_TRY(b2_json_get_string(&s, "peft_type", &type, err));
    if (strcmp(type, "LORA") != 0) return b2_json_refuse(&s, "peft_type", "\"LORA\": " MERGE_ADVICE, err);
    c->r = 8; /* the defaults of LoraConfig */
    c->alpha = 8.0f;
    B2_TRY(b2_json_get_string(&s, "base_model_name_or_path", &c->base, err));
    B2_TRY(b2_json_get_string(&s, "revision", &c->revision, err));
    B2_TRY(b2_json_get_u32(&s, "r", 1, RANK_MAX, &c->r, err));
    B2_TRY(b2_json_get_f32(&s, "lora_alpha", &c->alpha, err));
    B2_TRY(b2_json_get_bool(&s, "use_rslora", &c->is_rank_stabilised, err));
    B2_TRY(b2_json_get_bool(&s, "use_dora", &c->is_dora, err));
    B2_TRY(check_pattern(&s, "rank_pattern", true, err));
    B2_TRY(check_pattern(&s, "alpha_pattern", false, err));
    B2_TRY(check_start(&s, err));
    return check_keys(c, err);
}

blip2_status b2_adapter_config_parse(const char *path, json_t *json, b2_adapter_config *out, blip2_error *err) {
    *out = (b2_adapter_config){.json = json, .path = strdup(path)};
    const blip2_status status = out->path == NULL ? b2_fail(err, BLIP2_MEMORY, "%s: no memory", path) : parse(out, err);
    if (status != BLIP2_OK) b2_adapter_config_free(out);
    return status;
}

blip2_status b2_adapter_config_load(const char *folder, b2_adapter_config *out, blip2_error *err) {
    *out = (b2_adapter_config){0};
    json_t *json = NULL;
    char *path = b2_path_join(folder, B2_ADAPTER_CONFIG_NAME);
    if (path == NULL) return b2_fail(err, BLIP2_MEMORY, "%s: no memory", folder);
    blip2_status status = b2_json_load(path, &json, err);
    if (status == BLIP2_OK) status = b2_adapter_config_parse(path, json, out, err);
    free(path);
    return status;
}

void b2_adapter_config_free(b2_adapter_config *c) {
    json_decref(c->json);
    free(c->path);
    *c = (b2_adapter_config){0};
}

/* ---- patterns -------------------------------------------------------------------------------------------------- */

/* As peft's get_pattern_key: the first key that matches the end of the module's name counts. */
static blip2_status apply_pattern(const b2_adapter_config *c, const char *pattern, const char *module, double *value,
                                  blip2_error *err) {
    const char *key;
    json_t *item, *all = json_object_get(c->json, pattern);
    json_object_foreach(all, key, item) {
        if (!b2_pattern_is_known(key))
            return b2_fail(err, BLIP2_UNSUPPORTED,
                           "%s: the pattern %s is a regular expression of a kind that is not known: " MERGE_ADVICE,
                           c->path, printable(key));
        if (!b2_pattern_matches(key, module)) continue;
        *value = json_number_value(item);
        return BLIP2_OK;
    }
    return BLIP2_OK;
}

blip2_status b2_adapter_config_scale(const b2_adapter_config *c, const char *module, uint64_t rank, float *scale,
                                     blip2_error *err) {
    double r = c->r, alpha = c->alpha;
    B2_TRY(apply_pattern(c, "rank_pattern", module, &r, err));
    B2_TRY(apply_pattern(c, "alpha_pattern", module, &alpha, err));
    if (r != (double)rank)
        return b2_fail(err, BLIP2_SHAPE, "%s: says rank %.0f for %s, whose matrices have rank %llu", c->path, r, module,
                       (unsigned long long)rank);
    *scale = (float)(alpha / (c->is_rank_stabilised ? sqrt(r) : r));
    return BLIP2_OK;
}
