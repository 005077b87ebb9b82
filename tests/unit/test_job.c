/* test_job.c: the parts of a job that need no model: journals, shards, sidecars' names, paths, matched words. */
#include "base/clock.h"
#include "cli/common.h"
#include "cli/files.h"
#include "cli/job.h"
#include "cli/json.h"
#include "cli/progress.h"

#include <fcntl.h>
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

/* ---- journals ------------------------------------------------------------------------------------------------------------- */

/* Every byte that a name may hold, tokens, logprobs that need nine digits, an outcome. */
static b2_record hard_record(size_t index) {
    b2_record r = {.index = index, .path = strdup("a\x01\"\\\xFF\xE7\x8C\xAB.png"), .rotated = true, .n_answers = 2, .answers = calloc(2, sizeof *r.answers)};
    r.answers[0] = (b2_answer){.text = strdup("a \"cat\"\n\xE7\x8C\xAB"), .outcome = BLIP2_OUTCOME_TRUNCATED, .n_tokens = 2, .logprob = -1.23456789,
                               .tokens = malloc(2 * sizeof(int32_t)), .logprobs = malloc(2 * sizeof(float))};
    r.answers[0].tokens[0] = 50118, r.answers[0].tokens[1] = 0;
    r.answers[0].logprobs[0] = -0.1f, r.answers[0].logprobs[1] = -3.4e-38f;
    r.answers[1] = (b2_answer){.text = strdup(""), .outcome = BLIP2_OUTCOME_EMPTY};
    r.has_timings = true;
    r.timings = (blip2_timings){.vision_ns = 1, .qformer_ns = 2, .prefill_ns = 3, .decode_ns = 1ll << 40, .n_decode_steps = 5};
    r.thumbnail = strdup("AAAA"), r.thumbnail_width = 7, r.thumbnail_height = 9;
    return r;
}

static char *as_text(const b2_record *r) {
    static const b2_ask asks[2] = {{0}, {.question = "why?"}};
    const b2_style style = {.format = B2_FORMAT_JSONL, .asks = asks, .n_asks = 2};
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    assert_true(b2_record_write(&style, r, out));
    fclose(out);
    return text;
}

static json_t *header(void) { return json_pack("{s:i, s:i}", "blip2_journal", 1, "count", 3); }

static void test_a_record_survives_the_journal(void **state) {
    (void)state;
    blip2_error err;
    b2_journal j;
    json_t *h = header();
    char *path = in_work("round.part");
    if (b2_journal_create(path, h, &j, &err) != BLIP2_OK) fail_msg("%s", err.message);
    b2_record r = hard_record(2), back;
    assert_int_equal(b2_journal_append(&j, &r, &err), BLIP2_OK);
    b2_journal_close(&j);
    assert_int_equal(b2_journal_create(path, h, &j, &err), BLIP2_IO); /* never over one that exists */
    b2_journal_close(&j);
    assert_int_equal(b2_journal_open(path, false, &j, &err), BLIP2_OK);
    assert_true(json_equal(j.header, h));
    b2_place places[3] = {0};
    size_t n_twice = 0;
    assert_int_equal(b2_journal_scan(&j, 5, places, 3, &n_twice, &err), BLIP2_OK);
    assert_true(places[0].offset == 0 && places[1].offset == 0 && places[2].offset > 0 && places[2].journal == 5 && !places[2].is_failed);
    assert_int_equal(b2_journal_read(&j, places[2].offset, &back, &err), BLIP2_OK);
    char *want = as_text(&r), *got = as_text(&back);
    assert_string_equal(got, want);
    assert_true(back.timings.decode_ns == 1ll << 40 && back.thumbnail_height == 9 && strcmp(back.thumbnail, "AAAA") == 0);
    free(want);
    free(got);
    b2_record_free(&r);
    b2_record_free(&back);
    b2_journal_close(&j);
    json_decref(h);
    free(path);
}

