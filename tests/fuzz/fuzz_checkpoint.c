/* fuzz_checkpoint.c: what lies behind open(): a whole conversion of a small checkpoint to which the fuzzer brings an
 * adapter's weights (safetensors) or, when its bytes begin as those do, a pytorch_model.bin from before PyTorch 1.6.
 * Run from the root. */
#include "convert/convert.h"
#include "convert/tensor_source.h"
#include "convert/torch_old.h"
#include "reach.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char CONFIG[] = "{\"peft_type\": \"LORA\", \"r\": 2, \"use_dora\": false, \"modules_to_save\": [\"x\"]}";

static void write_file(const char *path, const void *bytes, size_t n) {
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(bytes, 1, n, file) != n || fclose(file) != 0) abort();
}

static void read_old(const char *path) {
    b2_flat_file file;
    b2_tensor_list list = {0};
    float some[16];
    if (b2_torch_old_open(path, &file, &list, NULL) == BLIP2_OK) {
        for (size_t i = 0; i < list.n; i++) {
            const b2_stored_tensor *t = &list.items[i];
            if (t->refusal != NULL || t->n_elements == 0) continue;
            const uint64_t n_bytes = b2_dtype_bytes(t->dtype);
            const uint64_t last = t->offset_bytes + (t->n_elements - 1) * n_bytes;
            if (b2_flat_file_read(&file, last, (size_t)n_bytes, some, NULL) != BLIP2_OK) abort(); /* it was promised */
        }
        b2_flat_file_close(&file);
    }
    b2_tensor_list_free(&list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char folder[64], path[128], output[128];
    snprintf(folder, sizeof folder, "/dev/shm/blip2_fuzz_%ld", (long)getpid());
    snprintf(output, sizeof output, "%s.gguf", folder);
    if (mkdir(folder, 0700) == 0) {
        snprintf(path, sizeof path, "%s/adapter_config.json", folder);
        write_file(path, CONFIG, sizeof CONFIG - 1);
    }
    const bool is_old = size > 2 && data[0] == 0x80 && data[1] == 0x02;
    snprintf(path, sizeof path, "%s/%s", folder, is_old ? "pytorch_model.bin" : "adapter_model.safetensors");
    write_file(path, data, size);
    if (is_old) {
        read_old(path);
        return 0;
    }
    b2_convert_options options = b2_convert_options_default();
    options.source = "tests/golden/models/one";
    options.adapter = folder;
    options.output = output;
    options.type = B2_DTYPE_I8;
    if (b2_convert(&options, NULL) == BLIP2_OK) fuzz_reached();
    return 0;
}
