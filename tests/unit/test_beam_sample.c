/* test_beam_sample.c: drawn beams: texts of two ids out of a few, 20,000 of them for each setting, against their
 * distribution, worked out from the log-probabilities alone: what the cuts leave of each beam, 2 n candidates without
 * replacement from all beams' scores, the best n of them go on. */
#include "convert/convert.h"
#include "fixture.h"

#include "blip2_model.h"
#include "generate/run.h"
#include "kernels/cpu/cpu_home.h"
#include "tests/chi_square.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { N_TEXTS = 20000, N_TOGETHER = 16, N_BEAMS = 2, N_CANDIDATES = 2 * N_BEAMS, N_NEW = 2, N_PROMPT = 4, MOST = 8 };
enum { MAX_VOCAB = 1024, MAX_POOL = N_BEAMS * MOST, LEAST_EXPECTED = 5 };

typedef struct world {
    blip2_model *model;
    b2_ops *cpu;
    b2_workspace homes[B2_MAX_HOMES];
    b2_runner runner;
    float *soft_tokens;
    size_t n_vocab;
} world;

static const int32_t prompt[N_PROMPT] = {2, 17, 99, 0}; /* room for the id after it */
static const size_t n_prompt = N_PROMPT - 1;

static void build_world(world *w) {
    static const b2_capacity capacity = {.n_images = 1,
                                         .n_requests = N_TOGETHER,
                                         .n_sequences = N_TOGETHER * N_BEAMS,
                                         .n_prompt_tokens = N_PROMPT,
                                         .n_new_tokens = N_NEW};
    char path[] = "/tmp/blip2_drawn_XXXXXX";
    blip2_error err;
    *w = (world){0};
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    b2_convert_options options = b2_convert_options_default();
    options.source = "tests/golden/models/one";
    options.output = path;
    options.type = B2_DTYPE_I8;
    if (b2_convert(&options, &err) != BLIP2_OK || blip2_model_open(path, &w->model, &err) != BLIP2_OK)
        fail_msg("%s", err.message);
    unlink(path); /* mapped all the same */
    const b2_weights *weights = &w->model->weights;
    w->n_vocab = weights->h.opt.n_vocab;
    assert_true(w->n_vocab <= MAX_VOCAB);
    assert_int_equal(b2_cpu_home_create(NULL, 1, &w->cpu, &err), BLIP2_OK);
    assert_int_equal(b2_workspace_create(weights, &capacity, B2_HOME_CPU, w->cpu, &w->homes[B2_HOME_CPU], &err),
                     BLIP2_OK);
    assert_int_equal(b2_runner_create(weights, w->homes, N_NEW, N_BEAMS, 0, &w->runner, &err), BLIP2_OK);
    w->soft_tokens = calloc((size_t)weights->h.qformer.n_queries * weights->h.opt.width, sizeof *w->soft_tokens);
    assert_non_null(w->soft_tokens);
}

static void leave_world(world *w) {
    b2_runner_free(&w->runner);
    b2_workspace_free(&w->homes[B2_HOME_CPU]);
    b2_ops_free(w->cpu);
    blip2_model_close(&w->model);
    free(w->soft_tokens);
}

/* ---- what is expected -------------------------------------------------------------------------------------------- */

/* A way in which a beam may go on. */
typedef struct choice {
    int32_t first, id;
    double score;
} choice;

typedef struct setting {
    b2_beam_form form;
    b2_sampling sampling;
} setting;

/* Log-probabilities of the id after the prompt, and after one id more (first >= 0). */
static void find_scores(world *w, int32_t first, double *scores) {
    int32_t ids[N_PROMPT];
    const size_t owner = 0;
    memcpy(ids, prompt, sizeof ids);
    if (first >= 0) ids[n_prompt] = first;
    const b2_sequence sequence = {.soft_tokens = w->soft_tokens, .prompt = ids, .n_prompt = n_prompt + (first >= 0)};
    b2_decoder *d = &w->runner.chooser.decoder;
    b2_cpu_home_enter(w->cpu);
    b2_decoder_reset(d);
    b2_decoder_begin(d, &sequence, &owner, 1);
    const float *logits = b2_decoder_logits(d, 0);
    double sum = 0;
    for (size_t i = 0; i < w->n_vocab; i++) sum += exp((double)logits[i]);
    for (size_t i = 0; i < w->n_vocab; i++) scores[i] = (double)logits[i] - log(sum);
    b2_cpu_home_leave(w->cpu);
}