/* A kill may stop the last write at any byte: what is whole stays, what is torn goes, appending goes on. */
static void test_torn_at_every_byte(void **state) {
    (void)state;
    blip2_error err;
    b2_journal j;
    json_t *h = header();
    char *path = in_work("torn.part");
    assert_int_equal(b2_journal_create(path, h, &j, &err), BLIP2_OK);
    for (size_t i = 0; i < 2; i++) {
        b2_record r = hard_record(i);
        assert_int_equal(b2_journal_append(&j, &r, &err), BLIP2_OK);
        b2_record_free(&r);
    }
    b2_journal_close(&j);
    char *bytes;
    size_t n, first;
    assert_int_equal(b2_read_whole(path, &bytes, &n, &err), BLIP2_OK);
    first = (size_t)(strchr(strchr(bytes, '\n') + 1, '\n') - bytes) + 1;
    for (size_t cut = first; cut < n; cut++) {
        assert_int_equal(b2_write_whole(path, bytes, cut, &err), BLIP2_OK);
        assert_int_equal(b2_journal_open(path, true, &j, &err), BLIP2_OK);
        b2_place places[3] = {0};
        size_t n_twice = 0;
        assert_int_equal(b2_journal_scan(&j, 0, places, 3, &n_twice, &err), BLIP2_OK);
        assert_true(places[0].offset > 0 && places[1].offset == 0 && j.n_bytes == first && j.n_torn == cut - first);
        b2_record r = hard_record(1);
        assert_int_equal(b2_journal_append(&j, &r, &err), BLIP2_OK);
        b2_record_free(&r);
        b2_journal_close(&j);
        char *again;
        size_t n_again;
        assert_int_equal(b2_read_whole(path, &again, &n_again, &err), BLIP2_OK);
        assert_true(n_again == n && memcmp(again, bytes, n) == 0);
        free(again);
    }
    free(bytes);
    json_decref(h);
    free(path);
}

static void expect_no_journal(const char *text, blip2_status want) {
    blip2_error err;
    b2_journal j;
    char *path = in_work("none");
    assert_int_equal(b2_write_whole(path, text, strlen(text), &err), BLIP2_OK);
    assert_int_equal(b2_journal_open(path, false, &j, &err), want);
    free(path);
}

static void test_files_that_are_no_journal(void **state) {
    (void)state;
    expect_no_journal("", BLIP2_FORMAT);
    expect_no_journal("path,caption\n", BLIP2_FORMAT);
    expect_no_journal("{\"a\":1}\n", BLIP2_FORMAT);
    expect_no_journal("{\"blip2_journal\":1,\"count\":3}", BLIP2_FORMAT);
    expect_no_journal("{\"blip2_journal\":2}\n", BLIP2_VERSION_SKEW);
    blip2_error err;
    b2_journal j;
    char *path = in_work("none");
    const char text[] = "{\"blip2_journal\":1}\n{\"index\":3,\"path\":\"x\"}\n";
    assert_int_equal(b2_write_whole(path, text, strlen(text), &err), BLIP2_OK);
    assert_int_equal(b2_journal_open(path, false, &j, &err), BLIP2_OK);
    b2_place places[3] = {0};
    size_t n_twice = 0;
    assert_int_equal(b2_journal_scan(&j, 0, places, 3, &n_twice, &err), BLIP2_FORMAT); /* beyond the list */
    b2_record r;
    assert_int_equal(b2_journal_read(&j, 20, &r, &err), BLIP2_FORMAT); /* neither error nor answers */
    b2_journal_close(&j);
    free(path);
}

/* ---- names ------------------------------------------------------------------------------------------------------------------ */

static void expect_sidecar(const char *out_folder, const char *extension, const char *picture, const char *want) {
    const b2_sidecar_options options = {.is_wanted = true, .out_folder = out_folder, .extension = extension};
    const b2_inputs inputs = {0};
    char *path = b2_sidecar_path(&options, &inputs, picture);
    assert_string_equal(path, want);
    free(path);
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

static void expect_relative(const char *from, const char *path, const char *want) {
    char *relative = b2_path_from_file(from, NULL, path);
    assert_string_equal(relative, want);
    free(relative);
}

static void test_paths_from_a_file(void **state) {
    (void)state;
    expect_relative("/a/b/metadata.jsonl", "/a/b/c/x.png", "c/x.png");
    expect_relative("/a/b/metadata.jsonl", "/a/bc/x.png", "../bc/x.png");
    expect_relative("/a/b/m", "/x.png", "../../x.png");
    expect_relative("/m", "/a//./b/../x.png", "a/x.png");
    expect_relative("set/m", "set/train/x.png", "train/x.png");
    expect_relative("m", "../x.png", "../x.png");
}

static void test_shards(void **state) {
    (void)state;
    b2_shard shard;
    blip2_error err;
    assert_int_equal(b2_shard_parse("3/16", &shard, &err), BLIP2_OK);
    assert_true(shard.i == 3 && shard.n == 16);
    static const char *const wrong[] = {"", "3", "16/16", "-1/4", "1/0", "1/4x", "a/4", "1/ 4 ", "1//4", " 1/4"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) assert_int_equal(b2_shard_parse(wrong[i], &shard, &err), BLIP2_ARGUMENT);
    char *path = b2_shard_path("out.csv", &(b2_shard){3, 16});
    assert_string_equal(path, "out.csv.0003-of-0016");
    free(path);
}

static void test_base64(void **state) {
    (void)state;
    static const char *const texts[][2] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"\xFF\xFE", "//4="}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char *text = NULL;
        size_t n = 0;
        FILE *out = open_memstream(&text, &n);
        b2_base64_write((const uint8_t *)texts[i][0], strlen(texts[i][0]), out);
        fclose(out);
        assert_string_equal(text, texts[i][1]);
        uint8_t *back = b2_base64_read(text, &n);
        assert_true(n == strlen(texts[i][0]) && memcmp(back, texts[i][0], n) == 0);
        free(back);
        free(text);
    }
    size_t n;
    static const char *const wrong[] = {"A", "AB=A", "====", "A===", "\xFF\xFF\xFF\xFF"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) assert_null(b2_base64_read(wrong[i], &n));
}

