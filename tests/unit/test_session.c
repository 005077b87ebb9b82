/* test_session.c: the public interface on a tiny random model: the promises of blip2.h, each tried. */
#include "fixture.h"

#include "blip2.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { N_IMAGES = 8, N_NEW = 6 };

static char path[] = "/tmp/blip2_session_XXXXXX";

static blip2_model *open_model(b2_dtype dtype, bool with_head) {
    const b2_hparams h = fixture_hparams();
    blip2_model *model = NULL;
    blip2_error err;
    assert_true(fixture_write_model(path, &h, dtype, with_head));
    if (blip2_model_open(path, &model, &err) != BLIP2_OK) fail_msg("%s", err.message);
    return model;
}

static blip2_image *load_image(const blip2_model *model, uint64_t seed) {
    size_t n_bytes;
    uint8_t *bytes = fixture_picture(31 + (size_t)seed, 44, seed, &n_bytes);
    blip2_image *image = NULL;
    blip2_error err;
    if (blip2_image_load_memory(model, bytes, n_bytes, "picture", NULL, &image, &err) != BLIP2_OK) fail_msg("%s", err.message);
    free(bytes);
    return image;
}

static blip2_session *open_session(const blip2_model *model, int n_threads, const char *isa, size_t batch) {
    blip2_session_options options;
    blip2_session_options_default(&options);
    options.n_threads = n_threads;
    options.isa = isa;
    options.max_images = options.max_requests = batch;
    options.max_new_tokens = N_NEW;
    blip2_session *session = NULL;
    blip2_error err;
    if (blip2_session_create(model, &options, &session, &err) != BLIP2_OK) fail_msg("%s", err.message);
    return session;
}

/* Everything that a run prints, for N_IMAGES images, batch at a time; every second one is asked a question. */
typedef struct transcript {
    int32_t tokens[N_IMAGES][N_NEW];
    float logprobs[N_IMAGES][N_NEW];
    size_t n_tokens[N_IMAGES];
} transcript;

static void run_all(blip2_session *session, blip2_image *const *images, size_t batch, transcript *t) {
    blip2_error err;
    memset(t, 0, sizeof *t);
    for (size_t first = 0; first < N_IMAGES; first += batch) {
        const size_t n = N_IMAGES - first < batch ? N_IMAGES - first : batch;
        blip2_request requests[N_IMAGES] = {0};
        blip2_result results[N_IMAGES];
        for (size_t i = 0; i < n; i++)
            requests[i] = (blip2_request){.image = i, .question = (first + i) % 2 ? "which city is this?" : NULL};
        assert_int_equal(blip2_session_see(session, images + first, n, &err), BLIP2_OK);
        assert_int_equal(blip2_session_say(session, requests, n, results, &err), BLIP2_OK);
        for (size_t i = 0; i < n; i++) {
            t->n_tokens[first + i] = results[i].n_tokens;
            memcpy(t->tokens[first + i], results[i].tokens, results[i].n_tokens * sizeof(int32_t));
            memcpy(t->logprobs[first + i], results[i].token_logprobs, results[i].n_tokens * sizeof(float));
        }
    }
}

static void check_equal_bytes(b2_dtype dtype, bool all_isas) {
    blip2_model *model = open_model(dtype, dtype == B2_DTYPE_F16);
    blip2_image *images[N_IMAGES];
    for (size_t i = 0; i < N_IMAGES; i++) images[i] = load_image(model, i);
    const int threads[] = {1, 2, 3, 7, 64};
    const size_t batches[] = {1, 2, 3, 8};
    const char *isas[16];
    const size_t n_isas = all_isas ? blip2_isa_list(isas, 16) : 1;
    if (!all_isas) isas[0] = NULL;
    transcript first, other;
    bool is_first = true;
    for (size_t i = 0; i < n_isas; i++)
        for (size_t t = 0; t < 5; t++)
            for (size_t b = 0; b < 4; b++) {
                if (i > 0 && t != 1 && b != 3) continue; /* the whole grid once, its cross for the others */
                blip2_session *session = open_session(model, threads[t], isas[i], batches[b]);
                run_all(session, images, batches[b], is_first ? &first : &other);
                if (!is_first) assert_memory_equal(&first, &other, sizeof first);
                is_first = false;
                blip2_session_free(&session);
            }
    size_t n_distinct = 0; /* pictures and prompts matter, or equality would prove nothing */
    for (size_t i = 0; i < N_IMAGES; i++) n_distinct += first.logprobs[i][0] != first.logprobs[(i + 1) % N_IMAGES][0];
    assert_int_equal(n_distinct, N_IMAGES);
    for (size_t i = 0; i < N_IMAGES; i++) blip2_image_free(&images[i]);
    blip2_model_close(&model);
    assert_null(model);
}

static void test_i8_gives_equal_bytes_everywhere(void **state) {
    (void)state;
    check_equal_bytes(B2_DTYPE_I8, true);
}

static void test_f32_and_f16_give_equal_bytes_for_threads_and_batches(void **state) {
    (void)state;
    check_equal_bytes(B2_DTYPE_F32, false);
    check_equal_bytes(B2_DTYPE_F16, false);
}

