/* parallel.h: the one way in which this program uses several threads.
 *
 * A region hands out units 0..n_units-1 to the team's threads, each unit to exactly one thread, in no promised order;
 * it returns when all are done. Neighbouring units mostly go to one thread, and the same share of them in every region:
 * units in order of rows keep a thread's rows in its caches. Results never depend on which thread got which unit: each
 * unit writes its own outputs. */
#ifndef B2_PARALLEL_H
#define B2_PARALLEL_H

#include <stddef.h>

enum { B2_MAX_THREADS = 256 };

/* unit: 0..n_units-1. thread: 0..n_threads-1, the owner of per-thread scratch. */
typedef void b2_unit_fn(void *context, size_t unit, int thread);

typedef struct b2_team b2_team;

/* n_threads is clamped to [1, B2_MAX_THREADS]. NULL when there is no memory or the system gives no more threads. A team
 * serves one thread of control, which is thread 0 of it. */
b2_team *b2_team_create(int n_threads);
void b2_team_free(b2_team *team);
int b2_team_threads(const b2_team *team);
int b2_team_clamp(int n_threads);

/* A visit: the time in which many regions follow each other (an encode, a generate). With OpenMP the helpers are
 * there for a visit; a b2_parallel_for outside of one is a visit by itself. */
void b2_team_enter(b2_team *team);
void b2_team_leave(b2_team *team);

/* n_units below 2^32. */
void b2_parallel_for(b2_team *team, size_t n_units, b2_unit_fn *fn, void *context);

/* How many threads there are to be when nobody said: one for each place of OMP_PLACES where OpenMP binds threads to
 * places, else one for each physical core that this process may use; capped by the cgroup's CPU quota; at least 1. */
int b2_default_threads(void);

/* The number of OpenMP's places, 0 where it binds no threads or is not used. */
int b2_omp_places(void);

/* Where OpenMP binds threads (OMP_PROC_BIND), it has bound the first thread to the first place before main, and every
 * thread started from there inherits that one core. Gives the calling thread the CPUs of all places. */
void b2_omp_unbind(void);

#endif
