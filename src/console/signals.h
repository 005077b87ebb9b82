/* signals.h: how signals end the program. The first request to end is a flag that the work looks at between steps; the
 * second one ends at once. */
#ifndef B2_SIGNALS_H
#define B2_SIGNALS_H

#include <stdbool.h>
#include <stddef.h>

/* From here on SIGINT, SIGTERM, SIGUSR1, SIGHUP and SIGXCPU request an end, those apart that were ignored when the
 * program started; SIGPIPE and SIGXFSZ are ignored (write() reports the error: EPIPE, EFBIG). SIGBUS at an
 * address of the mapped model (the file was truncated, its disk is gone) is one sentence and exit code 3; any other
 * SIGBUS keeps its default action. */
void b2_signals_install(void);

/* Where the model is mapped, for the sentence about SIGBUS; (NULL, 0): no longer. */
void b2_signals_set_model(const void *data, size_t n_bytes);

/* While a command is at work (true to false) an exit() that a library makes on its own is exit code 5: those we use do
 * so where they have no memory. */
void b2_signals_watch_exit(bool is_running);

/* A file to remove if the program ends at once; NULL: none. */
void b2_signals_set_cleanup(const char *path);

/* Was an end requested? The argument makes it fit the callbacks that look for cancellation. */
bool b2_signals_pending(void *unused);

/* 130 after SIGINT, 75 after any other, 0 without a signal. */
int b2_signals_exit_code(void);

/* Ends the program without returning and without freeing anything, the cleanup file apart: for a thread that hangs
 * (a picture on a dead network disk) and still uses what would be freed. */
_Noreturn void b2_leave_at_once(int exit_code);

#endif
