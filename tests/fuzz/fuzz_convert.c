/* fuzz_convert.c: the whole of convert on a golden checkpoint with one file damaged. Input: a byte of checkpoint and
 * type, a byte of which file, then edits of 6 bytes: a position (3), what to do, a value (2). What was converted opens
 * and verifies; what was refused is refused with a sentence and leaves nothing. Run from the root. */
#include "convert/convert.h"
#include "reach.h"

#include <string.h>
#include <sys/stat.h>

static const char *const sources[] = {"tests/golden/models/one", "tests/golden/models/old_bin"};
static const char *const names[] = {"config.json",
                                    "generation_config.json",
                                    "preprocessor_config.json",
                                    "processor_config.json",
                                    "tokenizer.json",
                                    "tokenizer_config.json",
                                    "special_tokens_map.json",
                                    "added_tokens.json",
                                    "model.safetensors",
                                    "pytorch_model.bin.index.json",
                                    "pytorch_model-00001-of-00002.bin",
                                    "pytorch_model-00002-of-00002.bin"};
enum { N_SOURCES = 2, N_NAMES = sizeof names / sizeof *names, MAX_BYTES = 1 << 18 };

typedef struct original {
    uint8_t *bytes; /* NULL: the checkpoint has no such file */
    size_t n;
} original;

static void load(original files[N_SOURCES][N_NAMES]) {
    for (int s = 0; s < N_SOURCES; s++)
        for (int i = 0; i < N_NAMES; i++) {
            char path[200];
            snprintf(path, sizeof path, "%s/%s", sources[s], names[i]);
            FILE *file = fopen(path, "rb");
            if (file == NULL) continue;
            files[s][i].bytes = malloc(MAX_BYTES);
            fuzz_require(files[s][i].bytes != NULL);
            files[s][i].n = fread(files[s][i].bytes, 1, MAX_BYTES, file);
            fclose(file);
        }
}

/* Turns the digits from a position on into others, as a wrong shape or offset has them. */
static void change_digits(uint8_t *bytes, size_t n, size_t at, size_t n_digits, uint8_t digit) {
    while (at < n && (bytes[at] < '0' || bytes[at] > '9')) at++;
    for (; at < n && n_digits > 0 && bytes[at] >= '0' && bytes[at] <= '9'; at++, n_digits--)
        bytes[at] = (uint8_t)('0' + digit % 10);
}

static void edit(uint8_t *bytes, size_t *n, const uint8_t *e) {
    if (*n < 2) return;
    const size_t place = e[0] | (size_t)e[1] << 8 | (size_t)(e[2] & 127) << 16;
    const size_t at = place % (e[2] & 128 || *n < 8192 ? *n : 8192); /* headers are where it is interesting */
    switch (e[3] % 5) {
    case 0: bytes[at] = e[4]; break;
    case 1: change_digits(bytes, *n, at, 1 + e[5] % 12, e[4]); break;
    case 2: *n = at; break;
    case 3: memmove(bytes + at, bytes + at + 1, *n - at - 1), --*n; break;
    default: memset(bytes + at, e[4], *n - at < e[5] ? *n - at : e[5]);
    }
}

static void put(const char *folder, const char *name, const void *bytes, size_t n) {
    char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (bytes == NULL) unlink(path);
    else fuzz_write_file(path, bytes, n);
}

static void check_model(const char *path) {
    blip2_error err;
    blip2_model *model;
    fuzz_require(blip2_model_open(path, &model, &err) == BLIP2_OK);
    fuzz_require(blip2_model_verify(model, NULL, NULL, &err) == BLIP2_OK);
    blip2_model_close(&model);
    fuzz_reached();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static original files[N_SOURCES][N_NAMES];
    static const b2_dtype types[] = {B2_DTYPE_I8, B2_DTYPE_F16, B2_DTYPE_F32};
    if (files[0][0].bytes == NULL) load(files);
    if (size < 2) return 0;
    const original *source = files[data[0] & 1];
    size_t which = data[1] % N_NAMES;
    while (source[which].bytes == NULL) which = (which + 1) % N_NAMES;
    char folder[64], output[64];
    fuzz_name(folder, sizeof folder, ".folder");
    fuzz_name(output, sizeof output, ".gguf");
    mkdir(folder, 0700);
    uint8_t *copy = malloc(source[which].n);
    fuzz_require(copy != NULL);
    size_t n = source[which].n;
    memcpy(copy, source[which].bytes, n);
    for (size_t at = 2; at + 6 <= size && at < 2 + 6 * 32; at += 6) edit(copy, &n, data + at);
    for (size_t i = 0; i < N_NAMES; i++)
        put(folder, names[i], i == which ? copy : source[i].bytes, i == which ? n : source[i].n);
    b2_convert_options options = b2_convert_options_default();
    options.source = folder;
    options.output = output;
    options.type = types[(data[0] >> 1 & 3) % 3];
    blip2_error err = {.message = ""};
    if (b2_convert(&options, &err) == BLIP2_OK) check_model(output);
    else fuzz_require(err.message[0] != '\0' && access(output, F_OK) != 0);
    unlink(output);
    free(copy);
    return 0;
}
