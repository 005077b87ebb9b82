/* test_answers.c: answers from a list: against transformers' prefix_allowed_tokens_fn and, for the older beams, an
 * independent description (tests/golden/generate/answers.json, made by tests/tools/make_generate_golden.py); the trie
 * against a search of the whole list; the file that the list comes from. */
#include "convert/convert.h"
#include "fixture.h"

#include "blip2.h"
#include "blip2_model.h"
#include "generate/trie.h"
#include "job/decoding.h"
#include "lists/line_list.h"
#include "tests/random.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { N_NEW = 30, N_PROMPT = 16, N_BEAMS = 5, MAX_LIST = 128 };
#define SCORE_ERROR 2e-3

/* ---- the trie ---------------------------------------------------------------------------------------------------- */

enum { N_TEXTS = 300, MAX_IDS = 6, N_VOCAB = 12 };

/* Texts of few ids, so that many begin alike; some are there twice. Id 0 ends each. */
static size_t make_texts(int32_t ids[N_TEXTS][MAX_IDS], b2_trie_text *texts) {
    uint64_t seed = 15;
    for (size_t i = 0; i < N_TEXTS; i++) {
        const size_t n = next_below(&seed, MAX_IDS);
        for (size_t k = 0; k < n; k++) ids[i][k] = (int32_t)(1 + next_below(&seed, N_VOCAB - 2));
        ids[i][n] = 0;
        texts[i] = (b2_trie_text){ids[i], n + 1};
    }
    return N_TEXTS;
}

/* Does a text begin with ids[n]? */
static bool begins(const int32_t *text, size_t text_len, const int32_t *ids, size_t n) {
    return n <= text_len && memcmp(text, ids, n * sizeof *ids) == 0;
}

static void test_a_trie_allows_what_a_search_finds(void **state) {
    (void)state;
    static int32_t ids[N_TEXTS][MAX_IDS];
    b2_trie_text texts[N_TEXTS], sorted[N_TEXTS];
    const size_t n = make_texts(ids, texts);
    memcpy(sorted, texts, sizeof sorted);
    b2_trie trie = {sorted, n};
    b2_trie_sort(&trie);
    assert_true(trie.n > N_TEXTS / 3 && trie.n < N_TEXTS);
    size_t n_allowed = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t len = 0; len < texts[i].n; len++) {
            float scores[N_VOCAB] = {0};
            b2_trie_process(&trie, texts[i].ids, len, scores, N_VOCAB);
            for (int32_t id = 0; id < N_VOCAB; id++) {
                int32_t longer[MAX_IDS];
                bool is_allowed = false;
                memcpy(longer, texts[i].ids, len * sizeof *longer);
                longer[len] = id;
                for (size_t k = 0; k < n && !is_allowed; k++)
                    is_allowed = begins(texts[k].ids, texts[k].n, longer, len + 1);
                assert_true(is_allowed ? scores[id] == 0 : scores[id] == -INFINITY);
                n_allowed += is_allowed;
            }
        }
    assert_true(n_allowed > 1000);
    static const int32_t nowhere[2] = {N_VOCAB - 1, 3}, ended[3] = {0, 0, 0};
    float scores[N_VOCAB] = {0};
    b2_trie_process(&trie, nowhere, 2, scores, N_VOCAB);
    for (size_t id = 0; id < N_VOCAB; id++) assert_true(scores[id] == -INFINITY);
    float after[N_VOCAB] = {0};
    b2_trie_process(&trie, ended, 3, after, N_VOCAB);
    for (size_t id = 0; id < N_VOCAB; id++) assert_true(after[id] == -INFINITY);
}

/* ---- the file ---------------------------------------------------------------------------------------------------- */

static blip2_status parse(const char *bytes, size_t n, bool keeps_spaces, b2_line_list *list, blip2_error *err) {
    char *text = malloc(n + 1);
    memcpy(text, bytes, n);
    text[n] = '\0';
    *list = (b2_line_list){.keeps_spaces = keeps_spaces};
    return b2_line_list_parse(list, text, n, "list.txt", err);
}

static void expect_refused(const char *bytes, size_t n, blip2_status status, const char *sentence) {
    b2_line_list list;
    blip2_error err;
    assert_int_equal(parse(bytes, n, false, &list, &err), status);
    assert_string_equal(err.message, sentence);
    b2_line_list_free(&list);
}

