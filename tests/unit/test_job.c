/* test_job.c: the parts of a job that need no model: journals, shards, sidecars' names. */
#include "base/path.h"
#include "console/signals.h"
#include "base/file.h"
#include "job/grown.h"
#include "job/plan.h"
#include "job/report.h"
#include "record/json.h"
#include "record/writer.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char work[] = "/tmp/blip2_job_XXXXXX";

static int make_work(void **state) {
    (void)state;
    return mkdtemp(work) == NULL;
}

static int remove_work(void **state) {
    (void)state;
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", work);
    return system(command);
}

static char *in_work(const char *name) { return b2_path_join(work, name); }

/* ---- journals -------------------------------------------------------------------------------------------------- */

/* Every byte that a name may hold, tokens, logprobs that need nine digits, an outcome. */
static b2_record hard_record(size_t index) {
    b2_record r = {.index = index,
                   .path = strdup("a\x01\"\\\xFF\xE7\x8C\xAB.png"),
                   .rotated = true,
                   .n_answers = 2,
                   .answers = calloc(2, sizeof *r.answers)};
    r.answers[0] = (b2_answer){.text = strdup("a \"cat\"\n\xE7\x8C\xAB"),
                               .outcome = B2_RECORD_TRUNCATED,
                               .n_tokens = 2,
                               .logprob = -1.23456789,
                               .tokens = malloc(2 * sizeof(int32_t)),
                               .logprobs = malloc(2 * sizeof(float))};
    r.answers[0].tokens[0] = 50118, r.answers[0].tokens[1] = 0;
    r.answers[0].logprobs[0] = -0.1f, r.answers[0].logprobs[1] = -3.4e-38f;
    r.answers[1] = (b2_answer){.text = strdup(""), .outcome = B2_RECORD_EMPTY};
    r.has_timings = true;
    r.timings =
        (blip2_timings){.vision_ns = 1, .qformer_ns = 2, .prefill_ns = 3, .decode_ns = 1ll << 40, .n_decode_steps = 5};
    r.thumbnail = strdup("AAAA"), r.thumbnail_width = 7, r.thumbnail_height = 9;
    return r;
}

static char *as_text(const b2_record *r) {
    static const b2_ask asks[2] = {{0}, {.question = "why?"}};
    const b2_style style = {.format = B2_FORMAT_JSONL, .asks = asks, .n_asks = 2, .n_results = 1};
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    assert_true(b2_record_write(&style, r, out));
    fclose(out);
    return text;
}

static b2_header header(void) {
    return (b2_header){.count = 3,
                       .list_hash = 0xFEDCBA9876543210,
                       .model_hash = 7,
                       .shard = {0, 1},
                       .spec = {.n_asks = 1, .decoding = b2_decoding_fallback()}};
}

static void test_a_record_survives_the_journal(void **state) {
    (void)state;
    bool was_there;
    blip2_error err;
    b2_journal j;
    const b2_header h = header();
    char *path = in_work("round.part");
    if (b2_journal_begin(path, 0666, &h, &was_there, &j, &err) != BLIP2_OK) fail_msg("%s", err.message);
    b2_record r = hard_record(2), back;
    assert_int_equal(b2_journal_append(&j, &r, &err), BLIP2_OK);
    b2_journal_close(&j);
    assert_int_equal(b2_journal_begin(path, 0666, &h, &was_there, &j, &err), BLIP2_OK);
    assert_true(was_there && j.n_bytes > 0); /* never over one that exists */
    b2_journal_close(&j);
    assert_int_equal(b2_journal_open(path, &j, &err), BLIP2_OK);
    char difference[100] = "";
    assert_true(b2_header_is_same_job(&j.header, &h, true, difference, sizeof difference));
    b2_record_location places[3] = {0};
    size_t n_twice = 0;
    assert_int_equal(b2_journal_scan(&j, 5, places, 3, &n_twice, &err), BLIP2_OK);
    assert_true(places[0].offset == 0 && places[1].offset == 0 && places[2].offset > 0 && places[2].journal == 5 &&
                !places[2].is_failed);
    assert_int_equal(b2_journal_read(&j, places[2].offset, &back, &err), BLIP2_OK);
    char *want = as_text(&r), *got = as_text(&back);
    assert_string_equal(got, want);
    assert_true(back.timings.decode_ns == 1ll << 40 && back.thumbnail_height == 9 &&
                strcmp(back.thumbnail, "AAAA") == 0);
    free(want);
    free(got);
    b2_record_free(&r);
    b2_record_free(&back);
    b2_journal_close(&j);
    free(path);
}

