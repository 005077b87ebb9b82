/* probe.h: what this machine can do at best, at this moment, with the instructions of one set. Loops that touch
 * nothing but registers (arithmetic) or do nothing but load (memory); a kernel's speed is quoted as a share of
 * these. */
#ifndef B2_PROBE_H
#define B2_PROBE_H

#include "base/parallel.h"

#include <stdint.h>

/* 10^9 operations a second of all threads of the team (a multiply-add is two): of the integer dot products that the
 * set `isa_name` is made of (f32 fma for blas), and of its f32 fma. 0 where there is no probe for the set. */
double b2_probe_dot_gops(b2_team *team, const char *isa_name);
double b2_probe_fma_gflops(b2_team *team, const char *isa_name);

/* 10^9 bytes a second when the team reads this memory from end to end. *checksum keeps the loads alive. */
double b2_probe_read_gbs(b2_team *team, const void *memory, size_t n_bytes, uint64_t *checksum);

#endif
