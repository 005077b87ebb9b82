/* test_rules.c: rules for the next id, against generate() of transformers on the golden checkpoints
 * (tests/golden/generate, made by tests/tools/make_generate_golden.py), and the texts that they are given as. */
#include "convert/convert.h"
#include "generate/ids.h"
#include "job/decoding.h"
#include "fixture.h"

#include "blip2.h"
#include "result.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { N_NEW = 12, N_PROMPT = 16, N_ROWS = 4, N_BEAMS = 8, N_BEST = 4 };
#define SCORE_ERROR 2e-3
#define LOGPROB_ERROR 1e-3

/* ---- lists of ids ------------------------------------------------------------------------------------------------ */

static size_t count_items(const char *text, b2_ids_kind kind, bool *is_wrong) {
    b2_ids w = b2_ids_walk(text, kind);
    size_t n = 0;
    while (b2_ids_next(&w)) n++;
    *is_wrong = w.is_wrong;
    return n;
}

static void test_lists_of_ids(void **state) {
    (void)state;
    bool is_wrong;
    b2_ids w = b2_ids_walk(" [ [[12, 34 ],-2.25],[[56],1] ] ", B2_IDS_BIASED);
    assert_true(b2_ids_next(&w) && w.n == 2 && w.ids[0] == 12 && w.ids[1] == 34 && w.number == -2.25);
    assert_true(b2_ids_next(&w) && w.n == 1 && w.ids[0] == 56 && w.number == 1);
    assert_false(b2_ids_next(&w) || w.is_wrong);
    w = b2_ids_walk("[10,1.5]", B2_IDS_DECAY);
    assert_true(b2_ids_next(&w) && w.ids[0] == 10 && w.number == 1.5 && !b2_ids_next(&w) && !w.is_wrong);
    assert_int_equal(count_items("[1,2,3]", B2_IDS, &is_wrong), 3);
    assert_int_equal(count_items("[[1,2],[3]]", B2_IDS_LISTS, &is_wrong), 2);
    assert_false(is_wrong);
    assert_int_equal(count_items(NULL, B2_IDS, &is_wrong), 0);
    assert_false(is_wrong);
    static const char *const wrong[] = {"",     "[",    "[]",    "1",          "[1",   "[1,]",
                                        "[1]2", "[-1]", "[1.5]", "[99999999]", "[[1]]"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        count_items(wrong[i], B2_IDS, &is_wrong);
        assert_true(is_wrong);
    }
    count_items("[[]]", B2_IDS_LISTS, &is_wrong);
    assert_true(is_wrong);
    count_items("[[1,2]]", B2_IDS_BIASED, &is_wrong);
    assert_true(is_wrong);
}

/* ---- goldens ----------------------------------------------------------------------------------------------------- */

static json_t *load_golden(const char *file) {
    char path[128];
    json_error_t error;
    snprintf(path, sizeof path, "tests/golden/generate/%s", file);
    json_t *rows = json_load_file(path, 0, &error);
    if (rows == NULL) fail_msg("%s: %s", path, error.text);
    return rows;
}

static const char *text_of(const json_t *row, const char *key) { return json_string_value(json_object_get(row, key)); }

/* A golden checkpoint as an f32 file, both its first pictures seen. */
typedef struct world {
    blip2_model *model;
    blip2_session *session;
    blip2_image *images[2];
} world;

