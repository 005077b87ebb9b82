/* test_session.c: the public interface on a tiny random model: the promises of blip2.h, each tried. */
#include "fixture.h"

#include "blip2.h"
#include "blip2_text.h"
#include "kernels/tensor.h"
#include "result.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { N_IMAGES = 8, N_NEW = 6, N_WAYS = 4, N_RANKS = 3 };

static char path[] = "/tmp/blip2_session_XXXXXX";

static blip2_model *open_model_with(b2_dtype dtype, bool with_head, size_t n_queries) {
    b2_hparams h = fixture_hparams();
    blip2_model *model = NULL;
    blip2_error err;
    h.qformer.n_queries = (uint32_t)n_queries;
    h.opt.max_positions += (uint32_t)n_queries - fixture_hparams().qformer.n_queries;
    assert_true(fixture_write_model(path, &h, dtype, with_head));
    if (blip2_model_open(path, &model, &err) != BLIP2_OK) fail_msg("%s", err.message);
    return model;
}

static blip2_model *open_model(b2_dtype dtype, bool with_head) {
    return open_model_with(dtype, with_head, fixture_hparams().qformer.n_queries);
}

static blip2_image *load_image(const blip2_model *model, uint64_t seed) {
    size_t n_bytes;
    uint8_t *bytes = fixture_picture(31 + (size_t)seed, 44, seed, &n_bytes);
    blip2_image *image = NULL;
    blip2_error err;
    if (blip2_image_load_memory(model, bytes, n_bytes, "picture", NULL, &image, &err) != BLIP2_OK)
        fail_msg("%s", err.message);
    free(bytes);
    return image;
}

static blip2_session *open_session(const blip2_model *model, size_t n_threads, const char *isa, size_t batch) {
    blip2_session_options options;
    blip2_session_options_default(&options);
    options.n_threads = n_threads;
    options.isa = isa;
    options.max_images = options.max_requests = batch;
    options.max_new_tokens = N_NEW;
    options.max_results = N_RANKS;
    blip2_session *session = NULL;
    blip2_error err;
    if (blip2_session_create(model, &options, &session, &err) != BLIP2_OK) fail_msg("%s", err.message);
    return session;
}

/* The best id, samples, beams, beams that are drawn. */
static blip2_decoding way_to_choose(size_t way) {
    blip2_decoding d;
    blip2_decoding_default(&d);
    d.num_return_sequences = way > 0 ? N_RANKS : 1;
    d.num_beams = way > 1 ? N_RANKS : 1;
    d.do_sample = way == 1 || way == 3;
    d.top_k = way == 3 ? 5 : 0;
    d.temperature = 2.5;
    d.seed = UINT64_C(9007199254740993); /* 2^53 + 1: no double */
    return d;
}

/* Everything that a run prints, for N_IMAGES images, batch at a time; every second one is asked a question. */
typedef struct transcript {
    struct {
        int32_t tokens[N_NEW];
        float logprobs[N_NEW];
        size_t n_tokens;
        double score;
    } texts[N_WAYS][N_IMAGES][N_RANKS];
} transcript;

static void keep_texts(const blip2_session *session, size_t request, size_t way, size_t image, transcript *t) {
    assert_int_equal(blip2_session_n_results(session, request), way > 0 ? N_RANKS : 1);
    for (size_t rank = 0; rank < (way > 0 ? N_RANKS : 1); rank++) {
        blip2_result r = {.struct_bytes = sizeof r};
        assert_true(blip2_session_result(session, request, rank, &r));
        t->texts[way][image][rank].n_tokens = r.n_tokens;
        t->texts[way][image][rank].score = r.score;
        memcpy(t->texts[way][image][rank].tokens, r.tokens, r.n_tokens * sizeof(int32_t));
        memcpy(t->texts[way][image][rank].logprobs, r.token_logprobs, r.n_tokens * sizeof(float));
    }
}

static void run_all(blip2_session *session, blip2_image *const *images, size_t batch, transcript *t) {
    blip2_error err;
    memset(t, 0, sizeof *t);
    for (size_t first = 0; first < N_IMAGES; first += batch) {
        const size_t n = N_IMAGES - first < batch ? N_IMAGES - first : batch;
        blip2_request requests[N_IMAGES] = {0};
        for (size_t i = 0; i < n; i++)
            requests[i] = (blip2_request){
                .image = i, .question = (first + i) % 2 ? "which city is this?" : NULL, .picture_number = first + i};
        assert_int_equal(blip2_session_encode(session, images + first, n, &err), BLIP2_OK);
        for (size_t way = 0; way < N_WAYS; way++) {
            const blip2_decoding d = way_to_choose(way);
            if (blip2_session_generate(session, requests, n, way > 0 ? &d : NULL, &err) != BLIP2_OK)
                fail_msg("%s", err.message);
            for (size_t i = 0; i < n; i++) keep_texts(session, i, way, first + i, t);
        }
    }
}

