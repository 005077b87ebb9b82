/* test_api.c: the wall of blip2.h: structs of every shorter size, results, callbacks, pixels from elsewhere. */
#include "fixture.h"

#include "blip2.h"
#include "kernels/guarded.h"
#include "result.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { N_NEW = 6 };

static char path[] = "/tmp/blip2_api_XXXXXX";

typedef struct world {
    blip2_model *model;
    blip2_image *image;
    blip2_session *session;
} world;

static void build_world(world *w, bool keeps_logits) {
    blip2_error err;
    size_t n_bytes;
    uint8_t *bytes = fixture_picture(31, 44, 1, &n_bytes);
    blip2_session_options options;
    blip2_session_options_default(&options);
    options.max_images = options.max_requests = 3;
    options.max_new_tokens = N_NEW;
    options.keeps_logits = keeps_logits;
    assert_int_equal(blip2_model_open(path, &w->model, &err), BLIP2_OK);
    assert_int_equal(blip2_image_load_memory(w->model, bytes, n_bytes, "picture", NULL, &w->image, &err), BLIP2_OK);
    assert_int_equal(blip2_session_create(w->model, &options, &w->session, &err), BLIP2_OK);
    assert_int_equal(blip2_session_encode(w->session, &w->image, 1, &err), BLIP2_OK);
    free(bytes);
}

static void leave_world(world *w) {
    blip2_session_free(&w->session);
    blip2_image_free(&w->image);
    blip2_model_close(&w->model);
}

static blip2_status generate(const world *w, const blip2_decoding *decoding) {
    const blip2_request requests[3] = {{.image = 0}, {.image = 0, .prompt = "the a"}, {.image = 0, .question = "who?"}};
    blip2_error err;
    return blip2_session_generate(w->session, requests, 3, decoding, &err);
}

/* ---- sizes: each struct ends where its page ends, at every size that an older header may have had ---------------- */

/* A struct of `bytes` bytes before a page that nobody may touch, its size member set. */
static void *short_struct(guard_pool *pool, size_t bytes) {
    void *p = guard_alloc(pool, bytes);
    memset(p, 0, bytes);
    memcpy(p, &bytes, sizeof bytes);
    return p;
}

/* Without touching a member: a struct of odd size that ends with its page does not begin where its type may. */
static size_t size_of(const void *p) {
    size_t bytes;
    memcpy(&bytes, p, sizeof bytes);
    return bytes;
}

/* The first bytes of what the library fills must not depend on how many there are. */
static void check_filled(const void *short_one, const void *whole, size_t bytes) {
    size_t size;
    memcpy(&size, short_one, sizeof size);
    assert_int_equal(size, bytes);
    assert_memory_equal((const char *)short_one + sizeof size, (const char *)whole + sizeof size, bytes - sizeof size);
}

#define CHECK_SIZES(type, ...)                                                                                         \
    do {                                                                                                               \
        type whole;                                                                                                    \
        memset(&whole, 0, sizeof whole);                                                                               \
        whole.struct_bytes = sizeof whole;                                                                             \
        type *to = &whole;                                                                                             \
        __VA_ARGS__;                                                                                                   \
        for (size_t bytes = sizeof(size_t); bytes < sizeof whole; bytes++) {                                           \
            guard_pool pool = {0};                                                                                     \
            to = short_struct(&pool, bytes);                                                                           \
            __VA_ARGS__;                                                                                               \
            check_filled(to, &whole, bytes);                                                                           \
            assert_true(guard_release(&pool));                                                                         \
        }                                                                                                              \
    } while (0)

static void test_shorter_structs_are_filled_to_their_end(void **state) {
    (void)state;
    world w;
    blip2_error err;
    build_world(&w, false);
    assert_int_equal(generate(&w, NULL), BLIP2_OK);
    CHECK_SIZES(blip2_model_info, blip2_model_describe(w.model, to));
    CHECK_SIZES(blip2_tensor_info, assert_true(blip2_model_tensor(w.model, 0, to)));
    CHECK_SIZES(blip2_memory, assert_int_equal(blip2_session_measure(w.model, NULL, to, &err), BLIP2_OK));
    CHECK_SIZES(blip2_timings, blip2_session_timings(w.session, to));
    CHECK_SIZES(blip2_result, assert_true(blip2_session_result(w.session, 1, 0, to)));
    CHECK_SIZES(blip2_image_options, blip2_image_options_init(to, size_of(to)));
    CHECK_SIZES(blip2_session_options, blip2_session_options_init(to, size_of(to)));
    CHECK_SIZES(blip2_decoding, blip2_decoding_init(to, size_of(to)));
    CHECK_SIZES(blip2_preset, assert_true(blip2_preset_find("coco", to)));
    leave_world(&w);
}

