/* test_score.c: how likely texts are: against log-probabilities of transformers (tests/golden/generate/scores.json,
 * made by tests/tools/make_score_golden.py), a full trie, and the promises of blip2.h. */
#include "convert/convert.h"
#include "fixture.h"

#include "blip2.h"
#include "blip2_model.h"
#include "generate/score.h"
#include "kernels/cpu/cpu_home.h"
#include "tests/random.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { N_TEXTS = 8, N_NEW = 24, N_PROMPT = 16, N_REQUESTS = 4, N_LANES = 5 };
#define LOGPROB_ERROR 1e-4

typedef struct world {
    blip2_model *model;
    blip2_session *session;
} world;

static void open_session(world *w, size_t n_lanes, const char *isa) {
    blip2_session_options o;
    blip2_error err;
    blip2_session_options_default(&o);
    o.n_threads = 2;
    o.isa = isa;
    o.max_images = 2;
    o.max_requests = N_REQUESTS;
    o.max_results = n_lanes;
    o.max_prompt_tokens = N_PROMPT;
    o.max_new_tokens = N_NEW;
    if (blip2_session_create(w->model, &o, &w->session, &err) != BLIP2_OK) fail_msg("%s", err.message);
}

/* A golden checkpoint or the demo, as a file of a type. */
static void open_model(const char *name, b2_dtype type, world *w) {
    char source[96], path[] = "/tmp/blip2_score_XXXXXX";
    blip2_error err;
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    b2_convert_options options = b2_convert_options_default();
    snprintf(source, sizeof source, strcmp(name, "demo") == 0 ? "data/demo/model" : "tests/golden/models/%s", name);
    options.source = source;
    options.output = path;
    options.type = type;
    if (b2_convert(&options, &err) != BLIP2_OK || blip2_model_open(path, &w->model, &err) != BLIP2_OK)
        fail_msg("%s: %s", name, err.message);
    unlink(path); /* mapped all the same */
}

static void close_world(world *w) {
    blip2_session_free(&w->session);
    blip2_model_close(&w->model);
}

static void see(world *w, const char *model, const char *picture) {
    char path[160];
    blip2_image *image = NULL;
    blip2_error err;
    const char *folder = strcmp(model, "demo") == 0 ? "data/demo/images" : "tests/golden/models";
    if (strcmp(model, "demo") == 0) snprintf(path, sizeof path, "%s/%s", folder, picture);
    else snprintf(path, sizeof path, "%s/%s/%s", folder, model, picture);
    if (blip2_image_load(w->model, path, NULL, &image, &err) != BLIP2_OK) fail_msg("%s", err.message);
    assert_int_equal(blip2_session_encode(w->session, &image, 1, &err), BLIP2_OK);
    blip2_image_free(&image);
}

/* ---- transformers ------------------------------------------------------------------------------------------------ */

static const char *text_of(const json_t *object, const char *key) {
    return json_string_value(json_object_get(object, key));
}

/* The largest difference of an entry's log-probabilities. Ids must be equal. */
static double compare_entry(world *w, const json_t *entry) {
    const json_t *texts = json_object_get(entry, "texts");
    const char *strings[N_TEXTS];
    double worst = 0;
    blip2_error err;
    blip2_texts *scored = NULL;
    assert_int_equal(json_array_size(texts), N_TEXTS);
    for (size_t i = 0; i < N_TEXTS; i++) strings[i] = text_of(json_array_get(texts, i), "text");
    if (blip2_texts_create(w->model, strings, N_TEXTS, 1, &scored, &err) != BLIP2_OK) fail_msg("%s", err.message);
    const blip2_request request = {.prompt = text_of(entry, "prompt")};
    see(w, text_of(entry, "model"), text_of(entry, "picture"));
    if (blip2_session_score(w->session, &request, 1, scored, &err) != BLIP2_OK) fail_msg("%s", err.message);
    for (size_t i = 0; i < N_TEXTS; i++) {
        blip2_score score = {.struct_bytes = sizeof score};
        const json_t *tokens = json_object_get(json_array_get(texts, i), "tokens"),
                     *logprobs = json_object_get(json_array_get(texts, i), "logprobs");
        assert_true(blip2_texts_score(scored, 0, i, &score));
        assert_int_equal(score.n_tokens, json_array_size(tokens));
        for (size_t t = 0; t < score.n_tokens; t++) {
            assert_int_equal(score.tokens[t], json_integer_value(json_array_get(tokens, t)));
            const double want = json_number_value(json_array_get(logprobs, t)),
                         off = fabs((double)score.token_logprobs[t] - want);
            worst = off > worst ? off : worst;
        }
    }
    blip2_texts_free(&scored);
    return worst;
}

