/* test_console.c: what the program says, reads from its environment, and does when a signal comes. */
#define _GNU_SOURCE /* posix_openpt */
#include "base/clock.h"
#include "base/cpu.h"
#include "base/file.h"
#include "console/environment.h"
#include "console/openblas.h"
#include "console/output.h"
#include "console/progress.h"
#include "console/say.h"
#include "console/signals.h"
#include "console/terminal.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char path[] = "/tmp/blip2_console_XXXXXX";

static int make_file(void **state) {
    (void)state;
    const int fd = mkstemp(path);
    return fd < 0 || close(fd) != 0;
}

static int remove_file(void **state) {
    (void)state;
    return unlink(path);
}

/* From here on stderr goes to the file. Returns what restore_stderr needs. */
static int redirect_stderr(void) {
    fflush(stderr);
    const int kept = dup(STDERR_FILENO), file = open(path, O_TRUNC | O_WRONLY);
    dup2(file, STDERR_FILENO);
    close(file);
    return kept;
}

/* What was written to stderr, from malloc. */
static char *restore_stderr(int kept) {
    char *text = NULL;
    size_t n = 0;
    fflush(stderr);
    dup2(kept, STDERR_FILENO);
    close(kept);
    assert_int_equal(b2_input_read(path, &text, &n, NULL), BLIP2_OK);
    return text;
}

/* ---- what is printed ------------------------------------------------------------------------------------------- */

/* A progress that began so many seconds ago says its line into a file. */
static char *progress_line(uint64_t done, uint64_t total, int64_t seconds) {
    const int kept = redirect_stderr();
    b2_progress p;
    b2_progress_start(&p, "pictures", total, false);
    p.is_terminal = false;
    p.start_ns = b2_clock_ns() - seconds * 1000000000;
    p.last_ns = p.start_ns;
    b2_progress_update(&p, done, 3);
    return restore_stderr(kept);
}

static void test_progress_lines(void **state) {
    (void)state;
    char *soon = progress_line(100, 200, 100), *late = progress_line(100, 1000000, 100),
         *first = progress_line(1, 200, 29);
    assert_string_equal(soon, "blip2: 100/200 pictures  1.00/s  3 failed  1:40 left\n");
    assert_string_equal(late, "blip2: 100/1000000 pictures  1.00/s  3 failed  277 h 45 min left\n");
    assert_string_equal(first, ""); /* a line every 30 s */
    free(soon), free(late), free(first);
}

/* ---- the environment ------------------------------------------------------------------------------------------- */

static void test_numbers_of_the_environment(void **state) {
    (void)state;
    static const char *const wrong[] = {"", "x", "-1", "+1", " 1", "1x", "1000000000", "99999999999999999999"};
    size_t n = 7;
    unsetenv("BLIP2_TEST");
    assert_false(b2_environment_number("BLIP2_TEST", &n));
    assert_null(b2_environment_text("BLIP2_TEST"));
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        setenv("BLIP2_TEST", wrong[i], 1);
        assert_false(b2_environment_number("BLIP2_TEST", &n));
    }
    setenv("BLIP2_TEST", "012", 1);
    assert_true(b2_environment_number("BLIP2_TEST", &n) && n == 12);
    assert_string_equal(b2_environment_text("BLIP2_TEST"), "012");
    setenv("BLIP2_TEST", "", 1);
    assert_null(b2_environment_text("BLIP2_TEST"));
}

static void test_threads_by_order_of_precedence(void **state) {
    (void)state;
    unsetenv("OMP_NUM_THREADS");
    unsetenv("SLURM_CPUS_PER_TASK");
    assert_int_equal(b2_environment_threads(0), 0);
    setenv("SLURM_CPUS_PER_TASK", "6", 1);
    assert_int_equal(b2_environment_threads(0), 6);
    setenv("OMP_NUM_THREADS", "4,2", 1);
    assert_int_equal(b2_environment_threads(0), 4);
    assert_int_equal(b2_environment_threads(3), 3);
    setenv("OMP_NUM_THREADS", "none", 1);
    assert_int_equal(b2_environment_threads(0), 6);
}

/* ---- outputs --------------------------------------------------------------------------------------------------- */

static void expect_content(const char *want) {
    char *text = NULL;
    size_t n = 0;
    assert_int_equal(b2_input_read(path, &text, &n, NULL), BLIP2_OK);
    assert_string_equal(text, want);
    free(text);
}

static void test_an_output_is_whole_or_not_there(void **state) {
    (void)state;
    blip2_error err;
    b2_output out;
    assert_int_equal(b2_file_write(path, "old", 3, &err), BLIP2_OK);
    assert_int_equal(b2_output_open(&out, path, &err), BLIP2_OK);
    fputs("half", out.file);
    b2_output_abandon(&out);
    expect_content("old");
    assert_int_equal(b2_output_open(&out, path, &err), BLIP2_OK);
    fputs("whole", out.file);
    expect_content("old");
    assert_int_equal(b2_output_commit(&out, &err), BLIP2_OK);
    expect_content("whole");
    assert_int_equal(b2_output_open(&out, "/nowhere/x", &err), BLIP2_IO);
    assert_string_equal(err.message, "/nowhere/x: cannot be written: No such file or directory");
}

