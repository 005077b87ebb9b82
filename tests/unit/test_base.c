/* test_base.c: the ground floor: errors, arena, threads, mapped files. */
#include "base/arena.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "base/file.h"
#include "base/grow.h"
#include "base/library.h"
#include "base/mapfile.h"
#include "base/memory_text.h"
#include "base/parallel.h"
#include "base/path.h"
#include "base/target.h"
#include "base/status.h"
#include "base/text.h"
#include "base/utf8.h"

#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void test_error_is_one_line_of_valid_utf8(void **state) {
    (void)state;
    blip2_error err;
    assert_int_equal(b2_fail(&err, BLIP2_IO, "a\nb\x7f%s", "c"), BLIP2_IO);
    assert_string_equal(err.message, "a?b?c");
    b2_error_prefix(&err, "file %d", 3);
    assert_string_equal(err.message, "file 3: a?b?c");
    assert_int_equal(err.status, BLIP2_IO);

    char longer[2 * BLIP2_ERROR_BYTES];
    for (size_t shift = 0; shift < 4; shift++) { /* cut at each place inside a four-byte character */
        memset(longer, 'x', shift);
        for (size_t i = shift; i + 4 < sizeof longer; i += 4) memcpy(longer + i, "\xF0\x9F\x90\xB6", 4);
        longer[sizeof longer - 8] = '\0';
        b2_fail(&err, BLIP2_IO, "%s", longer);
        const size_t len = strlen(err.message);
        assert_true(len < BLIP2_ERROR_BYTES);
        assert_int_equal((len - shift) % 4, 0);
    }
    static const char *const texts[][2] = {{"\xC4", "?"},
                                           {"a\xFFz", "a?z"},
                                           {"\xC3\xA9t\xC3", "\xC3\xA9t?"},
                                           {"\xC0\xAF", "??"},
                                           {"\xED\xA0\x80", "???"},
                                           {"\xF4\x90\x80\x80", "????"},
                                           {"\xE2\x82", "??"},
                                           {"\xF0\x9F\x90\xB6", "\xF0\x9F\x90\xB6"},
                                           {"\x1B[2J", "?[2J"},
                                           {"\xC2\x9B"
                                            "2J",
                                            "??2J"}}; /* the last two would clear a terminal */
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        b2_fail(&err, BLIP2_IO, "%s", texts[i][0]);
        assert_string_equal(err.message, texts[i][1]);
    }
    assert_int_equal(b2_fail(NULL, BLIP2_LIMIT, "nobody listens"), BLIP2_LIMIT);
}

static void test_arena_measures_what_it_places(void **state) {
    (void)state;
    b2_arena arena = {0};
    blip2_error err;
    assert_null(b2_arena_take(&arena, 100, 4));
    assert_null(b2_arena_take(&arena, 1, 1));
    const size_t measured = arena.used_bytes;
    assert_int_equal(measured, 448 + 64);
    assert_int_equal(b2_arena_reserve(&arena, &err), BLIP2_OK);
    uint8_t *a = b2_arena_take(&arena, 100, 4), *b = b2_arena_take(&arena, 1, 1);
    assert_non_null(a);
    assert_int_equal((uintptr_t)a % B2_ARENA_ALIGN_BYTES, 0);
    assert_int_equal(b - a, 448);
    assert_null(b2_arena_take(&arena, 1, 1)); /* full */
    b2_arena_free(&arena);

    b2_arena_take(&arena, SIZE_MAX / 2, 3);
    assert_int_equal(b2_arena_reserve(&arena, &err), BLIP2_LIMIT);
    assert_int_equal(b2_size_multiply(SIZE_MAX / 2, 3), SIZE_MAX);
    assert_int_equal(b2_size_multiply(0, 3), 0);
}

typedef struct counting {
    atomic_int visits[1000];
    atomic_int bad_thread;
    int n_threads;
} counting;

static void count_unit(void *context, size_t unit, int thread) {
    counting *c = context;
    atomic_fetch_add(&c->visits[unit], 1);
    if (thread < 0 || thread >= c->n_threads) atomic_fetch_add(&c->bad_thread, 1);
}

