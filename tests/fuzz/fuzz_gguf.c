/* fuzz_gguf.c: the model file's reader on hostile bytes. The header's hash would turn nearly every input away at the
 * door, so it is made right first where the file is well-formed enough to have one. */
#include "checkpoint/checkpoint.h"
#include "quant/gguf.h"
#include "reach.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static void make_hash_right(uint8_t *data, size_t size) {
    b2_gguf gguf;
    if (b2_gguf_parse_keys(data, size, &gguf, NULL) != BLIP2_OK) return;
    if (b2_gguf_parse_tensors(&gguf, NULL) != BLIP2_OK) return;
    const b2_gguf_key *key = b2_gguf_find_key(&gguf, B2_KEY_HEADER_HASH);
    if (key != NULL && key->type == B2_GGUF_U64 && !key->is_array) {
        memset(data + key->value_offset, 0, 8);
        const uint64_t hash = XXH3_64bits(data, gguf.data_start);
        memcpy(data + key->value_offset, &hash, sizeof hash);
    }
    b2_gguf_free(&gguf);
}

/* Looks at everything that a checkpoint hands out. */
static size_t touch_everything(const b2_checkpoint *c) {
    size_t sum = b2_checkpoint_hparams(c)->opt.n_vocab, n = 0;
    for (size_t i = 0; i < b2_checkpoint_n_tensors(c); i++) {
        const b2_tensor *t = b2_checkpoint_tensor(c, i);
        sum += t->n_bytes > 0 ? ((const uint8_t *)t->data)[t->n_bytes - 1] : 0;
    }
    const b2_text *tokens = b2_checkpoint_strings(c, B2_KEY_TOKENS, &n);
    for (size_t i = 0; i < n; i++) sum += tokens[i].len > 0 ? (uint8_t)tokens[i].data[tokens[i].len - 1] : 0;
    const char *name = b2_checkpoint_string(c, B2_KEY_NAME);
    return sum + (name != NULL ? strlen(name) : 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t *copy = malloc(size > 0 ? size : 1);
    if (copy == NULL) return 0;
    if (size > 0) memcpy(copy, data, size);
    make_hash_right(copy, size);
    b2_checkpoint *checkpoint;
    blip2_error err;
    if (b2_checkpoint_parse(copy, size, &checkpoint, &err) == BLIP2_OK) {
        volatile size_t sum = touch_everything(checkpoint);
        (void)sum;
        if (b2_checkpoint_verify(checkpoint, NULL, NULL, &err) == BLIP2_OK) fuzz_reached();
        b2_checkpoint_close(checkpoint);
    }
    free(copy);
    return 0;
}