static void test_questions_share_one_look(void **state) {
    (void)state;
    blip2_model *model = open_model(B2_DTYPE_I8, false);
    blip2_image *image = load_image(model, 3);
    blip2_session *session = open_session(model, 2, NULL, 3);
    blip2_error err;
    blip2_result together[3], alone;
    const blip2_request requests[3] = {{.image = 0}, {.image = 0, .prompt = "the a"}, {.image = 0, .question = "who? \n"}};
    assert_int_equal(blip2_session_see(session, &image, 1, &err), BLIP2_OK);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(blip2_session_say(session, requests, 3, together, &err), BLIP2_OK);
        const float logprob = together[i].token_logprobs[0];
        assert_int_equal(blip2_session_say(session, &requests[i], 1, &alone, &err), BLIP2_OK);
        assert_true(logprob == alone.token_logprobs[0]);
    }
    assert_string_equal(alone.prompt, "Question: who? Answer:");
    blip2_timings timings;
    blip2_session_timings(session, &timings);
    assert_true(timings.vision_ns > 0 && timings.prefill_ns > 0);
    blip2_session_free(&session);
    blip2_image_free(&image);
    blip2_model_close(&model);
}

static void test_arguments_are_checked(void **state) {
    (void)state;
    blip2_model *model = open_model(B2_DTYPE_I8, false);
    blip2_image *images[2] = {load_image(model, 1), load_image(model, 2)};
    blip2_session *session = open_session(model, 1, NULL, 1);
    blip2_error err;
    blip2_result results[2];
    const blip2_request about_nothing = {.image = 0}, both = {.image = 0, .prompt = "a", .question = "b"};
    assert_int_equal(blip2_session_say(session, &about_nothing, 1, results, &err), BLIP2_ARGUMENT);
    assert_int_equal(blip2_session_see(session, images, 2, &err), BLIP2_ARGUMENT);
    assert_int_equal(blip2_session_see(session, images, 1, &err), BLIP2_OK);
    assert_int_equal(blip2_session_say(session, &both, 1, results, &err), BLIP2_ARGUMENT);
    const blip2_request broken = {.image = 0, .prompt = "a\xFF"};
    assert_int_equal(blip2_session_say(session, &broken, 1, results, &err), BLIP2_ARGUMENT);
    char longer[200];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    const blip2_request too_long = {.image = 0, .prompt = longer};
    assert_int_equal(blip2_session_say(session, &too_long, 1, results, &err), BLIP2_LIMIT);
    assert_int_equal(blip2_prompt_tokens(model, &too_long), 200);
    blip2_session_free(&session);

    blip2_session_options options;
    blip2_session_options_default(&options);
    options.max_prompt_tokens = 90;
    assert_int_equal(blip2_session_create(model, &options, &session, &err), BLIP2_LIMIT);
    assert_null(session);
    assert_non_null(strstr(err.message, "96 positions"));
    blip2_session_options_default(&options);
    options.isa = "sse9";
    assert_int_equal(blip2_session_create(model, &options, &session, &err), BLIP2_ARGUMENT);
    blip2_memory memory;
    blip2_session_options_default(&options);
    assert_int_equal(blip2_session_measure(model, &options, &memory, &err), BLIP2_OK);
    assert_int_equal(memory.total, memory.activations + memory.cache + memory.logits + memory.scratch);
    for (size_t i = 0; i < 2; i++) blip2_image_free(&images[i]);
    blip2_model_close(&model);
}

static bool after_some_questions(void *context) {
    int *left = context;
    return --*left < 0;
}

static void test_cancellation(void **state) {
    (void)state;
    blip2_model *model = open_model(B2_DTYPE_I8, false);
    blip2_image *image = load_image(model, 1);
    for (int when = 0; when < 30; when += 3) {
        int left = when;
        blip2_session_options options;
        blip2_session_options_default(&options);
        options.is_cancelled = after_some_questions;
        options.cancel_context = &left;
        blip2_session *session;
        blip2_error err;
        const blip2_request request = {.image = 0};
        blip2_result result;
        assert_int_equal(blip2_session_create(model, &options, &session, &err), BLIP2_OK);
        blip2_status status = blip2_session_see(session, &image, 1, &err);
        if (status == BLIP2_OK) status = blip2_session_say(session, &request, 1, &result, &err);
        assert_int_equal(status, BLIP2_CANCELLED);
        blip2_session_free(&session);
    }
    blip2_image_free(&image);
    blip2_model_close(&model);
}

static void test_describe(void **state) {
    (void)state;
    blip2_model *model = open_model(B2_DTYPE_I8, false);
    blip2_model_info info = {.struct_bytes = sizeof info};
    blip2_model_describe(model, &info);
    assert_string_equal(info.name, "fixture");
    assert_string_equal(info.dtype, "i8");
    assert_int_equal(info.text_width, 60);
    blip2_tensor_info tensor;
    assert_true(blip2_model_tensor(model, 0, &tensor));
    assert_string_equal(tensor.name, "v.class_embd.weight");
    assert_false(blip2_model_tensor(model, info.n_tensors, &tensor));
    blip2_error err;
    assert_int_equal(blip2_model_verify(model, NULL, NULL, &err), BLIP2_OK);
    blip2_model_close(&model);
    assert_int_equal(blip2_model_open("/nonexistent/model.gguf", &model, &err), BLIP2_IO);
    assert_null(model);
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
        cmocka_unit_test(test_i8_gives_equal_bytes_everywhere),
        cmocka_unit_test(test_f32_and_f16_give_equal_bytes_for_threads_and_batches),
        cmocka_unit_test(test_questions_share_one_look),
        cmocka_unit_test(test_arguments_are_checked),
        cmocka_unit_test(test_cancellation),
        cmocka_unit_test(test_describe),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