/* A kill may stop the last write at any byte: what is whole stays, what is torn goes, appending goes on. */
static void test_torn_at_every_byte(void **state) {
    (void)state;
    bool was_there;
    blip2_error err;
    b2_journal j;
    const b2_header h = header();
    char *path = in_work("torn.part");
    assert_int_equal(b2_journal_begin(path, 0666, &h, &was_there, &j, &err), BLIP2_OK);
    for (size_t i = 0; i < 2; i++) {
        b2_record r = hard_record(i);
        assert_int_equal(b2_journal_append(&j, &r, &err), BLIP2_OK);
        b2_record_free(&r);
    }
    b2_journal_close(&j);
    char *bytes;
    size_t n, first;
    assert_int_equal(b2_input_read(path, &bytes, &n, &err), BLIP2_OK);
    first = (size_t)(strchr(strchr(bytes, '\n') + 1, '\n') - bytes) + 1;
    for (size_t cut = first; cut < n; cut++) {
        assert_int_equal(b2_file_write(path, bytes, cut, &err), BLIP2_OK);
        assert_int_equal(b2_journal_begin(path, 0666, &h, &was_there, &j, &err), BLIP2_OK);
        b2_record_location places[3] = {0};
        size_t n_twice = 0;
        assert_int_equal(b2_journal_scan(&j, 0, places, 3, &n_twice, &err), BLIP2_OK);
        assert_true(places[0].offset > 0 && places[1].offset == 0 && j.n_bytes == first && j.n_torn == cut - first);
        b2_record r = hard_record(1);
        assert_int_equal(b2_journal_append(&j, &r, &err), BLIP2_OK);
        b2_record_free(&r);
        b2_journal_close(&j);
        char *again;
        size_t n_again;
        assert_int_equal(b2_input_read(path, &again, &n_again, &err), BLIP2_OK);
        assert_true(n_again == n && memcmp(again, bytes, n) == 0);
        free(again);
    }
    free(bytes);
    free(path);
}

/* A byte changed anywhere, or a stretch of zeros as a power cut leaves them: at most the records that it touches are
 * lost, the file is never cut before its last whole record. */
static void test_damage_in_the_middle_costs_what_it_touches(void **state) {
    (void)state;
    enum { N = 5 };
    bool was_there;
    blip2_error err;
    b2_journal j;
    const b2_header h = header();
    char *path = in_work("damaged.part"), *bytes;
    size_t n, start[N + 1];
    assert_int_equal(b2_journal_begin(path, 0666, &h, &was_there, &j, &err), BLIP2_OK);
    for (size_t i = 0; i < N; i++) {
        start[i] = j.n_bytes;
        b2_record r = hard_record(i % 3);
        r.index = i;
        assert_int_equal(b2_journal_append(&j, &r, &err), BLIP2_OK);
        b2_record_free(&r);
    }
    start[N] = j.n_bytes;
    b2_journal_close(&j);
    assert_int_equal(b2_input_read(path, &bytes, &n, &err), BLIP2_OK);
    assert_int_equal(n, start[N]);
    for (size_t at = start[0]; at < start[N - 1]; at += 7)
        for (size_t len = 1; len < 400; len += 133) {
            char *damaged = malloc(n);
            memcpy(damaged, bytes, n);
            const size_t end = at + len < start[N - 1] ? at + len : start[N - 1];
            memset(damaged + at, 0, end - at);
            assert_int_equal(b2_file_write(path, damaged, n, &err), BLIP2_OK);
            free(damaged);
            assert_int_equal(b2_journal_begin(path, 0666, &h, &was_there, &j, &err), BLIP2_OK);
            b2_record_location places[N] = {0};
            size_t n_twice = 0;
            assert_int_equal(b2_journal_scan(&j, 0, places, N, &n_twice, &err), BLIP2_OK);
            for (size_t i = 0; i < N; i++) { /* a lost newline costs the record behind it too */
                const bool is_touched = at < start[i + 1] && (i == 0 || end > start[i] - 1);
                assert_true(is_touched || places[i].offset == start[i]);
                assert_true(!is_touched || places[i].offset == 0 || places[i].offset == start[i]);
            }
            const bool last_is_whole = end < start[N - 1];
            if (last_is_whole) assert_true(j.n_torn == 0 && j.n_bytes == n && j.n_damaged > 0);
            b2_journal_close(&j);
            struct stat st;
            assert_int_equal(stat(path, &st), 0);
            if (last_is_whole) assert_int_equal(st.st_size, n);
        }
    free(bytes);
    free(path);
}

