/* test_cli.c: the parts of the command line that need no model: options, CSV cells, records. The program as a whole is
 * tested case by case in tests/cli. */
#include "cli/args.h"
#include "cli/csv.h"
#include "cli/inputs.h"
#include "cli/json.h"
#include "cli/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- options ------------------------------------------------------------------------------------------------------------- */

enum { OPT_OUTPUT = 1, OPT_VERBOSE, OPT_NUL };
static const b2_option options[] = {{OPT_OUTPUT, 'o', "output", "FILE", ""}, {OPT_VERBOSE, 'v', "verbose", NULL, ""},
                                    {OPT_NUL, '0', "null", NULL, ""}, {0, 0, NULL, NULL, NULL}};

/* The ids and values of a command line, as "1=x 2 0=y". */
static const char *parse(int argc, const char *const *argv, char *out, size_t capacity) {
    b2_args args = {.options = options, .argc = argc, .argv = (char **)(uintptr_t)argv};
    const char *value = NULL;
    out[0] = '\0';
    for (int id; (id = b2_args_next(&args, &value)) != B2_ARG_END;) {
        const size_t n = strlen(out);
        if (id == B2_ARG_ERROR) {
            snprintf(out + n, capacity - n, "error: %s", args.error);
            break;
        }
        snprintf(out + n, capacity - n, value != NULL ? "%d=%s " : "%d ", id, value != NULL ? value : "");
    }
    return out;
}

static void test_spellings_of_options(void **state) {
    (void)state;
    char out[300];
    const char *const spellings[] = {"-o", "a", "-ob", "--output=c", "--output", "d", "-v0oe", "x", "-", "--", "-v"};
    assert_string_equal(parse(11, spellings, out, sizeof out), "1=a 1=b 1=c 1=d 2 3 1=e 0=x 0=- 0=-v ");
    const char *const empty_value[] = {"--output="};
    assert_string_equal(parse(1, empty_value, out, sizeof out), "1= ");
    const char *const unknown[] = {"--outputs"}, *const flag_value[] = {"--verbose=1"}, *const missing[] = {"-o"}, *const letter[] = {"-vx"};
    assert_non_null(strstr(parse(1, unknown, out, sizeof out), "unknown option --outputs"));
    assert_non_null(strstr(parse(1, flag_value, out, sizeof out), "--verbose takes no value"));
    assert_non_null(strstr(parse(1, missing, out, sizeof out), "--output needs a value (FILE)"));
    assert_non_null(strstr(parse(1, letter, out, sizeof out), "unknown option -x"));
}

static void test_numbers_have_bounds(void **state) {
    (void)state;
    b2_args args = {.options = options};
    long n;
    assert_true(b2_args_number(&args, "batch", "8", 1, 256, &n) && n == 8);
    static const char *const wrong[] = {"0", "257", "", "x", "8x", "1e3", "99999999999999999999", "-1"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) assert_false(b2_args_number(&args, "batch", wrong[i], 1, 256, &n));
}

/* ---- CSV -------------------------------------------------------------------------------------------------------------------- */

static void load(const char *text, b2_csv *csv) {
    blip2_error err;
    if (b2_csv_parse(strdup(text), strlen(text), "test", csv, &err) != BLIP2_OK) fail_msg("%s", err.message);
}

static void expect_cell(const b2_csv *csv, size_t row, size_t column, const char *raw, const char *value) {
    const b2_text cell = b2_csv_cell(csv, row, column);
    assert_int_equal(cell.len, strlen(raw));
    assert_memory_equal(cell.data, raw, cell.len);
    char *got = b2_csv_value(cell);
    assert_string_equal(got, value);
    free(got);
}

static void test_cells_as_written_and_as_meant(void **state) {
    (void)state;
    b2_csv csv;
    load("\xEF\xBB\xBFid,\"a, b\",\r\n1,\"say \"\"hi\"\"\n\", x \r\n\r\n2\r\r\n3,['a', 'b'],", &csv);
    assert_true(csv.had_bom);
    assert_int_equal(csv.n_rows, 4);
    assert_int_equal(csv.n_blank, 1);
    expect_cell(&csv, 0, 1, "\"a, b\"", "a, b");
    expect_cell(&csv, 0, 2, "", "");
    expect_cell(&csv, 1, 1, "\"say \"\"hi\"\"\n\"", "say \"hi\"\n");
    expect_cell(&csv, 1, 2, " x ", " x ");
    expect_cell(&csv, 2, 0, "2", "2");
    expect_cell(&csv, 2, 5, "", "");
    expect_cell(&csv, 3, 1, "['a'", "['a'");
    size_t column;
    assert_int_equal(b2_csv_find_column(&csv, "a, b", &column, NULL), BLIP2_OK);
    assert_int_equal(column, 1);
    assert_int_equal(b2_csv_find_column(&csv, "1", &column, NULL), BLIP2_OK);
    assert_int_equal(column, 0);
    blip2_error err;
    assert_int_equal(b2_csv_find_column(&csv, "4", &column, &err), BLIP2_ARGUMENT);
    assert_int_equal(b2_csv_find_column(&csv, "0", &column, &err), BLIP2_ARGUMENT);
    assert_non_null(strstr(err.message, "\"a, b\""));
    b2_csv_free(&csv);
}

