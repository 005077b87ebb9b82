/* test_flow.c: pictures that follow one another through a session get what each gets alone, whoever they share it with,
 * whenever they come, and however long their texts are. */
#include "fixture.h"

#include "blip2.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { N_PICTURES = 23, MOST_EACH = 2, N_NEW = 6, MOST_PLACES = 12, N_RANKS = 2 };

static char path[] = "/tmp/blip2_flow_XXXXXX";

/* What is said of a picture. */
typedef struct answer {
    int32_t tokens[N_NEW];
    float logprobs[N_NEW];
    size_t n;
    char text[256];
} answer;

/* How a flow goes. */
typedef struct way {
    size_t n_places, n_each, n_new, n_ranks, seed; /* seed: of what comes late; 0: nothing does */
    bool is_uneven, is_scored;                     /* texts are ended from outside, at different lengths */
} way;

typedef struct world {
    blip2_model *model;
    blip2_session *session;
    blip2_image *pictures[N_PICTURES], *images[MOST_PLACES];
    blip2_request requests[MOST_PLACES * MOST_EACH];
    size_t numbers[MOST_PLACES], n_taken, n_finished, n_under_way, n_most, fails_at, n_joined;
    size_t n_steps[N_PICTURES]; /* while it was under way */
    unsigned random;
    const way *way;
    blip2_texts *texts;
    answer (*alone)[MOST_EACH][N_RANKS];
    bool is_done[N_PICTURES];
} world;

static const char *const choices[] = {"a", "red", "b c"};

static blip2_request request_of(size_t number, size_t k, size_t place) {
    return (blip2_request){.image = place,
                           .prompt = k == 0 && number % 3 == 1 ? "the a" : NULL,
                           .question = k == 1 ? "what is this?" : NULL,
                           .picture_number = number,
                           .prompt_number = k};
}

/* Pictures end after 1 to N_NEW ids, or at their stop id. */
static bool on_token(void *context, size_t request, size_t rank, int32_t id, const char *text) {
    const world *w = context;
    (void)rank, (void)text;
    return id % 5 != (int32_t)(w->numbers[request / w->way->n_each] % 5);
}

static blip2_decoding decoding_of(world *w) {
    blip2_decoding d;
    blip2_decoding_default(&d);
    d.max_new_tokens = w->way->n_new;
    d.num_return_sequences = w->way->n_ranks;
    d.do_sample = w->way->n_ranks > 1 || w->way->seed % 2 == 1;
    d.temperature = 2.5;
    d.on_token = w->way->is_uneven ? on_token : NULL;
    d.token_context = w;
    return d;
}

static void keep(const world *w, size_t request, answer all[N_RANKS]) {
    if (w->way->is_scored) {
        for (size_t i = 0; i < N_RANKS; i++) {
            blip2_score score = {.struct_bytes = sizeof score};
            assert_true(blip2_texts_score(w->texts, request, i, &score));
            all[i].n = score.n_tokens;
            memcpy(all[i].logprobs, score.token_logprobs, score.n_tokens * sizeof(float));
        }
        return;
    }
    assert_int_equal(blip2_session_n_results(w->session, request), w->way->n_ranks);
    for (size_t i = 0; i < w->way->n_ranks; i++) {
        blip2_result r = {.struct_bytes = sizeof r};
        assert_true(blip2_session_result(w->session, request, i, &r));
        all[i].n = r.n_tokens;
        memcpy(all[i].tokens, r.tokens, r.n_tokens * sizeof(int32_t));
        memcpy(all[i].logprobs, r.token_logprobs, r.n_tokens * sizeof(float));
        snprintf(all[i].text, sizeof all[i].text, "%s", r.text);
    }
}

/* Each picture by encode and generate, or score. */
static void say_alone(world *w) {
    for (size_t number = 0; number < N_PICTURES; number++) {
        const blip2_decoding d = decoding_of(w);
        const size_t n_each = w->way->n_each;
        blip2_request requests[MOST_EACH] = {request_of(number, 0, 0), request_of(number, 1, 0)};
        w->numbers[0] = number;
        assert_int_equal(blip2_session_encode(w->session, &w->pictures[number], 1, NULL), BLIP2_OK);
        if (w->way->is_scored)
            assert_int_equal(blip2_session_score(w->session, requests, n_each, w->texts, NULL), BLIP2_OK);
        else assert_int_equal(blip2_session_generate(w->session, requests, n_each, &d, NULL), BLIP2_OK);
        memset(w->alone[number], 0, sizeof w->alone[number]);
        for (size_t k = 0; k < n_each; k++) keep(w, k, w->alone[number][k]);
    }
}

