/* test_sample.c: drawing ids: the generator against published answers, exp and log against the C library's, the cuts
 * and 20,000 draws from each against what transformers' warpers leave (tests/golden/generate/samples.json, made by
 * tests/tools/make_generate_golden.py). */
#include "generate/sample.h"
#include "job/decoding.h"
#include "tests/chi_square.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { N_DRAWS = 20000, MOST = 256, LEAST_EXPECTED = 5 };

/* ---- the generator ----------------------------------------------------------------------------------------------- */

/* The known answers of Random123. */
static void test_philox(void **state) {
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        uint32_t out[4];
        b2_philox(known[i].counter, known[i].key, out);
        assert_memory_equal(out, known[i].out, sizeof out);
    }
}

/* Every part of what a draw is for changes it. */
static void test_draws_are_of_their_own(void **state) {
    (void)state;
    const b2_stream streams[] = {b2_stream_of(0, 0, 0), b2_stream_of(1, 0, 0),          b2_stream_of(1ull << 63, 0, 0),
                                 b2_stream_of(0, 1, 0), b2_stream_of(0, 1ull << 40, 0), b2_stream_of(0, 0, 1)};
    const size_t n = sizeof streams / sizeof streams[0];
    double seen[6 * 4], sum = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < 4; k++) seen[i * 4 + k] = b2_stream_draw(&streams[i], k == 1, k == 2, k == 3);
    for (size_t i = 0; i < n * 4; i++) {
        assert_true(seen[i] > 0 && seen[i] < 1);
        for (size_t k = 0; k < i; k++) assert_true(seen[i] != seen[k]);
    }
    for (size_t i = 0; i < N_DRAWS; i++) sum += b2_stream_draw(&streams[0], 0, i, 0);
    assert_true(fabs(sum / N_DRAWS - 0.5) < 4 * sqrt(1.0 / 12 / N_DRAWS));
}

static double units_off(double got, double want) {
    return fabs(got - want) / (nextafter(fabs(want), INFINITY) - fabs(want));
}

static void test_exp_and_log(void **state) {
    (void)state;
    for (double x = -700; x < 700; x += 0.37109) assert_true(units_off(b2_exp_f64(x), exp(x)) <= 4);
    for (double x = -0.7; x < 0.7; x += 0.000713) assert_true(units_off(b2_exp_f64(x), exp(x)) <= 4);
    for (double x = 1e-300; x < 1e300; x *= 1.73) assert_true(units_off(b2_log_f64(x), log(x)) <= 4);
    for (double x = 0.5; x < 2; x += 0.00137) assert_true(units_off(b2_log_f64(x), log(x)) <= 4);
    assert_true(b2_exp_f64(-INFINITY) == 0 && b2_exp_f64(0) == 1 && isinf(b2_exp_f64(INFINITY)));
    assert_true(isnan(b2_exp_f64(NAN)) && isnan(b2_log_f64(NAN)) && isnan(b2_log_f64(-1)));
    assert_true(isinf(b2_log_f64(0)) && isinf(b2_log_f64(INFINITY)) && b2_log_f64(1) == 0);
}

/* ---- the cuts and the draws -------------------------------------------------------------------------------------- */

static void test_the_tail_of_chi_square(void **state) {
    (void)state;
    assert_true(fabs(chi_square_tail(3.841459, 1) - 0.05) < 1e-6);
    assert_true(fabs(chi_square_tail(18.307038, 10) - 0.05) < 1e-6);
    assert_true(fabs(chi_square_tail(99.334, 100) - 0.5) < 1e-3);
    assert_true(fabs(chi_square_tail(23.209251, 10) - 0.01) < 1e-6);
}

typedef struct golden_case {
    float scores[MOST];
    double p[MOST]; /* 0: cut */
    size_t n;
} golden_case;

