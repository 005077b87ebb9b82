/* check.h: one kernel of one set beside the definition. Cases are made in guarded memory; a difference is printed with
 * the case that shows it. checkkernels.c and checkamx.c list the checks that they run. */
#ifndef B2_TESTS_CHECK_H
#define B2_TESTS_CHECK_H

#include "kernels/isa.h"
#include "tests/kernels/guarded.h"

/* One kernel of one set under test. `what` describes the case for the message of a failure. */
typedef struct check {
    const b2_isa *want, *isa;
    guard_pool pool;
    uint64_t seed;
    size_t n_cases, n_failed;
    char what[192];
} check;

static inline void fail(check *c, const char *which, size_t at) {
    if (c->n_failed++ < 5) printf("# %s: %s: %s differs at %zu\n", c->isa->name, c->what, which, at);
}

static inline void expect_floats(check *c, const char *which, const float *got, const float *want, size_t n) {
    size_t at;
    if (!same_floats(got, want, n, &at)) {
        fail(c, which, at);
        if (c->n_failed <= 5) printf("#   got %a, expected %a\n", (double)got[at], (double)want[at]);
    }
}

static inline void expect_bytes(check *c, const char *which, const void *got, const void *want, size_t n) {
    const uint8_t *a = got, *b = want;
    size_t at = 0;
    while (at < n && a[at] == b[at]) at++;
    if (at < n) fail(c, which, at);
}

static inline void end_case(check *c) {
    if (!guard_release(&c->pool)) fail(c, "memory in front of a block", 0);
    c->n_cases++;
}

static inline float *floats(check *c, size_t n, kind k) {
    float *x = guard_alloc(&c->pool, n * sizeof *x);
    fill_floats(x, n, k, &c->seed);
    return x;
}

static inline void *bytes(check *c, size_t n) { return guard_alloc(&c->pool, n); }

#endif
