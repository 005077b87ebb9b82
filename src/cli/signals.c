/* signals.c: the only writable state of the program outside handles: a signal handler has no other place to look at. */
#include "cli/common.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static atomic_int b2_signal_received;            /* the number of the first one; workers look at it on their threads */
static char b2_signal_cleanup[4096];             /* a file to remove when a signal ends the program at once */
static atomic_int b2_signal_has_cleanup;

static void end_at_once(int exit_code) {
    if (b2_signal_has_cleanup) unlink(b2_signal_cleanup);
    _exit(exit_code);
}

static void on_request_to_end(int number) {
    if (b2_signal_received != 0) end_at_once(number == SIGINT ? B2_EXIT_INTERRUPTED : B2_EXIT_RESUMABLE);
    b2_signal_received = number;
}

static void on_bus_error(int number) {
    (void)number;
    static const char sentence[] =
        "blip2: the model file could not be read where it is mapped: it was truncated, or its disk or network is gone\n";
    const ssize_t ignored = write(STDERR_FILENO, sentence, sizeof sentence - 1);
    (void)ignored;
    end_at_once(B2_EXIT_MODEL);
}

void b2_signals_install(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    sigemptyset(&action.sa_mask);
    action.sa_handler = on_request_to_end;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
    action.sa_handler = on_bus_error;
    sigaction(SIGBUS, &action, NULL);
    action.sa_handler = SIG_IGN; /* a closed pipe is an error of write(), not a death */
    sigaction(SIGPIPE, &action, NULL);
}

bool b2_signals_pending(void *unused) {
    (void)unused;
    return b2_signal_received != 0;
}

int b2_signals_exit_code(void) {
    if (b2_signal_received == 0) return B2_EXIT_OK;
    return b2_signal_received == SIGINT ? B2_EXIT_INTERRUPTED : B2_EXIT_RESUMABLE;
}

void b2_signals_set_cleanup(const char *path) {
    b2_signal_has_cleanup = 0;
    if (path == NULL || strlen(path) >= sizeof b2_signal_cleanup) return;
    strcpy(b2_signal_cleanup, path);
    b2_signal_has_cleanup = 1;
}