static void open_world(const char *name, world *w) {
    static const char *const demo_pictures[] = {"data/demo/images/02.png", "data/demo/images/06.png"};
    const bool is_demo = strcmp(name, "demo") == 0;
    char source[96], path[] = "/tmp/blip2_rules_XXXXXX";
    blip2_error err;
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    b2_convert_options options = b2_convert_options_default();
    snprintf(source, sizeof source, is_demo ? "data/demo/model" : "tests/golden/models/%s", name);
    options.source = source;
    options.output = path;
    options.type = B2_DTYPE_F32;
    if (b2_convert(&options, &err) != BLIP2_OK || blip2_model_open(path, &w->model, &err) != BLIP2_OK)
        fail_msg("%s: %s", name, err.message);
    unlink(path); /* mapped all the same */
    blip2_session_options o;
    blip2_session_options_default(&o);
    o.n_threads = 2;
    o.max_images = 2;
    o.max_requests = N_ROWS;
    o.max_results = N_BEAMS;
    o.max_alternatives = N_BEST;
    o.max_prompt_tokens = N_PROMPT;
    o.max_new_tokens = N_NEW;
    if (blip2_session_create(w->model, &o, &w->session, &err) != BLIP2_OK) fail_msg("%s", err.message);
    for (size_t i = 0; i < 2; i++) {
        char picture[128];
        snprintf(picture, sizeof picture, "%s/picture%zu.png", source, i);
        if (is_demo) snprintf(picture, sizeof picture, "%s", demo_pictures[i]);
        if (blip2_image_load(w->model, picture, NULL, &w->images[i], &err) != BLIP2_OK) fail_msg("%s", err.message);
    }
    assert_int_equal(blip2_session_encode(w->session, w->images, 2, &err), BLIP2_OK);
}

static void close_world(world *w) {
    blip2_session_free(&w->session);
    for (size_t i = 0; i < 2; i++) blip2_image_free(&w->images[i]);
    blip2_model_close(&w->model);
}

/* The setting of a row, read as a journal's header is. */
static blip2_decoding decoding_of(const json_t *row) {
    size_t n;
    const b2_decoding_row *rows = b2_decoding_rows(&n);
    blip2_decoding d = b2_decoding_fallback();
    const json_t *setting = json_object_get(row, "setting");
    if (!b2_decoding_from_json(rows, n, setting, &d)) fail_msg("%s", json_dumps(setting, 0));
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)setting, key, value) {
        bool is_known = false;
        for (size_t i = 0; i < n; i++) is_known |= strcmp(rows[i].key, key) == 0;
        if (!is_known) fail_msg("no option %s", key);
    }
    d.max_new_tokens = N_NEW;
    return d;
}

/* Ids of one text, or of several, best first, with their scores. */
static bool is_equal_text(const blip2_result *result, const json_t *tokens) {
    bool is_same = result->n_tokens == json_array_size(tokens);
    for (size_t t = 0; is_same && t < result->n_tokens; t++)
        is_same = result->tokens[t] == (int32_t)json_integer_value(json_array_get(tokens, t));
    return is_same;
}

static void check_number(const json_t *row, const char *what, double is, const json_t *expected) {
    if (!(fabs(is - json_number_value(expected)) < LOGPROB_ERROR))
        fail_msg("%s: %s %g, expected %g", json_dumps(row, JSON_COMPACT), what, is, json_number_value(expected));
}

/* What is told beside a text whose ids are right. */
static void check_logprobs(blip2_session *session, size_t request, size_t rank, const json_t *row) {
    const json_t *logprobs = json_array_get(json_object_get(row, "logprobs"), rank),
                 *processed = json_array_get(json_object_get(row, "processed"), rank),
                 *best = json_array_get(json_object_get(row, "best"), rank);
    blip2_result r = {.struct_bytes = sizeof r};
    double sum = 0;
    assert_true(blip2_session_result(session, request, rank, &r));
    assert_non_null(r.processed_logprobs);
    for (size_t t = 0; t < r.n_tokens; t++) {
        const json_t *pairs = json_array_get(best, t);
        blip2_alternative a = {.struct_bytes = sizeof a};
        check_number(row, "log-probability", (double)r.token_logprobs[t], json_array_get(logprobs, t));
        check_number(row, "processed", (double)r.processed_logprobs[t], json_array_get(processed, t));
        sum += (double)r.processed_logprobs[t];
        for (size_t k = 0; k < json_array_size(pairs); k++) {
            const json_t *pair = json_array_get(pairs, k);
            assert_true(blip2_session_alternative(session, request, rank, t, k, &a));
            check_number(row, "alternative", (double)a.logprob, json_array_get(pair, 1));
            assert_int_equal(a.id, json_integer_value(json_array_get(pair, 0)));
            if (a.id == r.tokens[t]) assert_true(a.logprob == r.token_logprobs[t]); /* to the bit */
        }
        assert_false(blip2_session_alternative(session, request, rank, t, json_array_size(pairs), &a));
        assert_false(blip2_session_alternative(session, request, rank, r.n_tokens, 0, &a));
    }
    assert_true(r.processed_logprob == sum);
}