static void test_presets_are_found_and_listed(void **state) {
    (void)state;
    blip2_preset preset = {.struct_bytes = sizeof preset}, same = preset;
    size_t n = 0;
    for (; blip2_preset_at(n, &preset); n++) {
        assert_true(blip2_preset_find(preset.name, &same));
        assert_ptr_equal(same.name, preset.name);
        assert_in_range(preset.num_beams, 1, BLIP2_MAX_RESULTS);
        assert_true((preset.beam_search == NULL) == (preset.rules_see == NULL)); /* both of one era */
    }
    assert_int_equal(n, 6);
    assert_string_equal(preset.name, "nocaps");
    assert_int_equal(preset.max_new_tokens, 79);
    assert_false(blip2_preset_find("lavis", &preset));
    assert_string_equal(preset.name, "nocaps");
}

/* Options cut anywhere give what whole ones give: the part that is missing holds defaults here. */
static void test_shorter_options_are_read_to_their_end(void **state) {
    (void)state;
    world w;
    blip2_error err;
    build_world(&w, false);
    assert_int_equal(generate(&w, NULL), BLIP2_OK);
    int32_t tokens[N_NEW];
    memcpy(tokens, fixture_result(w.session, 0).tokens, sizeof tokens);
    for (size_t bytes = sizeof(size_t); bytes <= sizeof(blip2_session_options); bytes++) {
        guard_pool pool = {0};
        blip2_session_options *options = short_struct(&pool, bytes);
        blip2_session *session = NULL;
        blip2_session_options_init(options, bytes);
        assert_int_equal(blip2_session_create(w.model, options, &session, &err), BLIP2_OK);
        blip2_session_free(&session);
        assert_true(guard_release(&pool));
    }
    for (size_t bytes = sizeof(size_t); bytes <= sizeof(blip2_decoding); bytes++) {
        guard_pool pool = {0};
        blip2_decoding *decoding = short_struct(&pool, bytes);
        blip2_decoding_init(decoding, bytes);
        assert_int_equal(generate(&w, decoding), BLIP2_OK);
        assert_memory_equal(tokens, fixture_result(w.session, 0).tokens, sizeof tokens);
        assert_true(guard_release(&pool));
    }
    for (size_t bytes = sizeof(size_t); bytes <= sizeof(blip2_image_options); bytes++) {
        guard_pool pool = {0};
        blip2_image_options *options = short_struct(&pool, bytes);
        const uint8_t pixels[12] = {0};
        blip2_image *image = NULL;
        blip2_image_options_init(options, bytes);
        assert_int_equal(blip2_image_from_rgb(w.model, pixels, 2, 2, 6, options, &image, &err), BLIP2_OK);
        blip2_image_free(&image);
        assert_true(guard_release(&pool));
    }
    for (size_t bytes = 1; bytes <= sizeof(blip2_request); bytes++) { /* two of them, the second at the page's end */
        guard_pool pool = {0};
        blip2_request *requests = guard_alloc(&pool, 2 * bytes);
        memset(requests, 0, 2 * bytes);
        assert_int_equal(blip2_session_generate_sized(w.session, requests, bytes, 2, NULL, &err), BLIP2_OK);
        assert_memory_equal(tokens, fixture_result(w.session, 1).tokens, sizeof tokens);
        assert_int_equal(blip2_prompt_tokens_sized(w.model, (void *)((char *)requests + bytes), bytes), 1);
        assert_true(guard_release(&pool));
    }
    assert_true(blip2_isa_list(NULL, 0) >= 1);
    leave_world(&w);
}