static void check_equal_bytes(b2_dtype dtype, bool all_isas) {
    blip2_model *model = open_model(dtype, dtype == B2_DTYPE_F16);
    blip2_image *images[N_IMAGES];
    for (size_t i = 0; i < N_IMAGES; i++) images[i] = load_image(model, i);
    const size_t threads[] = {1, 2, 3, 7, 64};
    const size_t batches[] = {1, 2, 3, 8}; /* with 3 the last is a rest */
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
    for (size_t i = 0; i < N_IMAGES; i++)
        n_distinct += first.texts[0][i][0].logprobs[0] != first.texts[0][(i + 1) % N_IMAGES][0].logprobs[0];
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

/* Prompts about one picture: what is stored for all of them gives each what it says alone, in every way. */
static void check_prompts_of_one_picture(b2_dtype dtype, size_t n_queries) {
    blip2_model *model = open_model_with(dtype, false, n_queries);
    blip2_image *images[2] = {load_image(model, 3), load_image(model, 4)};
    blip2_session *session = open_session(model, 2, NULL, 4);
    blip2_error err;
    const blip2_request requests[4] = {{.image = 0},
                                       {.image = 1},
                                       {.image = 0, .prompt = "the a", .prompt_number = 1},
                                       {.image = 0, .question = "who? \n", .prompt_number = 2}};
    transcript together = {0}, alone = {0};
    assert_int_equal(blip2_session_encode(session, images, 2, &err), BLIP2_OK);
    for (size_t way = 0; way < N_WAYS; way++) {
        const blip2_decoding d = way_to_choose(way);
        assert_int_equal(blip2_session_generate(session, requests, 4, &d, &err), BLIP2_OK);
        for (size_t i = 0; i < 4; i++) keep_texts(session, i, way, i, &together);
        for (size_t i = 0; i < 4; i++) {
            assert_int_equal(blip2_session_generate(session, &requests[i], 1, &d, &err), BLIP2_OK);
            keep_texts(session, 0, way, i, &alone);
        }
    }
    assert_memory_equal(&together, &alone, sizeof alone);
    blip2_session_free(&session);
    blip2_image_free(&images[0]);
    blip2_image_free(&images[1]);
    blip2_model_close(&model);
}

static void test_a_stored_beginning_gives_the_bits_of_a_fresh_one(void **state) {
    (void)state;
    const b2_dtype dtypes[] = {B2_DTYPE_I8, B2_DTYPE_F16, B2_DTYPE_F32};
    for (size_t i = 0; i < 3; i++) {
        check_prompts_of_one_picture(dtypes[i], fixture_hparams().qformer.n_queries);
        check_prompts_of_one_picture(dtypes[i], B2_TILE_ROWS); /* a whole tile: alone it goes with the prompt */
    }
}

static void test_earlier_turns_come_before_a_question(void **state) {
    (void)state;
    const blip2_turn turns[] = {{"which city? ", " singapore\n"}, {"why?", " \n"}, {"sure?", "Yes!"}, {"when?", NULL}};
    const blip2_request follow_ups[] = {{.question = "who? \n", .turns = turns, .n_turns = 4},
                                        {.question = "who?", .turns = turns, .n_turns = 1, .is_short = true}};
    const char *const expected[] = {
        "Question: which city? Answer: singapore. Question: sure? Answer: Yes! Question: who? Answer:",
        "Question: which city? Short answer: singapore. Question: who? Short answer:"};
    for (size_t i = 0; i < 2; i++)
        for (size_t room = 0; room < 128; room++) { /* cut where there is none, always of the same length */
            char text[128] = "untouched";
            assert_int_equal(b2_text_wrap(&follow_ups[i], text, room), strlen(expected[i]));
            if (room == 0) assert_string_equal(text, "untouched");
            else assert_true(strncmp(text, expected[i], room - 1) == 0 && strlen(text) < room);
        }
}

static void test_questions_share_one_look(void **state) {
    (void)state;
    blip2_model *model = open_model(B2_DTYPE_I8, false);
    blip2_image *image = load_image(model, 3);
    blip2_session *session = open_session(model, 2, NULL, 3);
    blip2_error err;
    const blip2_request request = {.image = 0, .question = "who? \n"};
    assert_int_equal(blip2_session_encode(session, &image, 1, &err), BLIP2_OK);
    assert_int_equal(blip2_session_generate(session, &request, 1, NULL, &err), BLIP2_OK);
    const blip2_result alone = fixture_result(session, 0);
    assert_string_equal(alone.prompt, "Question: who? Answer:");
    const blip2_turn turn = {"who?", "you"};
    const blip2_request wrong = {.prompt = "a photo of", .turns = &turn, .n_turns = 1};
    assert_int_equal(blip2_session_generate(session, &wrong, 1, NULL, &err), BLIP2_ARGUMENT);
    blip2_timings timings = {.struct_bytes = sizeof timings};
    assert_int_equal(blip2_session_generate(session, &request, 1, NULL, &err), BLIP2_OK);
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
    const blip2_request about_nothing = {.image = 0}, both = {.image = 0, .prompt = "a", .question = "b"};
    assert_int_equal(blip2_session_generate(session, &about_nothing, 1, NULL, &err), BLIP2_ARGUMENT);
    assert_int_equal(blip2_session_encode(session, images, 2, &err), BLIP2_ARGUMENT);
    assert_int_equal(blip2_session_encode(session, images, 1, &err), BLIP2_OK);
    assert_int_equal(blip2_session_generate(session, &both, 1, NULL, &err), BLIP2_ARGUMENT);
    const blip2_request broken = {.image = 0, .prompt = "a\xFF"};
    assert_int_equal(blip2_session_generate(session, &broken, 1, NULL, &err), BLIP2_ARGUMENT);
    char longer[200];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    const blip2_request too_long = {.image = 0, .prompt = longer};
    assert_int_equal(blip2_session_generate(session, &too_long, 1, NULL, &err), BLIP2_LIMIT);
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
    blip2_memory memory = {.struct_bytes = sizeof memory};
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
        assert_int_equal(blip2_session_create(model, &options, &session, &err), BLIP2_OK);
        blip2_status status = blip2_session_encode(session, &image, 1, &err);
        if (status == BLIP2_OK) status = blip2_session_generate(session, &request, 1, NULL, &err);
        assert_int_equal(status, BLIP2_CANCELLED);
        blip2_session_free(&session);
    }
    blip2_image_free(&image);
    blip2_model_close(&model);
}