static bool is_equal(const blip2_session *session, size_t request, const json_t *row) {
    const json_t *tokens = json_object_get(row, "tokens"), *scores = json_object_get(row, "scores");
    const size_t n = scores == NULL ? 1 : json_array_size(scores);
    bool is_same = blip2_session_n_results(session, request) == n;
    for (size_t i = 0; is_same && i < n; i++) {
        blip2_result r = {.struct_bytes = sizeof r};
        is_same = blip2_session_result(session, request, i, &r) &&
                  is_equal_text(&r, scores == NULL ? tokens : json_array_get(tokens, i)) &&
                  (scores == NULL || fabs(r.score - json_number_value(json_array_get(scores, i))) < SCORE_ERROR);
    }
    return is_same;
}

/* How many rows from `first` on share its checkpoint and its setting. */
static size_t count_rows(const json_t *rows, size_t first) {
    const json_t *row = json_array_get(rows, first), *each = row;
    size_t n = 0;
    while (n < N_ROWS && each != NULL && strcmp(text_of(each, "model"), text_of(row, "model")) == 0 &&
           json_equal(json_object_get(each, "setting"), json_object_get(row, "setting")))
        each = json_array_get(rows, first + ++n);
    return n;
}

/* The n rows from `first` on, in one batch. */
static void check_setting(const world *w, const json_t *rows, size_t first, size_t n, size_t *n_checked) {
    blip2_request requests[N_ROWS];
    blip2_error err;
    const json_t *row = json_array_get(rows, first);
    const blip2_decoding decoding = decoding_of(row);
    for (size_t i = 0; i < n; i++) {
        const json_t *each = json_array_get(rows, first + i);
        requests[i] = (blip2_request){.image = strcmp(text_of(each, "picture"), "picture1.png") == 0 ||
                                               strcmp(text_of(each, "picture"), "06.png") == 0,
                                      .prompt = text_of(each, "prompt")};
    }
    if (blip2_session_generate(w->session, requests, n, &decoding, &err) != BLIP2_OK) fail_msg("%s", err.message);
    for (size_t i = 0; i < n; i++) {
        const json_t *each = json_array_get(rows, first + i);
        if (json_is_true(json_object_get(each, "near_tie"))) continue;
        if (!is_equal(w->session, i, each))
            fail_msg("%s, row %zu: %s", text_of(each, "model"), first + i, json_dumps(each, JSON_COMPACT));
        const size_t n_texts = json_array_size(json_object_get(each, "logprobs"));
        for (size_t rank = 0; rank < n_texts; rank++) check_logprobs(w->session, i, rank, each);
        ++*n_checked;
    }
}

static void check_file(const char *file, size_t n_expected) {
    json_t *rows = load_golden(file);
    world w = {0};
    size_t n_checked = 0;
    for (size_t i = 0, n = 0, before = 0; i < json_array_size(rows); before = i, i += n) {
        const char *name = text_of(json_array_get(rows, i), "model");
        const bool is_new = i == 0 || strcmp(name, text_of(json_array_get(rows, before), "model")) != 0;
        if (is_new && i > 0) close_world(&w);
        if (is_new) open_world(name, &w);
        n = count_rows(rows, i);
        check_setting(&w, rows, i, n, &n_checked);
    }
    close_world(&w);
    assert_true(n_checked >= n_expected);
    json_decref(rows);
}

static void test_rules_are_those_of_transformers(void **state) {
    (void)state;
    check_file("rules.json", 300);
}

