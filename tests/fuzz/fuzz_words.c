/* fuzz_words.c: any bytes as a word list and as the text it is looked for in, both modes; every match lies inside the
 * text. */
#include "words/match.h"
#include "reach.h"

#include <stdlib.h>
#include <string.h>

static void match(const b2_words *words, b2_match_mode mode, const char *text) {
    b2_matches matches = {0};
    if (b2_match_text(words, mode, text, &matches, NULL) == BLIP2_OK) {
        for (size_t i = 0; i < matches.n; i++)
            if (matches.items[i].start + matches.items[i].len > strlen(text) || matches.items[i].term >= words->n_terms)
                abort();
        if (matches.n > 1) fuzz_reached();
    }
    for (size_t column = 0; column < b2_match_columns(words, mode); column++)
        free(b2_match_join(words, mode, text, &matches, column));
    b2_matches_free(&matches);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *cut = size > 0 ? memchr(data, '\f', size) : NULL;
    const size_t n_list = cut != NULL ? (size_t)(cut - data) : size / 2;
    char *text = calloc(size - n_list + 1, 1);
    if (text == NULL) return 0;
    if (size > n_list) memcpy(text, data + n_list, size - n_list);
    b2_words words = {0};
    if (b2_words_add_builtin(&words, "colors", NULL) == BLIP2_OK &&
        b2_words_add_list(&words, "mine", size > 0 ? (const char *)data : "", n_list, NULL) == BLIP2_OK) {
        match(&words, B2_MATCH_WORD, text);
        match(&words, B2_MATCH_SUBSTRING, text);
    }
    b2_words_free(&words);
    free(text);
    return 0;
}
