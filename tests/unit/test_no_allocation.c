/* test_no_allocation.c: after blip2_session_create nothing allocates. Linked with --wrap: every allocation of ours
 * comes through here; and with memory withheld one allocation at a time, everything fails with a sentence, not with a
 * crash. */
#include "fixture.h"

#include "blip2.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
int __real_posix_memalign(void **p, size_t alignment, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
int __wrap_posix_memalign(void **p, size_t alignment, size_t n);

/* This program's own state, not the library's; volatile, for the compiler believes that calloc reads no variable of
 * ours. */
static volatile long n_allocations, fail_at = -1;

static bool is_withheld(void) { return n_allocations++ == fail_at; }
void *__wrap_malloc(size_t n) { return is_withheld() ? NULL : __real_malloc(n); }
void *__wrap_calloc(size_t n, size_t size) { return is_withheld() ? NULL : __real_calloc(n, size); }
void *__wrap_realloc(void *p, size_t n) { return is_withheld() ? NULL : __real_realloc(p, n); }
int __wrap_posix_memalign(void **p, size_t alignment, size_t n) {
    return is_withheld() ? 12 : __real_posix_memalign(p, alignment, n);
}

static char path[] = "/tmp/blip2_noalloc_XXXXXX";

static blip2_status caption(blip2_error *err) {
    blip2_model *model = NULL;
    blip2_session *session = NULL;
    blip2_image *image = NULL;
    const blip2_request request = {.image = 0, .question = "what is this?"};
    blip2_decoding decoding;
    blip2_decoding_default(&decoding);
    decoding.repetition_penalty = 1.2;
    decoding.no_repeat_ngram_size = 2;
    decoding.suppress_tokens = "[5,6]";
    blip2_session_options options;
    blip2_session_options_default(&options);
    options.max_results = 3;
    size_t n_bytes;
    const long keep = fail_at;
    fail_at = -1;
    uint8_t *bytes = fixture_picture(40, 30, 5, &n_bytes);
    fail_at = keep;
    n_allocations = 0;
    blip2_status status = blip2_model_open(path, &model, err);
    if (status == BLIP2_OK) status = blip2_image_load_memory(model, bytes, n_bytes, "picture", NULL, &image, err);
    if (status == BLIP2_OK) status = blip2_session_create(model, &options, &session, err);
    const long before = n_allocations;
    decoding.num_return_sequences = 3;
    for (int round = 0; round < 5 && status == BLIP2_OK; round++) {
        decoding.do_sample = round % 2 == 1; /* samples, beams, beams that are drawn, beams of LAVIS */
        decoding.num_beams = round > 1 ? 3 : 1;
        decoding.top_p = 0.9;
        decoding.typical_p = 0.9;
        decoding.beam_search = round == 4 ? "lavis" : NULL;
        status = blip2_session_encode(session, &image, 1, err);
        if (status == BLIP2_OK)
            status = blip2_session_generate(session, &request, 1, round > 0 ? &decoding : NULL, err);
    }
    if (fail_at < 0) assert_int_equal(n_allocations, before);
    blip2_session_free(&session);
    blip2_image_free(&image);
    blip2_model_close(&model);
    free(bytes);
    return status;
}

static void test_a_run_allocates_nothing(void **state) {
    (void)state;
    blip2_error err;
    assert_int_equal(caption(&err), BLIP2_OK);
    assert_true(n_allocations > 5); /* the wrapper sees the allocations of open and create */
}

static void test_every_refused_allocation_is_an_error(void **state) {
    (void)state;
    blip2_error err;
    long n_failed = 0;
    for (long at = 0; at < 10000; at++) {
        fail_at = at;
        const blip2_status status = caption(&err);
        fail_at = -1;
        if (status == BLIP2_OK) break; /* fewer allocations than that, or one that can be done without */
        assert_int_equal(status, BLIP2_MEMORY);
        assert_non_null(strstr(err.message, "memory"));
        n_failed++;
    }
    assert_true(n_failed > 5);
}

static int set_up(void **state) {
    (void)state;
    const int fd = mkstemp(path);
    const b2_hparams h = fixture_hparams();
    if (fd >= 0) close(fd);
    return fd < 0 || !fixture_write_model(path, &h, B2_DTYPE_I8, false);
}

static int tear_down(void **state) {
    (void)state;
    return unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_run_allocates_nothing),
        cmocka_unit_test(test_every_refused_allocation_is_an_error),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
