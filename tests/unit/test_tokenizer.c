/* test_tokenizer.c: the tokenizer's promises on vocabularies made here: what it refuses, bounds, capacities, the cost
 * of long words. Equality with Hugging Face's ids is the matter of test_tokenizer_corpus.c. */
#include "tokenizer/alphabet.h"
#include "tokenizer/bpe.h"
#include "tokenizer/bpe_merge.h"
#include "tokenizer/pretokenize.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_TOKENS = 512, MAX_MERGES = 64 };

/* ---- a vocabulary: the 256 bytes (ids 0 to 255), then what a test adds ------------------------------------------- */

typedef struct book {
    char characters[256][2];
    b2_text tokens[MAX_TOKENS], merges[MAX_MERGES];
    int32_t types[MAX_TOKENS];
    b2_vocabulary v;
} book;

static b2_text text_of(const char *s) { return (b2_text){s, strlen(s)}; }

static int32_t add_token(book *b, const char *token, int32_t type) {
    assert_true(b->v.n_tokens < MAX_TOKENS);
    b->tokens[b->v.n_tokens] = text_of(token);
    b->types[b->v.n_tokens] = type;
    return (int32_t)b->v.n_tokens++;
}

static void add_merge(book *b, const char *merge) {
    assert_true(b->v.n_merges < MAX_MERGES);
    b->merges[b->v.n_merges++] = text_of(merge);
}

static void init_book(book *b) {
    *b = (book){.v = {.n_tokens = 256}};
    b->v.tokens = b->tokens;
    b->v.token_types = b->types;
    b->v.merges = b->merges;
    for (unsigned byte = 0; byte < 256; byte++) {
        b->tokens[byte] = (b2_text){b->characters[byte], b2_alphabet_encode((uint8_t)byte, b->characters[byte])};
        b->types[byte] = B2_TOKEN_NORMAL;
    }
}

static b2_tokenizer *create(const book *b) {
    b2_tokenizer *t;
    blip2_error err = {0};
    if (b2_tokenizer_create(&b->v, &t, &err) != BLIP2_OK) fail_msg("%s", err.message);
    return t;
}

/* ---- alphabet and words ------------------------------------------------------------------------------------------ */

static void test_alphabet_has_one_character_for_each_byte(void **state) {
    (void)state;
    char character[2];
    uint8_t back;
    for (unsigned byte = 0; byte < 256; byte++) {
        const size_t len = b2_alphabet_encode((uint8_t)byte, character);
        assert_int_equal(b2_alphabet_decode(character, len, &back), len);
        assert_int_equal(back, byte);
        assert_int_equal(b2_alphabet_decode(character, len - 1, &back), 0);
    }
    assert_int_equal(b2_alphabet_encode(' ', character), 2);
    assert_memory_equal(character, "\xC4\xA0", 2); /* U+0120 */
    assert_int_equal(b2_alphabet_encode('\n', character), 2);
    assert_memory_equal(character, "\xC4\x8A", 2); /* U+010A */
    assert_int_equal(b2_alphabet_encode(173, character), 2);
    assert_memory_equal(character, "\xC5\x83", 2); /* U+0143 */
    static const char *const strangers[] = {" ",        "\n",       "\x7F",     "\xC2\x80", "\xC2\xA0", "\xC2\xAD",
                                            "\xC5\x84", "\xC6\x80", "\xC0\xA1", "\x80",     "\xC3!",    "\xE2\x82\xAC"};
    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++)
        assert_int_equal(b2_alphabet_decode(strangers[i], strlen(strangers[i]), &back), 0);
}

static void test_words(void **state) {
    (void)state;
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"a  b", "a| | b"},
        {"Question: which city?", "Question|:| which| city|?"},
        {"I'll don't DON'T we'd'", "I|'ll| don|'t| DON|'|T| we|'d|'"},
        {" 's  's", " '|s| | '|s"},
        {"'", "'"},
        {"x1y 22", "x|1|y| 22"},
        {"a\n\n b", "a|\n\n| b"},
        {"a \nb", "a| |\n|b"},
        {"a   ", "a|   "},
        {" ", " "},
        {"\t\tx", "\t|\t|x"},
        {"a\xC2\xA0 \xE3\x80\x80z", "a|\xC2\xA0 |\xE3\x80\x80|z"}, /* U+00A0, U+3000 */
        {"e\xCC\x81t", "e|\xCC\x81|t"},                            /* a mark is no letter */
        {"a\xC2\x85\x62\x1C\xE1\xA0\x8E\xE2\x80\x8B", "a|\xC2\x85|b|\x1C\xE1\xA0\x8E\xE2\x80\x8B"},
        {"\xE2\x85\xA7\xC2\xBD"
         "7 \xF0\x9F\x90\xB6!",
         "\xE2\x85\xA7\xC2\xBD"
         "7| \xF0\x9F\x90\xB6!"},
        {"\xFF\x80x", "\xFF\x80|x"}, /* no UTF-8: still words, still an end */
    };
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        char words[64];
        size_t n = 0;
        const size_t len = strlen(cases[k].text);
        for (size_t i = 0, word; i < len; i += word) {
            word = b2_pretokenize_next(cases[k].text + i, len - i);
            assert_true(word > 0 && word <= len - i);
            if (i > 0) words[n++] = '|';
            memcpy(words + n, cases[k].text + i, word);
            n += word;
        }
        words[n] = '\0';
        assert_string_equal(words, cases[k].words);
    }
}