static void test_older_beams_are_those_of_their_description(void **state) {
    (void)state;
    check_file("classic.json", 250);
}

static void test_rules_see_the_ids_of_their_era(void **state) {
    (void)state;
    check_file("eras.json", 220);
}

static void test_log_probabilities_are_those_of_transformers(void **state) {
    (void)state;
    check_file("logprobs.json", 80);
}

/* top_k ids and as many alternatives: what was drawn from is softmax(their log-probabilities / temperature). */
static void test_drawn_ids_have_the_log_probabilities_they_were_drawn_with(void **state) {
    (void)state;
    world w = {0};
    blip2_error err;
    blip2_decoding d;
    blip2_decoding_default(&d);
    d.do_sample = d.output_scores = true;
    d.top_k = d.alternatives = N_BEST;
    d.num_return_sequences = N_BEAMS;
    d.temperature = 1.7;
    open_world("odd", &w);
    const blip2_request request = {.image = 1};
    assert_int_equal(blip2_session_generate(w.session, &request, 1, &d, &err), BLIP2_OK);
    size_t n_others = 0; /* than the most probable id */
    for (size_t rank = 0; rank < N_BEAMS; rank++) {
        blip2_result r = {.struct_bytes = sizeof r};
        assert_true(blip2_session_result(w.session, 0, rank, &r));
        for (size_t t = 0; t < r.n_tokens; t++) {
            blip2_alternative a = {.struct_bytes = sizeof a};
            double sum = 0, own = -1;
            for (size_t k = 0; blip2_session_alternative(w.session, 0, rank, t, k, &a); k++) {
                sum += exp((double)a.logprob / d.temperature);
                if (a.id == r.tokens[t]) own = (double)a.logprob / d.temperature;
                n_others += k == 0 && a.id != r.tokens[t];
            }
            assert_true(own <= 0);
            assert_true(fabs((double)r.processed_logprobs[t] - (own - log(sum))) < 1e-5);
        }
    }
    assert_true(n_others > 0);
    close_world(&w);
}

/* How many ids on_token heard of each request. */
static bool hear(void *context, size_t request, size_t rank, int32_t id, const char *text) {
    (void)rank, (void)id, (void)text;
    ((size_t *)context)[request]++;
    return true;
}

static void test_what_is_empty_is_generated_again(void **state) {
    (void)state;
    world w = {0};
    blip2_error err;
    blip2_decoding d;
    blip2_decoding_default(&d);
    open_world("demo", &w);
    const blip2_request requests[] = {{.image = 1},
                                      {.prompt = "a green ring and a brown speckled gear on a white background"}};
    blip2_result before[2], after[2];
    size_t told[2] = {0};
    for (size_t retry = 0; retry < 2; retry++) {
        d.retry_empty = retry == 1;
        d.on_token = retry == 1 ? hear : NULL;
        d.token_context = told;
        for (size_t i = 0; i < 2; i++) { /* alone they are what they are together */
            blip2_result *r = retry == 1 ? &after[i] : &before[i];
            if (blip2_session_generate(w.session, &requests[i], 1, &d, &err) != BLIP2_OK) fail_msg("%s", err.message);
            *r = fixture_result(w.session, 0);
            assert_true(r->is_retried == (retry == 1 && i == 1));
            assert_true(r->is_empty == (retry == 0 && i == 1));
        }
    }
    memset(told, 0, sizeof told);
    assert_int_equal(blip2_session_generate(w.session, requests, 2, &d, &err), BLIP2_OK);
    assert_int_equal(told[0], fixture_result(w.session, 0).n_tokens);
    assert_int_equal(told[1], 1 + fixture_result(w.session, 1).n_tokens); /* the stop id of the first attempt */
    assert_false(fixture_result(w.session, 0).is_retried);
    assert_true(fixture_result(w.session, 1).is_retried);
    d.min_new_tokens = 1; /* nothing would change */
    assert_int_equal(blip2_session_generate(w.session, &requests[1], 1, &d, &err), BLIP2_OK);
    assert_false(fixture_result(w.session, 0).is_retried);
    close_world(&w);
}