static void test_every_unit_runs_once(void **state) {
    (void)state;
    const int threads[] = {1, 2, 3, 7, 64};
    for (size_t i = 0; i < sizeof threads / sizeof threads[0]; i++) {
        b2_team *team = b2_team_create(threads[i]);
        assert_non_null(team);
        for (size_t n = 0; n <= 1000; n += 125) {
            counting c = {.n_threads = threads[i]};
            for (int round = 0; round < 5; round++) b2_parallel_for(team, n, count_unit, &c);
            for (size_t u = 0; u < 1000; u++) assert_int_equal(atomic_load(&c.visits[u]), u < n ? 5 : 0);
            assert_int_equal(atomic_load(&c.bad_thread), 0);
        }
        b2_team_free(team);
    }
    b2_team *team = b2_team_create(-5);
    assert_int_equal(b2_team_threads(team), 1);
    b2_team_free(team);
}

/* The first unit of one thread's range waits for all others to be done: those behind it in its range are for the rest.
 * Where nobody takes them it gives up, and says so. */
typedef struct blocking {
    atomic_size_t n_done;
    atomic_bool gave_up;
    size_t n_units, blocker;
    int64_t deadline_ns;
} blocking;

static void blocking_unit(void *context, size_t unit, int thread) {
    (void)thread;
    blocking *b = context;
    while (unit == b->blocker && atomic_load(&b->n_done) < b->n_units - 1 && !atomic_load(&b->gave_up)) {
        if (b2_clock_ns() > b->deadline_ns) atomic_store(&b->gave_up, true);
        sched_yield();
    }
    atomic_fetch_add(&b->n_done, 1);
}

static void test_nobody_waits_for_a_busy_thread(void **state) {
    (void)state;
    for (int n_threads = 2; n_threads <= 5; n_threads++) {
        b2_team *team = b2_team_create(n_threads);
        assert_non_null(team);
        for (size_t owner = 0; owner < (size_t)n_threads; owner++) {
            blocking b = {
                .n_units = 100, .blocker = 100 * owner / (size_t)n_threads, .deadline_ns = b2_clock_ns() + 20000000000};
            b2_parallel_for(team, b.n_units, blocking_unit, &b);
            assert_false(atomic_load(&b.gave_up));
            assert_int_equal(atomic_load(&b.n_done), b.n_units);
        }
        b2_team_free(team);
    }
}

/* VmLck of /proc/self/status, in KB. */
static long locked_kilobytes(void) {
    char line[256];
    long n = -1;
    FILE *in = fopen("/proc/self/status", "r");
    while (in != NULL && n < 0 && fgets(line, sizeof line, in) != NULL) sscanf(line, "VmLck: %ld", &n);
    if (in != NULL) fclose(in);
    return n;
}

static void test_a_map_is_locked(void **state) {
    (void)state;
    b2_mapfile map;
    blip2_error err;
    const long before = locked_kilobytes();
    assert_int_equal(b2_mapfile_open("/proc/self/exe", &map, &err), BLIP2_OK);
    if (before < 0) skip();
    if (b2_mapfile_lock(map.data, map.size_bytes, &err) == BLIP2_OK)
        assert_true(locked_kilobytes() - before >= (long)(map.size_bytes / 1024));
    else assert_non_null(strstr(err.message, "locked")); /* the limit of this machine is low */
    const uint8_t *nowhere = map.data;
    const size_t size = map.size_bytes;
    b2_mapfile_close(&map);
    assert_int_equal(locked_kilobytes(), before);
    assert_int_not_equal(b2_mapfile_lock(nowhere, size, &err), BLIP2_OK);
    assert_non_null(strstr(err.message, "locked"));
}

static void test_mapfile(void **state) {
    (void)state;
    char path[] = "/tmp/blip2_test_XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    b2_mapfile map;
    blip2_error err;
    assert_int_equal(b2_mapfile_open(path, &map, &err), BLIP2_OK); /* empty */
    assert_int_equal(map.size_bytes, 0);
    b2_mapfile_close(&map);
    assert_int_equal(write(fd, "hello", 5), 5);
    close(fd);
    assert_int_equal(b2_mapfile_open(path, &map, &err), BLIP2_OK);
    assert_int_equal(map.size_bytes, 5);
    assert_memory_equal(map.data, "hello", 5);
    b2_mapfile_populate(&map, 3, SIZE_MAX);
    b2_mapfile_close(&map);
    unlink(path);
    assert_int_equal(b2_mapfile_open(path, &map, &err), BLIP2_IO);
    assert_non_null(strstr(err.message, path));
    assert_int_equal(b2_mapfile_open("/tmp", &map, &err), BLIP2_IO);
    assert_non_null(strstr(err.message, "folder"));
}