/* ---- creation ---------------------------------------------------------------------------------------------------- */

static void expect_refusal(const book *b, blip2_status status, const char *words) {
    b2_tokenizer *t = (b2_tokenizer *)(uintptr_t)1;
    blip2_error err = {0};
    assert_int_equal(b2_tokenizer_create(&b->v, &t, &err), status);
    assert_null(t);
    if (strstr(err.message, words) == NULL) fail_msg("expected \"%s\" in \"%s\"", words, err.message);
}

static void test_refuses_bad_tokens(void **state) {
    (void)state;
    book b;
    init_book(&b);
    b.types[' '] = B2_TOKEN_UNUSED;
    expect_refusal(&b, BLIP2_FORMAT, "0x20");
    init_book(&b);
    add_token(&b, "a", B2_TOKEN_NORMAL);
    expect_refusal(&b, BLIP2_FORMAT, "token 97 reads the same");
    init_book(&b);
    add_token(&b, "ab", 7);
    expect_refusal(&b, BLIP2_FORMAT, "token 256: expected a type from 1 to 6, got 7");
    init_book(&b);
    add_token(&b, "", B2_TOKEN_CONTROL);
    expect_refusal(&b, BLIP2_FORMAT, "got none");
    init_book(&b);
    add_token(&b, "</s\xFF", B2_TOKEN_CONTROL);
    expect_refusal(&b, BLIP2_FORMAT, "expected UTF-8");
    init_book(&b);
    b.v.add_bos = true;
    b.v.bos_id = 256;
    expect_refusal(&b, BLIP2_FORMAT, "expected 0 to 255, got 256");
    b.v.bos_id = -1;
    expect_refusal(&b, BLIP2_FORMAT, "got -1");
    init_book(&b);
    b.v.n_tokens = (size_t)B2_VOCABULARY_MAX + 1;
    expect_refusal(&b, BLIP2_LIMIT, "tokens");
    b = (book){0};
    expect_refusal(&b, BLIP2_FORMAT, "0x00");
}

static void test_refuses_bad_merges(void **state) {
    (void)state;
    static const char *const malformed[] = {"", " ", "a", "ab", "a ", " a", "a b c", "a  b", " a b"};
    book b;
    for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
        init_book(&b);
        add_token(&b, "ab", B2_TOKEN_NORMAL);
        add_merge(&b, "a b");
        add_merge(&b, malformed[i]);
        expect_refusal(&b, BLIP2_FORMAT, "merge 1: expected two tokens");
    }
    init_book(&b);
    add_token(&b, "ab", B2_TOKEN_UNUSED);
    add_merge(&b, "a b");
    expect_refusal(&b, BLIP2_FORMAT, "its result");
    add_merge(&b, "b a");
    b.merges[0] = text_of("xy b");
    expect_refusal(&b, BLIP2_FORMAT, "its left half");
    b.merges[0] = text_of("b xy");
    expect_refusal(&b, BLIP2_FORMAT, "its right half");
    init_book(&b);
    add_token(&b, "ab", B2_TOKEN_NORMAL);
    add_merge(&b, "a b");
    add_merge(&b, "a b");
    expect_refusal(&b, BLIP2_FORMAT, "merge 0 is the same");
    b.v.n_merges = (size_t)B2_VOCABULARY_MAX + 1;
    expect_refusal(&b, BLIP2_LIMIT, "merges");
}

/* ---- encoding ---------------------------------------------------------------------------------------------------- */

