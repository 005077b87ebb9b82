/* fuzz_tar.c: any bytes as a tar file, plain or compressed: every sample is taken, its text is JSON, its end comes; and
 * as a name with braces. */
#include "lists/json_scan.h"
#include "lists/tar.h"
#include "lists/tar_source.h"
#include "base/utf8.h"
#include "reach.h"

#include <string.h>

enum { MAX_BYTES = 1 << 16 };

static bool count_name(void *n, const char *name) { return name != NULL && ++*(size_t *)n < 1000; }

static void expand(const uint8_t *data, size_t size) {
    char text[100];
    size_t n = 0;
    snprintf(text, sizeof text, "%.*s", (int)(size < 99 ? size : 99), (const char *)data);
    (void)b2_braces_each(text, count_name, &n);
}

static void check(const b2_sample *sample) {
    const char *why;
    fuzz_require(sample->n_bytes <= MAX_BYTES);
    fuzz_require(sample->bytes != NULL || sample->error.message[0] != '\0');
    if (sample->json == NULL) return;
    const size_t len = strlen(sample->json);
    fuzz_require(b2_utf8_valid_len(sample->json, len) == len && strchr(sample->json, '\n') == NULL);
    fuzz_require(b2_json_is_value((b2_text){sample->json, len}, NULL, NULL, &why));
    if (sample->bytes != NULL) fuzz_reached();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[64];
    expand(data, size);
    fuzz_name(path, sizeof path, ".tar");
    fuzz_write_file(path, data, size);
    b2_tar *tar = NULL;
    blip2_error err = {.message = ""};
    if (b2_tar_open(path, MAX_BYTES, &tar, &err) == BLIP2_OK) {
        b2_sample sample;
        bool has_sample = true;
        for (size_t n = 0; has_sample; n++) {
            fuzz_require(n <= size + 1);
            if (b2_tar_next(tar, &sample, &has_sample, &err) != BLIP2_OK) break;
            if (has_sample) check(&sample), b2_sample_free(&sample);
        }
        b2_tar_close(tar);
    } else fuzz_require(err.message[0] != '\0');
    unlink(path);
    return 0;
}
