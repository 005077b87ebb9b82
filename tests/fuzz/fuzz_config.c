/* fuzz_config.c: any text as config.json, generation_config.json and preprocessor_config.json. */
#include "convert/config.h"
#include "convert/json_file.h"
#include "reach.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_t *json;
    if (b2_json_parse("fuzz", (const char *)data, size, &json, NULL) != BLIP2_OK) return 0;
    b2_config config = {0};
    size_t n_ignored;
    if (b2_config_parse("fuzz", json, &config, NULL) == BLIP2_OK) {
        b2_config_parse_generation("fuzz", json, &config, &n_ignored, NULL);
        if (b2_config_parse_images("fuzz", json, &config, NULL) == BLIP2_OK) fuzz_reached();
    }
    json_decref(json);
    return 0;
}