static void test_lines_of_a_file(void **state) {
    (void)state;
    static const char text[] = "\xEF\xBB\xBFred\r\n\n \t \n  dark  blue\t\n#1\nd\xC3\xA9j\xC3\xA0 vu";
    b2_line_list list, other;
    assert_int_equal(parse(text, sizeof text - 1, false, &list, NULL), BLIP2_OK);
    assert_int_equal(list.n, 4);
    assert_string_equal(list.lines[0], "red");
    assert_string_equal(list.lines[1], "dark  blue");
    assert_string_equal(list.lines[2], "#1");
    assert_string_equal(list.lines[3], "d\xC3\xA9j\xC3\xA0 vu");
    /* line ends, blank lines and spaces at the ends are no other list; order and words are */
    static const char same[] = "red\ndark  blue\n#1\nd\xC3\xA9j\xC3\xA0 vu\n", swapped[] = "dark  blue\nred\n";
    assert_int_equal(parse(same, sizeof same - 1, false, &other, NULL), BLIP2_OK);
    assert_true(b2_line_list_hash(&list) == b2_line_list_hash(&other) && b2_line_list_hash(&list) != 0);
    b2_line_list_free(&other);
    assert_int_equal(parse(swapped, sizeof swapped - 1, false, &other, NULL), BLIP2_OK);
    assert_true(b2_line_list_hash(&list) != b2_line_list_hash(&other));
    b2_line_list_free(&other);
    b2_line_list_free(&list);
    assert_int_equal(parse(" a \n \n", 6, true, &list, NULL), BLIP2_OK);
    assert_int_equal(list.n, 2);
    assert_string_equal(list.lines[0], " a ");
    b2_line_list_free(&list);
    expect_refused("", 0, BLIP2_FORMAT, "list.txt: no texts, expected one a line");
    expect_refused(" \n\r\n", 4, BLIP2_FORMAT, "list.txt: no texts, expected one a line");
    expect_refused("a\nb\0c\n", 6, BLIP2_FORMAT, "list.txt: expected text, one a line: it holds NUL bytes");
    expect_refused("a\n\nb\xFF\n", 6, BLIP2_FORMAT, "list.txt: line 3 is not UTF-8");
    char longest[B2_MAX_LINE_BYTES + 1];
    memset(longest, 'x', sizeof longest);
    assert_int_equal(parse(longest, sizeof longest - 1, false, &list, NULL), BLIP2_OK);
    b2_line_list_free(&list);
    expect_refused(longest, sizeof longest, BLIP2_LIMIT, "list.txt: line 1 has 4097 bytes, expected at most 4096");
}

/* ---- a model ----------------------------------------------------------------------------------------------------- */

typedef struct world {
    blip2_model *model;
    blip2_session *session;
} world;

static bool is_demo(const char *name) { return strcmp(name, "demo") == 0; }

static void open_world(const char *name, b2_dtype type, world *w) {
    char source[96], path[] = "/tmp/blip2_answers_XXXXXX";
    blip2_error err;
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    b2_convert_options options = b2_convert_options_default();
    snprintf(source, sizeof source, is_demo(name) ? "data/demo/model" : "tests/golden/models/%s", name);
    options.source = source;
    options.output = path;
    options.type = type;
    if (b2_convert(&options, &err) != BLIP2_OK || blip2_model_open(path, &w->model, &err) != BLIP2_OK)
        fail_msg("%s: %s", name, err.message);
    unlink(path); /* mapped all the same */
    blip2_session_options o;
    blip2_session_options_default(&o);
    o.n_threads = 2;
    o.max_requests = 2;
    o.max_results = N_BEAMS;
    o.max_prompt_tokens = N_PROMPT;
    o.max_new_tokens = N_NEW;
    if (blip2_session_create(w->model, &o, &w->session, &err) != BLIP2_OK) fail_msg("%s", err.message);
}

static void close_world(world *w) {
    blip2_session_free(&w->session);
    blip2_model_close(&w->model);
}

