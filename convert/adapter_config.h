/* adapter_config.h: adapter_config.json of PEFT -> how each of its LoRAs is scaled.
 *
 * Only what changes the merged weights is read. What says how the adapter was trained is passed over; every other key
 * must be unset (null, false, empty), else it is refused by its name: a later PEFT may mean something by it. */
#ifndef B2_ADAPTER_CONFIG_H
#define B2_ADAPTER_CONFIG_H

#include "base/status.h"

#include <jansson.h>

#define B2_ADAPTER_CONFIG_NAME "adapter_config.json"

typedef struct b2_adapter_config {
    json_t *json;            /* owns the texts below */
    char *path;              /* for sentences */
    const char *base;        /* base_model_name_or_path; NULL when it names none */
    const char *revision;    /* of the base; NULL: whatever is current */
    uint32_t r;              /* of modules that no pattern names */
    float alpha;             /* likewise */
    bool is_rank_stabilised; /* use_rslora */
    bool is_dora;            /* use_dora */
} b2_adapter_config;

/* Errors: those of b2_json_load; BLIP2_FORMAT; BLIP2_UNSUPPORTED: not a LoRA, or one that cannot be merged. */
blip2_status b2_adapter_config_load(const char *folder, b2_adapter_config *out, blip2_error *err);

/* The same from parsed JSON, which is taken whatever the outcome; path is only named. */
blip2_status b2_adapter_config_parse(const char *path, json_t *json, b2_adapter_config *out, blip2_error *err);
void b2_adapter_config_free(b2_adapter_config *config);

/* The scale of the LoRA on `module` (PEFT's name of it), whose matrices have this rank: alpha / r, or alpha / sqrt(r),
 * with rank_pattern and alpha_pattern applied. Errors: BLIP2_SHAPE when the rank is not what the configuration says. */
blip2_status b2_adapter_config_scale(const b2_adapter_config *config, const char *module, uint64_t rank, float *scale,
                                     blip2_error *err);

#endif
