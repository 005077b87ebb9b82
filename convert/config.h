/* config.h: config.json and generation_config.json -> the numbers of the model.
 *
 * Hugging Face writes a configuration in full or as the difference against the defaults of its class, so a missing key
 * means the default of *that* class (Blip2Config, Blip2VisionConfig, Blip2QFormerConfig, OPTConfig). Whatever this
 * program does not compute is refused here, before a byte of the weights is read. */
#ifndef B2_CONFIG_H
#define B2_CONFIG_H

#include "base/status.h"
#include "quant/hparams.h"

#include <jansson.h>

typedef struct b2_config {
    b2_hparams h;           /* all but opt.n_vocab: the embedding's rows say that */
    int64_t image_token_id; /* the placeholder for soft tokens; -1 in checkpoints that have none */
    bool head_is_tied;      /* the LM head is the token embedding unless the checkpoint stores another */
} b2_config;

/* config: the parsed config.json; path is only named. Errors: BLIP2_FORMAT, BLIP2_UNSUPPORTED. */
blip2_status b2_config_parse(const char *path, const json_t *config, b2_config *out, blip2_error *err);

/* generation_config.json's eos_token_id goes before text_config's. Of a list, the one that text_config names counts,
 * else the first; *n_ignored says how many were left out. */
blip2_status b2_config_parse_generation(const char *path, const json_t *generation, b2_config *config,
                                        size_t *n_ignored, blip2_error *err);

/* preprocessor_config.json, or the image_processor of a newer processor_config.json: mean and std; the size of the
 * picture must be the model's. An absent size means 384 pixels, the default of BlipImageProcessor. */
blip2_status b2_config_parse_images(const char *path, const json_t *processor, b2_config *config, blip2_error *err);

/* All of it from a checkpoint's folder. */
blip2_status b2_config_load(const char *folder, b2_config *out, size_t *n_ignored_stops, blip2_error *err);

#endif