static void see(world *w, const char *model, const char *picture) {
    char path[160];
    blip2_image *image = NULL;
    blip2_error err;
    if (is_demo(model)) snprintf(path, sizeof path, "data/demo/images/%s", picture);
    else snprintf(path, sizeof path, "tests/golden/models/%s/%s", model, picture);
    if (blip2_image_load(w->model, path, NULL, &image, &err) != BLIP2_OK) fail_msg("%s", err.message);
    assert_int_equal(blip2_session_encode(w->session, &image, 1, &err), BLIP2_OK);
    blip2_image_free(&image);
}

/* ---- goldens ----------------------------------------------------------------------------------------------------- */

static const char *text_of(const json_t *row, const char *key) { return json_string_value(json_object_get(row, key)); }

static blip2_answers *make_answers(const world *w, const json_t *list) {
    const char *texts[MAX_LIST];
    blip2_answers *answers = NULL;
    blip2_error err;
    assert_true(json_array_size(list) <= MAX_LIST);
    for (size_t i = 0; i < json_array_size(list); i++) texts[i] = json_string_value(json_array_get(list, i));
    if (blip2_answers_create(w->model, texts, json_array_size(list), &answers, &err) != BLIP2_OK)
        fail_msg("%s", err.message);
    return answers;
}

static void check_row(world *w, const json_t *row, const json_t *list) {
    size_t n_rows;
    const b2_decoding_row *rows = b2_decoding_rows(&n_rows);
    const json_t *want = json_object_get(row, "answers"), *scores = json_object_get(row, "scores");
    blip2_answers *answers = make_answers(w, list);
    blip2_decoding d = b2_decoding_fallback();
    blip2_error err;
    assert_true(b2_decoding_from_json(rows, n_rows, json_object_get(row, "setting"), &d));
    d.answers = answers;
    const blip2_request request = {.prompt = text_of(row, "prompt")};
    see(w, text_of(row, "model"), text_of(row, "picture"));
    if (blip2_session_generate(w->session, &request, 1, &d, &err) != BLIP2_OK) fail_msg("%s", err.message);
    const char *all = json_dumps(row, JSON_COMPACT);
    if (blip2_session_n_results(w->session, 0) != json_array_size(want)) fail_msg("%s", all);
    for (size_t i = 0; i < json_array_size(want); i++) {
        blip2_result r = {.struct_bytes = sizeof r};
        assert_true(blip2_session_result(w->session, 0, i, &r));
        const char *text = json_string_value(json_array_get(list, (size_t)json_integer_value(json_array_get(want, i))));
        if (strcmp(r.text, text) != 0) fail_msg("%s: %zu is '%s'", all, i, r.text);
        assert_int_equal(r.ending, BLIP2_ENDED_STOP);
        const double score = json_number_value(json_array_get(scores, i));
        if (d.num_beams > 1 && fabs(r.score - score) > SCORE_ERROR) fail_msg("%s: %g", all, r.score);
    }
    free((void *)(uintptr_t)all);
    blip2_answers_free(&answers);
}

static void test_answers_are_those_of_transformers(void **state) {
    (void)state;
    json_error_t error;
    json_t *rows = json_load_file("tests/golden/generate/answers.json", 0, &error);
    if (rows == NULL) fail_msg("%s", error.text);
    const json_t *lists = json_object_get(json_array_get(rows, 0), "lists");
    world w = {0};
    const char *open = "";
    size_t n_checked = 0;
    for (size_t i = 1; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        if (json_is_true(json_object_get(row, "near_tie"))) continue;
        if (strcmp(open, text_of(row, "model")) != 0) {
            close_world(&w);
            open = text_of(row, "model");
            open_world(open, B2_DTYPE_F32, &w);
        }
        check_row(&w, row, json_object_get(lists, text_of(row, "list")));
        n_checked++;
    }
    close_world(&w);
    json_decref(rows);
    printf("# %zu rows\n", n_checked);
    assert_true(n_checked > 600);
}

/* ---- promises ---------------------------------------------------------------------------------------------------- */

/* What a decoding says of the first picture of the demo, of one request. */
static blip2_result say(world *w, const blip2_decoding *d, size_t rank) {
    const blip2_request request = {.question = "what color is the object?"};
    blip2_result r = {.struct_bytes = sizeof r};
    blip2_error err;
    if (blip2_session_generate(w->session, &request, 1, d, &err) != BLIP2_OK) fail_msg("%s", err.message);
    assert_true(blip2_session_result(w->session, 0, rank, &r));
    return r;
}