static void expect_ids(const b2_tokenizer *t, const char *text, size_t len, const int32_t *expected, size_t n) {
    int32_t ids[32];
    size_t n_ids;
    assert_int_equal(b2_tokenizer_encode(t, text, len, ids, 32, &n_ids, NULL), BLIP2_OK);
    assert_int_equal(n_ids, n);
    assert_memory_equal(ids, expected, n * sizeof *ids);
    assert_true(n_ids <= b2_tokenizer_encode_bound(t, len));
}

static void test_specials_are_cut_out(void **state) {
    (void)state;
    book b;
    init_book(&b);
    const int32_t s = add_token(&b, "<s>", B2_TOKEN_CONTROL), ss = add_token(&b, "<s><s>", B2_TOKEN_CONTROL);
    const int32_t own = add_token(&b, "a b", B2_TOKEN_USER_DEFINED), ab = add_token(&b, "ab", B2_TOKEN_NORMAL);
    add_token(&b, "[PAD0]", B2_TOKEN_UNUSED);
    add_token(&b, "[PAD0]", B2_TOKEN_UNUSED);
    add_merge(&b, "a b");
    b.v.add_bos = true;
    b.v.bos_id = s;
    b2_tokenizer *t = create(&b);
    expect_ids(t, "", 0, (const int32_t[]){s}, 1);
    expect_ids(t, "ab<s>ab", 7, (const int32_t[]){s, ab, s, ab}, 4);
    expect_ids(t, "<s><s><s>", 9, (const int32_t[]){s, ss, s}, 3);
    expect_ids(t, "<<s>", 4, (const int32_t[]){s, '<', s}, 3);
    expect_ids(t, "a<s>b<s", 7, (const int32_t[]){s, 'a', s, 'b', '<', 's'}, 6);
    expect_ids(t, "aba b", 5, (const int32_t[]){s, ab, own}, 3);
    expect_ids(t, "a\0b", 3, (const int32_t[]){s, 'a', 0, 'b'}, 4); /* NUL is a character */
    expect_ids(t, "[PAD0]", 6, (const int32_t[]){s, '[', 'P', 'A', 'D', '0', ']'}, 7);

    char text[32];
    const int32_t ids[] = {s, 'x', own, ss, ab, -1, (int32_t)b.v.n_tokens, INT32_MIN, INT32_MAX, ab + 1, '!'};
    assert_int_equal(b2_tokenizer_decode(t, ids, sizeof ids / sizeof ids[0], text, sizeof text), 7);
    assert_string_equal(text, "xa bab!");
    b2_tokenizer_free(t);
    b2_tokenizer_free(NULL);
}

static void test_capacity_is_respected(void **state) {
    (void)state;
    book b;
    init_book(&b);
    b.v.add_bos = true;
    b2_tokenizer *t = create(&b);
    assert_int_equal(b2_tokenizer_encode_bound(t, 5), 6);
    assert_int_equal(b2_tokenizer_encode_bound(t, SIZE_MAX), SIZE_MAX);
    for (size_t capacity = 0; capacity <= 6; capacity++) { /* no merges: the bound is reached */
        int32_t ids[8] = {-7, -7, -7, -7, -7, -7, -7, -7};
        size_t n_ids;
        blip2_error err;
        const blip2_status status = b2_tokenizer_encode(t, "ab cd", 5, ids, capacity, &n_ids, &err);
        assert_int_equal(status, capacity < 6 ? BLIP2_LIMIT : BLIP2_OK);
        assert_int_equal(n_ids, 6);
        for (size_t i = capacity; i < 8; i++) assert_int_equal(ids[i], -7);
    }
    b2_tokenizer_free(t);
}

static void test_refuses_what_is_not_utf8(void **state) {
    (void)state;
    static const struct {
        const char *text, *offset;
    } cases[] = {{"\x80", "0x80 at offset 0"},
                 {"ab\xFF"
                  "c",
                  "0xFF at offset 2"},
                 {"\xC3\xA9\xE2\x82", "0xE2 at offset 2"},
                 {"\xED\xA0\x80", "offset 0"},
                 {"a\xF4\x90\x80\x80", "offset 1"},
                 {"\xC0\xAF", "offset 0"}};
    book b;
    init_book(&b);
    b2_tokenizer *t = create(&b);
    int32_t ids[8];
    size_t n_ids;
    blip2_error err;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(b2_tokenizer_encode(t, cases[i].text, strlen(cases[i].text), ids, 8, &n_ids, &err),
                         BLIP2_ARGUMENT);
        assert_int_equal(n_ids, 0);
        assert_non_null(strstr(err.message, cases[i].offset));
    }
    assert_int_equal(b2_tokenizer_encode(t, "", (size_t)B2_TEXT_MAX_BYTES + 1, ids, 8, &n_ids, &err), BLIP2_LIMIT);
    b2_tokenizer_free(t);
}

