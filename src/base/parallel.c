#include "base/parallel.h"

#include <stdlib.h>

#ifdef _OPENMP
#include <omp.h>
#else
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#endif

/* Each thread has a range of the units for its own, the first units being thread 0's and so on, and takes them one at a
 * time: they are cut large enough (at least a few microseconds) that this costs nothing. Whoever is done with his own
 * takes from the others. So a thread meets the same rows in every region of a pass, and finds them in its own caches: on
 * a CPU of several chips (EPYC, Ryzen 9) a line that a core of another chip wrote takes 200 ns, of its own 50, and with
 * units dealt out in turns the ViT's products took 370 ms on two threads of two chips, 300 on two of one.
 *
 * A region is over when all units are done, not when all threads have looked: a helper that the system did not run in
 * time is not missed, and one that it took away holds up one unit. Waiting threads spin for the gap between two regions of
 * a pass, then sleep. Measured with another program on one of two cores: a caption's 19 decode steps take 2.0 s; with
 * OpenMP's team, where every thread must arrive and those that did spin, 4.2 s. Hence OpenMP is the option (OPENMP=1), for
 * programs that use it anyway and want one pool of threads.
 *
 * Nobody sleeps through news: who sleeps says so (n_sleeping, caller_sleeps) and looks again; who has news publishes it and
 * then asks whether somebody sleeps. That holds only if "publish, then ask" keeps its order, so the publishing is always a
 * read-modify-write: qemu 7.2 lets a load-acquire overtake a store-release on an x86 host, and both sides slept. */
#ifndef _OPENMP
typedef struct range {
    _Alignas(128) _Atomic uint64_t ticket; /* the region's number << 32 | units that nobody has taken */
    size_t end;                            /* stable while one of the region's units is not counted in n_done */
} range;
#endif

struct b2_team {
    int n_threads;
#ifndef _OPENMP
    b2_unit_fn *fn; /* of the region under way: stable while one of its units is not counted in n_done */
    void *context;
    size_t n_units;
    struct range *ranges;     /* of each thread */
    uint32_t region;          /* its number */
    _Atomic size_t n_done;
    _Atomic int n_sleeping;   /* helpers */
    _Atomic bool caller_sleeps, quit;
    pthread_mutex_t mutex;    /* only for falling asleep and waking */
    pthread_cond_t wake, done;
    pthread_t *threads;       /* n_threads - 1 helpers; the caller is thread 0 */
    int n_started;
#endif
};

static int clamp_threads(int n_threads) {
    if (n_threads < 1) return 1;
    return n_threads > B2_MAX_THREADS ? B2_MAX_THREADS : n_threads;
}

int b2_team_threads(const b2_team *team) { return team->n_threads; }

#ifdef _OPENMP

b2_team *b2_team_create(int n_threads) {
    b2_team *team = calloc(1, sizeof *team);
    if (team != NULL) team->n_threads = clamp_threads(n_threads);
    return team;
}

void b2_team_free(b2_team *team) { free(team); }

void b2_parallel_for(b2_team *team, size_t n_units, b2_unit_fn *fn, void *context) {
    if (team->n_threads == 1 || n_units <= 1) {
        for (size_t unit = 0; unit < n_units; unit++) fn(context, unit, 0);
        return;
    }
#pragma omp parallel num_threads(team->n_threads)
    {
        const int thread = omp_get_thread_num();
#pragma omp for schedule(dynamic, 1) nowait
        for (size_t unit = 0; unit < n_units; unit++) fn(context, unit, thread);
    }
}

#else

enum { SPINS_BEFORE_SLEEP = 2000 }; /* 40 to 100 microseconds */

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static uint32_t units_left(uint64_t ticket) { return (uint32_t)ticket; }

/* Takes units of one range until none is left; returns how many. */
static size_t take_range(b2_team *team, range *from, int thread) {
    size_t n = 0;
    uint64_t ticket = atomic_load(&from->ticket);
    while (units_left(ticket) > 0) {
        if (!atomic_compare_exchange_weak(&from->ticket, &ticket, ticket - 1)) continue;
        team->fn(team->context, from->end - units_left(ticket), thread);
        n++;
        ticket = atomic_load(&from->ticket);
    }
    return n;
}

/* Takes units of whatever region is under way, its own first, until none is left. */
static void take_units(b2_team *team, int thread) {
    size_t n_mine = 0;
    for (int i = 0; i < team->n_threads; i++)
        n_mine += take_range(team, &team->ranges[(thread + i) % team->n_threads], thread);
    if (n_mine == 0) return;
    const size_t n_units = team->n_units; /* ours until our units are counted */
    if (atomic_fetch_add(&team->n_done, n_mine) + n_mine < n_units || !atomic_load(&team->caller_sleeps)) return;
    pthread_mutex_lock(&team->mutex);
    pthread_cond_signal(&team->done);
    pthread_mutex_unlock(&team->mutex);
}