/* ---- signals --------------------------------------------------------------------------------------------------- */

enum { FAULT_IN_MODEL, FAULT_ELSEWHERE, SENT_BY_KILL };

/* Two maps of a file that is empty by now: to touch one is SIGBUS. */
static void die_of_bus_error(int how) {
    enum { BYTES = 4096 };
    const int fd = open(path, O_RDWR | O_TRUNC);
    if (fd < 0 || ftruncate(fd, BYTES) != 0) _exit(99);
    const volatile char *model = mmap(NULL, BYTES, PROT_READ, MAP_SHARED, fd, 0),
                        *other = mmap(NULL, BYTES, PROT_READ, MAP_SHARED, fd, 0);
    if (ftruncate(fd, 0) != 0) _exit(99);
    b2_signals_install();
    b2_signals_set_model((const void *)(uintptr_t)model, BYTES);
    if (how == SENT_BY_KILL) kill(getpid(), SIGBUS);
    else _exit((how == FAULT_IN_MODEL ? model : other)[BYTES - 1]);
    _exit(98);
}

/* The wait status of a child that dies so, and what it says. */
static int bus_error(int how, char **said) {
    char beside[sizeof path + 4];
    snprintf(beside, sizeof beside, "%s.say", path);
    const pid_t child = fork();
    if (child == 0) {
        if (freopen(beside, "w", stderr) == NULL) _exit(97);
        die_of_bus_error(how);
    }
    int status = 0;
    size_t n = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(b2_input_read(beside, said, &n, NULL), BLIP2_OK);
    unlink(beside);
    return status;
}

static void test_only_a_fault_in_the_model_is_the_model_s(void **state) {
    (void)state;
    char *said;
    int status = bus_error(FAULT_IN_MODEL, &said);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == B2_EXIT_MODEL);
    assert_non_null(strstr(said, "the model file could not be read"));
    free(said);
    for (int how = FAULT_ELSEWHERE; how <= SENT_BY_KILL; how++) {
        status = bus_error(how, &said);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
        assert_null(strstr(said, "model"));
        free(said);
    }
}

static void test_signals_choose_the_exit_code(void **state) {
    (void)state;
    static const int signals[][2] = {{SIGINT, 130}, {SIGTERM, 75}, {SIGUSR1, 75}, {SIGHUP, 75}, {SIGXCPU, 75}};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        const pid_t child = fork();
        if (child == 0) {
            signal(signals[i][0], SIG_DFL); /* "&" of a script ignores SIGINT */
            b2_signals_install();
            if (b2_signals_pending(NULL) || b2_signals_exit_code() != 0) _exit(99);
            raise(signals[i][0]);
            _exit(b2_signals_pending(NULL) ? b2_signals_exit_code() : 98);
        }
        int status = 0;
        waitpid(child, &status, 0);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == signals[i][1]);
    }
}

static void test_a_signal_ignored_before_stays_ignored(void **state) {
    (void)state;
    static const int signals[] = {SIGINT, SIGTERM, SIGUSR1, SIGHUP, SIGXCPU};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        const pid_t child = fork();
        if (child == 0) {
            signal(signals[i], SIG_IGN);
            b2_signals_install();
            raise(signals[i]);
            _exit(b2_signals_pending(NULL) ? 98 : 7);
        }
        int status = 0;
        waitpid(child, &status, 0);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    }
}

