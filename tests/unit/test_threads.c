/* test_threads.c: what base/parallel.h promises wherever the helpers come from, our own threads or OpenMP's: in forked
 * children, with threads bound to places, beside other teams, in a host's parallel region, with fewer threads than were
 * wanted. What the environment decides before main is tested in a second execution of this program. */
#define _GNU_SOURCE
#include "base/clock.h"
#include "base/cpu.h"
#include "base/parallel.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { N_UNITS = 500, SKIPPED = 77, TIMEOUT_S = 60 };

/* ---- units ------------------------------------------------------------------------------------------------------- */

typedef struct counting {
    atomic_int visits[N_UNITS];
    atomic_int n_bad;
    int n_threads;
} counting;

static void count_unit(void *context, size_t unit, int thread) {
    counting *c = context;
    atomic_fetch_add(&c->visits[unit], 1);
    if (thread < 0 || thread >= c->n_threads) atomic_fetch_add(&c->n_bad, 1);
}

/* Units that wait for each other, so that each has a thread of its own. */
typedef struct gathering {
    atomic_size_t n_here;
    size_t n_units;
    int64_t deadline_ns;
} gathering;

static void gather(void *context, size_t unit, int thread) {
    (void)unit, (void)thread;
    gathering *g = context;
    atomic_fetch_add(&g->n_here, 1);
    while (atomic_load(&g->n_here) < g->n_units && b2_clock_ns() < g->deadline_ns) sched_yield();
}

/* True when a team of n_threads runs each unit once, in visits and outside of them. */
static bool team_works(int n_threads) {
    b2_team *team = b2_team_create(n_threads);
    if (team == NULL) return false;
    bool is_right = true;
    for (int round = 0; round < 20; round++) {
        counting c = {.n_threads = n_threads};
        if (round % 3 > 0) b2_team_enter(team);
        b2_parallel_for(team, N_UNITS, count_unit, &c);
        b2_parallel_for(team, N_UNITS, count_unit, &c);
        if (round % 3 > 0) b2_team_leave(team);
        for (size_t u = 0; u < N_UNITS; u++) is_right = is_right && atomic_load(&c.visits[u]) == 2;
        is_right = is_right && atomic_load(&c.n_bad) == 0;
    }
    b2_team_free(team);
    return is_right;
}

static int code_of(pid_t child) {
    int status;
    return waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* ---- forked children --------------------------------------------------------------------------------------------- */

static void test_forked_child(void **state) {
    (void)state;
    b2_team *parents = b2_team_create(4);
    /* Whatever pool there is has threads now. All have met: a thread that is still starting at the fork may hold a lock
     * of the sanitizer's allocator, which the child would wait for (seen under ASan, 1 run in 60). */
    gathering all = {.n_units = 4, .deadline_ns = b2_clock_ns() + 20000000000};
    b2_parallel_for(parents, all.n_units, gather, &all);
#ifdef _OPENMP
    atomic_int n_visits = 0;
#pragma omp parallel num_threads(4)
    atomic_fetch_add(&n_visits, 1); /* the host's own pool too */
#endif
    const pid_t child = fork();
    if (child == 0) {
        alarm(TIMEOUT_S);
        _exit(team_works(4) ? 0 : 1);
    }
    assert_int_equal(code_of(child), 0);
    b2_team_free(parents);
}

/* Where the system gives no more threads, create says so; it neither ends the process nor waits. */
static void test_no_more_threads(void **state) {
    (void)state;
    const pid_t child = fork();
    if (child == 0) {
        const struct rlimit few = {1, 1};
        alarm(TIMEOUT_S);
        if (getuid() == 0 && setuid(65534) != 0) _exit(SKIPPED);
        if (setrlimit(RLIMIT_NPROC, &few) != 0) _exit(SKIPPED);
        _exit(b2_team_create(8) == NULL ? 0 : 1);
    }
    const int code = code_of(child);
    if (code == SKIPPED) skip();
    assert_int_equal(code, 0);
}

/* ---- several teams ----------------------------------------------------------------------------------------------- */

static void *run_team(void *argument) {
    *(bool *)argument = team_works(3);
    return NULL;
}

static void test_two_teams_at_once(void **state) {
    (void)state;
    pthread_t threads[2];
    bool is_right[2] = {false, false};
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&threads[i], NULL, run_team, &is_right[i]), 0);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    assert_true(is_right[0] && is_right[1]);
}

static void test_inside_a_hosts_region(void **state) {
    (void)state;
#ifdef _OPENMP
    atomic_int n_right = 0, n = 0;
#pragma omp parallel num_threads(2)
    {
        atomic_fetch_add(&n, 1);
        atomic_fetch_add(&n_right, team_works(3) ? 1 : 0);
    }
    assert_int_equal(atomic_load(&n_right), atomic_load(&n));
#else
    skip();
#endif
}

/* ---- what the environment decides: run in a second execution ---------------------------------------------------- */

#ifdef __linux__
typedef struct meeting {
    gathering all;
    atomic_int n_bound; /* threads that may not run on all of the places */
    int n_cpus;
} meeting;

static int n_cpus_of_thread(void) {
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : -1;
}