static void expect_no_journal(const char *text, blip2_status want) {
    blip2_error err;
    b2_journal j;
    char *path = in_work("none");
    assert_int_equal(b2_file_write(path, text, strlen(text), &err), BLIP2_OK);
    assert_int_equal(b2_journal_open(path, &j, &err), want);
    free(path);
}

static void test_files_that_are_no_journal(void **state) {
    (void)state;
    expect_no_journal("", BLIP2_FORMAT);
    expect_no_journal("path,caption\n", BLIP2_FORMAT);
    expect_no_journal("{\"a\":1}\n", BLIP2_FORMAT);
    expect_no_journal("{\"blip2_journal\":1,\"count\":3}", BLIP2_FORMAT);
    expect_no_journal("{\"blip2_journal\":1,\"count\":3}\n", BLIP2_FORMAT);
    expect_no_journal("{\"blip2_journal\":2}\n", BLIP2_OTHER_VERSION);
}

/* What the scan takes can be read: an answer without its text, or with an outcome that nobody knows, is a damaged line.
 * A record beyond the list is another matter: the journal is not of this list. */
static void test_lines_that_cannot_be_read_are_passed_over(void **state) {
    (void)state;
    blip2_error err;
    b2_journal j;
    char *path = in_work("none");
    const char text[] = "{\"blip2_journal\":1,\"count\":3,\"options\":{\"asks\":[{}]}}\n"
                        "{\"index\":0,\"path\":\"x\",\"answers\":[{}]}\n"
                        "{\"index\":1,\"path\":\"x\",\"answers\":[{\"text\":\"a\",\"outcome\":\"oj\"}]}\n"
                        "{\"index\":2,\"path\":\"x\",\"answers\":[{\"text\":\"a\",\"outcome\":\"ok\"}]}\n"
                        "{\"index\":3,\"path\":\"x\",\"error\":\"e\"}\n";
    assert_int_equal(b2_file_write(path, text, strlen(text), &err), BLIP2_OK);
    assert_int_equal(b2_journal_open(path, &j, &err), BLIP2_OK);
    b2_record_location places[4] = {0};
    size_t n_twice = 0;
    assert_int_equal(b2_journal_scan(&j, 0, places, 4, &n_twice, &err), BLIP2_OK);
    assert_true(places[0].offset == 0 && places[1].offset == 0 && places[2].offset > 0 && places[3].offset > 0);
    assert_int_equal(j.n_damaged, 2);
    b2_record r;
    assert_int_equal(b2_journal_read(&j, (uint64_t)(strchr(text, '\n') + 1 - text), &r, &err), BLIP2_FORMAT);
    assert_int_equal(b2_journal_read(&j, places[2].offset, &r, &err), BLIP2_OK);
    b2_record_free(&r);
    assert_int_equal(b2_journal_scan(&j, 0, places, 3, &n_twice, &err), BLIP2_FORMAT);
    b2_journal_close(&j);
    free(path);
}

/* ---- names ----------------------------------------------------------------------------------------------------- */

