/* test_words.c: word lists, and the words of a text. */
#include "words/match.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* "colors|textures|patterns|materials|dropped|ambiguous" of a text. */
static void expect_words(const char *text, const char *want) {
    b2_words words = {0};
    b2_matches matches = {0};
    blip2_error err;
    assert_int_equal(b2_words_add_builtin(&words, "all", &err), BLIP2_OK);
    assert_int_equal(b2_match_text(&words, B2_MATCH_WORD, text, &matches, &err), BLIP2_OK);
    char got[400] = "";
    for (size_t i = 0; i < b2_match_columns(&words, B2_MATCH_WORD); i++) {
        char *joined = b2_match_join(&words, B2_MATCH_WORD, text, &matches, i);
        const size_t len = strlen(got);
        snprintf(got + len, sizeof got - len, "%s%s", i > 0 ? "|" : "", joined);
        free(joined);
    }
    for (size_t i = 0; i < matches.n; i++) assert_true(matches.items[i].start + matches.items[i].len <= strlen(text));
    if (strcmp(got, want) != 0) fail_msg("\"%s\": expected %s, got %s", text, want, got);
    b2_matches_free(&matches);
    b2_words_free(&words);
}

static void test_words_of_captions(void **state) {
    (void)state;
    expect_words("", "|||||");
    expect_words("A pair of Orange plastic toys on a white background", "orange|||plastic|white|orange");
    expect_words("a red and blue ring on a black and white background", "red; blue||||black; white|");
    expect_words("standing rectangle necklace bicycle through start source tangled impaired", "|||||");
    expect_words("a reddish, bluish, greenish and purplish thing", "red; blue; green; purple|||||");
    expect_words("grey stripes, dots and spiky holes", "gray|spiky; perforated|striped; dotted|||");
    expect_words("a rusty wire with rusted edges", "|rusty||wire||");
    expect_words("sky blue, light blue and blue", "sky blue; blue|||||");
    expect_words("red/green, blue-green", "red; green; blue; blue-green|||||");
    expect_words("a yellow-colored toy; a colored toy", "yellow; multicolor|||||");
    expect_words("a white table", "white|||||");
    expect_words("a cup on a white table", "||||white|");
    expect_words("an object against a dark blue wall", "||||dark blue|");
    expect_words("a green toy in the background", "green|||||");
    expect_words("tie dye, tie-dyed", "||tie dye|||");
    expect_words("ch\xC3\xA2teau red\xC3\xA9 \xFF red", "red|||||");
}

static void test_python_s_lower(void **state) {
    (void)state;
    size_t *origin;
    char *lower = b2_lower("\xC3\x89\xC4\xB0\xE2\x84\xAAx", &origin); /* E acute, dotted I, Kelvin sign */
    assert_string_equal(lower, "\xC3\xA9i\xCC\x87kx");
    assert_int_equal(origin[0], 0);
    assert_int_equal(origin[2], 2);
    assert_int_equal(origin[5], 4);
    assert_int_equal(origin[6], 7);
    assert_int_equal(origin[7], 8);
    free(lower);
    free(origin);
}

static void count_and_keep(void *context, const char *word) {
    char *got = context;
    strcat(strcat(got, word), "|");
}

/* A term is one word for whoever asks for words, whatever characters it is made of. */
static void test_a_term_with_the_separator_in_it(void **state) {
    (void)state;
    static const char list[] = "red, green\nred; blue\nball\n";
    const char *text = "a red, green ball, red; blue";
    for (b2_match_mode mode = B2_MATCH_WORD; mode <= B2_MATCH_SUBSTRING; mode++) {
        b2_words words = {0};
        b2_matches matches = {0};
        blip2_error err;
        char got[100] = "";
        assert_int_equal(b2_words_add_list(&words, "own", list, sizeof list - 1, &err), BLIP2_OK);
        assert_int_equal(b2_match_text(&words, mode, text, &matches, &err), BLIP2_OK);
        assert_true(b2_match_each(&words, mode, text, &matches, 0, count_and_keep, got));
        assert_string_equal(got, mode == B2_MATCH_SUBSTRING ? "red, green|red; blue|ball|" : "ball|");
        b2_matches_free(&matches);
        b2_words_free(&words);
    }
}

/* Every kind of text that made a match look at all others: seconds of CPU time for two million bytes, where it took
 * minutes. */
static void test_time_is_linear_in_the_text(void **state) {
    static const char *const units[] = {"red cat on blue wall ", "background ", "background is red red ",
                                        "red-blue green-red ",   "red ",        "wall "};
    enum { N_BYTES = 2000000 };
    static const char own[] = "background\nwall\nis\n";
    (void)state;
    b2_words words = {0};
    b2_matches matches = {0};
    char *text = malloc(N_BYTES + 1);
    assert_int_equal(b2_words_add_builtin(&words, "all", NULL), BLIP2_OK);
    assert_int_equal(b2_words_add_list(&words, "own", own, sizeof own - 1, NULL), BLIP2_OK);
    const clock_t began = clock();
    for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
        const size_t len = strlen(units[u]);
        for (size_t i = 0; i < N_BYTES; i++) text[i] = units[u][i % len];
        text[N_BYTES] = '\0';
        assert_int_equal(b2_match_text(&words, B2_MATCH_WORD, text, &matches, NULL), BLIP2_OK);
        for (size_t c = 0; c < b2_match_columns(&words, B2_MATCH_WORD); c++)
            free(b2_match_join(&words, B2_MATCH_WORD, text, &matches, c));
    }
    assert_true((double)(clock() - began) / CLOCKS_PER_SEC < 60);
    b2_matches_free(&matches);
    b2_words_free(&words);
    free(text);
}

static void test_lists_that_are_refused(void **state) {
    (void)state;
    b2_words words = {0};
    blip2_error err;
    assert_int_equal(b2_words_add_list(&words, "own", "\xEF\xBB\xBFred\n", 7, &err), BLIP2_OK); /* without its mark */
    assert_string_equal(words.terms[0].name, "red");
    assert_int_equal(b2_words_add_list(&words, "own", "blue", 4, &err), BLIP2_ARGUMENT);
    assert_string_equal(err.message, "the word list 'own' is named twice");
    assert_int_equal(b2_words_add_list(&words, "zero", "a\0b", 3, &err), BLIP2_FORMAT);
    assert_string_equal(err.message, "zero: not a word list: it holds NUL bytes");
    assert_int_equal(b2_words_add_list(&words, "long", "a b c d e f g", 13, &err), BLIP2_LIMIT);
    assert_int_equal(b2_words_add_file(&words, "/nowhere/list", &err), BLIP2_IO);
    b2_words_free(&words);
    assert_int_equal(b2_words_add_list(&words, "none", "\n# only this\n", 13, &err), BLIP2_FORMAT);
    b2_words_free(&words);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words_of_captions),
        cmocka_unit_test(test_python_s_lower),
        cmocka_unit_test(test_a_term_with_the_separator_in_it),
        cmocka_unit_test(test_time_is_linear_in_the_text),
        cmocka_unit_test(test_lists_that_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