static void test_files_that_are_no_csv(void **state) {
    (void)state;
    b2_csv csv;
    assert_int_equal(b2_csv_parse(strdup(""), 0, "t", &csv, NULL), BLIP2_FORMAT);
    assert_int_equal(b2_csv_parse(strdup("\n\n"), 2, "t", &csv, NULL), BLIP2_FORMAT);
    assert_int_equal(b2_csv_parse(strdup("a,\"b"), 4, "t", &csv, NULL), BLIP2_FORMAT);
    assert_int_equal(b2_csv_parse(memcpy(malloc(4), "a\0b\n", 4), 4, "t", &csv, NULL), BLIP2_FORMAT);
}

/* ---- records ------------------------------------------------------------------------------------------------------------------ */

static void expect_record(const b2_style *style, const b2_record *record, const char *want) {
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    assert_true(b2_record_write(style, record, out));
    fclose(out);
    assert_string_equal(text, want);
    free(text);
}

static void test_records(void **state) {
    (void)state;
    char text[] = "a \"red\"\tring,\x01 \xC3\xA9\xFF", plain[] = "red", path_a[] = "a\\b.png", path_xy[] = "x,y", path_z[] = "z",
         error[] = "z: cannot, be \"opened\"";
    const b2_ask asks[2] = {{0}, {.question = "why?"}};
    b2_answer answers[2] = {{.text = text, .outcome = BLIP2_OUTCOME_OK}, {.text = plain, .outcome = BLIP2_OUTCOME_TRUNCATED}};
    const b2_record one = {.index = 3, .path = path_a, .answers = answers, .n_answers = 1, .rotated = true};
    const b2_record two = {.index = 4, .path = path_xy, .answers = answers, .n_answers = 2};
    const b2_record failed = {.index = 5, .path = path_z, .answers = answers, .n_answers = 2, .error = error};
    const b2_record skipped = {.index = 6, .path = path_z, .is_skipped = true};
    b2_style jsonl = {.format = B2_FORMAT_JSONL, .asks = asks, .n_asks = 1}, csv = {.format = B2_FORMAT_CSV, .asks = asks, .n_asks = 2},
             tsv = {.format = B2_FORMAT_TSV, .asks = asks, .n_asks = 1}, only = {.format = B2_FORMAT_TEXT, .only_text = true, .asks = asks, .n_asks = 1};
    expect_record(&jsonl, &one, "{\"v\":1,\"index\":3,\"path\":\"a\\\\b.png\",\"caption\":\"a \\\"red\\\"\\tring,\\u0001 \xC3\xA9\\ufffd\",\"status\":\"ok\",\"rotated\":true}\n");
    expect_record(&jsonl, &failed, "{\"v\":1,\"index\":5,\"path\":\"z\",\"status\":\"error\",\"error\":\"z: cannot, be \\\"opened\\\"\"}\n");
    expect_record(&jsonl, &skipped, "{\"v\":1,\"index\":6,\"path\":\"z\",\"status\":\"skipped\"}\n");
    expect_record(&csv, &two, "\"x,y\",\"a \"\"red\"\"\tring,\x01 \xC3\xA9\xFF\",red,truncated,\n");
    expect_record(&csv, &failed, "z,,,error,\"z: cannot, be \"\"opened\"\"\"\n");
    expect_record(&tsv, &one, "a\\\\b.png\ta \"red\"\\tring,\x01 \xC3\xA9\xFF\n");
    expect_record(&tsv, &failed, "z\t\n");
    expect_record(&only, &failed, "");
    assert_string_equal(b2_record_status(&two), "truncated");
}

static void test_a_full_disk_is_noticed(void **state) {
    (void)state;
    FILE *full = fopen("/dev/full", "w");
    if (full == NULL) skip();
    char x[] = "x";
    const b2_record record = {.path = x, .error = x};
    const b2_style style = {.format = B2_FORMAT_JSONL};
    assert_false(b2_record_write(&style, &record, full));
    fclose(full);
}

static void test_utf8(void **state) {
    (void)state;
    assert_true(b2_is_utf8("a\xC3\xA9\xE7\x8C\xAB\xF0\x9F\x98\x80"));
    static const char *const wrong[] = {"\xC0\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\x80", "\xE7\x8C", "\xC3"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) assert_false(b2_is_utf8(wrong[i]));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spellings_of_options), cmocka_unit_test(test_numbers_have_bounds),
        cmocka_unit_test(test_cells_as_written_and_as_meant), cmocka_unit_test(test_files_that_are_no_csv),
        cmocka_unit_test(test_records), cmocka_unit_test(test_a_full_disk_is_noticed), cmocka_unit_test(test_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
