/* test_races.c: two models and four sessions at once, each on a thread of its own with threads of its own: the same ids
 * as alone. `make check-tsan` runs it under ThreadSanitizer, which sees what was only luck. */
#include "fixture.h"

#include "blip2.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { N_MODELS = 2, N_SESSIONS = 4, N_ROUNDS = 6, N_IMAGES = 3, N_NEW = 5, N_RANKS = 2 };

typedef struct transcript {
    int32_t tokens[N_ROUNDS][N_IMAGES][N_RANKS][N_NEW];
} transcript;

typedef struct visitor {
    const blip2_model *model;
    blip2_image **images; /* shared by all sessions of the model */
    size_t n_threads;
    transcript said;
    bool is_right;
} visitor;

/* Round by round another way to choose ids, so that sessions are never at the same place. */
static blip2_decoding way_to_choose(size_t round) {
    blip2_decoding d;
    blip2_decoding_default(&d);
    d.num_return_sequences = round % 3 > 0 ? N_RANKS : 1;
    d.num_beams = round % 3 == 2 ? N_RANKS : 1;
    d.do_sample = round % 3 == 1;
    d.seed = 7;
    return d;
}

static bool keep(const blip2_session *session, size_t round, transcript *t) {
    for (size_t i = 0; i < N_IMAGES; i++)
        for (size_t rank = 0; rank < blip2_session_n_results(session, i); rank++) {
            blip2_result r = {.struct_bytes = sizeof r};
            if (!blip2_session_result(session, i, rank, &r) || r.n_tokens > N_NEW) return false;
            memcpy(t->tokens[round][i][rank], r.tokens, r.n_tokens * sizeof *r.tokens);
        }
    return true;
}

/* A session's whole life, a new one every second round: begun, used and freed beside the others. */
static void *visit(void *argument) {
    visitor *v = argument;
    blip2_session *session = NULL;
    v->is_right = true;
    for (size_t round = 0; round < N_ROUNDS && v->is_right; round++) {
        if (round % 2 == 0) {
            blip2_session_options options;
            blip2_session_options_default(&options);
            options.n_threads = v->n_threads;
            options.max_images = options.max_requests = N_IMAGES;
            options.max_new_tokens = N_NEW;
            options.max_results = N_RANKS;
            blip2_session_free(&session);
            v->is_right = blip2_session_create(v->model, &options, &session, NULL) == BLIP2_OK;
        }
        static const blip2_request requests[N_IMAGES] = {{0}, {.image = 1, .question = "why?"}, {.image = 2}};
        const blip2_decoding decoding = way_to_choose(round);
        v->is_right = v->is_right && blip2_session_encode(session, v->images, N_IMAGES, NULL) == BLIP2_OK &&
                      blip2_session_generate(session, requests, N_IMAGES, &decoding, NULL) == BLIP2_OK &&
                      keep(session, round, &v->said);
    }
    blip2_session_free(&session);
    return NULL;
}

static void open_model(b2_dtype dtype, blip2_model **model, blip2_image **images) {
    char path[] = "/tmp/blip2_races_XXXXXX";
    const b2_hparams h = fixture_hparams();
    const int fd = mkstemp(path);
    assert_true(fd >= 0 && fixture_write_model(path, &h, dtype, dtype != B2_DTYPE_I8));
    close(fd);
    assert_int_equal(blip2_model_open(path, model, NULL), BLIP2_OK);
    unlink(path);
    for (size_t i = 0; i < N_IMAGES; i++) {
        size_t n_bytes;
        uint8_t *bytes = fixture_picture(31 + i, 44, i, &n_bytes);
        assert_int_equal(blip2_image_load_memory(*model, bytes, n_bytes, "picture", NULL, &images[i], NULL), BLIP2_OK);
        free(bytes);
    }
}

static void test_two_models_four_sessions(void **state) {
    (void)state;
    static visitor alone[N_MODELS], beside[N_SESSIONS];
    blip2_model *models[N_MODELS];
    blip2_image *images[N_MODELS][N_IMAGES];
    open_model(B2_DTYPE_I8, &models[0], images[0]);
    open_model(B2_DTYPE_F16, &models[1], images[1]);
    for (size_t m = 0; m < N_MODELS; m++) {
        alone[m] = (visitor){.model = models[m], .images = images[m], .n_threads = 1};
        visit(&alone[m]);
        assert_true(alone[m].is_right);
    }
    pthread_t threads[N_SESSIONS];
    for (size_t s = 0; s < N_SESSIONS; s++) {
        beside[s] = (visitor){.model = models[s % 2], .images = images[s % 2], .n_threads = 1 + s};
        assert_int_equal(pthread_create(&threads[s], NULL, visit, &beside[s]), 0);
    }
    for (size_t s = 0; s < N_SESSIONS; s++) {
        pthread_join(threads[s], NULL);
        assert_true(beside[s].is_right);
        assert_memory_equal(&beside[s].said, &alone[s % 2].said, sizeof(transcript));
    }
    for (size_t m = 0; m < N_MODELS; m++) {
        for (size_t i = 0; i < N_IMAGES; i++) blip2_image_free(&images[m][i]);
        blip2_model_close(&models[m]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_two_models_four_sessions)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
