/* fuzz_tokenizer.c: hostile vocabularies and hostile texts. The input is lines: "t<type digit>text" adds a token,
 * "m<left> <right>" a merge, the first other line starts the text. Without such lines the text meets a good
 * vocabulary. */
#include "tokenizer/alphabet.h"
#include "tokenizer/bpe.h"
#include "base/utf8.h"
#include "reach.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_TOKENS = 512, MAX_MERGES = 256 };

typedef struct book {
    char characters[256][2];
    b2_text tokens[MAX_TOKENS], merges[MAX_MERGES];
    int32_t types[MAX_TOKENS];
    b2_vocabulary v;
} book;

static void require(bool promise) {
    if (!promise) abort();
}

static void add_token(book *b, const char *data, size_t len, int32_t type) {
    if (b->v.n_tokens == MAX_TOKENS) return;
    b->tokens[b->v.n_tokens] = (b2_text){data, len};
    b->types[b->v.n_tokens++] = type;
}

static void add_merge(book *b, const char *data, size_t len) {
    if (b->v.n_merges < MAX_MERGES) b->merges[b->v.n_merges++] = (b2_text){data, len};
}

static void init_book(book *b) {
    memset(b, 0, sizeof *b);
    b->v = (b2_vocabulary){.tokens = b->tokens, .token_types = b->types, .merges = b->merges, .add_bos = true};
    for (unsigned byte = 0; byte < 256; byte++)
        add_token(b, b->characters[byte], b2_alphabet_encode((uint8_t)byte, b->characters[byte]), B2_TOKEN_NORMAL);
}

static void add_good_entries(book *b) {
    static const char *const tokens[] = {"ab", "abc", "bc", "aa", "aaa", "aaaa", "\xC4\xA0\x61"};
    static const char *const merges[] = {"ab c", "a b", "b c", "a bc", "aa a", "a a", "aa aa", "\xC4\xA0 a"};
    static const char *const controls[] = {"</s>", "</s></s>", "<"};
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++)
        add_token(b, tokens[i], strlen(tokens[i]), B2_TOKEN_NORMAL);
    for (size_t i = 0; i < sizeof merges / sizeof merges[0]; i++) add_merge(b, merges[i], strlen(merges[i]));
    for (size_t i = 0; i < sizeof controls / sizeof controls[0]; i++)
        add_token(b, controls[i], strlen(controls[i]), B2_TOKEN_CONTROL);
}

/* Takes the lines that are vocabulary; returns how many bytes they are. */
static size_t read_book(book *b, const char *data, size_t size) {
    size_t at = 0;
    while (at < size) {
        const char *line = data + at, *end = memchr(line, '\n', size - at);
        if (end == NULL) break;
        const size_t len = (size_t)(end - line);
        if (len >= 2 && line[0] == 't') add_token(b, line + 2, len - 2, line[1] - '0');
        else if (len >= 1 && line[0] == 'm') add_merge(b, line + 1, len - 1);
        else break;
        at += len + 1;
    }
    return at;
}

/* Decodes into exactly enough, and into half of it. */
static char *decode(const b2_tokenizer *t, const int32_t *ids, size_t n, size_t *len) {
    *len = b2_tokenizer_decode(t, ids, n, NULL, 0);
    char *text = malloc(*len + 1);
    require(text != NULL);
    require(b2_tokenizer_decode(t, ids, n, text, *len / 2 + 1) == *len);
    require(b2_utf8_valid_len(text, strlen(text)) == strlen(text));
    require(b2_tokenizer_decode(t, ids, n, text, *len + 1) == *len && text[*len] == '\0');
    require(b2_utf8_valid_len(text, *len) == *len);
    return text;
}

static void check_text(const book *b, const b2_tokenizer *t, const char *text, size_t len) {
    const size_t bound = b2_tokenizer_encode_bound(t, len);
    int32_t *ids = malloc(bound * sizeof *ids);
    size_t n = 0, back_len;
    require(ids != NULL);
    const bool is_valid = b2_utf8_valid_len(text, len) == len;
    require((b2_tokenizer_encode(t, text, len, ids, bound, &n, NULL) == BLIP2_OK) == is_valid && n <= bound);
    bool is_plain = true; /* nothing cut out: the text comes back */
    for (size_t i = 1; i < n; i++) {
        require(ids[i] >= 0 && (size_t)ids[i] < b->v.n_tokens && b->types[ids[i]] != B2_TOKEN_UNUSED);
        if (b->types[ids[i]] != B2_TOKEN_NORMAL) is_plain = false;
    }
    char *back = decode(t, ids + (n > 0), n - (n > 0), &back_len);
    if (is_valid && is_plain) require(back_len == len && (len == 0 || memcmp(back, text, len) == 0));
    free(back);
    free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    book b;
    b2_tokenizer *t;
    init_book(&b);
    char *copy = malloc(size + 1); /* exact end for the sanitizer, and never NULL */
    require(copy != NULL);
    if (size > 0) memcpy(copy, data, size);
    const size_t at = read_book(&b, copy, size);
    if (at == 0) add_good_entries(&b);
    if (b2_tokenizer_create(&b.v, &t, NULL) == BLIP2_OK) {
        if (at > 0) fuzz_reached(); /* a vocabulary of its own */
        check_text(&b, t, copy + at, size - at);
        char *said = NULL; /* the input as ids too */
        size_t len;
        int32_t *ids = malloc((size + 1) * sizeof *ids);
        require(ids != NULL);
        for (size_t i = 0; i < size; i++) ids[i] = data[i] + (i % 3 == 2 ? 200 : 0) - (i % 7 == 6 ? 100 : 0);
        said = decode(t, ids, size, &len);
        free(said);
        free(ids);
        b2_tokenizer_free(t);
    }
    free(copy);
    return 0;
}