static void expect_sidecar(const char *out_folder, const char *extension, const char *picture, const char *want) {
    const b2_sidecar_options options = {.is_wanted = true, .out_folder = out_folder, .extension = extension};
    const b2_inputs inputs = {0};
    char *path = b2_sidecar_path(&options, &inputs, 0, picture);
    assert_string_equal(path, want);
    free(path);
}

/* ---- states ---------------------------------------------------------------------------------------------------- */

/* A list of absolute paths, one of them twice. */
static char *list_paths[] = {"/a.png", "/b.png", "/b.png"};
static const b2_inputs list = {.paths = list_paths, .n = 3};

/* Every byte of a state changed in turn, and the file cut at every byte: no row comes out that was not written. */
static void test_a_damaged_state_says_nothing_false(void **state) {
    (void)state;
    const b2_header h = header();
    const b2_record_location places[3] = {
        {.offset = 1}, {.offset = 1, .is_failed = true}, {.offset = 1, .is_skipped = true}};
    char *output = in_work("state"), *path = b2_state_path(output), *bytes;
    uint64_t *hashes = b2_state_hash_rows(&list, output);
    size_t n;
    blip2_error err;
    b2_state s;
    assert_int_equal(b2_state_write(output, &h, hashes, places, 3, &err), BLIP2_OK);
    assert_int_equal(b2_state_read(path, &s, &err), BLIP2_OK);
    assert_true(s.n_rows == 3 && s.n_failed == 1 && s.is_whole && s.header.count == 3 && s.header.model_hash == 7);
    assert_int_equal(b2_state_take(&s, hashes[1])->status, B2_RECORD_ERROR);
    assert_int_equal(b2_state_take(&s, hashes[1])->status,
                     B2_RECORD_SKIPPED); /* of one picture in the order of the list */
    assert_true(b2_state_take(&s, hashes[1]) == NULL && b2_state_has(&s, hashes[1]) && !b2_state_has(&s, 5));
    b2_state_free(&s);
    assert_int_equal(b2_file_read(path, 1 << 20, &bytes, &n, &err), BLIP2_OK);
    const size_t first_row = (size_t)(strchr(bytes, '\n') - bytes) + 1;
    for (size_t i = first_row; i < n; i++) {
        const char was = bytes[i];
        bytes[i] = (char)(was ^ 4);
        assert_int_equal(b2_file_write(path, bytes, n, &err), BLIP2_OK);
        assert_int_equal(b2_state_read(path, &s, &err), BLIP2_OK);
        assert_true(s.n_rows <= 3);
        for (size_t k = 0; k < s.n_rows; k++) /* a hash may be another one, which no picture of the list has */
            if (s.rows[k].hash == hashes[0]) assert_int_equal(s.rows[k].status, B2_RECORD_OK);
        b2_state_free(&s);
        bytes[i] = was;
    }
    for (size_t cut = 0; cut < n; cut++) {
        assert_int_equal(b2_file_write(path, bytes, cut, &err), BLIP2_OK);
        const blip2_status status = b2_state_read(path, &s, &err);
        assert_int_equal(status, cut < first_row ? BLIP2_FORMAT : BLIP2_OK);
        size_t n_whole = 0;
        for (size_t i = first_row; i < cut; i++) n_whole += bytes[i] == '\n';
        assert_true(!s.is_whole && s.n_rows == n_whole);
        b2_state_free(&s);
    }
    free(bytes);
    free(hashes);
    free(path);
    free(output);
}

/* A row is known wherever the folder of list and output lies, and never taken for one of another folder. */
static void test_hashes_of_rows(void **state) {
    (void)state;
    static char *paths[] = {"x.png", "/x.png", "y.png"};
    const b2_inputs here = {.paths = paths, .n = 3, .base_folder = "/data/one/p"},
                    moved = {.paths = paths, .n = 3, .base_folder = "/home/two/p"};
    uint64_t *a = b2_state_hash_rows(&here, "/data/one/out.csv"), *b = b2_state_hash_rows(&moved, "/home/two/out.csv"),
             *c = b2_state_hash_rows(&moved, "/data/one/out.csv");
    assert_true(a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[0] != a[1] && a[0] != a[2]);
    assert_true(c[0] != a[0] && c[1] == a[1]);
    free(a);
    free(b);
    free(c);
}