/* Helpers look at their own range only. If that is empty others are at work, and what nobody takes the caller does. */
static bool has_work(b2_team *team, int thread) {
    return units_left(atomic_load(&team->ranges[thread].ticket)) > 0 || atomic_load(&team->quit);
}

static void wait_for_work(b2_team *team, int thread) {
    for (int spin = 0; spin < SPINS_BEFORE_SLEEP; spin++, relax())
        if (has_work(team, thread)) return;
    pthread_mutex_lock(&team->mutex);
    atomic_fetch_add(&team->n_sleeping, 1);
    while (!has_work(team, thread)) pthread_cond_wait(&team->wake, &team->mutex);
    atomic_fetch_sub(&team->n_sleeping, 1);
    pthread_mutex_unlock(&team->mutex);
}

static void wait_until_done(b2_team *team) {
    for (int spin = 0; spin < SPINS_BEFORE_SLEEP; spin++, relax())
        if (atomic_load(&team->n_done) == team->n_units) return;
    pthread_mutex_lock(&team->mutex);
    atomic_exchange(&team->caller_sleeps, true);
    while (atomic_load(&team->n_done) < team->n_units) pthread_cond_wait(&team->done, &team->mutex);
    atomic_store(&team->caller_sleeps, false);
    pthread_mutex_unlock(&team->mutex);
}

typedef struct helper_start {
    b2_team *team;
    int thread;
} helper_start;

static void *helper_main(void *argument) {
    const helper_start start = *(helper_start *)argument;
    free(argument);
    while (!atomic_load(&start.team->quit)) {
        wait_for_work(start.team, start.thread);
        take_units(start.team, start.thread);
    }
    return NULL;
}

static bool start_helper(b2_team *team, int thread) {
    helper_start *start = malloc(sizeof *start);
    if (start == NULL) return false;
    *start = (helper_start){.team = team, .thread = thread};
    if (pthread_create(&team->threads[thread - 1], NULL, helper_main, start) == 0) return true;
    free(start);
    return false;
}

b2_team *b2_team_create(int n_threads) {
    b2_team *team = calloc(1, sizeof *team);
    if (team == NULL) return NULL;
    team->n_threads = clamp_threads(n_threads);
    team->threads = calloc((size_t)team->n_threads, sizeof *team->threads);
    void *ranges = NULL;
    if (posix_memalign(&ranges, _Alignof(range), (size_t)team->n_threads * sizeof *team->ranges) == 0) team->ranges = ranges;
    for (int i = 0; team->ranges != NULL && i < team->n_threads; i++) atomic_init(&team->ranges[i].ticket, 0);
    pthread_mutex_init(&team->mutex, NULL);
    pthread_cond_init(&team->wake, NULL);
    pthread_cond_init(&team->done, NULL);
    const bool has_memory = team->threads != NULL && team->ranges != NULL;
    while (has_memory && team->n_started < team->n_threads - 1) {
        if (!start_helper(team, team->n_started + 1)) break;
        team->n_started++;
    }
    if (has_memory && team->n_started == team->n_threads - 1) return team;
    b2_team_free(team);
    return NULL;
}

void b2_team_free(b2_team *team) {
    if (team == NULL) return;
    pthread_mutex_lock(&team->mutex);
    atomic_store(&team->quit, true);
    pthread_cond_broadcast(&team->wake);
    pthread_mutex_unlock(&team->mutex);
    for (int i = 0; i < team->n_started; i++) pthread_join(team->threads[i], NULL);
    pthread_cond_destroy(&team->done);
    pthread_cond_destroy(&team->wake);
    pthread_mutex_destroy(&team->mutex);
    free(team->ranges);
    free(team->threads);
    free(team);
}

void b2_parallel_for(b2_team *team, size_t n_units, b2_unit_fn *fn, void *context) {
    if (team->n_threads == 1 || n_units <= 1) {
        for (size_t unit = 0; unit < n_units; unit++) fn(context, unit, 0);
        return;
    }
    team->fn = fn;
    team->context = context;
    team->n_units = n_units;
    atomic_store(&team->n_done, 0);
    team->region++;
    const size_t n_threads = (size_t)team->n_threads;
    for (size_t i = 0; i < n_threads; i++) {
        const size_t first = n_units * i / n_threads;
        team->ranges[i].end = n_units * (i + 1) / n_threads;
        atomic_exchange(&team->ranges[i].ticket, (uint64_t)team->region << 32 | (team->ranges[i].end - first));
    }
    if (atomic_load(&team->n_sleeping) > 0) {
        pthread_mutex_lock(&team->mutex);
        pthread_cond_broadcast(&team->wake);
        pthread_mutex_unlock(&team->mutex);
    }
    take_units(team, 0);
    wait_until_done(team);
}

#endif
