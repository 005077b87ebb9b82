/* cpu_home.h: the CPU as a home: verbs spread over a team of threads, on memory of this process. It never fails. */
#ifndef B2_CPU_HOME_H
#define B2_CPU_HOME_H

#include "kernels/isa.h"
#include "kernels/tensor.h"

/* isa NULL: the fastest that this build and CPU have. n_threads as in b2_team_create. b2_ops_free lets go of it.
 * Errors: ARGUMENT (isa), MEMORY. */
blip2_status b2_cpu_home_create(const char *isa, int n_threads, b2_ops **ops, blip2_error *err);

/* A home that starts no thread: good for b2_ops_plan of a measuring arena only. Errors: ARGUMENT (isa), MEMORY. */
blip2_status b2_cpu_home_plan(const char *isa, int n_threads, b2_ops **ops, blip2_error *err);

/* Around the verbs of an encode, of a generate: b2_team_enter, b2_team_leave. */
void b2_cpu_home_enter(b2_ops *ops);
void b2_cpu_home_leave(b2_ops *ops);

/* Of a home that b2_cpu_home_create made: */
const b2_isa *b2_cpu_home_isa(const b2_ops *ops);
int b2_cpu_home_threads(const b2_ops *ops);

#endif
