#include "base/parallel.h"

#include <stdlib.h>

#ifdef _OPENMP
#include <omp.h>
#else
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#endif

/* Units are handed out by a shared counter, one at a time: they are cut large enough (at least a few microseconds)
 * that the counter costs nothing, and a thread that the system takes away holds up one unit, not a fixed share.
 *
 * With OpenMP the runtime's own team waits between regions: it spins briefly, then sleeps. Without it a plain pthread
 * team does the same. */
struct b2_team {
    int n_threads;
#ifndef _OPENMP
    pthread_t *threads; /* n_threads - 1 helpers; the caller is thread 0 */
    pthread_mutex_t mutex;
    pthread_cond_t wake, done;
    _Atomic unsigned long generation; /* counts regions; helpers wait for it to change */
    _Atomic int n_busy;
    int n_started;
    bool quit;
    b2_unit_fn *fn;
    void *context;
    size_t n_units;
    _Atomic size_t next;
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

enum { SPINS_BEFORE_SLEEP = 4000 }; /* some tens of microseconds: longer than the gap between two regions of a pass */

static void take_units(b2_team *team, int thread) {
    for (;;) {
        const size_t unit = atomic_fetch_add(&team->next, 1);
        if (unit >= team->n_units) return;
        team->fn(team->context, unit, thread);
    }
}

typedef struct helper_start {
    b2_team *team;
    int thread;
} helper_start;

static void *helper_main(void *argument) {
    const helper_start start = *(helper_start *)argument;
    free(argument);
    b2_team *team = start.team;
    unsigned long seen = 0;
    for (;;) {
        for (int spin = 0; spin < SPINS_BEFORE_SLEEP && atomic_load(&team->generation) == seen; spin++) {}
        pthread_mutex_lock(&team->mutex);
        while (atomic_load(&team->generation) == seen && !team->quit) pthread_cond_wait(&team->wake, &team->mutex);
        const bool quit = team->quit;
        seen = atomic_load(&team->generation);
        pthread_mutex_unlock(&team->mutex);
        if (quit) return NULL;
        take_units(team, start.thread);
        if (atomic_fetch_sub(&team->n_busy, 1) == 1) {
            pthread_mutex_lock(&team->mutex);
            pthread_cond_signal(&team->done);
            pthread_mutex_unlock(&team->mutex);
        }
    }
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
    pthread_mutex_init(&team->mutex, NULL);
    pthread_cond_init(&team->wake, NULL);
    pthread_cond_init(&team->done, NULL);
    while (team->threads != NULL && team->n_started < team->n_threads - 1) {
        if (!start_helper(team, team->n_started + 1)) break;
        team->n_started++;
    }
    if (team->threads != NULL && team->n_started == team->n_threads - 1) return team;
    b2_team_free(team);
    return NULL;
}

void b2_team_free(b2_team *team) {
    if (team == NULL) return;
    pthread_mutex_lock(&team->mutex);
    team->quit = true;
    pthread_cond_broadcast(&team->wake);
    pthread_mutex_unlock(&team->mutex);
    for (int i = 0; i < team->n_started; i++) pthread_join(team->threads[i], NULL);
    pthread_cond_destroy(&team->done);
    pthread_cond_destroy(&team->wake);
    pthread_mutex_destroy(&team->mutex);
    free(team->threads);
    free(team);
}

void b2_parallel_for(b2_team *team, size_t n_units, b2_unit_fn *fn, void *context) {
    if (team->n_threads == 1 || n_units <= 1) {
        for (size_t unit = 0; unit < n_units; unit++) fn(context, unit, 0);
        return;
    }
    pthread_mutex_lock(&team->mutex);
    team->fn = fn;
    team->context = context;
    team->n_units = n_units;
    atomic_store(&team->next, 0);
    atomic_store(&team->n_busy, team->n_threads - 1);
    atomic_fetch_add(&team->generation, 1);
    pthread_cond_broadcast(&team->wake);
    pthread_mutex_unlock(&team->mutex);
    take_units(team, 0);
    for (int spin = 0; spin < SPINS_BEFORE_SLEEP && atomic_load(&team->n_busy) > 0; spin++) {}
    pthread_mutex_lock(&team->mutex);
    while (atomic_load(&team->n_busy) > 0) pthread_cond_wait(&team->done, &team->mutex);
    pthread_mutex_unlock(&team->mutex);
}

#endif
