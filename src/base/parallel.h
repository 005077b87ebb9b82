/* parallel.h: the one way in which this program uses several threads.
 *
 * A region hands out units 0..n_units-1 to the team's threads, each unit to exactly one thread, in no promised order;
 * it returns when all are done. Neighbouring units mostly go to one thread, and the same share of them in every region:
 * units in order of rows keep a thread's rows in its caches. Results never depend on which thread got which unit: each
 * unit writes its own outputs. (With OPENMP=1 units go to whoever is free.) */
#ifndef B2_PARALLEL_H
#define B2_PARALLEL_H

#include <stddef.h>

enum { B2_MAX_THREADS = 256 };

/* unit: 0..n_units-1. thread: 0..n_threads-1, the owner of per-thread scratch. */
typedef void b2_unit_fn(void *context, size_t unit, int thread);

typedef struct b2_team b2_team;

/* n_threads is clamped to [1, B2_MAX_THREADS]. NULL when there is no memory. A team serves one thread of control. */
b2_team *b2_team_create(int n_threads);
void b2_team_free(b2_team *team);
int b2_team_threads(const b2_team *team);

/* n_units below 2^32. */
void b2_parallel_for(b2_team *team, size_t n_units, b2_unit_fn *fn, void *context);

#endif