/* ---- words -------------------------------------------------------------------------------------------------------------------- */

/* "colors|textures|patterns|materials|dropped|ambiguous" of a text. */
static void expect_words(const char *text, const char *want) {
    b2_words words = {0};
    b2_matches matches = {0};
    blip2_error err;
    assert_int_equal(b2_words_add_builtin(&words, "all", &err), BLIP2_OK);
    assert_int_equal(b2_match_text(&words, B2_MATCH_WORD, text, &matches, &err), BLIP2_OK);
    char got[400] = "";
    for (size_t i = 0; i < b2_match_columns(&words, B2_MATCH_WORD); i++) {
        char *joined = b2_match_column(&words, B2_MATCH_WORD, text, &matches, i);
        const size_t len = strlen(got);
        snprintf(got + len, sizeof got - len, "%s%s", i > 0 ? "|" : "", joined);
        free(joined);
    }
    for (size_t i = 0; i < matches.n; i++) assert_true(matches.items[i].start + matches.items[i].len <= strlen(text));
    if (strcmp(got, want) != 0) fail_msg("\"%s\": expected %s, got %s", text, want, got);
    b2_matches_free(&matches);
    b2_words_free(&words);
}

static void test_words_of_captions(void **state) {
    (void)state;
    expect_words("", "|||||");
    expect_words("A pair of Orange plastic toys on a white background", "orange|||plastic|white|orange");
    expect_words("a red and blue ring on a black and white background", "red; blue||||black; white|");
    expect_words("standing rectangle necklace bicycle through start source tangled impaired", "|||||");
    expect_words("a reddish, bluish, greenish and purplish thing", "red; blue; green; purple|||||");
    expect_words("grey stripes, dots and spiky holes", "gray|spiky; perforated|striped; dotted|||");
    expect_words("a rusty wire with rusted edges", "|rusty||wire||");
    expect_words("sky blue, light blue and blue", "sky blue; blue|||||");
    expect_words("red/green, blue-green", "red; green; blue; blue-green|||||");
    expect_words("a yellow-colored toy; a colored toy", "yellow; multicolor|||||");
    expect_words("a white table", "white|||||");
    expect_words("a cup on a white table", "||||white|");
    expect_words("an object against a dark blue wall", "||||dark blue|");
    expect_words("a green toy in the background", "green|||||");
    expect_words("tie dye, tie-dyed", "||tie dye|||");
    expect_words("ch\xC3\xA2teau red\xC3\xA9 \xFF red", "red|||||");
}

static void test_python_s_lower(void **state) {
    (void)state;
    size_t *origin;
    char *lower = b2_lower("\xC3\x89\xC4\xB0\xE2\x84\xAAx", &origin); /* E acute, dotted I, Kelvin sign */
    assert_string_equal(lower, "\xC3\xA9i\xCC\x87kx");
    assert_int_equal(origin[0], 0);
    assert_int_equal(origin[2], 2);
    assert_int_equal(origin[5], 4);
    assert_int_equal(origin[6], 7);
    assert_int_equal(origin[7], 8);
    free(lower);
    free(origin);
}