static bool once(void *context) { return --*(int *)context == 0; }

/* One "yes" is enough, whatever the next answer is: blocks were left out. The next call begins anew. */
static void test_cancelled_once(void **state) {
    (void)state;
    blip2_model *model = open_model(B2_DTYPE_I8, false);
    blip2_image *image = load_image(model, 1);
    int left = 0;
    blip2_session_options options;
    blip2_session_options_default(&options);
    options.is_cancelled = once;
    options.cancel_context = &left;
    blip2_session *session;
    blip2_error err;
    const blip2_request request = {.image = 0};
    assert_int_equal(blip2_session_create(model, &options, &session, &err), BLIP2_OK);
    for (int when = 1; when < 12; when++) {
        left = when;
        blip2_status status = blip2_session_encode(session, &image, 1, &err);
        if (left > 0) assert_int_equal(status, BLIP2_OK);
        if (status == BLIP2_OK) status = blip2_session_generate(session, &request, 1, NULL, &err);
        assert_int_equal(status, BLIP2_CANCELLED);
    }
    assert_int_equal(blip2_session_encode(session, &image, 1, &err), BLIP2_OK);
    assert_int_equal(blip2_session_generate(session, &request, 1, NULL, &err), BLIP2_OK);
    blip2_session_free(&session);
    blip2_image_free(&image);
    blip2_model_close(&model);
}

/* What int8 adds, scales and padding, is no parameter. */
static void test_parameters_are_of_the_model(void **state) {
    (void)state;
    const b2_dtype dtypes[] = {B2_DTYPE_I8, B2_DTYPE_F16, B2_DTYPE_F32};
    for (int with_head = 0; with_head < 2; with_head++) {
        uint64_t n[3];
        for (size_t i = 0; i < 3; i++) {
            blip2_model *model = open_model(dtypes[i], with_head);
            blip2_model_info info = {.struct_bytes = sizeof info};
            blip2_model_describe(model, &info);
            n[i] = info.n_parameters;
            blip2_model_close(&model);
        }
        assert_true(n[0] > 0 && n[0] == n[1] && n[1] == n[2]);
    }
}

static void test_describe(void **state) {
    (void)state;
    blip2_model *model = open_model(B2_DTYPE_I8, false);
    blip2_model_info info = {.struct_bytes = sizeof info};
    blip2_model_describe(model, &info);
    assert_string_equal(info.name, "fixture");
    assert_string_equal(info.dtype, "i8");
    assert_int_equal(info.text_width, 60);
    blip2_tensor_info tensor = {.struct_bytes = sizeof tensor};
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
        cmocka_unit_test(test_a_stored_beginning_gives_the_bits_of_a_fresh_one),
        cmocka_unit_test(test_earlier_turns_come_before_a_question),
        cmocka_unit_test(test_questions_share_one_look),
        cmocka_unit_test(test_arguments_are_checked),
        cmocka_unit_test(test_cancellation),
        cmocka_unit_test(test_cancelled_once),
        cmocka_unit_test(test_parameters_are_of_the_model),
        cmocka_unit_test(test_describe),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