static blip2_status next(void *context, size_t place, blip2_flow_wait wait, bool *has_picture, blip2_error *err) {
    world *w = context;
    (void)err;
    w->random = w->random * 1664525 + 1013904223;
    assert_true(place < w->way->n_places && w->images[place] == NULL);
    assert_true((wait == BLIP2_FLOW_LONG) == (w->n_under_way == 0));
    *has_picture = w->n_taken < N_PICTURES && (w->way->seed == 0 || wait == BLIP2_FLOW_LONG || w->random >> 16 & 1);
    if (!*has_picture) return BLIP2_OK;
    w->images[place] = w->pictures[w->n_taken];
    w->numbers[place] = w->n_taken;
    for (size_t k = 0; k < w->way->n_each; k++)
        w->requests[place * w->way->n_each + k] = request_of(w->n_taken, k, place);
    w->n_taken++;
    w->n_joined += wait == BLIP2_FLOW_NOW;
    if (++w->n_under_way > w->n_most) w->n_most = w->n_under_way;
    return BLIP2_OK;
}

static blip2_status finished(void *context, size_t place, blip2_error *err) {
    world *w = context;
    const size_t number = w->numbers[place], n_each = w->way->n_each;
    blip2_timings t = {.struct_bytes = sizeof t};
    assert_non_null(w->images[place]);
    assert_false(w->is_done[number]);
    for (size_t k = 0; k < n_each; k++) {
        answer got[N_RANKS] = {0};
        keep(w, place * n_each + k, got);
        assert_memory_equal(got, w->alone[number][k], sizeof got);
    }
    blip2_session_timings(w->session, &t);
    assert_true(t.vision_ns > 0 && t.prefill_ns > 0 && t.n_decode_steps <= N_NEW * N_PICTURES);
    w->n_steps[number] = t.n_decode_steps;
    w->is_done[number] = true;
    w->images[place] = NULL;
    w->n_under_way--;
    if (++w->n_finished != w->fails_at) return BLIP2_OK;
    *err = (blip2_error){.status = BLIP2_NO_SPACE};
    return BLIP2_NO_SPACE;
}

static blip2_status run_flow(world *w) {
    const blip2_decoding d = decoding_of(w);
    const blip2_flow flow = {.struct_bytes = sizeof flow,
                             .n_places = w->way->n_places,
                             .n_each = w->way->n_each,
                             .images = w->images,
                             .requests = w->requests,
                             .request_bytes = sizeof w->requests[0],
                             .texts = w->way->is_scored ? w->texts : NULL,
                             .next = next,
                             .finished = finished,
                             .context = w};
    blip2_error err;
    w->random = (unsigned)w->way->seed;
    w->n_joined = w->n_taken = w->n_finished = w->n_under_way = w->n_most = 0;
    memset(w->is_done, 0, sizeof w->is_done);
    memset(w->images, 0, sizeof w->images);
    return blip2_session_flow(w->session, &flow, &d, &err);
}

static void open_world(world *w, b2_dtype dtype) {
    const b2_hparams h = fixture_hparams();
    blip2_session_options options;
    memset(w, 0, sizeof *w);
    assert_true(fixture_write_model(path, &h, dtype, false));
    assert_int_equal(blip2_model_open(path, &w->model, NULL), BLIP2_OK);
    blip2_session_options_default(&options);
    options.max_images = MOST_PLACES;
    options.max_requests = MOST_PLACES * MOST_EACH;
    options.max_results = N_RANKS;
    options.max_new_tokens = N_NEW;
    options.n_threads = 2;
    assert_int_equal(blip2_session_create(w->model, &options, &w->session, NULL), BLIP2_OK);
    assert_int_equal(blip2_texts_create(w->model, choices, 3, MOST_PLACES * MOST_EACH, &w->texts, NULL), BLIP2_OK);
    for (size_t i = 0; i < N_PICTURES; i++) {
        size_t n_bytes;
        uint8_t *bytes = fixture_picture(31 + i, 44, i, &n_bytes);
        assert_int_equal(blip2_image_load_memory(w->model, bytes, n_bytes, "picture", NULL, &w->pictures[i], NULL),
                         BLIP2_OK);
        free(bytes);
    }
    w->alone = calloc(N_PICTURES, sizeof *w->alone);
    assert_non_null(w->alone);
}

static void close_world(world *w) {
    for (size_t i = 0; i < N_PICTURES; i++) blip2_image_free(&w->pictures[i]);
    blip2_texts_free(&w->texts);
    blip2_session_free(&w->session);
    blip2_model_close(&w->model);
    free(w->alone);
}