static void test_beams_are_those_of_transformers(void **state) {
    (void)state;
    check_file("beams.json", 850);
}

/* ---- what is refused --------------------------------------------------------------------------------------------- */

static void test_wrong_decodings_are_refused(void **state) {
    (void)state;
    const blip2_decoding wrong[] = {
        {.struct_bytes = sizeof(blip2_decoding), .bad_words_ids = "[1,2]"},
        {.struct_bytes = sizeof(blip2_decoding), .suppress_tokens = "[1000000]"},
        {.struct_bytes = sizeof(blip2_decoding), .begin_suppress_tokens = "1"},
        {.struct_bytes = sizeof(blip2_decoding), .sequence_bias = "[[1],2]"},
        {.struct_bytes = sizeof(blip2_decoding), .exponential_decay_length_penalty = "[1,2,3,4]"},
        {.struct_bytes = sizeof(blip2_decoding), .forced_eos_token_id = 1000000},
        {.struct_bytes = sizeof(blip2_decoding), .repetition_penalty = -1},
        {.struct_bytes = sizeof(blip2_decoding), .num_beams = N_BEAMS + 1}, /* more than the session has room for */
        {.struct_bytes = sizeof(blip2_decoding), .num_beams = BLIP2_MAX_RESULTS + 1},
        {.struct_bytes = sizeof(blip2_decoding), .num_return_sequences = 2},
        {.struct_bytes = sizeof(blip2_decoding), .num_beams = 2, .num_return_sequences = 3},
        {.struct_bytes = sizeof(blip2_decoding), .early_stopping = "maybe"},
        {.struct_bytes = sizeof(blip2_decoding), .beam_search = "newest"},
        {.struct_bytes = sizeof(blip2_decoding), .length_penalty = NAN},
        {.struct_bytes = sizeof(blip2_decoding), .temperature = -1},
        {.struct_bytes = sizeof(blip2_decoding), .top_p = 1.5},
        {.struct_bytes = sizeof(blip2_decoding), .min_p = NAN},
        {.struct_bytes = sizeof(blip2_decoding), .typical_p = 2},
        {.struct_bytes = sizeof(blip2_decoding), .epsilon_cutoff = -0.1},
        {.struct_bytes = sizeof(blip2_decoding), .eta_cutoff = 3},
        {.struct_bytes = sizeof(blip2_decoding), .rules_see = "some"},
        {.struct_bytes = sizeof(blip2_decoding), .alternatives = BLIP2_MAX_ALTERNATIVES + 1},
        {.struct_bytes = sizeof(blip2_decoding), .alternatives = N_BEST + 1}, /* likewise */
    };
    world w = {0};
    blip2_error err;
    open_world("one", &w);
    const blip2_request request = {.image = 0};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const bool is_about_session = wrong[i].num_beams == N_BEAMS + 1 || wrong[i].alternatives == N_BEST + 1;
        assert_int_equal(blip2_decoding_check(w.model, &wrong[i], &err), is_about_session ? BLIP2_OK : BLIP2_ARGUMENT);
        assert_int_equal(blip2_session_generate(w.session, &request, 1, &wrong[i], &err), BLIP2_ARGUMENT);
    }
    assert_int_equal(blip2_decoding_check(w.model, NULL, &err), BLIP2_OK);
    close_world(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists_of_ids),
        cmocka_unit_test(test_rules_are_those_of_transformers),
        cmocka_unit_test(test_beams_are_those_of_transformers),
        cmocka_unit_test(test_rules_see_the_ids_of_their_era),
        cmocka_unit_test(test_log_probabilities_are_those_of_transformers),
        cmocka_unit_test(test_drawn_ids_have_the_log_probabilities_they_were_drawn_with),
        cmocka_unit_test(test_what_is_empty_is_generated_again),
        cmocka_unit_test(test_older_beams_are_those_of_their_description),
        cmocka_unit_test(test_wrong_decodings_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