static void test_cpu_time_is_one_request_however_often_it_is_said(void **state) {
    (void)state;
    const pid_t child = fork();
    if (child == 0) {
        signal(SIGXCPU, SIG_DFL);
        b2_signals_install();
        raise(SIGXCPU);
        raise(SIGXCPU);
        _exit(7);
    }
    int status = 0;
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

static void test_openblas_gets_a_core_that_this_cpu_runs(void **state) {
    (void)state;
    const unsigned old = B2_CPU_SSE41, haswell = old | B2_CPU_AVX | B2_CPU_FMA | B2_CPU_AVX2,
                   server = haswell | B2_CPU_AVX512 | B2_CPU_AVX512VNNI;
    static const struct {
        const char *core;
        bool is_set;
    } wrong[] = {{"Haswell", true}, {"Zen", true}, {"SKYLAKEX", true}, {"Sandybridge", true}, {"Bulldozer", true}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(b2_openblas_advise(wrong[i].core, wrong[i].is_set, old), B2_OPENBLAS_UNSET);
        assert_int_equal(b2_openblas_advise(wrong[i].core, wrong[i].is_set, server), B2_OPENBLAS_KEEP);
    }
    assert_int_equal(b2_openblas_advise("SkylakeX", true, haswell), B2_OPENBLAS_UNSET);
    assert_int_equal(b2_openblas_advise("Penryn", true, server), B2_OPENBLAS_KEEP); /* slow, but what the user wants */
    assert_int_equal(b2_openblas_advise("Penryn", false, old), B2_OPENBLAS_KEEP);
    assert_int_equal(b2_openblas_advise("Prescott", false, server), B2_OPENBLAS_SKYLAKEX);
    assert_int_equal(b2_openblas_advise("Prescott", false, haswell), B2_OPENBLAS_HASWELL);
    assert_int_equal(b2_openblas_advise("Zen", false, server), B2_OPENBLAS_KEEP);
}

static void test_paths_of_the_environment_as_python_reads_them(void **state) {
    (void)state;
    setenv("HOME", "/home/you", 1);
    setenv("B2_A", "a", 1);
    setenv("B2_LOOP", "$B2_A$B2_LOOP", 1); /* what a value holds is not expanded again */
    static const char *const cases[][2] = {{"~", "/home/you"},
                                           {"~/hf", "/home/you/hf"},
                                           {"~nobody-of-that-name/hf", "~nobody-of-that-name/hf"},
                                           {"~root/x", "/root/x"},
                                           {"x~", "x~"},
                                           {"$B2_A/${B2_A}b/$B2_A", "a/ab/a"},
                                           {"${B2_A", "${B2_A"},
                                           {"$", "$"},
                                           {"${}$", "${}$"},
                                           {"$B2_NOT_SET/x", "$B2_NOT_SET/x"},
                                           {"$B2_LOOP", "$B2_A$B2_LOOP"},
                                           {"", ""}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = b2_environment_expand(cases[i][0]);
        assert_string_equal(text, cases[i][1]);
        free(text);
    }
}

/* What a terminal gets of the two pieces, written one after the other. */
static void show_on_terminal(const char *first, const char *second, char *seen, size_t capacity) {
    const int master = posix_openpt(O_RDWR | O_NOCTTY);
    assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    FILE *terminal = fdopen(open(ptsname(master), O_WRONLY | O_NOCTTY), "wb");
    FILE *guarded = b2_terminal_guard(terminal, fileno(terminal));
    assert_true(guarded != NULL && guarded != terminal);
    fputs(first, guarded);
    fflush(guarded);
    fputs(second, guarded);
    assert_int_equal(fclose(guarded), 0);
    size_t len = 0; /* in pieces, until the other side has closed */
    for (ssize_t n; (n = read(master, seen + len, capacity - 1 - len)) > 0;) len += (size_t)n;
    seen[len] = '\0';
    close(master);
}

static void test_a_terminal_gets_nothing_to_obey(void **state) {
    (void)state;
    static const char *const cases[][3] = {
        {"a\033[2Jb", "\007\177c\n", "a?[2Jb??c\r\n"},
        {"tab\there\r", "\n", "tab\there?\r\n"},
        {"\xC2\x9B"
         "2J \xC3\xA9 \x9B",
         "\n",
         "?"
         "?"
         "2J \xC3\xA9 ?\r\n"},                                              /* CSI of C1, and as a byte of its own */
        {"caf\xC3", "\xA9 \xE2\x82\xAC\n", "caf\xC3\xA9 \xE2\x82\xAC\r\n"}, /* cut through a character */
        {"\xC2",
         "\x9B"
         "2J\n",
         "??2J\r\n"},
        {"\xF0\x9F\x90", "x\n", "???x\r\n"},
        {"end \xE2", "", "end ?"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char seen[64];
        show_on_terminal(cases[i][0], cases[i][1], seen, sizeof seen);
        assert_string_equal(seen, cases[i][2]);
    }
    FILE *file = fopen(path, "wb");
    assert_ptr_equal(b2_terminal_guard(file, fileno(file)), file); /* a file is exact */
    fclose(file);
    assert_null(b2_terminal_guard(NULL, -1));
}

static void test_a_sentence_is_one_line_that_moves_no_cursor(void **state) {
    (void)state;
    const int kept = redirect_stderr();
    b2_say("%s is odd", "a\033[2J\nb\xC2\x9B");
    char *said = restore_stderr(kept);
    assert_string_equal(said, "blip2: a?[2J?b?? is odd\n");
    free(said);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_progress_lines),
        cmocka_unit_test(test_numbers_of_the_environment),
        cmocka_unit_test(test_threads_by_order_of_precedence),
        cmocka_unit_test(test_an_output_is_whole_or_not_there),
        cmocka_unit_test(test_only_a_fault_in_the_model_is_the_model_s),
        cmocka_unit_test(test_signals_choose_the_exit_code),
        cmocka_unit_test(test_a_signal_ignored_before_stays_ignored),
        cmocka_unit_test(test_cpu_time_is_one_request_however_often_it_is_said),
        cmocka_unit_test(test_a_terminal_gets_nothing_to_obey),
        cmocka_unit_test(test_a_sentence_is_one_line_that_moves_no_cursor),
        cmocka_unit_test(test_openblas_gets_a_core_that_this_cpu_runs),
        cmocka_unit_test(test_paths_of_the_environment_as_python_reads_them),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