static void test_log_probabilities_are_those_of_transformers(void **state) {
    (void)state;
    json_error_t error;
    json_t *entries = json_load_file("tests/golden/generate/scores.json", 0, &error);
    if (entries == NULL) fail_msg("%s", error.text);
    world w = {0};
    double worst = 0;
    const char *open = "";
    for (size_t i = 0; i < json_array_size(entries); i++) {
        const json_t *entry = json_array_get(entries, i);
        if (strcmp(open, text_of(entry, "model")) != 0) {
            close_world(&w);
            open = text_of(entry, "model");
            open_model(open, B2_DTYPE_F32, &w);
            open_session(&w, N_LANES, NULL);
        }
        const double off = compare_entry(&w, entry);
        if (off > LOGPROB_ERROR) fail_msg("%s, '%s': off by %g", open, text_of(entry, "prompt"), off);
        worst = off > worst ? off : worst;
    }
    printf("# log-probabilities: the largest difference is %.2e\n", worst);
    close_world(&w);
    json_decref(entries);
}

/* ---- a full trie ------------------------------------------------------------------------------------------------- */

/* All ids, some of them with all that may follow: one of these comes, so their probabilities sum to 1. */
static void test_a_full_trie_sums_to_one(void **state) {
    (void)state;
    static const b2_capacity capacity = {
        .n_images = 1, .n_requests = 1, .n_sequences = 16, .n_prompt_tokens = 4, .n_new_tokens = 4};
    static const int32_t prompt[3] = {2, 17, 99};
    enum { N_OPEN = 6 };
    world w = {0};
    blip2_error err;
    b2_ops *cpu;
    b2_workspace homes[B2_MAX_HOMES] = {0};
    b2_runner runner;
    open_model("odd", B2_DTYPE_I8, &w);
    const b2_weights *weights = &w.model->weights;
    const size_t n_vocab = weights->h.opt.n_vocab, n = n_vocab - N_OPEN + N_OPEN * n_vocab;
    assert_int_equal(b2_cpu_home_create(NULL, 2, &cpu, &err), BLIP2_OK);
    assert_int_equal(b2_workspace_create(weights, &capacity, B2_HOME_CPU, cpu, &homes[B2_HOME_CPU], &err), BLIP2_OK);
    assert_int_equal(b2_runner_create(weights, homes, 4, 1, 0, &runner, &err), BLIP2_OK);
    float *soft_tokens = calloc((size_t)weights->h.qformer.n_queries * weights->h.opt.width, sizeof *soft_tokens);
    int32_t *ids = malloc(2 * n * sizeof *ids);
    float *logprobs = malloc(2 * n * sizeof *logprobs);
    b2_score_text *texts = malloc(n * sizeof *texts);
    for (size_t i = 0; i < n; i++) {
        const size_t inner = i < n_vocab - N_OPEN ? 0 : i - (n_vocab - N_OPEN);
        ids[2 * i] = (int32_t)(i < n_vocab - N_OPEN ? i + N_OPEN : inner / n_vocab);
        ids[2 * i + 1] = (int32_t)(inner % n_vocab);
        texts[i] = (b2_score_text){ids + 2 * i, logprobs + 2 * i, i < n_vocab - N_OPEN ? 1 : 2};
    }
    b2_score_request request = {
        .sequence = {.soft_tokens = soft_tokens, .prompt = prompt, .n_prompt = 3}, .texts = texts, .n_texts = n};
    b2_score_row rows[16];
    b2_decode_report report;
    b2_cpu_home_enter(cpu);
    b2_score_run(&runner.chooser, &request, 1, 16, rows, &report);
    b2_cpu_home_leave(cpu);
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += exp((double)logprobs[2 * i] + (texts[i].n_tokens == 2 ? (double)logprobs[2 * i + 1] : 0));
    printf("# a trie of %zu texts sums to 1 %+.1e\n", n, sum - 1);
    assert_true(fabs(sum - 1) < 1e-5);
    free(soft_tokens);
    free(ids);
    free(logprobs);
    free(texts);
    b2_runner_free(&runner);
    b2_workspace_free(&homes[B2_HOME_CPU]);
    b2_ops_free(cpu);
    close_world(&w);
}

/* ---- promises ---------------------------------------------------------------------------------------------------- */

static const char *const words[N_TEXTS] = {"red", "a green ring", "", "one", "two", "yellow", " gray", "a"};

