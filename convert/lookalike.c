#include "convert/lookalike.h"

#include "base/path.h"
#include "base/retry.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- by the first bytes ---------------------------------------------------------------------------------------- */

static bool starts_with(const char *text, size_t n, const char *start) {
    return n >= strlen(start) && memcmp(text, start, strlen(start)) == 0;
}

static bool ends_with(const char *text, const char *end) {
    const size_t len = strlen(text), end_len = strlen(end);
    return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

blip2_status b2_lookalike_check(const char *path, const void *start, size_t n, blip2_error *err) {
    char text[B2_LOOKALIKE_BYTES + 1] = "";
    n = n < B2_LOOKALIKE_BYTES ? n : B2_LOOKALIKE_BYTES;
    if (n > 0) memcpy(text, start, n);
    if (starts_with(text, n, "version https://git-lfs")) {
        unsigned long long n_bytes = 0;
        const char *size = strstr(text, "\nsize ");
        if (size != NULL) sscanf(size, "\nsize %19llu", &n_bytes);
        return b2_fail(err, BLIP2_FORMAT,
                       "%s: is a Git LFS pointer, not the file itself (%llu bytes): `git lfs pull`, or `hf download`, "
                       "fetches that",
                       path, n_bytes);
    }
    if (starts_with(text, n, "<!DOCTYPE") || starts_with(text, n, "<!doctype") || starts_with(text, n, "<html"))
        return b2_fail(err, BLIP2_FORMAT, "%s: is a web page, not the file: `hf download` fetches that", path);
    size_t n_zeros = 0;
    while (n_zeros < n && text[n_zeros] == '\0') n_zeros++;
    if (n_zeros == n && n >= 16)
        return b2_fail(err, BLIP2_FORMAT, "%s: begins with zeros: a download whose space was reserved, but not filled?",
                       path);
    return BLIP2_OK;
}

blip2_status b2_lookalike_check_file(const char *path, blip2_error *err) {
    char start[B2_LOOKALIKE_BYTES];
    return b2_lookalike_check(path, start, b2_file_start(path, start, sizeof start), err);
}

blip2_status b2_lookalike_source(const char *path, blip2_error *err) {
    char start[4] = "";
    const size_t n = b2_file_start(path, start, sizeof start);
    B2_TRY(b2_lookalike_check_file(path, err));
    if (starts_with(start, n, "GGUF"))
        return b2_fail(err, BLIP2_IO, "%s: is a GGUF file, which is not converted: blip2 caption -m %s", path, path);
    if (ends_with(path, ".pth") || ends_with(path, ".ckpt"))
        return b2_fail(
            err, BLIP2_IO,
            "%s: is a checkpoint of LAVIS or of a trainer, expected the folder of a checkpoint in Hugging Face's "
            "layout",
            path);
    return b2_fail(err, BLIP2_IO, "%s: is a file, expected the folder that holds config.json beside it", path);
}

/* ---- by what lies in a folder ---------------------------------------------------------------------------------- */

/* The first row that fits one of the names counts. */
static const struct {
    const char *start, *end, *what;
} KINDS[] = {
    {"model_index.json", "", "a pipeline of diffusers, which makes pictures"},
    {"model-", ".safetensors", "shards, whose model.safetensors.index.json is missing: an incomplete download?"},
    {"pytorch_model-", ".bin", "shards, whose pytorch_model.bin.index.json is missing: an incomplete download?"},
    {"", ".incomplete", "a download that has not ended: `hf download` goes on with it"},
    {"", ".aria2", "a download that has not ended: aria2c -c goes on with it"},
    {"", ".gguf", "a GGUF file, which is not converted: blip2 caption -m FILE"},
    {"openvino_", ".xml", "an export to OpenVINO: convert the checkpoint that it was made of"},
    {"", ".onnx", "an export to ONNX: convert the checkpoint that it was made of"},
    {"tf_model.h5", "", "weights of TensorFlow: save them with PyTorch (from_tf=True, save_pretrained)"},
    {"flax_model.msgpack", "", "weights of Flax: save them with PyTorch (from_flax=True, save_pretrained)"},
    {"", ".pth", "a checkpoint of LAVIS or of a trainer: Hugging Face's layout is needed"},
    {"", ".ckpt", "a checkpoint of LAVIS or of a trainer: Hugging Face's layout is needed"},
    {"adapter_", "", "an adapter: blip2 convert BASE --adapter FOLDER"},
};
enum { N_KINDS = sizeof KINDS / sizeof *KINDS };

blip2_status b2_lookalike_folder(const char *folder, const char *missing, blip2_error *err) {
    DIR *dir = opendir(folder);
    if (dir == NULL && errno == ENOMEM) return b2_fail(err, BLIP2_MEMORY, "%s: no memory to list it", folder);
    const struct dirent *entry;
    size_t best = N_KINDS, n_files = 0;
    char name[128] = "";
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        const char *file = entry->d_name;
        n_files += file[0] != '.';
        for (size_t i = 0; i < best; i++) {
            if (!starts_with(file, strlen(file), KINDS[i].start) || !ends_with(file, KINDS[i].end)) continue;
            best = i;
            snprintf(name, sizeof name, "%s", b2_path_is_component(file) ? file : "(an odd name)");
        }
    }
    if (dir != NULL) closedir(dir);
    if (best < N_KINDS)
        return b2_fail(err, BLIP2_IO, "%s: holds no %s but %s: %s", folder, missing, name, KINDS[best].what);
    return b2_fail(err, BLIP2_IO, "%s: holds no %s%s", folder, missing, n_files == 0 ? ", nor anything else" : "");
}