/* Drawn at a high temperature, where any id may come: always one of the list, the empty one where it is there. */
static void test_samples_are_answers_too(void **state) {
    (void)state;
    static const char *const texts[] = {"red", "yellow", "", "a ring of fire"};
    enum { N = 4 };
    size_t n_said[N] = {0};
    world w = {0};
    blip2_error err;
    open_world("demo", B2_DTYPE_I8, &w);
    see(&w, "demo", "00.png");
    for (size_t n = 2; n <= N; n += 2) {
        blip2_answers *answers = NULL;
        blip2_decoding d;
        assert_int_equal(blip2_answers_create(w.model, texts, n, &answers, &err), BLIP2_OK);
        blip2_decoding_default(&d);
        d.answers = answers;
        d.do_sample = true;
        d.top_k = 0;
        d.temperature = 100;
        for (size_t seed = 0; seed < 64; seed++) {
            d.seed = seed;
            const blip2_result r = say(&w, &d, 0);
            size_t k = 0;
            while (k < n && strcmp(texts[k], r.text) != 0) k++;
            assert_true(k < n && r.ending == BLIP2_ENDED_STOP);
            assert_int_equal(r.is_empty, k == 2);
            n_said[k]++;
        }
        blip2_answers_free(&answers);
    }
    for (size_t k = 0; k < N; k++) assert_true(n_said[k] > 0);
    close_world(&w);
}

/* All answers of a short list, each once, whatever the beams; and where rules forbid some, those that are left. */
static void test_beams_find_all_of_a_short_list(void **state) {
    (void)state;
    static const char *const texts[] = {"red", "red ring", "yellow", "red"};
    static const char *const forms[] = {"current", "classic", "lavis"};
    world w = {0};
    blip2_error err;
    blip2_answers *answers = NULL;
    open_world("demo", B2_DTYPE_I8, &w);
    see(&w, "demo", "00.png");
    assert_int_equal(blip2_answers_create(w.model, texts, 4, &answers, &err), BLIP2_OK);
    for (size_t form = 0; form < 6; form++) {
        blip2_decoding d;
        blip2_decoding_default(&d);
        d.answers = answers;
        d.num_beams = N_BEAMS;
        d.num_return_sequences = 3;
        d.beam_search = forms[form % 3];
        d.do_sample = form >= 3;
        unsigned seen = 0;
        for (size_t rank = 0; rank < 3; rank++) {
            const blip2_result r = say(&w, &d, rank);
            assert_int_equal(blip2_session_n_results(w.session, 0), 3);
            for (size_t k = 0; k < 3; k++) seen |= (unsigned)(strcmp(r.text, texts[k]) == 0) << k;
            assert_true(isfinite(r.score) && r.ending == BLIP2_ENDED_STOP);
        }
        if (form < 5) assert_int_equal(seen, 7); /* lavis draws from beams that begin alike: one may come twice */
        assert_true(seen != 0);
        d.num_return_sequences = 4; /* two are equal */
        assert_int_equal(blip2_decoding_check(w.model, &d, &err), BLIP2_ARGUMENT);
        assert_non_null(strstr(err.message, "the 3 answers there are"));
    }
    blip2_answers_free(&answers);
    close_world(&w);
}

