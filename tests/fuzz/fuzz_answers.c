/* fuzz_answers.c: any bytes as a file of answers; its lines, each byte an id, as a trie: a walk along every line allows
 * its next id and ends where the line does. */
#include "generate/trie.h"
#include "lists/line_list.h"
#include "reach.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N_VOCAB = 256, MAX_IDS = 1 << 16 };

static void walk(const b2_trie *trie, const b2_trie_text *text) {
    float scores[N_VOCAB];
    for (size_t n = 0; n < text->n; n++) {
        memset(scores, 0, sizeof scores);
        b2_trie_process(trie, text->ids, n, scores, N_VOCAB);
        fuzz_require(scores[text->ids[n]] == 0);
    }
    memset(scores, 0, sizeof scores);
    b2_trie_process(trie, text->ids, text->n, scores, N_VOCAB);
    for (size_t i = 0; i < N_VOCAB; i++) fuzz_require(scores[i] == -INFINITY);
}

static void build(const b2_line_list *list, size_t n_bytes) {
    int32_t *ids = malloc((n_bytes + list->n) * sizeof *ids);
    b2_trie trie = {malloc(list->n * sizeof *trie.texts), list->n};
    if (ids != NULL && trie.texts != NULL) {
        int32_t *at = ids;
        for (size_t i = 0; i < list->n; i++) {
            const size_t len = strlen(list->lines[i]);
            trie.texts[i] = (b2_trie_text){at, len + 1};
            for (size_t k = 0; k <= len; k++) *at++ = (uint8_t)list->lines[i][k];
        }
        b2_trie_sort(&trie);
        fuzz_require(trie.n >= 1 && trie.n <= list->n);
        for (size_t i = 0; i < trie.n; i += 1 + trie.n / 16) walk(&trie, &trie.texts[i]);
        if (trie.n > 2) fuzz_reached();
    }
    free(trie.texts);
    free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size > MAX_IDS) return 0;
    for (int keeps = 0; keeps < 2; keeps++) {
        b2_line_list list = {.keeps_spaces = keeps == 1};
        char *text = malloc(size + 1);
        if (text == NULL) return 0;
        if (size > 0) memcpy(text, data, size);
        text[size] = '\0';
        if (b2_line_list_parse(&list, text, size, "fuzz", NULL) == BLIP2_OK) {
            for (size_t i = 0; i < list.n; i++) fuzz_require(list.lines[i][0] != '\0');
            fuzz_require(b2_line_list_hash(&list) != 0);
            build(&list, size);
        }
        b2_line_list_free(&list);
    }
    return 0;
}