static void test_names_of_sidecars(void **state) {
    (void)state;
    expect_sidecar(NULL, NULL, "a/b.c/dog.jpg", "a/b.c/dog.txt");
    expect_sidecar(NULL, "caption", "a.b/dog", "a.b/dog.caption");
    expect_sidecar(NULL, NULL, "dir/.hidden", "dir/.hidden.txt");
    expect_sidecar("out", NULL, "/abs/x.png", "out/abs/x.txt");
    expect_sidecar("out", ".cap", "../../etc/./x.png", "out/etc/x.cap");
    expect_sidecar("out", NULL, "a\\b\\x.y.png", "out/a/b/x.y.txt");
}

static void test_shards(void **state) {
    (void)state;
    b2_shard shard;
    blip2_error err;
    assert_int_equal(b2_shard_parse("3/16", &shard, &err), BLIP2_OK);
    assert_true(shard.i == 3 && shard.n == 16);
    static const char *const wrong[] = {"", "3", "16/16", "-1/4", "1/0", "1/4x", "a/4", "1/ 4 ", "1//4", " 1/4"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(b2_shard_parse(wrong[i], &shard, &err), BLIP2_ARGUMENT);
    char *path = b2_shard_path("out.csv", &(b2_shard){3, 16});
    assert_string_equal(path, "out.csv.0003-of-0016");
    free(path);
}

/* ---- signals, which stay: the last test ------------------------------------------------------------------------ */

/* Building the output of a million records takes long enough to be asked to end: the journal stays, no half output
 * does. */
static void test_a_signal_while_the_output_is_built(void **state) {
    (void)state;
    char *path = in_work("late.part"), *output = in_work("late.jsonl");
    const b2_header h = header();
    bool was_there;
    b2_journal j;
    b2_record_location places[3] = {0};
    b2_record r = hard_record(1);
    size_t n_twice = 0;
    blip2_error err;
    static const b2_ask asks[2] = {{0}, {.question = "why?"}};
    const b2_style style = {.format = B2_FORMAT_JSONL, .asks = asks, .n_asks = 2, .n_results = 1};
    assert_int_equal(b2_journal_begin(path, 0666, &h, &was_there, &j, &err), BLIP2_OK);
    assert_int_equal(b2_journal_append(&j, &r, &err), BLIP2_OK);
    j.n_bytes = j.n_header;
    assert_int_equal(b2_journal_scan(&j, 0, places, 3, &n_twice, &err), BLIP2_OK);
    const b2_record_set set = {&j, 1, places, 3, false};
    assert_int_equal(b2_assemble_output(&set, &style, output, &err), BLIP2_OK);
    unlink(output);
    b2_signals_install();
    raise(SIGTERM);
    assert_int_equal(b2_assemble_output(&set, &style, output, &err), BLIP2_CANCELLED);
    assert_int_equal(b2_report_write(&set, &style, output, &err), BLIP2_CANCELLED);
    assert_int_equal(access(output, F_OK), -1);
    b2_record_free(&r);
    b2_journal_close(&j);
    free(path), free(output);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_record_survives_the_journal),
        cmocka_unit_test(test_torn_at_every_byte),
        cmocka_unit_test(test_damage_in_the_middle_costs_what_it_touches),
        cmocka_unit_test(test_files_that_are_no_journal),
        cmocka_unit_test(test_lines_that_cannot_be_read_are_passed_over),
        cmocka_unit_test(test_a_damaged_state_says_nothing_false),
        cmocka_unit_test(test_hashes_of_rows),
        cmocka_unit_test(test_names_of_sidecars),
        cmocka_unit_test(test_shards),
        cmocka_unit_test(test_a_signal_while_the_output_is_built),
    };
    return cmocka_run_group_tests(tests, make_work, remove_work);
}