static void test_machine(void **state) {
    (void)state;
    assert_true(b2_cpu_physical_cores() >= 1);
    assert_int_equal(b2_cpu_features(), b2_cpu_features());
    const int64_t before = b2_clock_ns();
    assert_true(b2_clock_ns() >= before);
#ifdef __linux__
    assert_true(b2_memory_available().available_bytes > 0);
    assert_true(b2_memory_of_process().resident_bytes > 0);
#endif
}

/* ---- text ------------------------------------------------------------------------------------------------------- */

/* Every code point against its encoding by the formula, and no other sequence of up to four bytes. */
static void test_utf8_is_exactly_unicode_s(void **state) {
    (void)state;
    size_t n_valid[5] = {0};
    for (uint32_t bytes = 0; bytes < 0x1000000; bytes++) { /* all sequences of three bytes; the fourth is 0x80 */
        const uint8_t s[4] = {(uint8_t)(bytes >> 16), (uint8_t)(bytes >> 8), (uint8_t)bytes, 0x80};
        const size_t n = b2_utf8_length(s, 4);
        int32_t c;
        assert_int_equal(b2_utf8_decode(s, 4, &c), n > 0 ? n : 1);
        if (n == 0) assert_int_equal(c, -1);
        if (n == 4 || (n == 3 && c > 0xFFFF)) assert_true(c >= 0x10000 && c <= 0x10FFFF && (c & 0x3F) == 0);
        if (n == 3) assert_true(c >= 0x800 && (c < 0xD800 || c > 0xDFFF));
        if (n == 2) assert_true(c >= 0x80 && c < 0x800);
        if (n == 1) assert_int_equal(c, s[0]);
        n_valid[n]++;
    }
    assert_int_equal(n_valid[1], 0x80 << 16);
    assert_int_equal(n_valid[2], (0x800 - 0x80) << 8);
    assert_int_equal(n_valid[3], 0x10000 - 0x800 - 0x800);
    assert_int_equal(n_valid[4], 0x100000 >> 6);
    assert_int_equal(b2_utf8_length("\xE7\x8C\xAB", 2), 0); /* never beyond what may be read */
    assert_int_equal(b2_utf8_valid_len("a\xC3\xA9\0\xE7", 5), 4);
    assert_true(b2_is_utf8("a\xC3\xA9\xE7\x8C\xAB\xF0\x9F\x98\x80"));
    static const char *const wrong[] = {"\xC0\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\x80", "\xE7\x8C", "\xC3"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) assert_false(b2_is_utf8(wrong[i]));
    assert_int_equal(b2_utf8_mark("\xEF\xBB\xBFx", 4), 3);
    assert_int_equal(b2_utf8_mark("\xEF\xBB", 2), 0);
    assert_true(b2_ends_with("a.gguf", ".gguf") && b2_ends_with("a", "") && !b2_ends_with("a", "ba"));
}

static void test_an_array_grows(void **state) {
    (void)state;
    int32_t *items = NULL;
    size_t capacity = 0;
    for (int32_t i = 0; i < 1000; i++) {
        assert_true(b2_grow(&items, (size_t)i, &capacity, sizeof *items));
        items[i] = i;
    }
    for (int32_t i = 0; i < 1000; i++) assert_int_equal(items[i], i);
    assert_true(capacity >= 1000 && capacity < 2000);
    size_t huge = SIZE_MAX / 4;
    assert_false(b2_grow(&items, huge, &huge, sizeof *items)); /* twice that does not fit */
    assert_int_equal(items[999], 999);
    free(items);
}

static void print_lines(b2_memory_text *memory, size_t n) {
    for (size_t i = 0; i < n; i++) fprintf(memory->file, "%063zu\n", i);
}

#ifndef B2_SANITIZED /* they have a malloc, and a use for addresses, of their own */
/* In a process of its own, with so little memory that the text cannot grow: is it refused whole? errno is cleared in
 * between, as calls do. */
static bool is_half_text_refused(bool notes) {
    size_t n_pages = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    if (statm == NULL || fscanf(statm, "%zu", &n_pages) != 1) return true;
    fclose(statm);
    const rlim_t bytes = (rlim_t)n_pages * (rlim_t)sysconf(_SC_PAGESIZE) + (8 << 20);
    b2_memory_text memory;
    if (b2_memory_text_begin(&memory) == NULL || setrlimit(RLIMIT_AS, &(struct rlimit){bytes, bytes}) != 0)
        return false;
    print_lines(&memory, 1 << 20);
    if (notes) {
        b2_memory_text_note(&memory);
        errno = 0;
    }
    return !b2_memory_text_end(&memory) && memory.text == NULL && errno == ENOMEM;
}
#endif

