/* specials.c: see specials.h. Specials are valid UTF-8, so they are found only between characters of valid text, and
 * what is left between them is valid text again. */
#include "tokenizer/specials.h"

#include "base/utf8.h"
#include "tokenizer/pieces.h"

#include <stdlib.h>
#include <string.h>

static bool is_special(int32_t type) { return type == B2_TOKEN_CONTROL || type == B2_TOKEN_USER_DEFINED; }

static int compare_specials(const void *left, const void *right) {
    const b2_special *a = left, *b = right;
    const int first = (uint8_t)a->text.data[0] - (uint8_t)b->text.data[0];
    if (first != 0) return first;
    if (a->text.len != b->text.len) return a->text.len > b->text.len ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

blip2_status b2_specials_create(const b2_vocabulary *vocabulary, b2_specials *specials, blip2_error *err) {
    *specials = (b2_specials){0};
    size_t n = 0;
    for (size_t id = 0; id < vocabulary->n_tokens; id++) {
        const b2_text text = vocabulary->tokens[id];
        if (!is_special(vocabulary->token_types[id])) continue;
        if (b2_utf8_valid_len(text.data, text.len) < text.len)
            return b2_fail(err, BLIP2_FORMAT, "special token %zu \"%.*s\": expected UTF-8, got other bytes", id,
                           b2_shown_len(text), text.data);
        specials->first[(uint8_t)text.data[0] + 1]++;
        n++;
    }
    for (size_t b = 0; b < 256; b++) specials->first[b + 1] += specials->first[b];
    if (n == 0) return BLIP2_OK;

    specials->items = malloc(n * sizeof *specials->items);
    if (specials->items == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for %zu special tokens", n);
    n = 0;
    for (size_t id = 0; id < vocabulary->n_tokens; id++)
        if (is_special(vocabulary->token_types[id]))
            specials->items[n++] = (b2_special){vocabulary->tokens[id], (int32_t)id};
    qsort(specials->items, n, sizeof *specials->items, compare_specials);
    return BLIP2_OK;
}

void b2_specials_free(b2_specials *specials) {
    free(specials->items);
    specials->items = NULL;
}

const b2_special *b2_specials_find(const b2_specials *specials, const char *text, size_t len, size_t *at) {
    for (size_t i = 0; i < len; i++) {
        const uint8_t byte = (uint8_t)text[i];
        for (size_t k = specials->first[byte]; k < specials->first[byte + 1]; k++) {
            const b2_text special = specials->items[k].text;
            if (special.len > len - i || memcmp(text + i, special.data, special.len) != 0) continue;
            *at = i;
            return &specials->items[k];
        }
    }
    return NULL;
}