/* Whatever stands side by side, whichever requests are in the call: the same bits; those of generation too. */
static void test_scores_do_not_depend_on_their_company(void **state) {
    (void)state;
    world w = {0};
    blip2_error err;
    static const blip2_request requests[N_REQUESTS] = {
        {.question = "what color is the object?"}, {0}, {.prompt = "a "}, {.prompt = "Question: how many? Answer:"}};
    float alone[N_REQUESTS][N_TEXTS][N_NEW] = {{{0}}};
    open_model("demo", B2_DTYPE_I8, &w);
    for (size_t lanes = 1; lanes <= 7; lanes += 3) {
        blip2_texts *texts = NULL;
        open_session(&w, lanes, lanes == 4 ? "scalar" : NULL);
        see(&w, "demo", "00.png");
        assert_int_equal(blip2_texts_create(w.model, words, N_TEXTS, N_REQUESTS, &texts, &err), BLIP2_OK);
        for (size_t i = 0; i < (lanes == 1 ? N_REQUESTS : 1); i++) {
            const size_t n = lanes == 1 ? 1 : N_REQUESTS;
            if (blip2_session_score(w.session, requests + i, n, texts, &err) != BLIP2_OK) fail_msg("%s", err.message);
            for (size_t r = 0; r < n; r++)
                for (size_t k = 0; k < N_TEXTS; k++) {
                    blip2_score score = {.struct_bytes = sizeof score};
                    assert_true(blip2_texts_score(texts, r, k, &score));
                    if (lanes == 1) memcpy(alone[i][k], score.token_logprobs, score.n_tokens * sizeof(float));
                    assert_memory_equal(alone[i + r][k], score.token_logprobs, score.n_tokens * sizeof(float));
                }
        }
        /* what the model says, given back to it: the same log-probabilities */
        blip2_result said = {.struct_bytes = sizeof said};
        assert_int_equal(blip2_session_generate(w.session, &requests[1], 1, NULL, &err), BLIP2_OK);
        assert_true(blip2_session_result(w.session, 0, 0, &said));
        char *text = strdup(said.text);
        const size_t n_said = said.n_tokens;
        float kept[N_NEW];
        memcpy(kept, said.token_logprobs, n_said * sizeof *kept);
        blip2_texts *again = NULL;
        const char *const one[1] = {text};
        blip2_score score = {.struct_bytes = sizeof score};
        assert_int_equal(blip2_texts_create(w.model, one, 1, 1, &again, &err), BLIP2_OK);
        assert_int_equal(blip2_session_score(w.session, &requests[1], 1, again, &err), BLIP2_OK);
        assert_true(blip2_texts_score(again, 0, 0, &score));
        assert_int_equal(score.n_tokens, n_said);
        assert_memory_equal(score.token_logprobs, kept, n_said * sizeof *kept);
        assert_true(score.probability == 1);
        free(text);
        blip2_texts_free(&again);
        blip2_texts_free(&texts);
        blip2_session_free(&w.session);
    }
    close_world(&w);
}

static void test_what_is_refused(void **state) {
    (void)state;
    world w = {0};
    blip2_error err;
    blip2_texts *texts = NULL;
    char longest[4 * N_NEW + 1];
    memset(longest, '!', sizeof longest);
    for (size_t i = 1; i < sizeof longest; i += 2) longest[i] = 'z';
    longest[sizeof longest - 1] = '\0';
    const char *const broken[1] = {"\xff"}, *const too_long[1] = {longest};
    open_model("demo", B2_DTYPE_I8, &w);
    open_session(&w, 2, NULL);
    see(&w, "demo", "00.png");
    assert_int_equal(blip2_texts_create(w.model, broken, 1, 1, &texts, &err), BLIP2_ARGUMENT);
    assert_null(texts);
    assert_int_equal(blip2_texts_create(w.model, words, 0, 1, &texts, &err), BLIP2_ARGUMENT);
    assert_int_equal(blip2_texts_create(w.model, words, 1, 0, &texts, &err), BLIP2_ARGUMENT);
    assert_int_equal(blip2_texts_create(w.model, words, 1, BLIP2_MAX_BATCH + 1, &texts, &err), BLIP2_ARGUMENT);
    assert_int_equal(blip2_texts_create(w.model, too_long, 1, 1, &texts, &err), BLIP2_OK);
    const blip2_request requests[2] = {{0}, {0}}, elsewhere = {.image = 1};
    assert_int_equal(blip2_session_score(w.session, requests, 1, texts, &err), BLIP2_LIMIT);
    blip2_texts_free(&texts);
    assert_null(texts);
    assert_int_equal(blip2_texts_create(w.model, words, 2, 1, &texts, &err), BLIP2_OK);
    assert_int_equal(blip2_session_score(w.session, requests, 2, texts, &err), BLIP2_ARGUMENT);
    assert_int_equal(blip2_session_score(w.session, &elsewhere, 1, texts, &err), BLIP2_ARGUMENT);
    blip2_score score = {.struct_bytes = sizeof score};
    assert_false(blip2_texts_score(texts, 0, 0, &score));
    assert_int_equal(blip2_session_score(w.session, requests, 1, texts, &err), BLIP2_OK);
    assert_true(blip2_texts_score(texts, 0, 1, &score));
    assert_false(blip2_texts_score(texts, 0, 2, &score) || blip2_texts_score(texts, 1, 0, &score));
    /* an older, shorter struct: nothing is written beyond its end */
    blip2_score older = {.struct_bytes = offsetof(blip2_score, probability), .probability = 7};
    assert_true(blip2_texts_score(texts, 0, 1, &older));
    assert_true(older.logprob == score.logprob && older.probability == 7);
    assert_int_equal(blip2_session_n_results(w.session, 0), 0);
    blip2_texts_free(&texts);
    blip2_texts_free(&texts);
    close_world(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_probabilities_are_those_of_transformers),
        cmocka_unit_test(test_a_full_trie_sums_to_one),
        cmocka_unit_test(test_scores_do_not_depend_on_their_company),
        cmocka_unit_test(test_what_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