static void test_text_in_memory_is_whole_or_refused(void **state) {
    (void)state;
    b2_memory_text memory;
    assert_non_null(b2_memory_text_begin(&memory));
    print_lines(&memory, 1000);
    b2_memory_text_note(&memory);
    assert_true(b2_memory_text_end(&memory));
    assert_int_equal(memory.len, 64000);
    assert_string_equal(memory.text + memory.len - 4, "999\n");
    free(memory.text);
#ifndef B2_SANITIZED
    for (int notes = 0; notes < 2; notes++) {
        const pid_t child = fork();
        if (child == 0) _exit(is_half_text_refused(notes != 0) ? 0 : 1);
        int how;
        assert_int_equal(waitpid(child, &how, 0), child);
        assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    }
#endif
}

/* ---- files ------------------------------------------------------------------------------------------------------ */

static void expect_file(const char *path, const char *want) {
    char *bytes;
    size_t n;
    blip2_error err;
    if (b2_file_read(path, 100, &bytes, &n, &err) != BLIP2_OK) fail_msg("%s", err.message);
    assert_int_equal(n, strlen(want));
    assert_string_equal(bytes, want);
    free(bytes);
}

static void test_reading_up_to_a_limit(void **state) {
    (void)state;
    char path[] = "/tmp/blip2_base_XXXXXX", text[300], *bytes;
    blip2_error err;
    size_t n;
    close(mkstemp(path));
    memset(text, 'x', sizeof text);
    for (size_t len = 0; len < sizeof text; len++) {
        assert_int_equal(b2_file_write(path, text, len, &err), BLIP2_OK);
        FILE *file = fopen(path, "rb");
        assert_int_equal(b2_stream_read(file, "s", 3, 256, &bytes, &n, &err), len <= 256 ? BLIP2_OK : BLIP2_LIMIT);
        assert_true(len > 256 ? bytes == NULL : n == len && bytes[n] == '\0');
        free(bytes);
        fclose(file);
        assert_int_equal(b2_file_read(path, 256, &bytes, &n, &err), len <= 256 ? BLIP2_OK : BLIP2_LIMIT);
        free(bytes);
    }
    unlink(path);
    assert_int_equal(b2_file_read(path, 256, &bytes, &n, &err), BLIP2_IO);
    assert_non_null(strstr(err.message, "cannot be opened: No such file"));
    assert_int_equal(b2_file_read("/tmp", 256, &bytes, &n, &err), BLIP2_IO);
    assert_string_equal(err.message, "/tmp: is a folder, expected a file");
    assert_null(bytes);
}

static void test_a_file_is_replaced_at_once(void **state) {
    (void)state;
    char folder[] = "/tmp/blip2_base_XXXXXX", path[64], other[80];
    b2_replacement r, beside;
    blip2_error err;
    struct stat st;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/f", folder);
    assert_int_equal(b2_file_write(path, "old", 3, &err), BLIP2_OK);
    assert_int_equal(chmod(path, 0640), 0);
    for (int follows = 0; follows < 2; follows++) {
        assert_int_equal(b2_replacement_open(path, follows != 0, &r, &err), BLIP2_OK);
        fputs("half", r.file);
        b2_replacement_abandon(&r);
        b2_replacement_abandon(&r);
        expect_file(path, follows ? "new" : "old");
        assert_int_equal(b2_replacement_open(path, follows != 0, &r, &err), BLIP2_OK);
        fputs("new", r.file);
        expect_file(path, follows ? "new" : "old");
        assert_int_equal(b2_replacement_commit(&r, &err), BLIP2_OK);
        expect_file(path, "new");
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0640);
    }
    assert_int_equal(b2_replacement_open(path, true, &r, &err), BLIP2_OK); /* two at a time do not meet */
    assert_int_equal(b2_replacement_open(path, true, &beside, &err), BLIP2_OK);
    assert_string_not_equal(r.new_path, beside.new_path);
    b2_replacement_abandon(&r);
    b2_replacement_abandon(&beside);
    char link_path[80];
    snprintf(link_path, sizeof link_path, "%s/l", folder);
    assert_int_equal(symlink("f", link_path), 0); /* one that the user named is followed; one that lies there is not */
    assert_int_equal(b2_replacement_open(link_path, true, &r, &err), BLIP2_OK);
    fputs("led", r.file);
    assert_int_equal(b2_replacement_commit(&r, &err), BLIP2_OK);
    expect_file(path, "led");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(b2_file_write(link_path, "own", 3, &err), BLIP2_OK);
    assert_true(lstat(link_path, &st) == 0 && S_ISREG(st.st_mode));
    expect_file(path, "led");
    unlink(link_path);
    assert_int_equal(b2_replacement_open("/dev/null", true, &r, &err), BLIP2_IO);
    snprintf(other, sizeof other, "%s/none/f", folder);
    assert_int_equal(b2_file_write(other, "x", 1, &err), BLIP2_IO);
    assert_non_null(strstr(err.message, "/none/f: cannot be written: No such file"));
    unlink(path);
    assert_int_equal(rmdir(folder), 0); /* nothing is left beside it */
}