/* Adds what the setting leaves of a beam to a pool: the top_k best ids but the stop id, by temperature; lavis warps the
 * sums. Returns how many there are then. */
static size_t add_beam(world *w, const setting *s, int32_t first, double so_far, choice *pool, size_t n) {
    double scores[MAX_VOCAB];
    find_scores(w, first, scores);
    scores[w->model->weights.h.tokenizer.stop_id] = -INFINITY;
    for (size_t k = 0; k < s->sampling.top_k; k++) {
        size_t best = 0;
        for (size_t i = 1; i < w->n_vocab; i++)
            if (scores[i] > scores[best]) best = i;
        const double own = scores[best], t = s->sampling.temperature;
        pool[n++] = (choice){first, (int32_t)best, s->form == B2_BEAM_LAVIS ? (so_far + own) / t : so_far + own / t};
        scores[best] = -INFINITY;
    }
    return n;
}

/* Calls fn with each ordered draw of N_CANDIDATES of the pool without replacement, and its probability. */
typedef void draw_fn(void *context, const choice *pool, const size_t *drawn, double probability);

static void draw_all(const choice *pool, size_t n, size_t *drawn, size_t n_drawn, double probability, draw_fn *fn,
                     void *context) {
    double left = 0;
    if (n_drawn == N_CANDIDATES) {
        fn(context, pool, drawn, probability);
        return;
    }
    for (unsigned pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < n; i++) {
            bool is_drawn = false;
            for (size_t k = 0; k < n_drawn; k++) is_drawn |= drawn[k] == i;
            if (is_drawn) continue;
            if (pass == 0) left += exp(pool[i].score);
            drawn[n_drawn] = i;
            if (pass == 1) draw_all(pool, n, drawn, n_drawn + 1, probability * exp(pool[i].score) / left, fn, context);
        }
}

/* The place in drawn of the best candidate but the one at `but`. */
static size_t find_best(const choice *pool, const size_t *drawn, size_t but) {
    size_t best = but == 0 ? 1 : 0;
    for (size_t k = 0; k < N_CANDIDATES; k++)
        if (k != but && pool[drawn[k]].score > pool[drawn[best]].score) best = k;
    return best;
}

/* Probabilities: pairs[a][b] of going on with the choices a and b of a pool; singles[a] of a being the best. */
typedef struct tally {
    double pairs[MAX_POOL][MAX_POOL], singles[MAX_POOL];
} tally;

static void count_draw(void *context, const choice *pool, const size_t *drawn, double probability) {
    tally *t = context;
    const size_t best = find_best(pool, drawn, N_CANDIDATES), next = find_best(pool, drawn, best);
    t->pairs[drawn[best]][drawn[next]] += probability;
    t->singles[drawn[best]] += probability;
}

/* p[first * MAX_VOCAB + second] of each text. */
static void work_out(world *w, const setting *s, double *p) {
    choice begin[MAX_POOL], then[MAX_POOL];
    static tally firsts, seconds;
    size_t drawn[N_CANDIDATES], n = add_beam(w, s, -1, 0, begin, 0);
    if (s->form == B2_BEAM_LAVIS) n = add_beam(w, s, -1, 0, begin, n); /* all beams begin alike */
    firsts = (tally){0};
    draw_all(begin, n, drawn, 0, 1, count_draw, &firsts);
    for (size_t a = 0; a < n; a++)
        for (size_t b = 0; b < n; b++) {
            if (firsts.pairs[a][b] == 0) continue;
            size_t m = add_beam(w, s, begin[a].id, begin[a].score, then, 0);
            m = add_beam(w, s, begin[b].id, begin[b].score, then, m);
            seconds = (tally){0};
            draw_all(then, m, drawn, 0, 1, count_draw, &seconds);
            for (size_t i = 0; i < m; i++)
                p[then[i].first * MAX_VOCAB + then[i].id] += firsts.pairs[a][b] * seconds.singles[i];
        }
}

/* ---- what is drawn ----------------------------------------------------------------------------------------------- */

