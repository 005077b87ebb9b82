/* say.c: every sentence to the user passes here, so that all have one form: "blip2: what happened". */
#include "console/say.h"

#include "console/signals.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* One sentence in one write, so that those of several threads do not mix; names in it may hold any byte. */
static void say_sentence(const char *who, const char *format, va_list args) {
    char line[8192];
    const size_t n_head = (size_t)snprintf(line, 128, "blip2%s: ", who);
    const int n = vsnprintf(line + n_head, sizeof line - n_head - 1, format, args);
    if (n < 0) line[n_head] = '\0';
    b2_make_printable(line);
    const size_t len = strlen(line);
    line[len] = '\n';
    fwrite(line, 1, len + 1, stderr);
}

void b2_say(const char *format, ...) {
    va_list args;
    va_start(args, format);
    say_sentence("", format, args);
    va_end(args);
}

int b2_flush_stdout(void) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return B2_EXIT_OK;
    b2_say("standard output: cannot be written: %s", strerror(errno));
    return B2_EXIT_FILES;
}

int b2_fail_with(const blip2_error *err, int exit_code) {
    b2_say("%s", err->message);
    if (err->status == BLIP2_MEMORY) return B2_EXIT_MEMORY;
    return err->status == BLIP2_ARGUMENT ? B2_EXIT_USAGE : exit_code;
}

int b2_fail_input(const blip2_error *err) {
    const int signal_code = b2_signals_exit_code();
    if (signal_code == B2_EXIT_OK) return b2_fail_with(err, B2_EXIT_FILES);
    b2_say("interrupted before anything was done");
    return signal_code;
}

int b2_fail_usage(const char *command, const char *format, ...) {
    va_list args;
    char who[64];
    snprintf(who, sizeof who, " %s", command);
    va_start(args, format);
    say_sentence(who, format, args);
    va_end(args);
    fprintf(stderr, "blip2 %s --help lists the options\n", command);
    return B2_EXIT_USAGE;
}
