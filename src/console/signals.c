/* signals.c: the only writable state of the program outside handles: a signal handler can look at nothing else.
 * Handlers call only functions that POSIX allows in them. */
#include "console/signals.h"

#include "console/exit_code.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_int b2_signal_received; /* the number of the first one; workers look at it on their threads */
static char b2_signal_cleanup[4096];  /* a file to remove when the program ends at once */
static atomic_int b2_signal_has_cleanup;
static atomic_int b2_signal_is_running;                       /* a command is at work, which does not call exit() */
static atomic_uintptr_t b2_signal_model, b2_signal_model_end; /* the mapped file's addresses */

void b2_leave_at_once(int exit_code) {
    if (b2_signal_has_cleanup) unlink(b2_signal_cleanup);
    _exit(exit_code);
}

/* libarchive and libgomp call exit() where they have no memory, after a sentence of their own. */
static void on_exit_of_library(void) {
    static const char sentence[] = "blip2: no memory, says a library; what was finished before is kept\n";
    if (!b2_signal_is_running) return;
    const ssize_t ignored = write(STDERR_FILENO, sentence, sizeof sentence - 1);
    (void)ignored;
    b2_leave_at_once(B2_EXIT_MEMORY);
}

void b2_signals_watch_exit(bool is_running) {
    if (is_running) atexit(on_exit_of_library);
    b2_signal_is_running = is_running;
}

static int exit_code_of(int number) { return number == SIGINT ? B2_EXIT_INTERRUPTED : B2_EXIT_RESUMABLE; }

static void on_request_to_end(int number) {
    if (number == SIGXCPU && b2_signal_received == SIGXCPU)
        return; /* it comes every second: one request all the same */
    if (b2_signal_received != 0) b2_leave_at_once(exit_code_of(number));
    b2_signal_received = number;
}

/* A fault in the model means that its file cannot be read. Anything else is not ours to explain: the default action
 * follows as soon as this handler returns. si_code tells a fault from kill(), which leaves no address. */
static void on_bus_error(int number, siginfo_t *info, void *context) {
    (void)context;
    static const char sentence[] =
        "blip2: the model file could not be read where it is mapped: it was truncated, or its disk or network is gone\n";
    const uintptr_t address = (uintptr_t)info->si_addr;
    if (info->si_code > 0 && address >= b2_signal_model && address < b2_signal_model_end) {
        const ssize_t ignored = write(STDERR_FILENO, sentence, sizeof sentence - 1);
        (void)ignored;
        b2_leave_at_once(B2_EXIT_MODEL);
    }
    signal(number, SIG_DFL);
    raise(number);
}

void b2_signals_install(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    sigemptyset(&action.sa_mask);
    action.sa_handler = on_request_to_end;
    static const int requests[] = {SIGINT, SIGTERM, SIGUSR1, SIGHUP, SIGXCPU};
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        struct sigaction before; /* nohup and "&" of a script ignore one for the whole run */
        if (sigaction(requests[i], NULL, &before) == 0 && before.sa_handler == SIG_IGN) continue;
        sigaction(requests[i], &action, NULL);
    }
    action.sa_handler = SIG_IGN; /* the write fails instead, and its error has a sentence */
    sigaction(SIGPIPE, &action, NULL);
    sigaction(SIGXFSZ, &action, NULL);
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGBUS, &action, NULL);
}

void b2_signals_set_model(const void *data, size_t n_bytes) {
    b2_signal_model_end = 0; /* never a start of one file with the end of another */
    b2_signal_model = (uintptr_t)data;
    b2_signal_model_end = (uintptr_t)data + n_bytes;
}

void b2_signals_set_cleanup(const char *path) {
    b2_signal_has_cleanup = 0;
    if (path == NULL || strlen(path) >= sizeof b2_signal_cleanup) return;
    strcpy(b2_signal_cleanup, path);
    b2_signal_has_cleanup = 1;
}

bool b2_signals_pending(void *unused) {
    (void)unused;
    return b2_signal_received != 0;
}

int b2_signals_exit_code(void) { return b2_signal_received == 0 ? B2_EXIT_OK : exit_code_of(b2_signal_received); }