/* Numbers that are not finite: the sentence stands in every format that has a place for it. */
static void test_a_record_without_numbers(void **state) {
    (void)state;
    b2_record r = {.index = 0, .path = strdup("a.png"), .n_answers = 1, .answers = calloc(1, sizeof *r.answers)};
    r.answers[0] = (b2_answer){.text = strdup(""), .outcome = BLIP2_OUTCOME_ERROR};
    static const b2_ask ask = {0};
    b2_style style = {.format = B2_FORMAT_CSV, .asks = &ask, .n_asks = 1};
    static const char *const expected[] = {"a.png,,error,the logits are not finite numbers\n",
                                           "{\"v\":1,\"index\":0,\"path\":\"a.png\",\"caption\":\"\",\"status\":\"error\",\"error\":\"the logits are not finite numbers\"}\n"};
    for (int i = 0; i < 2; i++, style.format = B2_FORMAT_JSONL) {
        char *text = NULL;
        size_t n = 0;
        FILE *out = open_memstream(&text, &n);
        assert_true(b2_record_write(&style, &r, out));
        fclose(out);
        assert_string_equal(text, expected[i]);
        free(text);
    }
    b2_record_free(&r);
}

/* ---- what is printed ------------------------------------------------------------------------------------------------------ */

/* A progress that began so many seconds ago says its line into a file. */
static char *progress_line(uint64_t done, uint64_t total, int64_t seconds) {
    char *path = in_work("stderr"), *text = NULL;
    size_t n = 0;
    fflush(stderr);
    const int kept = dup(STDERR_FILENO), file = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    dup2(file, STDERR_FILENO);
    b2_progress p;
    b2_progress_start(&p, "pictures", total, false);
    p.is_terminal = false;
    p.start_ns = b2_clock_ns() - seconds * 1000000000;
    p.last_ns = p.start_ns;
    b2_progress_update(&p, done, 3);
    fflush(stderr);
    dup2(kept, STDERR_FILENO);
    close(kept), close(file);
    assert_int_equal(b2_read_whole(path, &text, &n, NULL), BLIP2_OK);
    free(path);
    return text;
}

static void test_progress_lines(void **state) {
    (void)state;
    char *soon = progress_line(100, 200, 100), *late = progress_line(100, 1000000, 100), *first = progress_line(1, 200, 29);
    assert_string_equal(soon, "blip2: 100/200 pictures  1.00/s  3 failed  1:40 left\n");
    assert_string_equal(late, "blip2: 100/1000000 pictures  1.00/s  3 failed  277 h 45 min left\n");
    assert_string_equal(first, ""); /* a line every 30 s */
    free(soon), free(late), free(first);
}

/* ---- signals, which stay: the last test ------------------------------------------------------------------------------------- */

/* Building the output of a million records takes long enough to be asked to end: the journal stays, no half output does. */
static void test_a_signal_while_the_output_is_built(void **state) {
    (void)state;
    char *path = in_work("late.part"), *output = in_work("late.jsonl");
    json_t *h = header();
    b2_journal j;
    b2_place places[3] = {0};
    b2_record r = hard_record(1);
    size_t n_twice = 0;
    blip2_error err;
    static const b2_ask asks[2] = {{0}, {.question = "why?"}};
    const b2_style style = {.format = B2_FORMAT_JSONL, .asks = asks, .n_asks = 2};
    assert_int_equal(b2_journal_create(path, h, &j, &err), BLIP2_OK);
    assert_int_equal(b2_journal_append(&j, &r, &err), BLIP2_OK);
    j.n_bytes = j.n_header;
    assert_int_equal(b2_journal_scan(&j, 0, places, 3, &n_twice, &err), BLIP2_OK);
    const b2_shelf shelf = {&j, 1, places, 3};
    assert_int_equal(b2_write_output(&shelf, &style, output, &err), BLIP2_OK);
    unlink(output);
    b2_signals_install();
    raise(SIGTERM);
    assert_int_equal(b2_write_output(&shelf, &style, output, &err), BLIP2_CANCELLED);
    assert_int_equal(b2_write_report(&shelf, &style, output, &err), BLIP2_CANCELLED);
    assert_int_equal(access(output, F_OK), -1);
    b2_record_free(&r);
    b2_journal_close(&j);
    json_decref(h);
    free(path), free(output);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_record_survives_the_journal), cmocka_unit_test(test_torn_at_every_byte), cmocka_unit_test(test_files_that_are_no_journal),
        cmocka_unit_test(test_names_of_sidecars), cmocka_unit_test(test_paths_from_a_file), cmocka_unit_test(test_shards), cmocka_unit_test(test_base64),
        cmocka_unit_test(test_words_of_captions), cmocka_unit_test(test_python_s_lower), cmocka_unit_test(test_a_record_without_numbers), cmocka_unit_test(test_progress_lines),
        cmocka_unit_test(test_a_signal_while_the_output_is_built),
    };
    return cmocka_run_group_tests(tests, make_work, remove_work);
}
