/* openblas.h: an OpenBLAS that does not know a new CPU takes it for an old one and is six times slower than it could be. */
#ifndef B2_OPENBLAS_H
#define B2_OPENBLAS_H

/* The core whose kernels OpenBLAS chose, or NULL without OpenBLAS. */
const char *b2_openblas_core(void);

/* When that core is older than this CPU, sets OPENBLAS_CORETYPE and executes the program once more. Returns otherwise. */
void b2_openblas_correct_core(char **argv);

#endif
