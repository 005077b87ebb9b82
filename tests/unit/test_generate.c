/* test_generate.c: rows begin, step and end in any order; what a row says does not depend on when it began nor on who
 * stood beside it. */
#include "fixture.h"

#include "blip2_model.h"
#include "generate/decode.h"
#include "generate/greedy.h"
#include "kernels/cpu/cpu_home.h"
#include "tests/random.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { N_SLOTS = 3, N_OWNERS = 5, N_PROMPT = 4, N_IDS = 7 };

static char path[] = "/tmp/blip2_generate_XXXXXX";

typedef struct world {
    blip2_model *model;
    b2_workspace homes[B2_MAX_HOMES];
    b2_ops *cpu;
    b2_decoder decoder;
    b2_sequence prompts[N_OWNERS];
} world;

/* Owner i reads i % N_PROMPT + 1 ids after soft tokens of its own. */
static void build_world(world *w) {
    static const int32_t prompt[N_PROMPT] = {2, 17, 99, 4};
    static const b2_capacity capacity = {.n_images = 1,
                                         .n_requests = N_SLOTS,
                                         .n_sequences = N_SLOTS,
                                         .n_prompt_tokens = N_PROMPT,
                                         .n_new_tokens = N_IDS};
    blip2_error err;
    *w = (world){0};
    assert_int_equal(blip2_model_open(path, &w->model, &err), BLIP2_OK);
    assert_int_equal(b2_cpu_home_create(NULL, 2, &w->cpu, &err), BLIP2_OK);
    const b2_weights *weights = &w->model->weights;
    assert_int_equal(b2_workspace_create(weights, &capacity, B2_HOME_CPU, w->cpu, &w->homes[B2_HOME_CPU], &err),
                     BLIP2_OK);
    assert_int_equal(b2_decoder_create(weights, w->homes, &w->decoder, &err), BLIP2_OK);
    const size_t n_soft = (size_t)weights->h.qformer.n_queries * weights->h.opt.width;
    for (size_t i = 0; i < N_OWNERS; i++) {
        uint64_t seed = 100 + i;
        float *soft_tokens = malloc(n_soft * sizeof *soft_tokens);
        for (size_t k = 0; k < n_soft; k++) soft_tokens[k] = next_unit(&seed);
        w->prompts[i] = (b2_sequence){.soft_tokens = soft_tokens, .prompt = prompt, .n_prompt = i % N_PROMPT + 1};
    }
}

static void leave_world(world *w) {
    for (size_t i = 0; i < N_OWNERS; i++) free((void *)(uintptr_t)w->prompts[i].soft_tokens);
    b2_decoder_free(&w->decoder);
    b2_workspace_free(&w->homes[B2_HOME_CPU]);
    b2_ops_free(w->cpu);
    blip2_model_close(&w->model);
}

/* What each owner has said so far. */
typedef struct said {
    size_t n[N_OWNERS];
    int32_t ids[N_OWNERS][N_IDS];
    float logprobs[N_OWNERS][N_IDS];
} said;

/* Each fresh row takes its best id, whatever it is; a row with N_IDS of them ends. */
static void choose(world *w, said *s) {
    b2_decoder *d = &w->decoder;
    for (size_t row = d->first_fresh; row < d->n_rows; row++) {
        const size_t owner = d->owners[row], at = s->n[owner]++;
        assert_true(b2_greedy_choose(w->cpu, b2_decoder_logits(d, row), w->model->weights.h.opt.n_vocab, &d->ids[row],
                                     &s->logprobs[owner][at]));
        s->ids[owner][at] = d->ids[row];
        if (s->n[owner] == N_IDS) b2_decoder_end(d, row);
    }
}

static void begin(world *w, size_t owner, said *s) {
    b2_decoder_begin(&w->decoder, &w->prompts[owner], &owner, 1);
    choose(w, s);
}

static bool step(world *w, said *s) {
    if (!b2_decoder_step(&w->decoder)) return false;
    choose(w, s);
    return true;
}

static void test_rows_that_join_and_leave_say_what_they_say_alone(void **state) {
    (void)state;
    world w;
    said alone = {0}, together = {0};
    build_world(&w);
    for (size_t i = 0; i < N_OWNERS; i++) {
        b2_decoder_reset(&w.decoder);
        begin(&w, i, &alone);
        while (step(&w, &alone)) continue;
    }
    for (size_t i = 1; i < N_OWNERS; i++) /* or equality would prove nothing */
        assert_true(memcmp(&alone.logprobs[i - 1], &alone.logprobs[i], sizeof alone.logprobs[i]) != 0);
    b2_decoder_reset(&w.decoder);
    size_t next = 0, n_together = 0;
    do { /* a row joins at every step while a slot is free: five owners over three slots */
        if (next < N_OWNERS && w.decoder.n_free > 0) begin(&w, next++, &together);
        n_together += w.decoder.n_rows == N_SLOTS;
    } while (step(&w, &together) || next < N_OWNERS);
    assert_true(n_together > 0);
    assert_int_equal(w.decoder.n_free, N_SLOTS);
    assert_memory_equal(&alone, &together, sizeof alone);
    leave_world(&w);
}

static void test_a_row_that_ends_early_leaves_the_others_alone(void **state) {
    (void)state;
    world w;
    said whole = {0}, cut = {0};
    build_world(&w);
    const size_t owners[N_SLOTS] = {0, 1, 2};
    for (size_t pass = 0; pass < 2; pass++) {
        said *s = pass == 0 ? &whole : &cut;
        b2_decoder_reset(&w.decoder);
        b2_decoder_begin(&w.decoder, w.prompts, owners, N_SLOTS);
        choose(&w, s);
        if (pass == 1) b2_decoder_end(&w.decoder, 1);
        while (step(&w, s)) continue;
    }
    assert_int_equal(cut.n[1], 1);
    assert_int_equal(whole.ids[1][0], cut.ids[1][0]);
    for (size_t i = 0; i < N_SLOTS; i += 2) {
        assert_memory_equal(whole.ids[i], cut.ids[i], sizeof whole.ids[i]);
        assert_memory_equal(whole.logprobs[i], cut.logprobs[i], sizeof whole.logprobs[i]);
    }
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
        cmocka_unit_test(test_rows_that_join_and_leave_say_what_they_say_alone),
        cmocka_unit_test(test_a_row_that_ends_early_leaves_the_others_alone),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
