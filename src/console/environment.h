/* environment.h: the program's only look at environment variables. Rooms below the commands get values, not names. */
#ifndef B2_ENVIRONMENT_H
#define B2_ENVIRONMENT_H

#include <stdbool.h>
#include <stddef.h>

/* The value of a variable; NULL where it is not set or empty. It lives until the environment is changed. */
const char *b2_environment_text(const char *name);

/* A path with "~", "~user" at its start and "$NAME", "${NAME}" anywhere put in, as Python's expanduser and
 * expandvars do: what is not known stays as it is. From malloc; NULL without memory. */
char *b2_environment_expand(const char *path);

/* A whole number from 0 to 999999999; false where the variable is not set or holds anything else. */
bool b2_environment_number(const char *name, size_t *number);

/* -t (0: not given), else OMP_NUM_THREADS, else SLURM_CPUS_PER_TASK, else 0: the library chooses. */
int b2_environment_threads(int from_option);

#endif