/* Rules that forbid what the list wants: fewer results, or one that says so; never another text, never a crash. */
static void test_rules_that_leave_nothing(void **state) {
    (void)state;
    static const char *const texts[] = {"red", "yellow"};
    world w = {0};
    blip2_error err;
    blip2_answers *answers = NULL;
    blip2_texts *ids = NULL;
    blip2_score score = {.struct_bytes = sizeof score};
    const blip2_request request = {.question = "what color is the object?"};
    open_world("demo", B2_DTYPE_I8, &w);
    see(&w, "demo", "00.png");
    assert_int_equal(blip2_answers_create(w.model, texts, 2, &answers, &err), BLIP2_OK);
    assert_int_equal(blip2_texts_create(w.model, texts, 2, 1, &ids, &err), BLIP2_OK);
    assert_int_equal(blip2_session_score(w.session, &request, 1, ids, &err), BLIP2_OK);
    int32_t first[2];
    for (size_t k = 0; k < 2; k++) {
        assert_true(blip2_texts_score(ids, 0, k, &score));
        first[k] = score.tokens[0];
    }
    for (size_t n_forbidden = 1; n_forbidden <= 2; n_forbidden++) {
        char forbidden[64];
        if (n_forbidden == 1) snprintf(forbidden, sizeof forbidden, "[%d]", first[1]);
        else snprintf(forbidden, sizeof forbidden, "[%d,%d]", first[0], first[1]);
        for (size_t way = 0; way < 5; way++) {
            blip2_decoding d;
            blip2_decoding_default(&d);
            d.answers = answers;
            d.suppress_tokens = forbidden;
            d.num_beams = way < 2 ? 1 : N_BEAMS;
            d.do_sample = way % 2 == 1;
            d.num_return_sequences = way < 2 ? 1 : 2;
            if (way == 4) d.beam_search = "classic";
            const blip2_result r = say(&w, &d, 0);
            assert_int_equal(blip2_session_n_results(w.session, 0), 1);
            assert_int_equal(r.ending, n_forbidden == 1 ? BLIP2_ENDED_STOP : BLIP2_ENDED_NOT_FINITE);
            assert_string_equal(r.text, n_forbidden == 1 ? "red" : "");
        }
    }
    blip2_texts_free(&ids);
    blip2_answers_free(&answers);
    close_world(&w);
}

static void test_what_is_refused(void **state) {
    (void)state;
    static const char *const texts[] = {
        "red", "a\nb", "\xff",
        "a very long answer of quite a few tokens, more than a session of thirty has room for, it goes on on"};
    world w = {0}, other = {0};
    blip2_error err;
    blip2_answers *answers = NULL;
    blip2_decoding d;
    const blip2_request request = {0};
    open_world("demo", B2_DTYPE_I8, &w);
    open_world("odd", B2_DTYPE_I8, &other);
    see(&w, "demo", "00.png");
    assert_int_equal(blip2_answers_create(w.model, texts, 0, &answers, &err), BLIP2_ARGUMENT);
    assert_int_equal(blip2_answers_create(w.model, texts, BLIP2_MAX_ANSWERS + 1, &answers, &err), BLIP2_ARGUMENT);
    assert_int_equal(blip2_answers_create(w.model, texts, 2, &answers, &err), BLIP2_ARGUMENT);
    assert_non_null(strstr(err.message, "answer 2 holds the id"));
    assert_int_equal(blip2_answers_create(w.model, texts + 2, 1, &answers, &err), BLIP2_ARGUMENT);
    assert_null(answers);
    blip2_answers_free(&answers);
    assert_int_equal(blip2_answers_create(other.model, texts, 1, &answers, &err), BLIP2_OK);
    blip2_decoding_default(&d);
    d.answers = answers;
    assert_int_equal(blip2_decoding_check(w.model, &d, &err), BLIP2_ARGUMENT);
    assert_string_equal(err.message, "the answers were made for another model");
    assert_int_equal(blip2_decoding_check(other.model, &d, &err), BLIP2_OK);
    blip2_answers_free(&answers);
    assert_null(answers);
    assert_int_equal(blip2_answers_create(w.model, texts, 1, &answers, &err), BLIP2_OK);
    d.answers = answers;
    d.min_new_tokens = 1;
    assert_int_equal(blip2_decoding_check(w.model, &d, &err), BLIP2_ARGUMENT);
    d.min_new_tokens = 0;
    d.forced_eos_token_id = 1;
    assert_int_equal(blip2_decoding_check(w.model, &d, &err), BLIP2_ARGUMENT);
    blip2_answers_free(&answers);
    blip2_decoding_default(&d);
    assert_int_equal(blip2_answers_create(w.model, texts + 3, 1, &answers, &err), BLIP2_OK);
    assert_true(blip2_answers_max_tokens(answers) > N_NEW);
    d.answers = answers;
    assert_int_equal(blip2_session_generate(w.session, &request, 1, &d, &err), BLIP2_LIMIT);
    blip2_answers_free(&answers);
    close_world(&w);
    close_world(&other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_trie_allows_what_a_search_finds),
        cmocka_unit_test(test_lines_of_a_file),
        cmocka_unit_test(test_answers_are_those_of_transformers),
        cmocka_unit_test(test_samples_are_answers_too),
        cmocka_unit_test(test_beams_find_all_of_a_short_list),
        cmocka_unit_test(test_rules_that_leave_nothing),
        cmocka_unit_test(test_what_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