/* ---- merging ----------------------------------------------------------------------------------------------------- */

/* Merges among strings of a and b in an order that makes results compete, several ways leading to one result. */
static void init_tangle(book *b) {
    static const char *const tokens[] = {"aa", "ab", "ba", "bb", "aab", "aba", "baa", "abb", "aabb", "abab", "aaaa"};
    static const char *const merges[] = {"ab a", "a b", "a ab",  "b aa",  "aa b",  "a a",   "b a",  "ab b",
                                         "a bb", "b b", "aab b", "aa bb", "ab ab", "aa aa", "a abb"};
    init_book(b);
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) add_token(b, tokens[i], B2_TOKEN_NORMAL);
    for (size_t i = 0; i < sizeof merges / sizeof merges[0]; i++) add_merge(b, merges[i]);
}

/* The definition, without a queue: look through the whole word for the pair of lowest rank, the leftmost; join it. */
static size_t merge_plainly(const b2_merge_table *table, size_t n_merges, int32_t *ids, size_t n) {
    for (;;) {
        size_t best_rank = n_merges, best = 0;
        for (size_t i = 0; i + 1 < n; i++)
            for (size_t rank = 0; rank < best_rank; rank++)
                if (table->merges[rank].left == ids[i] && table->merges[rank].right == ids[i + 1]) {
                    best_rank = rank;
                    best = i;
                }
        if (best_rank == n_merges) return n;
        ids[best] = table->merges[best_rank].result;
        n--;
        memmove(ids + best + 1, ids + best + 2, (n - best - 1) * sizeof *ids);
    }
}

static void create_table(const book *b, b2_merge_table *table) {
    b2_pieces pieces;
    assert_int_equal(b2_pieces_create(&b->v, &pieces, NULL), BLIP2_OK);
    assert_int_equal(b2_merge_table_create(&b->v, &pieces, table, NULL), BLIP2_OK);
    b2_pieces_free(&pieces);
}

static void test_merges_as_the_definition_says(void **state) {
    (void)state;
    book b;
    init_tangle(&b);
    b2_merge_table table;
    create_table(&b, &table);
    b2_tokenizer *t = create(&b);
    for (unsigned bits = 0; bits < 1u << 14; bits++) { /* all words of 1 to 13 letters a, b */
        char word[16];
        int32_t ids[16], plain[16];
        size_t len = 0, n_ids;
        for (unsigned rest = bits; rest > 1; rest >>= 1, len++) {
            word[len] = (char)('a' + (rest & 1));
            plain[len] = word[len];
        }
        assert_int_equal(b2_tokenizer_encode(t, word, len, ids, 16, &n_ids, NULL), BLIP2_OK);
        assert_int_equal(n_ids, merge_plainly(&table, b.v.n_merges, plain, len));
        assert_memory_equal(ids, plain, n_ids * sizeof *ids);
    }
    b2_tokenizer_free(t);
    b2_merge_table_free(&table);
}

/* Words that need memory of their own (around and beyond B2_PIECE_FREE_BYTES) merge like short ones. */
static void test_long_words_merge_like_short_ones(void **state) {
    (void)state;
    enum { MAX_LEN = 2 * B2_PIECE_FREE_BYTES };
    book b;
    init_tangle(&b);
    b2_merge_table table;
    create_table(&b, &table);
    b2_tokenizer *t = create(&b);
    char word[MAX_LEN];
    int32_t ids[MAX_LEN], plain[MAX_LEN];
    uint32_t random = 1;
    for (size_t len = B2_PIECE_FREE_BYTES - 2; len <= MAX_LEN; len += len < B2_PIECE_FREE_BYTES + 2 ? 1 : 127) {
        size_t n_ids;
        for (size_t i = 0; i < len; i++) {
            random = random * 1664525u + 1013904223u;
            word[i] = (char)('a' + (random >> 31));
            plain[i] = word[i];
        }
        assert_int_equal(b2_tokenizer_encode(t, word, len, ids, MAX_LEN, &n_ids, NULL), BLIP2_OK);
        assert_int_equal(n_ids, merge_plainly(&table, b.v.n_merges, plain, len));
        assert_memory_equal(ids, plain, n_ids * sizeof *ids);
    }
    b2_tokenizer_free(t);
    b2_merge_table_free(&table);
}

