/* fuzz_adapter.c: adapter_config.json, its patterns, and rows merged with numbers of any kind. The input: a byte of
 * how many bytes the name of a module has, that name, JSON. */
#include "convert/adapter_config.h"
#include "convert/json_file.h"
#include "convert/merge.h"
#include "reach.h"

#include <stdio.h>
#include <string.h>

static void merge_some(const uint8_t *data, size_t size) {
    static const b2_stored_tensor some = {0};
    float rows[3 * 5], numbers[64];
    const b2_merge merge = {.a = size & 1 ? &some : NULL,
                            .b = &some,
                            .magnitude = size & 2 ? &some : NULL,
                            .row_scale = size & 4 ? &some : NULL,
                            .rank = size & 1 ? 1 + (size & 3) : 1, /* a bias */
                            .scale = 0.5f};
    const size_t n_in = merge.a != NULL ? 5 : 1, n = b2_merge_count(&merge, 3, n_in);
    if (n > 64 || size < sizeof numbers) return;
    memcpy(numbers, data, sizeof numbers);
    memcpy(rows, data, sizeof rows);
    b2_merge_rows(&merge, numbers, 3, 0, 3, n_in, rows);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char module[256];
    json_t *json = NULL;
    b2_adapter_config config;
    if (size < 1 || size < 1 + (size_t)data[0]) return 0;
    snprintf(module, sizeof module, "%.*s", (int)data[0], (const char *)data + 1);
    const char *text = (const char *)data + 1 + data[0];
    merge_some(data, size);
    if (b2_json_parse("fuzz", text, size - 1 - data[0], &json, NULL) != BLIP2_OK) return 0;
    if (b2_adapter_config_parse("fuzz", json, &config, NULL) != BLIP2_OK) return 0;
    for (uint64_t rank = 1; rank <= 16; rank *= 2) {
        float scale = 0;
        (void)b2_adapter_config_scale(&config, module, rank, &scale, NULL);
    }
    b2_adapter_config_free(&config);
    fuzz_reached();
    return 0;
}