/* A newer program's struct is longer: what the library does not know is left alone. */
static void test_longer_structs_are_left_alone_behind_our_end(void **state) {
    (void)state;
    world w;
    build_world(&w, false);
    struct {
        blip2_model_info info;
        char later[16];
    } newer;
    memset(&newer, 'x', sizeof newer);
    newer.info.struct_bytes = sizeof newer;
    blip2_model_describe(w.model, &newer.info);
    assert_int_equal(newer.info.struct_bytes, sizeof newer);
    assert_int_equal(newer.info.text_width, 60);
    for (size_t i = 0; i < sizeof newer.later; i++) assert_int_equal(newer.later[i], 'x');
    leave_world(&w);
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

static void test_versions_and_names(void **state) {
    (void)state;
    assert_string_equal(blip2_version(), BLIP2_VERSION);
    assert_int_equal(blip2_abi_version(), BLIP2_ABI_VERSION);
    assert_string_equal(blip2_status_name(BLIP2_OK), "OK");
    assert_string_equal(blip2_status_name(BLIP2_OTHER_VERSION), "OTHER_VERSION");
    assert_string_equal(blip2_status_name(BLIP2_DEVICE), "DEVICE");
    assert_string_equal(blip2_status_name((blip2_status)99), "UNKNOWN");
    assert_string_equal(blip2_status_name((blip2_status)-1), "UNKNOWN");
}

/* ---- results ----------------------------------------------------------------------------------------------------- */

static void test_results_belong_to_the_last_generate(void **state) {
    (void)state;
    world w;
    blip2_error err;
    build_world(&w, false);
    blip2_result result = {.struct_bytes = sizeof result};
    assert_int_equal(blip2_session_n_results(w.session, 0), 0);
    assert_int_equal(generate(&w, NULL), BLIP2_OK);
    for (size_t i = 0; i < 3; i++) assert_int_equal(blip2_session_n_results(w.session, i), 1);
    assert_false(blip2_session_result(w.session, 3, 0, &result));
    assert_false(blip2_session_result(w.session, 0, 1, &result));
    assert_true(blip2_session_result(w.session, 2, 0, &result));
    assert_string_equal(result.prompt, "Question: who? Answer:");
    assert_int_equal(blip2_session_encode(w.session, &w.image, 1, &err), BLIP2_OK);
    assert_int_equal(blip2_session_n_results(w.session, 0), 0);
    leave_world(&w);
}

static void test_decoding_may_be_shorter_than_the_session(void **state) {
    (void)state;
    world w;
    blip2_decoding decoding;
    build_world(&w, false);
    blip2_decoding_default(&decoding);
    assert_int_equal(generate(&w, NULL), BLIP2_OK);
    const int32_t first = fixture_result(w.session, 0).tokens[0];
    decoding.max_new_tokens = 1;
    assert_int_equal(generate(&w, &decoding), BLIP2_OK);
    const blip2_result result = fixture_result(w.session, 0);
    assert_int_equal(result.n_tokens, 1);
    assert_int_equal(result.tokens[0], first);
    assert_int_equal(result.ending, BLIP2_ENDED_LENGTH);
    decoding.max_new_tokens = N_NEW + 1;
    assert_int_equal(generate(&w, &decoding), BLIP2_ARGUMENT);
    leave_world(&w);
}

/* ---- on_token ---------------------------------------------------------------------------------------------------- */

typedef struct heard {
    size_t n[3], stop_after;
    int32_t ids[3][N_NEW];
    char text[3][256];
} heard;

static bool listen(void *context, size_t request, size_t rank, int32_t id, const char *text) {
    heard *h = context;
    assert_int_equal(rank, 0);
    h->ids[request][h->n[request]++] = id;
    snprintf(h->text[request], sizeof h->text[request], "%s", text);
    return request != 1 || h->n[request] < h->stop_after;
}

static void test_tokens_are_told_one_by_one_and_may_be_ended(void **state) {
    (void)state;
    world w;
    blip2_decoding decoding;
    heard h = {.stop_after = 2};
    build_world(&w, false);
    blip2_decoding_default(&decoding);
    decoding.on_token = listen;
    decoding.token_context = &h;
    assert_int_equal(generate(&w, NULL), BLIP2_OK);
    size_t n_alone[3];
    int32_t alone[3][N_NEW];
    for (size_t i = 0; i < 3; i++) {
        n_alone[i] = fixture_result(w.session, i).n_tokens;
        memcpy(alone[i], fixture_result(w.session, i).tokens, n_alone[i] * sizeof(int32_t));
    }
    assert_int_equal(generate(&w, &decoding), BLIP2_OK);
    for (size_t i = 0; i < 3; i++) {
        const blip2_result result = fixture_result(w.session, i);
        assert_int_equal(result.n_tokens, h.n[i]);
        assert_memory_equal(result.tokens, h.ids[i], h.n[i] * sizeof(int32_t));
        assert_memory_equal(result.tokens, alone[i], h.n[i] * sizeof(int32_t));
        assert_non_null(strstr(h.text[i], result.text));
        if (i != 1) assert_int_equal(h.n[i], n_alone[i]);
    }
    assert_int_equal(h.n[1], 2);
    assert_int_equal(fixture_result(w.session, 1).ending, BLIP2_ENDED_CALLER);
    leave_world(&w);
}

/* ---- logits ------------------------------------------------------------------------------------------------------ */

static void test_the_last_logits_choose_the_last_id(void **state) {
    (void)state;
    world w;
    size_t n = 0;
    build_world(&w, true);
    assert_null(blip2_session_logits(w.session, 0, 0, &n));
    assert_int_equal(generate(&w, NULL), BLIP2_OK);
    for (size_t i = 0; i < 3; i++) {
        const blip2_result result = fixture_result(w.session, i);
        const float *logits = blip2_session_logits(w.session, i, 0, &n);
        assert_non_null(logits);
        size_t best = 0;
        double sum = 0;
        for (size_t k = 1; k < n; k++) best = logits[k] > logits[best] ? k : best;
        for (size_t k = 0; k < n; k++) sum += exp((double)logits[k] - (double)logits[best]);
        assert_int_equal(best, result.tokens[result.n_tokens - 1]);
        assert_true(fabs(-log(sum) - (double)result.token_logprobs[result.n_tokens - 1]) < 1e-4);
    }
    leave_world(&w);
    build_world(&w, false);
    assert_int_equal(generate(&w, NULL), BLIP2_OK);
    assert_null(blip2_session_logits(w.session, 0, 0, &n));
    leave_world(&w);
}

/* ---- pixels ------------------------------------------------------------------------------------------------------ */

static void test_raw_pixels_make_the_image_that_their_file_makes(void **state) {
    (void)state;
    enum { WIDTH = 37, HEIGHT = 23, ROW_BYTES = 3 * WIDTH + 5 };
    world w;
    blip2_error err;
    blip2_model_info info = {.struct_bytes = sizeof info};
    build_world(&w, false);
    blip2_model_describe(w.model, &info);
    uint8_t rows[HEIGHT * ROW_BYTES], ppm[32 + 3 * WIDTH * HEIGHT];
    size_t n = (size_t)sprintf((char *)ppm, "P6 %d %d 255\n", WIDTH, HEIGHT);
    memset(rows, 0xEE, sizeof rows);
    for (size_t y = 0; y < HEIGHT; y++)
        for (size_t x = 0; x < 3 * WIDTH; x++) rows[y * ROW_BYTES + x] = ppm[n++] = (uint8_t)(x * 31 + y * 57 + x * y);
    blip2_image *from_file = NULL, *from_rgb = NULL;
    assert_int_equal(blip2_image_load_memory(w.model, ppm, n, "ppm", NULL, &from_file, &err), BLIP2_OK);
    assert_int_equal(blip2_image_from_rgb(w.model, rows, WIDTH, HEIGHT, ROW_BYTES, NULL, &from_rgb, &err), BLIP2_OK);
    assert_memory_equal(blip2_image_pixels(from_file), blip2_image_pixels(from_rgb),
                        3 * sizeof(float) * info.image_size * info.image_size);
    blip2_image_free(&from_file);
    blip2_image_free(&from_rgb);
    assert_int_equal(blip2_image_from_rgb(w.model, rows, WIDTH, HEIGHT, 3 * WIDTH - 1, NULL, &from_rgb, &err),
                     BLIP2_ARGUMENT);
    assert_int_equal(blip2_image_from_rgb(w.model, rows, 0, HEIGHT, 3, NULL, &from_rgb, &err), BLIP2_ARGUMENT);
    assert_int_equal(blip2_image_from_rgb(w.model, rows, SIZE_MAX / 2, 2, SIZE_MAX, NULL, &from_rgb, &err),
                     BLIP2_ARGUMENT);
    assert_int_equal(blip2_image_from_rgb(w.model, rows, (size_t)1 << 28, 2, (size_t)3 << 28, NULL, &from_rgb, &err),
                     BLIP2_LIMIT);
    assert_null(from_rgb);
    leave_world(&w);
}

static int set_up(void **state) {
    (void)state;
    const int fd = mkstemp(path);
    if (fd >= 0) close(fd);
    const b2_hparams h = fixture_hparams();
    return fd < 0 || !fixture_write_model(path, &h, B2_DTYPE_I8, false);
}

static int tear_down(void **state) {
    (void)state;
    return unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shorter_structs_are_filled_to_their_end),
        cmocka_unit_test(test_presets_are_found_and_listed),
        cmocka_unit_test(test_shorter_options_are_read_to_their_end),
        cmocka_unit_test(test_longer_structs_are_left_alone_behind_our_end),
        cmocka_unit_test(test_versions_and_names),
        cmocka_unit_test(test_results_belong_to_the_last_generate),
        cmocka_unit_test(test_decoding_may_be_shorter_than_the_session),
        cmocka_unit_test(test_tokens_are_told_one_by_one_and_may_be_ended),
        cmocka_unit_test(test_the_last_logits_choose_the_last_id),
        cmocka_unit_test(test_raw_pixels_make_the_image_that_their_file_makes),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