static void test_a_full_disk_has_its_own_status(void **state) {
    (void)state;
    blip2_error err;
    errno = ENOSPC;
    assert_int_equal(b2_fail_write(&err, "f", "cannot be written"), BLIP2_NO_SPACE);
    assert_string_equal(err.message, "f: cannot be written: No space left on device");
    errno = EACCES;
    assert_int_equal(b2_fail_write(&err, "f", "cannot be written"), BLIP2_IO);
}

static void expect_followed(const char *folder, const char *name, const char *want) {
    char from[128], to[128];
    snprintf(from, sizeof from, "%s/%s", folder, name);
    snprintf(to, sizeof to, "%s/%s", folder, want);
    b2_target target;
    blip2_error err;
    assert_int_equal(b2_target_find(from, &target, &err), BLIP2_OK);
    assert_string_equal(target.path, to);
    b2_target_free(&target);
}

static void test_links_are_followed_to_what_is_not_there_yet(void **state) {
    (void)state;
    static const char *const links[][2] = {{"below/file", "a"}, {"a", "b"}, {"y", "x"}, {"x", "y"}};
    char folder[] = "/tmp/blip2_links_XXXXXX", path[128];
    assert_non_null(mkdtemp(folder));
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, links[i][1]);
        assert_int_equal(symlink(links[i][0], path), 0);
    }
    expect_followed(folder, "b", "below/file");
    b2_target target;
    blip2_error err;
    snprintf(path, sizeof path, "%s/x", folder);
    assert_int_equal(b2_target_find(path, &target, &err), BLIP2_IO); /* a circle leads nowhere */
    b2_target_free(&target);
    expect_followed(folder, "plain", "plain");
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, links[i][1]);
        unlink(path);
    }
    rmdir(folder);
}

static void test_a_library_is_loaded_when_it_is_needed(void **state) {
    (void)state;
    struct {
        int (*first)(const char *), (*second)(int);
    } calls = {NULL, NULL};
    const char *const names[] = {"atoi", "abs"}, *const missing[] = {"atoi", "b2_no_such_function"};
    blip2_error err;
    for (int i = 0; i < 2; i++)
        assert_int_equal(b2_library_load("a.heic", "libc.so.6", names, 2, &calls, &err), BLIP2_OK);
    assert_int_equal(calls.first("-41"), -41);
    assert_int_equal(calls.second(-1), 1);

    assert_int_equal(b2_library_load("a.heic", "libc.so.6", missing, 2, &calls, &err), BLIP2_UNSUPPORTED);
    assert_non_null(strstr(err.message, "a.heic: needs a library that cannot be loaded"));
    assert_non_null(strstr(err.message, "b2_no_such_function"));
    assert_int_equal(b2_library_load("a.heic", "libb2-none.so.1", names, 2, &calls, &err), BLIP2_UNSUPPORTED);
    assert_non_null(strstr(err.message, "libb2-none.so.1"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error_is_one_line_of_valid_utf8),
        cmocka_unit_test(test_arena_measures_what_it_places),
        cmocka_unit_test(test_every_unit_runs_once),
        cmocka_unit_test(test_nobody_waits_for_a_busy_thread),
        cmocka_unit_test(test_mapfile),
        cmocka_unit_test(test_a_library_is_loaded_when_it_is_needed),
        cmocka_unit_test(test_a_map_is_locked),
        cmocka_unit_test(test_machine),
        cmocka_unit_test(test_utf8_is_exactly_unicode_s),
        cmocka_unit_test(test_an_array_grows),
        cmocka_unit_test(test_text_in_memory_is_whole_or_refused),
        cmocka_unit_test(test_reading_up_to_a_limit),
        cmocka_unit_test(test_a_file_is_replaced_at_once),
        cmocka_unit_test(test_a_full_disk_has_its_own_status),
        cmocka_unit_test(test_links_are_followed_to_what_is_not_there_yet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
