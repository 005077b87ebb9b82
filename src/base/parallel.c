/* parallel.c: see parallel.h; how the units are shared out and why stands at b2_team. */
#ifdef _OPENMP
#define _GNU_SOURCE /* CPU_SET, pthread_setaffinity_np */
#include <omp.h>
#endif

#include "base/parallel.h"

#include "base/cpu.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#if defined(_OPENMP) && defined(__linux__)
#include <sched.h>
#endif

/* Each thread has a range of the units for its own, the first units being thread 0's and so on, and takes them one at a
 * time: they are cut large enough (at least a few microseconds) that this costs nothing. Whoever is done with his own
 * takes from the others. So a thread meets the same rows in every region of a pass, and finds them in its own caches:
 * on a CPU of several chips (EPYC, Ryzen 9) a line that a core of another chip wrote takes 200 ns, of its own 50, and
 * with units dealt out in turns the ViT's products took 370 ms on two threads of two chips, 300 on two of one.
 *
 * A region is over when all units are done, not when all threads have looked: a helper that the system did not run in
 * time is not missed, and one that it took away holds up one unit. Waiting threads spin for the gap between two regions
 * of a pass, then sleep.
 *
 * Where the helpers come from is the only difference between the two builds. Our own team starts n_threads - 1 threads
 * that stay. With OpenMP the team has one thread of its own, which opens a parallel region of n_threads - 1 for each
 * visit (b2_team_enter to b2_team_leave: an encode, a generate); the region's threads are the helpers. The caller is
 * thread 0 in both, so callbacks come on its thread. Because the region is opened by a thread that nobody else has, it
 * does not nest in a region of the host, its pool of threads is its own, and a forked child that makes a team has a
 * fresh one (libgomp waits forever for a pool inherited through fork). One region for a visit, because at its end every
 * thread must arrive: with a region for each b2_parallel_for a caption's 19 decode steps took 4.2 s beside another
 * program on one of two cores, 2.0 s with ranges that nobody has to leave.
 *
 * No wake-up is lost: a sleeper announces itself (n_sleeping, caller_sleeps), then re-checks; a publisher publishes,
 * then looks for sleepers. That holds only if "publish, then look" keeps its order, so publishing is always a
 * read-modify-write: qemu 7.2 lets a load-acquire overtake a store-release on an x86 host, and both sides slept. */
typedef struct range {
    _Alignas(128) _Atomic uint64_t ticket; /* the region's number << 32 | units that nobody has taken */
    size_t end;                            /* stable while one of the region's units is not counted in n_done */
} range;

struct b2_team {
    int n_threads;
    b2_unit_fn *fn; /* of the region under way: stable while one of its units is not counted in n_done */
    void *context;
    size_t n_units;
    struct range *ranges; /* of each thread */
    uint32_t region;      /* its number */
    _Atomic size_t n_done;
    _Atomic int n_sleeping; /* helpers */
    _Atomic bool caller_sleeps;
    uint64_t n_entered; /* visits begun; written under the mutex. Our own team: one visit, which lasts until free */
    _Atomic uint64_t n_left;
    pthread_mutex_t mutex; /* only for falling asleep and waking */
    pthread_cond_t wake, done;
    pthread_t *threads; /* our own helpers; OpenMP: the one that opens regions */
    int n_started;
    pthread_cond_t enter; /* the opener waits: for a visit to begin, or for quit */
    bool is_ready, quit;  /* of the opener; under the mutex */
#if defined(_OPENMP) && defined(__linux__)
    cpu_set_t host_cpus; /* where the caller may run outside of a visit */
#endif
};

int b2_team_clamp(int n_threads) {
    if (n_threads < 1) return 1;
    return n_threads > B2_MAX_THREADS ? B2_MAX_THREADS : n_threads;
}

int b2_team_threads(const b2_team *team) { return team->n_threads; }

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

/* Helpers look at their own range only. An empty one means that others are working; the caller finishes whatever no
 * helper takes. */
static bool has_work(b2_team *team, int thread, uint64_t visit) {
    return units_left(atomic_load(&team->ranges[thread].ticket)) > 0 || atomic_load(&team->n_left) >= visit;
}

