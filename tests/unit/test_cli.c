/* test_cli.c: the options of the command line. The program as a whole is tested case by case in tests/cli. */
#include "blip2.h"
#include "cli/args.h"
#include "cli/bench_count.h"
#include "fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- options --------------------------------------------------------------------------------------------------- */

typedef struct target {
    const char *output, *called;
    bool is_verbose, is_nul, keeps_exif;
    size_t batch;
    int n_threads, mode;
    double temperature;
} target;

static bool take_call(void *context, const char *value, char *error) {
    ((target *)context)->called = value;
    return strcmp(value, "bad") != 0 || b2_arg_refuse(error, "something good", value);
}

static const char *const modes[] = {"word", "substring", "regex", NULL};
#define AT(member) .offset = offsetof(target, member)
static const b2_option options[] = {{'o', "output", "FILE", "", B2_ARG_TEXT, AT(output)},
                                    {'v', "verbose", NULL, "", B2_ARG_SET, AT(is_verbose)},
                                    {'0', "null", NULL, "", B2_ARG_SET, AT(is_nul)},
                                    {0, "no-exif", NULL, "", B2_ARG_CLEAR, AT(keeps_exif)},
                                    {0, "batch", "N", "", B2_ARG_SIZE, AT(batch), .low = 1, .high = 256},
                                    {'t', "threads", "N", "", B2_ARG_INT, AT(n_threads), .low = -1, .high = 64},
                                    {0, "temperature", "T", "", B2_ARG_REAL, AT(temperature), .low = 0, .high = 2.5},
                                    {0, "mode", "MODE", "", B2_ARG_CHOICE, AT(mode), .choices = modes},
                                    {0, "call", "X", "", B2_ARG_CALL, .call = take_call},
                                    B2_OPTION_HELP,
                                    {.name = NULL}};

static const b2_syntax syntax = {"", options, 3, "three at a time"};

enum { MAX_ARGUMENTS = 12 };

/* Parses "command argument argument ...", given with NULL at the end, into t; the error or "". */
static b2_parsed parse(target *t, b2_args *args, char *error, const char *const *arguments) {
    static char *argv[MAX_ARGUMENTS];
    int argc = 1;
    for (; arguments[argc - 1] != NULL; argc++) argv[argc] = (char *)(uintptr_t)arguments[argc - 1];
    *t = (target){.keeps_exif = true};
    error[0] = '\0';
    return b2_args_parse(&syntax, argc, argv, t, args, error);
}

static void expect_refusal(const char *argument, const char *want) {
    target t;
    b2_args args;
    char error[B2_ARG_ERROR_BYTES];
    assert_int_equal(parse(&t, &args, error, (const char *const[]){argument, NULL}), B2_PARSED_ERROR);
    assert_string_equal(error, want);
}

static void test_spellings_of_options(void **state) {
    (void)state;
    target t;
    b2_args args;
    char error[B2_ARG_ERROR_BYTES];
    static const char *const spellings[][6] = {
        {"-o", "a", "x"}, {"-oa", "x"}, {"--output=a", "x"}, {"x", "--output", "a"}, {"-v0oa", "x"}};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(parse(&t, &args, error, spellings[i]), B2_PARSED);
        assert_string_equal(t.output, "a");
        assert_true(t.is_verbose == (i == 4) && t.is_nul == (i == 4));
        assert_int_equal(args.n_positionals, 1);
        assert_string_equal(args.positionals[0], "x");
    }
    const char *const dashes[] = {"a", "-", "--", "-v", NULL}, *const empty[] = {"--output=", NULL};
    assert_int_equal(parse(&t, &args, error, dashes), B2_PARSED);
    assert_true(args.n_positionals == 3 && !t.is_verbose);
    assert_string_equal(args.positionals[1], "-");
    assert_string_equal(args.positionals[2], "-v");
    assert_int_equal(parse(&t, &args, error, empty), B2_PARSED);
    assert_string_equal(t.output, "");
    const char *const help[] = {"-vh", "--nonsense", NULL};
    assert_int_equal(parse(&t, &args, error, help), B2_PARSED_HELP);
}

