/* fuzz_json.c: any bytes as a list of JSON: as one value, as lines and as an array; every path is taken. */
#include "lists/json_list.h"
#include "lists/json_scan.h"
#include "reach.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *exact = malloc(size); /* one byte too far is seen */
    b2_text raw = {NULL, 0};
    const char *why;
    if (exact == NULL) return 0;
    memcpy(exact, data, size);
    if (size > 0 && b2_json_is_value((b2_text){exact, size}, "image", &raw, &why) && raw.data != NULL) {
        size_t len;
        char *text = b2_json_unescape(raw, &len);
        if (text == NULL || len > raw.len || raw.data < exact || raw.data + raw.len >= exact + size) abort();
        free(text);
    }
    free(exact);

    FILE *file = tmpfile();
    char path[64];
    if (file == NULL || fwrite(data, 1, size, file) != size || fflush(file) != 0) abort();
    snprintf(path, sizeof path, "/dev/fd/%d", fileno(file));
    b2_inputs inputs = {0};
    const bool is_list = b2_inputs_add_jsonl(&inputs, path, "image", NULL) == BLIP2_OK;
    for (size_t i = 0; is_list && i < inputs.n; i++) {
        blip2_error err;
        if (inputs.paths[i][0] == '\0') b2_json_list_explain(path, i, inputs.lines[i], "image", &err);
    }
    if (is_list && inputs.n > 1) fuzz_reached();
    b2_inputs_free(&inputs);
    fclose(file);
    return 0;
}