static void draw_texts(world *w, const setting *s, size_t *counts) {
    char stop[32];
    int32_t tokens[N_TOGETHER][N_BEAMS][N_NEW];
    float logprobs[N_TOGETHER][N_BEAMS][N_NEW], processed[N_TOGETHER][N_BEAMS][N_NEW];
    b2_generation results[N_TOGETHER][N_BEAMS] = {0};
    b2_decode_request requests[N_TOGETHER];
    snprintf(stop, sizeof stop, "[%u]", (unsigned)w->model->weights.h.tokenizer.stop_id);
    const b2_logits_rules rules = {.suppress_tokens = stop, .n_new_tokens = N_NEW};
    const b2_beam_options beams = {.form = s->form, .length_penalty = 1};
    const b2_decode_options options = {.n_new_tokens = N_NEW,
                                       .n_hypotheses = N_BEAMS,
                                       .n_results = 1,
                                       .rules = &rules,
                                       .sampling = &s->sampling,
                                       .beams = &beams};
    b2_decode_report report;
    b2_cpu_home_enter(w->cpu);
    for (size_t i = 0; i < N_TEXTS; i += N_TOGETHER) {
        for (size_t k = 0; k < N_TOGETHER; k++) {
            for (size_t r = 0; r < N_BEAMS; r++)
                results[k][r] =
                    (b2_generation){.tokens = tokens[k][r], .logprobs = logprobs[k][r], .processed = processed[k][r]};
            requests[k] =
                (b2_decode_request){.sequence = {.soft_tokens = w->soft_tokens, .prompt = prompt, .n_prompt = n_prompt},
                                    .picture = i + k,
                                    .results = results[k]};
        }
        b2_decode_run(&w->runner, &options, requests, N_TOGETHER, &report);
        for (size_t k = 0; k < N_TOGETHER; k++) {
            assert_int_equal(results[k][0].n_tokens, N_NEW);
            counts[tokens[k][0][0] * MAX_VOCAB + tokens[k][0][1]]++;
        }
    }
    b2_cpu_home_leave(w->cpu);
}

static double judge(const double *p, const size_t *counts, size_t *n_bins) {
    size_t rest = 0;
    double x = 0, rest_expected = 0, all = 0;
    *n_bins = 0;
    for (size_t i = 0; i < (size_t)MAX_VOCAB * MAX_VOCAB; i++) {
        assert_true(p[i] > 0 || counts[i] == 0);
        all += p[i];
        rest += counts[i];
        rest_expected += p[i] * N_TEXTS;
        if (rest_expected < LEAST_EXPECTED) continue; /* together with the next ones */
        x += ((double)rest - rest_expected) * ((double)rest - rest_expected) / rest_expected;
        ++*n_bins;
        rest = 0;
        rest_expected = 0;
    }
    assert_true(fabs(all - 1) < 1e-9);
    return chi_square_tail(x, (double)*n_bins - 1);
}

static void test_drawn_beams_are_distributed_as_described(void **state) {
    (void)state;
    static const setting settings[] = {
        {B2_BEAM_CURRENT, {.temperature = 1, .top_k = MOST, .n_kept = 2, .seed = 1}},
        {B2_BEAM_CURRENT, {.temperature = 3, .top_k = 6, .n_kept = 2, .seed = 2}},
        {B2_BEAM_CLASSIC, {.temperature = 2, .top_k = 7, .n_kept = 2, .seed = 3}},
        {B2_BEAM_LAVIS, {.temperature = 1.5, .top_k = 6, .n_kept = 2, .seed = 4}},
        {B2_BEAM_LAVIS, {.temperature = 2, .top_k = MOST, .n_kept = 2, .seed = 5}},
    };
    enum { N = sizeof settings / sizeof settings[0], N_PAIRS = MAX_VOCAB * MAX_VOCAB };
    world w;
    double smallest = 1, *p = malloc(N_PAIRS * sizeof *p);
    size_t *counts = malloc(N_PAIRS * sizeof *counts);
    assert_true(p != NULL && counts != NULL);
    build_world(&w);
    for (size_t i = 0; i < N; i++) {
        size_t n_bins;
        memset(p, 0, N_PAIRS * sizeof *p);
        memset(counts, 0, N_PAIRS * sizeof *counts);
        work_out(&w, &settings[i], p);
        draw_texts(&w, &settings[i], counts);
        const double value = judge(p, counts, &n_bins);
        printf("# setting %zu: %zu bins, p-value %.4f\n", i, n_bins, value);
        assert_true(n_bins > 5);
        smallest = value < smallest ? value : smallest;
    }
    assert_true(smallest * N > 0.01);
    /* the last counts under a setting that is a little another one: the test would notice */
    setting other = settings[N - 1];
    size_t n_bins;
    other.sampling.temperature *= 1.2;
    memset(p, 0, N_PAIRS * sizeof *p);
    work_out(&w, &other, p);
    assert_true(judge(p, counts, &n_bins) < 1e-6);
    leave_world(&w);
    free(p);
    free(counts);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_drawn_beams_are_distributed_as_described),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