static void test_every_type_of_option(void **state) {
    (void)state;
    target t;
    b2_args args;
    char error[B2_ARG_ERROR_BYTES];
    const char *const all[] = {"--no-exif",        "--batch", "256", "-t-1", "--temperature=0.25",
                               "--mode=substring", "--call",  "x",   NULL};
    assert_int_equal(parse(&t, &args, error, all), B2_PARSED);
    assert_true(!t.keeps_exif && t.batch == 256 && t.n_threads == -1 && t.temperature == 0.25 && t.mode == 1);
    assert_string_equal(t.called, "x");
}

static void test_what_options_refuse(void **state) {
    (void)state;
    expect_refusal("--outputs", "unknown option --outputs");
    expect_refusal("--outputs=x", "unknown option --outputs");
    expect_refusal("-vx", "unknown option -x");
    expect_refusal("--verbose=1", "--verbose takes no value");
    expect_refusal("--help=1", "--help takes no value");
    expect_refusal("-o", "--output needs a value (FILE)");
    expect_refusal("--batch", "--batch needs a value (N)");
    static const char *const wrong[] = {"0", "257", "", "x", "8x", "1e3", "99999999999999999999", "-1", "1.5"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char argument[64], want[128];
        snprintf(argument, sizeof argument, "--batch=%s", wrong[i]);
        snprintf(want, sizeof want, "--batch: expected a whole number from 1 to 256, got '%s'", wrong[i]);
        expect_refusal(argument, want);
    }
    expect_refusal("-t-2", "--threads: expected a whole number from -1 to 64, got '-2'");
    expect_refusal("--temperature=2.6", "--temperature: expected a number from 0 to 2.5, got '2.6'");
    expect_refusal("--temperature=nan", "--temperature: expected a number from 0 to 2.5, got 'nan'");
    expect_refusal("--mode=words", "--mode: expected word, substring or regex, got 'words'");
    expect_refusal("--call=bad", "--call: expected something good, got 'bad'");
    target t;
    b2_args args;
    char error[B2_ARG_ERROR_BYTES];
    const char *const many[] = {"a", "b", "c", "d", NULL};
    assert_int_equal(parse(&t, &args, error, many), B2_PARSED_ERROR);
    assert_string_equal(error, "unexpected argument 'd': three at a time");
}

/* A decode step reads the blocks and the one matrix that gives the logits; of an embedding beside an LM head of its own
 * it reads a row. The head multiplies one row of a prefill. */
static void check_count(bool with_head) {
    const char *path = "test_cli.gguf";
    const b2_hparams h = fixture_hparams();
    assert_true(fixture_write_model(path, &h, B2_DTYPE_I8, with_head));
    blip2_model *model;
    blip2_error err;
    assert_int_equal(blip2_model_open(path, &model, &err), BLIP2_OK);
    b2_bench_work stages[B2_N_STAGES];
    b2_bench_count(model, 3, stages);
    double step_bytes = 0, step_ops = 0, head_ops = 0;
    blip2_tensor_info t = {.struct_bytes = sizeof t};
    for (uint32_t i = 0; blip2_model_tensor(model, i, &t); i++) {
        const bool is_head = strncmp(t.name, with_head ? "output." : "token_embd.", with_head ? 7 : 11) == 0;
        if (!is_head && strncmp(t.name, "blk.", 4) != 0 && strncmp(t.name, "output_norm", 11) != 0) continue;
        double ops = 2.0 * 3 * t.activation_planes;
        for (uint32_t d = 0; d < t.n_dims; d++) ops *= (double)t.shape[d];
        step_bytes += (double)t.size_bytes;
        step_ops += ops;
        head_ops += is_head ? ops : 0;
    }
    assert_true(head_ops > 0);
    assert_true(stages[B2_STAGE_DECODE].bytes == step_bytes && stages[B2_STAGE_DECODE].ops == step_ops);
    assert_true(stages[B2_STAGE_PREFILL].ops == head_ops + (step_ops - head_ops) * (h.qformer.n_queries + 1));
    blip2_model_close(&model);
    remove(path);
}

static void test_bench_counts_the_head_once(void **state) {
    (void)state;
    check_count(false);
    check_count(true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bench_counts_the_head_once),
        cmocka_unit_test(test_spellings_of_options),
        cmocka_unit_test(test_every_type_of_option),
        cmocka_unit_test(test_what_options_refuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
