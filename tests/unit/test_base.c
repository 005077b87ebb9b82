/* test_base.c: the ground floor: errors, arena, threads, mapped files. */
#include "base/arena.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "base/mapfile.h"
#include "base/parallel.h"
#include "base/status.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void test_error_is_one_line_of_valid_utf8(void **state) {
    (void)state;
    blip2_error err;
    assert_int_equal(b2_fail(&err, BLIP2_IO, "a\nb\x7f%s", "c"), BLIP2_IO);
    assert_string_equal(err.message, "a?b?c");
    b2_error_prefix(&err, "file %d", 3);
    assert_string_equal(err.message, "file 3: a?b?c");
    assert_int_equal(err.status, BLIP2_IO);

    char longer[2 * BLIP2_ERROR_BYTES];
    for (size_t shift = 0; shift < 4; shift++) { /* cut at each place inside a four-byte character */
        memset(longer, 'x', shift);
        for (size_t i = shift; i + 4 < sizeof longer; i += 4) memcpy(longer + i, "\xF0\x9F\x90\xB6", 4);
        longer[sizeof longer - 8] = '\0';
        b2_fail(&err, BLIP2_IO, "%s", longer);
        const size_t len = strlen(err.message);
        assert_true(len < BLIP2_ERROR_BYTES);
        assert_int_equal((len - shift) % 4, 0);
    }
    static const char *const texts[][2] = {
        {"\xC4", "?"}, {"a\xFFz", "a?z"}, {"\xC3\xA9t\xC3", "\xC3\xA9t?"}, {"\xC0\xAF", "??"}, {"\xED\xA0\x80", "???"},
        {"\xF4\x90\x80\x80", "????"}, {"\xE2\x82", "??"}, {"\xF0\x9F\x90\xB6", "\xF0\x9F\x90\xB6"},
        {"\x1B[2J", "?[2J"}, {"\xC2\x9B" "2J", "??2J"}}; /* the last two would clear a terminal */
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        b2_fail(&err, BLIP2_IO, "%s", texts[i][0]);
        assert_string_equal(err.message, texts[i][1]);
    }
    assert_int_equal(b2_fail(NULL, BLIP2_LIMIT, "nobody listens"), BLIP2_LIMIT);
}

static void test_arena_measures_what_it_places(void **state) {
    (void)state;
    b2_arena arena = {0};
    blip2_error err;
    assert_null(b2_arena_take(&arena, 100, 4));
    assert_null(b2_arena_take(&arena, 1, 1));
    const size_t measured = arena.used_bytes;
    assert_int_equal(measured, 448 + 64);
    assert_int_equal(b2_arena_reserve(&arena, &err), BLIP2_OK);
    uint8_t *a = b2_arena_take(&arena, 100, 4), *b = b2_arena_take(&arena, 1, 1);
    assert_non_null(a);
    assert_int_equal((uintptr_t)a % B2_ARENA_ALIGN_BYTES, 0);
    assert_int_equal(b - a, 448);
    assert_null(b2_arena_take(&arena, 1, 1)); /* full */
    b2_arena_free(&arena);

    b2_arena_take(&arena, SIZE_MAX / 2, 3);
    assert_int_equal(b2_arena_reserve(&arena, &err), BLIP2_LIMIT);
    assert_int_equal(b2_size_multiply(SIZE_MAX / 2, 3), SIZE_MAX);
    assert_int_equal(b2_size_multiply(0, 3), 0);
}

typedef struct counting {
    atomic_int visits[1000];
    atomic_int bad_thread;
    int n_threads;
} counting;

static void count_unit(void *context, size_t unit, int thread) {
    counting *c = context;
    atomic_fetch_add(&c->visits[unit], 1);
    if (thread < 0 || thread >= c->n_threads) atomic_fetch_add(&c->bad_thread, 1);
}