/* Warps the logits of a case as its setting says. */
static golden_case warp(const json_t *rows, const json_t *row) {
    golden_case c = {0};
    uint32_t heap[MOST];
    double keys[MOST];
    size_t n_rows;
    blip2_decoding d = b2_decoding_fallback();
    const b2_decoding_row *options = b2_decoding_rows(&n_rows);
    assert_true(b2_decoding_from_json(options, n_rows, json_object_get(row, "setting"), &d));
    const json_t *logits =
        json_object_get(json_array_get(rows, (size_t)json_integer_value(json_object_get(row, "row"))), "logits");
    const json_t *left = json_object_get(row, "left"), *p = json_object_get(row, "p");
    c.n = json_array_size(logits);
    assert_true(c.n <= MOST);
    for (size_t i = 0; i < c.n; i++) c.scores[i] = (float)json_number_value(json_array_get(logits, i));
    for (size_t i = 0; i < json_array_size(left); i++)
        c.p[json_integer_value(json_array_get(left, i))] = json_number_value(json_array_get(p, i));
    const b2_sampling sampling = {.temperature = d.temperature,
                                  .top_k = d.top_k,
                                  .top_p = d.top_p,
                                  .min_p = d.min_p,
                                  .typical_p = d.typical_p,
                                  .epsilon_cutoff = d.epsilon_cutoff,
                                  .eta_cutoff = d.eta_cutoff,
                                  .n_kept = json_integer_value(json_object_get(row, "beams")) > 1 ? 2 : 1};
    b2_sample_warp(&sampling, c.scores, c.n, &(b2_sample_scratch){heap, keys});
    return c;
}

/* What is left, and its probabilities. */
static void check_cut(const golden_case *c, const char *what) {
    double sum = 0;
    for (size_t i = 0; i < c->n; i++) sum += exp((double)c->scores[i]);
    for (size_t i = 0; i < c->n; i++) {
        const bool is_left = c->scores[i] > -INFINITY;
        if (is_left != (c->p[i] > 0) || fabs(exp((double)c->scores[i]) / sum - c->p[i]) > 1e-6)
            fail_msg("%s: id %zu: expected the probability %g, got %g", what, i, c->p[i],
                     is_left ? exp((double)c->scores[i]) / sum : 0);
    }
}

/* How likely draws are to be as far from their expectation as these. */
static double judge_draws(const golden_case *c, size_t which) {
    size_t counts[MOST] = {0}, n_bins = 0, rest = 0;
    const b2_stream stream = b2_stream_of(2026, which, 0);
    double x = 0, rest_expected = 0;
    for (size_t i = 0; i < N_DRAWS; i++) counts[b2_sample_draw(c->scores, c->n, b2_stream_draw(&stream, 0, i, 0))]++;
    for (size_t i = 0; i < c->n; i++) {
        const double expected = c->p[i] * N_DRAWS;
        assert_true(expected > 0 || counts[i] == 0);
        rest += counts[i];
        rest_expected += expected;
        if (rest_expected < LEAST_EXPECTED) continue; /* together with the next ones */
        x += ((double)rest - rest_expected) * ((double)rest - rest_expected) / rest_expected;
        n_bins++;
        rest = 0;
        rest_expected = 0;
    }
    return n_bins > 1 ? chi_square_tail(x, (double)n_bins - 1) : 1;
}

static void test_cuts_and_draws_are_those_of_transformers(void **state) {
    (void)state;
    json_error_t error;
    json_t *rows = json_load_file("tests/golden/generate/samples.json", 0, &error);
    if (rows == NULL) fail_msg("%s", error.text);
    double smallest = 1;
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        if (json_object_get(row, "setting") == NULL) continue;
        const golden_case c = warp(rows, row);
        char *what = json_dumps(json_object_get(row, "setting"), JSON_COMPACT);
        check_cut(&c, what);
        free(what);
        if (json_integer_value(json_object_get(row, "beams")) > 1) continue;
        const double p = judge_draws(&c, i);
        smallest = p < smallest ? p : smallest;
        n++;
    }
    assert_true(n >= 3 * 12);
    print_message("the smallest of %zu p-values: %.4f\n", n, smallest);
    assert_true(smallest * (double)n > 0.01);
    json_decref(rows);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_philox),
        cmocka_unit_test(test_draws_are_of_their_own),
        cmocka_unit_test(test_exp_and_log),
        cmocka_unit_test(test_the_tail_of_chi_square),
        cmocka_unit_test(test_cuts_and_draws_are_those_of_transformers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
