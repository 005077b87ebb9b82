/* openblas.h: an OpenBLAS that does not know a new CPU takes it for an old one and is six times slower than it could
 * be. */
#ifndef B2_OPENBLAS_H
#define B2_OPENBLAS_H

#include <stdbool.h>

/* The core whose kernels OpenBLAS chose, or NULL without OpenBLAS. */
const char *b2_openblas_core(void);

typedef enum b2_openblas_advice {
    B2_OPENBLAS_KEEP,
    B2_OPENBLAS_UNSET, /* take OPENBLAS_CORETYPE back: this CPU cannot run it */
    B2_OPENBLAS_HASWELL,
    B2_OPENBLAS_SKYLAKEX
} b2_openblas_advice;

/* What to do about a chosen core on a CPU with these b2_cpu_feature bits; is_set: by OPENBLAS_CORETYPE. */
b2_openblas_advice b2_openblas_advise(const char *core, bool is_set, unsigned features);

/* Where the address space is limited (ulimit -v) executes the program once more with OpenBLAS's own threads
 * left out: they would try to get memory for ever, and the program would never end. They are of no use here: every
 * product runs in a thread of ours (kernels/blas). Returns otherwise. To be called before anything else. */
void b2_openblas_leave_threads_out(char **argv);

/* When that core is older than this CPU, or one that it cannot run, corrects OPENBLAS_CORETYPE and executes the program
 * once more. Returns otherwise. */
void b2_openblas_correct_core(char **argv);

#endif