static void test_every_unit_runs_once(void **state) {
    (void)state;
    const int threads[] = {1, 2, 3, 7, 64};
    for (size_t i = 0; i < sizeof threads / sizeof threads[0]; i++) {
        b2_team *team = b2_team_create(threads[i]);
        assert_non_null(team);
        for (size_t n = 0; n <= 1000; n += 125) {
            counting c = {.n_threads = threads[i]};
            for (int round = 0; round < 5; round++) b2_parallel_for(team, n, count_unit, &c);
            for (size_t u = 0; u < 1000; u++) assert_int_equal(atomic_load(&c.visits[u]), u < n ? 5 : 0);
            assert_int_equal(atomic_load(&c.bad_thread), 0);
        }
        b2_team_free(team);
    }
    b2_team *team = b2_team_create(-5);
    assert_int_equal(b2_team_threads(team), 1);
    b2_team_free(team);
}

/* The first unit of one thread's range waits for all others to be done: those behind it in its range are for the rest.
 * Where nobody takes them it gives up, and says so. */
typedef struct blocking {
    atomic_size_t n_done;
    atomic_bool gave_up;
    size_t n_units, blocker;
    int64_t deadline_ns;
} blocking;

static void blocking_unit(void *context, size_t unit, int thread) {
    (void)thread;
    blocking *b = context;
    while (unit == b->blocker && atomic_load(&b->n_done) < b->n_units - 1 && !atomic_load(&b->gave_up)) {
        if (b2_clock_ns() > b->deadline_ns) atomic_store(&b->gave_up, true);
        sched_yield();
    }
    atomic_fetch_add(&b->n_done, 1);
}

static void test_nobody_waits_for_a_busy_thread(void **state) {
    (void)state;
    for (int n_threads = 2; n_threads <= 5; n_threads++) {
        b2_team *team = b2_team_create(n_threads);
        assert_non_null(team);
        for (size_t owner = 0; owner < (size_t)n_threads; owner++) {
            blocking b = {.n_units = 100, .blocker = 100 * owner / (size_t)n_threads,
                          .deadline_ns = b2_clock_ns() + 20000000000};
            b2_parallel_for(team, b.n_units, blocking_unit, &b);
            assert_false(atomic_load(&b.gave_up));
            assert_int_equal(atomic_load(&b.n_done), b.n_units);
        }
        b2_team_free(team);
    }
}

static void test_mapfile(void **state) {
    (void)state;
    char path[] = "/tmp/blip2_test_XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    b2_mapfile map;
    blip2_error err;
    assert_int_equal(b2_mapfile_open(path, &map, &err), BLIP2_OK); /* empty */
    assert_int_equal(map.size_bytes, 0);
    b2_mapfile_close(&map);
    assert_int_equal(write(fd, "hello", 5), 5);
    close(fd);
    assert_int_equal(b2_mapfile_open(path, &map, &err), BLIP2_OK);
    assert_int_equal(map.size_bytes, 5);
    assert_memory_equal(map.data, "hello", 5);
    b2_mapfile_advise(&map, 0, 100);
    b2_mapfile_populate(&map, 3, SIZE_MAX);
    b2_mapfile_close(&map);
    unlink(path);
    assert_int_equal(b2_mapfile_open(path, &map, &err), BLIP2_IO);
    assert_non_null(strstr(err.message, path));
    assert_int_equal(b2_mapfile_open("/tmp", &map, &err), BLIP2_IO);
    assert_non_null(strstr(err.message, "folder"));
}

static void test_machine(void **state) {
    (void)state;
    assert_true(b2_cpu_physical_cores() >= 1);
    assert_int_equal(b2_cpu_features(), b2_cpu_features());
    const int64_t before = b2_clock_ns();
    assert_true(b2_clock_ns() >= before);
#ifdef __linux__
    assert_true(b2_memory_available().available_bytes > 0);
    assert_true(b2_memory_of_process().resident_bytes > 0);
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error_is_one_line_of_valid_utf8),
        cmocka_unit_test(test_arena_measures_what_it_places),
        cmocka_unit_test(test_every_unit_runs_once),
        cmocka_unit_test(test_nobody_waits_for_a_busy_thread),
        cmocka_unit_test(test_mapfile),
        cmocka_unit_test(test_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