static const way ways[] = {
    {.n_places = 1, .n_each = 1, .n_new = N_NEW, .n_ranks = 1},
    {.n_places = 2, .n_each = 1, .n_new = N_NEW, .n_ranks = 1, .seed = 2, .is_uneven = true},
    {.n_places = 3, .n_each = 2, .n_new = N_NEW, .n_ranks = 1, .is_uneven = true},
    {.n_places = 5, .n_each = 1, .n_new = N_NEW, .n_ranks = 1, .seed = 3, .is_uneven = true},
    {.n_places = 8, .n_each = 1, .n_new = N_NEW, .n_ranks = 1, .is_uneven = true},
    {.n_places = MOST_PLACES, .n_each = 2, .n_new = N_NEW, .n_ranks = 1, .seed = 4, .is_uneven = true},
    {.n_places = MOST_PLACES, .n_each = 1, .n_new = 1, .n_ranks = 1, .seed = 6},
    {.n_places = 5, .n_each = 2, .n_new = N_NEW, .n_ranks = N_RANKS, .seed = 8, .is_uneven = true},
    {.n_places = 5, .n_each = 2, .n_new = N_NEW, .n_ranks = 1, .seed = 10, .is_scored = true},
};

static void test_each_gets_what_it_gets_alone(b2_dtype dtype) {
    world w;
    open_world(&w, dtype);
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        w.way = &ways[i];
        say_alone(&w);
        assert_int_equal(run_flow(&w), BLIP2_OK);
        assert_int_equal(w.n_finished, N_PICTURES);
        if (ways[i].seed == 0) assert_int_equal(w.n_most, ways[i].n_places);
    }
    close_world(&w);
}

static void test_int8(void **state) {
    (void)state;
    test_each_gets_what_it_gets_alone(B2_DTYPE_I8);
}

static void test_floats(void **state) {
    (void)state;
    test_each_gets_what_it_gets_alone(B2_DTYPE_F32);
}

/* Pictures leave with their last id, and others come while their neighbours go on. */
static void test_a_long_text_holds_one_place(void **state) {
    (void)state;
    world w;
    const way uneven = {.n_places = 4, .n_each = 1, .n_new = N_NEW, .n_ranks = 1, .is_uneven = true};
    open_world(&w, B2_DTYPE_I8);
    w.way = &uneven;
    say_alone(&w);
    assert_int_equal(run_flow(&w), BLIP2_OK);
    for (size_t i = 0; i < N_PICTURES; i++) assert_int_equal(w.n_steps[i], w.alone[i][0][0].n - 1);
    assert_true(w.n_joined > N_PICTURES / 2);
    close_world(&w);
}

static void test_a_failure_ends_a_flow(void **state) {
    (void)state;
    world w;
    const way uneven = {.n_places = 4, .n_each = 1, .n_new = N_NEW, .n_ranks = 1, .seed = 12, .is_uneven = true};
    open_world(&w, B2_DTYPE_I8);
    w.way = &uneven;
    say_alone(&w);
    w.fails_at = 7;
    assert_int_equal(run_flow(&w), BLIP2_NO_SPACE);
    assert_int_equal(w.n_finished, 7);
    w.fails_at = 0;
    assert_int_equal(run_flow(&w), BLIP2_OK); /* and the session is as good as before */
    assert_int_equal(w.n_finished, N_PICTURES);
    const way wrong[] = {{.n_places = 0, .n_each = 1, .n_new = N_NEW, .n_ranks = 1},
                         {.n_places = MOST_PLACES + 1, .n_each = 1, .n_new = N_NEW, .n_ranks = 1},
                         {.n_places = MOST_PLACES, .n_each = MOST_EACH + 1, .n_new = N_NEW, .n_ranks = 1},
                         {.n_places = 1, .n_each = 1, .n_new = N_NEW + 1, .n_ranks = 1},
                         {.n_places = 1, .n_each = 1, .n_new = N_NEW, .n_ranks = N_RANKS + 1}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        w.way = &wrong[i];
        assert_int_equal(run_flow(&w), BLIP2_ARGUMENT);
        assert_int_equal(w.n_taken, 0);
    }
    close_world(&w);
}

static int set_up(void **state) {
    (void)state;
    const int fd = mkstemp(path);
    if (fd >= 0) close(fd);
    return fd < 0;
}

static int tear_down(void **state) {
    (void)state;
    return unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_int8),
        cmocka_unit_test(test_floats),
        cmocka_unit_test(test_a_long_text_holds_one_place),
        cmocka_unit_test(test_a_failure_ends_a_flow),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
