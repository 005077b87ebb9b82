/* common.h: what the commands share: exit codes, messages, the model, the signals. */
#ifndef B2_COMMON_H
#define B2_COMMON_H

#include "base/status.h"
#include "cli/args.h"

/* DESIGN section 6. */
enum {
    B2_EXIT_OK = 0,
    B2_EXIT_SOME_FAILED = 1,
    B2_EXIT_USAGE = 2,
    B2_EXIT_MODEL = 3,
    B2_EXIT_FILES = 4,
    B2_EXIT_MEMORY = 5,
    B2_EXIT_RESUMABLE = 75,
    B2_EXIT_INTERRUPTED = 130
};

/* "blip2: sentence" on stderr. */
void b2_say(const char *format, ...) B2_PRINTF(1, 2);

/* Says the sentence of err and returns the exit code: memory 5, a wrong argument 2, otherwise the one given. */
int b2_fail_with(const blip2_error *err, int exit_code);

/* The same of a list or table that could not be read, exit code 4; after Ctrl-C or SIGTERM, which break off a read from a pipe,
 * that is what is said, and the signal's exit code. */
int b2_fail_input(const blip2_error *err);

/* Says "blip2 COMMAND: sentence" and where help is; returns 2. */
int b2_fail_usage(const char *command, const char *format, ...) B2_PRINTF(2, 3);

/* The model file: path if given, else $BLIP2_MODEL, else the only *.gguf of the working folder. On failure a sentence
 * with the places looked at is said, and the exit code returned; else 0 and *model. */
int b2_open_model(const char *path, blip2_model **model);

/* -t (0: not given), else OMP_NUM_THREADS, else SLURM_CPUS_PER_TASK, else 0: the library chooses. */
int b2_choose_threads(int from_option);

/* Says once when the file and what n_sessions such sessions need do not fit the memory that is available. */
void b2_warn_when_paging(const blip2_model *model, const blip2_session_options *options, size_t n_sessions);

/* ---- signals ---- */

/* From here on SIGINT, SIGTERM, SIGUSR1 ask for an end (the second one ends at once), SIGBUS (the model file shrank under
 * us) is one sentence and exit 3. cleanup_path: unlinked by the ending signal; may be NULL. */
void b2_signals_install(void);
bool b2_signals_pending(void *unused);
/* 130, 75 or 0 by the signal that came. */
int b2_signals_exit_code(void);
void b2_signals_set_cleanup(const char *path);

#endif