static void wait_for_work(b2_team *team, int thread, uint64_t visit) {
    for (int spin = 0; spin < SPINS_BEFORE_SLEEP; spin++, relax())
        if (has_work(team, thread, visit)) return;
    pthread_mutex_lock(&team->mutex);
    atomic_fetch_add(&team->n_sleeping, 1);
    while (!has_work(team, thread, visit)) pthread_cond_wait(&team->wake, &team->mutex);
    atomic_fetch_sub(&team->n_sleeping, 1);
    pthread_mutex_unlock(&team->mutex);
}

/* What a helper does until the visit is over. */
static void help(b2_team *team, int thread, uint64_t visit) {
    while (atomic_load(&team->n_left) < visit) {
        wait_for_work(team, thread, visit);
        take_units(team, thread);
    }
}

/* All helpers that sleep look again. */
static void wake_helpers(b2_team *team) {
    if (atomic_load(&team->n_sleeping) == 0) return;
    pthread_mutex_lock(&team->mutex);
    pthread_cond_broadcast(&team->wake);
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

/* ---- where helpers come from ------------------------------------------------------------------------------------ */

typedef struct helper_start {
    b2_team *team;
    int thread;
} helper_start;

static bool start_thread(b2_team *team, void *(*run)(void *), int thread) {
    helper_start *start = malloc(sizeof *start);
    if (start == NULL) return false;
    *start = (helper_start){.team = team, .thread = thread};
    if (pthread_create(&team->threads[team->n_started], NULL, run, start) == 0) {
        team->n_started++;
        return true;
    }
    free(start);
    return false;
}

#ifdef _OPENMP

#ifdef __linux__
int b2_omp_places(void) { return omp_get_proc_bind() == omp_proc_bind_false ? 0 : omp_get_num_places(); }

void b2_omp_unbind(void) {
    cpu_set_t set;
    int cpus[CPU_SETSIZE];
    CPU_ZERO(&set);
    for (int place = 0; place < b2_omp_places(); place++) {
        const int n = omp_get_place_num_procs(place);
        if (n > CPU_SETSIZE) return;
        omp_get_place_proc_ids(place, cpus);
        for (int i = 0; i < n; i++)
            if (cpus[i] < CPU_SETSIZE) CPU_SET((size_t)cpus[i], &set);
    }
    if (CPU_COUNT(&set) > 0) (void)pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}
/* The caller too: a host's threads may all be bound to one core, and two sessions would share it. */
static void unbind_caller(b2_team *team) {
    if (b2_omp_places() == 0) return;
    (void)pthread_getaffinity_np(pthread_self(), sizeof team->host_cpus, &team->host_cpus);
    b2_omp_unbind();
}

static void rebind_caller(const b2_team *team) {
    if (b2_omp_places() > 0) (void)pthread_setaffinity_np(pthread_self(), sizeof team->host_cpus, &team->host_cpus);
}
#else
int b2_omp_places(void) { return 0; }
void b2_omp_unbind(void) {}
static void unbind_caller(b2_team *team) { (void)team; }
static void rebind_caller(const b2_team *team) { (void)team; }
#endif

static void *wait_at_mutex(void *argument) {
    pthread_mutex_lock(argument);
    pthread_mutex_unlock(argument);
    return NULL;
}

/* Can the system give us n threads more at once? libgomp ends the process where it cannot; so it is tried before. */
static bool can_start(int n) {
    pthread_t threads[B2_MAX_THREADS];
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    int n_started = 0;
    pthread_mutex_lock(&gate);
    while (n_started < n && pthread_create(&threads[n_started], NULL, wait_at_mutex, &gate) == 0) n_started++;
    pthread_mutex_unlock(&gate);
    for (int i = 0; i < n_started; i++) pthread_join(threads[i], NULL);
    return n_started == n;
}

/* Opens the region of each visit. The first one, empty, is opened at once: the pool keeps its threads, so that none has
 * to be made later, when there is nobody to tell that it failed. OpenMP may grant fewer threads than asked for
 * (OMP_THREAD_LIMIT, OMP_DYNAMIC): the others' ranges are taken by those that are there. */
static void *open_regions(void *argument) {
    b2_team *team = ((helper_start *)argument)->team;
    free(argument);
    uint64_t visit = 0;
    for (bool quit = false; !quit;) {
#pragma omp parallel num_threads(team->n_threads - 1)
        {
            b2_omp_unbind();
            help(team, 1 + omp_get_thread_num(), visit);
        }
        pthread_mutex_lock(&team->mutex);
        if (!team->is_ready) pthread_cond_signal(&team->done);
        team->is_ready = true;
        while (team->n_entered == atomic_load(&team->n_left) && !team->quit)
            pthread_cond_wait(&team->enter, &team->mutex);
        visit = team->n_entered;
        quit = team->quit;
        pthread_mutex_unlock(&team->mutex);
    }
    return NULL;
}

static bool start_helpers(b2_team *team) {
    if (team->n_threads == 1) return true;
    if (!can_start(team->n_threads - 1) || !start_thread(team, open_regions, 0)) return false;
    pthread_mutex_lock(&team->mutex);
    while (!team->is_ready) pthread_cond_wait(&team->done, &team->mutex);
    pthread_mutex_unlock(&team->mutex);
    return true;
}

void b2_team_enter(b2_team *team) {
    unbind_caller(team);
    if (team->n_threads == 1) return;
    pthread_mutex_lock(&team->mutex);
    team->n_entered++;
    pthread_cond_signal(&team->enter);
    pthread_mutex_unlock(&team->mutex);
}

void b2_team_leave(b2_team *team) {
    rebind_caller(team);
    if (team->n_threads == 1) return;
    atomic_exchange(&team->n_left, team->n_entered);
    wake_helpers(team);
}

static void dismiss_helpers(b2_team *team) {
    pthread_mutex_lock(&team->mutex);
    team->quit = true;
    pthread_cond_signal(&team->enter);
    pthread_mutex_unlock(&team->mutex);
}

#else

int b2_omp_places(void) { return 0; }
void b2_omp_unbind(void) {}

static void *helper_main(void *argument) {
    const helper_start start = *(helper_start *)argument;
    free(argument);
    help(start.team, start.thread, 1);
    return NULL;
}

static bool start_helpers(b2_team *team) {
    for (int i = 1; i < team->n_threads; i++)
        if (!start_thread(team, helper_main, i)) return false;
    return true;
}

/* Our own helpers stay from create to free: that is their one visit. */
void b2_team_enter(b2_team *team) { (void)team; }
void b2_team_leave(b2_team *team) { (void)team; }

static void dismiss_helpers(b2_team *team) {
    pthread_mutex_lock(&team->mutex);
    atomic_exchange(&team->n_left, 1);
    pthread_cond_broadcast(&team->wake);
    pthread_mutex_unlock(&team->mutex);
}

#endif

int b2_default_threads(void) {
    const int n_places = b2_omp_places();
    return n_places > 0 ? b2_cpu_cap(n_places) : b2_cpu_physical_cores();
}

/* ---- the team ---------------------------------------------------------------------------------------------------- */

b2_team *b2_team_create(int n_threads) {
    b2_team *team = calloc(1, sizeof *team);
    if (team == NULL) return NULL;
    team->n_threads = b2_team_clamp(n_threads);
    team->threads = calloc((size_t)team->n_threads, sizeof *team->threads);
    void *ranges = NULL;
    if (posix_memalign(&ranges, _Alignof(range), (size_t)team->n_threads * sizeof *team->ranges) == 0)
        team->ranges = ranges;
    for (int i = 0; team->ranges != NULL && i < team->n_threads; i++) atomic_init(&team->ranges[i].ticket, 0);
    pthread_mutex_init(&team->mutex, NULL);
    pthread_cond_init(&team->wake, NULL);
    pthread_cond_init(&team->done, NULL);
    pthread_cond_init(&team->enter, NULL);
    if (team->threads != NULL && team->ranges != NULL && start_helpers(team)) return team;
    b2_team_free(team);
    return NULL;
}

void b2_team_free(b2_team *team) {
    if (team == NULL) return;
    dismiss_helpers(team);
    for (int i = 0; i < team->n_started; i++) pthread_join(team->threads[i], NULL);
    pthread_cond_destroy(&team->enter);
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
    const bool is_whole_visit = team->n_entered == atomic_load(&team->n_left);
    if (is_whole_visit) b2_team_enter(team);
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
    wake_helpers(team);
    take_units(team, 0);
    wait_until_done(team);
    if (is_whole_visit) b2_team_leave(team);
}