static void meet(void *context, size_t unit, int thread) {
    meeting *m = context;
    gather(&m->all, unit, thread);
    if (atomic_load(&m->all.n_here) < m->all.n_units || n_cpus_of_thread() != m->n_cpus)
        atomic_fetch_add(&m->n_bound, 1);
}

static void *count_cpus(void *n) {
    *(int *)n = n_cpus_of_thread();
    return NULL;
}

/* Threads that OpenMP binds, before anything is unbound: as a host of the library has them. */
static int run_places(int n_cpus) {
    const int n_threads = b2_default_threads(), before = n_cpus_of_thread();
    if (n_threads != b2_cpu_cap(b2_omp_places() > 0 ? b2_omp_places() : n_threads)) return 2;
    b2_team *team = b2_team_create(n_threads);
    meeting m = {.all = {.n_units = (size_t)n_threads, .deadline_ns = b2_clock_ns() + 20000000000}, .n_cpus = n_cpus};
    b2_parallel_for(team, m.all.n_units, meet, &m);
    b2_team_free(team);
    if (n_threads > 1 && atomic_load(&m.n_bound) > 0) return 3;
    if (n_cpus_of_thread() != before) return 4; /* the host's thread is left as it was */
    int readers = 0;
    pthread_t reader;
    b2_omp_unbind(); /* as the program does first: its readers and workers inherit */
    if (pthread_create(&reader, NULL, count_cpus, &readers) != 0) return 5;
    pthread_join(reader, NULL);
    return readers == n_cpus ? 0 : 6;
}

typedef struct place_watch {
    atomic_int *n_ready;
    int n_cpus;
} place_watch;

static void note_cpus(void *context, size_t unit, int thread) {
    (void)unit, (void)thread;
    ((place_watch *)context)->n_cpus = n_cpus_of_thread();
}

static void *work_alone(void *argument) {
    place_watch *w = argument;
    b2_team *team = b2_team_create(1);
    atomic_fetch_add(w->n_ready, 1);
    while (atomic_load(w->n_ready) < 2) sched_yield();
    b2_team_enter(team);
    b2_parallel_for(team, 1, note_cpus, w);
    b2_team_leave(team);
    b2_team_free(team);
    return NULL;
}

/* Two teams of one thread, begun on one thread that is bound to one core: neither stays on it, so the system gives each
 * a core of its own. (Which one, a busy machine decides: that is no matter for a test.) */
static int run_two_sessions(int n_cpus) {
    if (n_cpus_of_thread() > 1) return SKIPPED; /* this build binds nothing */
    atomic_int n_ready = 0;
    pthread_t threads[2];
    place_watch watches[2] = {{.n_ready = &n_ready}, {.n_ready = &n_ready}};
    for (int i = 0; i < 2; i++)
        if (pthread_create(&threads[i], NULL, work_alone, &watches[i]) != 0) return 1;
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    return watches[0].n_cpus == n_cpus && watches[1].n_cpus == n_cpus ? 0 : 2;
}

static int run_again(const char *mode, const char *const *variables) {
    const pid_t child = fork();
    if (child == 0) {
        char n_cpus[16];
        snprintf(n_cpus, sizeof n_cpus, "%d", n_cpus_of_thread());
        for (; *variables != NULL; variables += 2) setenv(variables[0], variables[1], 1);
        alarm(TIMEOUT_S);
        execl("/proc/self/exe", "test_threads", mode, n_cpus, (char *)NULL);
        _exit(SKIPPED);
    }
    const int code = code_of(child);
    if (code == SKIPPED) skip();
    return code;
}

static const char *const places[] = {"OMP_PROC_BIND", "true", "OMP_PLACES", "cores", NULL};

static void test_as_many_threads_as_places(void **state) {
    (void)state;
    if (n_cpus_of_thread() < 2) skip();
    assert_int_equal(run_again("places", places), 0);
}

static void test_two_sessions_use_different_places(void **state) {
    (void)state;
    if (n_cpus_of_thread() < 2) skip();
    assert_int_equal(run_again("sessions", places), 0);
}

static void test_fewer_threads_granted(void **state) {
    (void)state;
    static const char *const limits[][5] = {
        {"OMP_THREAD_LIMIT", "1", NULL}, {"OMP_THREAD_LIMIT", "2", NULL}, {"OMP_DYNAMIC", "true", NULL}};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) assert_int_equal(run_again("works", limits[i]), 0);
}

static int run_mode(char **argv) {
    if (strcmp(argv[1], "places") == 0) return run_places(atoi(argv[2]));
    if (strcmp(argv[1], "sessions") == 0) return run_two_sessions(atoi(argv[2]));
    return team_works(6) ? 0 : 1;
}
#endif

int main(int argc, char **argv) {
#ifdef __linux__
    if (argc == 3) return run_mode(argv);
#else
    (void)argc, (void)argv;
#endif
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forked_child),
        cmocka_unit_test(test_no_more_threads),
        cmocka_unit_test(test_two_teams_at_once),
        cmocka_unit_test(test_inside_a_hosts_region),
#ifdef __linux__
        cmocka_unit_test(test_as_many_threads_as_places),
        cmocka_unit_test(test_two_sessions_use_different_places),
        cmocka_unit_test(test_fewer_threads_granted),
#endif
    };
    return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}
