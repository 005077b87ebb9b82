/* say.h: what the program says to its user on stderr, and the exit codes that go with it. */
#ifndef B2_SAY_H
#define B2_SAY_H

#include "base/status.h"
#include "console/exit_code.h"

/* "blip2: sentence" on stderr, in one write; control characters in it become '?'. */
void b2_say(const char *format, ...) B2_PRINTF(1, 2);

/* The ending of a noun after a number: "1 row", "2 rows". */
static inline const char *b2_plural(size_t n) { return n == 1 ? "" : "s"; }

/* Says the sentence of err and returns the exit code: memory 5, a wrong argument 2, otherwise the one given. */
int b2_fail_with(const blip2_error *err, int exit_code);

/* Like b2_fail_with for lists and tables that cannot be read (exit code 4), unless a signal interrupted the read: then
 * says so and returns the signal's exit code. */
int b2_fail_input(const blip2_error *err);

/* Writes out what printf() has kept; 0, or says why it cannot and returns exit code 4. */
int b2_flush_stdout(void);

/* Says "blip2 COMMAND: sentence" and where to find help; returns 2. */
int b2_fail_usage(const char *command, const char *format, ...) B2_PRINTF(2, 3);

#endif