/* At most 3 n entries come into a queue of at most 2 n, each moves up once and down once by the height: so many steps,
 * no more, whatever the word. A million letters: 1.3e8 moves at the very worst, not 1e12. */
static void test_long_words_cost_n_log_n(void **state) {
    (void)state;
    static const char *const patterns[] = {"a", "ab", "ba", "aab", "abb", "aabbab", "bbbaaa"};
    const size_t n = (size_t)1 << 20;
    const uint64_t height = 21;
    book b;
    init_tangle(&b);
    b2_merge_table table;
    create_table(&b, &table);
    int32_t byte_ids[256];
    for (int i = 0; i < 256; i++) byte_ids[i] = i;
    char *word = malloc(n);
    b2_merge_work work = {.symbols = malloc(n * sizeof *work.symbols), .queue = malloc(2 * n * sizeof *work.queue)};
    assert_true(word != NULL && work.symbols != NULL && work.queue != NULL);
    for (size_t p = 0; p < sizeof patterns / sizeof patterns[0]; p++) {
        const size_t period = strlen(patterns[p]);
        for (size_t i = 0; i < n; i++) word[i] = patterns[p][i % period];
        work.n_steps = 0;
        b2_merge_word(&table, byte_ids, word, n, &work);
        assert_true(work.n_steps > n / 2); /* they are counted at all */
        assert_true(work.n_steps <= 3 * n * 2 * height);
        size_t n_symbols = 0;
        for (uint32_t s = 0; s != B2_NO_SYMBOL; s = work.symbols[s].next) n_symbols++;
        assert_true(n_symbols <= n / 2 + 1);
    }
    free(word);
    free(work.symbols);
    free(work.queue);
    b2_merge_table_free(&table);
}

/* ---- decoding ---------------------------------------------------------------------------------------------------- */

static void test_decode_cuts_between_characters(void **state) {
    (void)state;
    /* characters of 1, 2, 3 (in place of a broken byte), 4 and 1 bytes */
    static const char whole[] = "a\xC3\xA9\xEF\xBF\xBD\xF0\x9F\x90\xB6z";
    static const size_t fits[] = {0, 0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11};
    static const int32_t ids[] = {'a', 0xC3, 0xA9, 0xFF, 0xF0, 0x9F, 0x90, 0xB6, 'z'};
    book b;
    init_book(&b);
    b2_tokenizer *t = create(&b);
    for (size_t capacity = 0; capacity <= 12; capacity++) {
        char text[16];
        memset(text, '#', sizeof text);
        assert_int_equal(b2_tokenizer_decode(t, ids, sizeof ids / sizeof ids[0], text, capacity), 11);
        assert_memory_equal(text, whole, fits[capacity]);
        if (capacity > 0) assert_int_equal(text[fits[capacity]], '\0');
        for (size_t i = capacity; i < sizeof text; i++) assert_int_equal(text[i], '#');
    }
    assert_int_equal(b2_tokenizer_decode(t, ids, 9, NULL, 0), 11);
    assert_int_equal(b2_tokenizer_decode(t, NULL, 0, NULL, 0), 0);
    b2_tokenizer_free(t);
}

/* A piece with a character outside the alphabet means its own bytes, as in `tokenizers`. */
static void test_decode_of_foreign_pieces(void **state) {
    (void)state;
    book b;
    init_book(&b);
    const int32_t ids[] = {add_token(&b, "\xC4\xA0\xE6\xBC\xA2", B2_TOKEN_NORMAL), /* U+0120, then a CJK character */
                           add_token(&b, "\xC4\xA0x", B2_TOKEN_NORMAL)};
    b2_tokenizer *t = create(&b);
    char text[16];
    b2_tokenizer_decode(t, ids, 2, text, sizeof text);
    assert_string_equal(text, "\xC4\xA0\xE6\xBC\xA2 x");
    b2_tokenizer_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alphabet_has_one_character_for_each_byte),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_refuses_bad_tokens),
        cmocka_unit_test(test_refuses_bad_merges),
        cmocka_unit_test(test_specials_are_cut_out),
        cmocka_unit_test(test_capacity_is_respected),
        cmocka_unit_test(test_refuses_what_is_not_utf8),
        cmocka_unit_test(test_merges_as_the_definition_says),
        cmocka_unit_test(test_long_words_merge_like_short_ones),
        cmocka_unit_test(test_long_words_cost_n_log_n),
        cmocka_unit_test(test_decode_cuts_between_characters),
        cmocka_unit_test(test_decode_of_foreign_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
