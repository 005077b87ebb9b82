/* test_record.c: one record in every format. */
#include "base/file.h"
#include "record/json.h"
#include "record/rows.h"
#include "record/writer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define NO_TOKEN "the logits are not finite numbers, or the options leave no token, or a length penalty no beam"

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
    char text[] = "a \"red\"\tring,\x01 \xC3\xA9\xFF", plain[] = "red", path_a[] = "a\\b.png", path_xy[] = "x,y",
         path_z[] = "z", error[] = "z: cannot, be \"opened\"";
    const b2_ask asks[2] = {{0}, {.question = "why?"}};
    b2_answer answers[2] = {{.text = text, .outcome = B2_RECORD_OK}, {.text = plain, .outcome = B2_RECORD_TRUNCATED}};
    const b2_record one = {.index = 3, .path = path_a, .answers = answers, .n_answers = 1, .rotated = true};
    const b2_record two = {.index = 4, .path = path_xy, .answers = answers, .n_answers = 2};
    const b2_record failed = {.index = 5, .path = path_z, .answers = answers, .n_answers = 2, .error = error};
    const b2_record skipped = {.index = 6, .path = path_z, .is_skipped = true};
    b2_style jsonl = {.format = B2_FORMAT_JSONL, .asks = asks, .n_asks = 1, .n_results = 1},
             csv = {.format = B2_FORMAT_CSV, .asks = asks, .n_asks = 2, .n_results = 1},
             tsv = {.format = B2_FORMAT_TSV, .asks = asks, .n_asks = 1, .n_results = 1},
             only = {.format = B2_FORMAT_TEXT, .only_text = true, .asks = asks, .n_asks = 1, .n_results = 1};
    expect_record(
        &jsonl, &one,
        "{\"v\":1,\"index\":3,\"path\":\"a\\\\b.png\",\"caption\":\"a \\\"red\\\"\\tring,\\u0001 \xC3\xA9\\ufffd\",\"status\":\"ok\",\"rotated\":true}\n");
    expect_record(
        &jsonl, &failed,
        "{\"v\":1,\"index\":5,\"path\":\"z\",\"status\":\"error\",\"error\":\"z: cannot, be \\\"opened\\\"\"}\n");
    expect_record(&jsonl, &skipped, "{\"v\":1,\"index\":6,\"path\":\"z\",\"status\":\"skipped\"}\n");
    expect_record(&csv, &two, "\"x,y\",\"a \"\"red\"\"\tring,\x01 \xC3\xA9\xFF\",red,truncated,\n");
    expect_record(&csv, &failed, "z,,,error,\"z: cannot, be \"\"opened\"\"\"\n");
    expect_record(&tsv, &one, "a\\\\b.png\ta \"red\"\\tring,\x01 \xC3\xA9\xFF\n");
    expect_record(&tsv, &failed, "z\t\n");
    expect_record(&only, &failed, "");
    assert_int_equal(b2_record_get_status(&two), B2_RECORD_TRUNCATED);
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

static void test_base64(void **state) {
    (void)state;
    static const char *const texts[][2] = {{"", ""},        {"f", "Zg=="},        {"fo", "Zm8="},
                                           {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"\xFF\xFE", "//4="}};
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

/* Numbers that are not finite: the sentence stands in every format that has a place for it. */
static void test_a_record_without_numbers(void **state) {
    (void)state;
    b2_record r = {.index = 0, .path = strdup("a.png"), .n_answers = 1, .answers = calloc(1, sizeof *r.answers)};
    r.answers[0] = (b2_answer){.text = strdup(""), .outcome = B2_RECORD_ERROR};
    static const b2_ask ask = {0};
    b2_style style = {.format = B2_FORMAT_CSV, .asks = &ask, .n_asks = 1, .n_results = 1};
    static const char *const expected[] = {
        "a.png,,error,\"" NO_TOKEN "\"\n",
        "{\"v\":1,\"index\":0,\"path\":\"a.png\",\"caption\":\"\",\"status\":\"error\",\"error\":\"" NO_TOKEN "\"}\n"};
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

static void test_names_of_statuses_and_formats(void **state) {
    (void)state;
    for (int i = 0; i < B2_N_RECORD_STATUSES; i++) {
        b2_record_status status = B2_RECORD_OK;
        assert_true(b2_record_status_find(b2_record_status_name((b2_record_status)i), &status));
        assert_int_equal(status, i);
    }
    for (int i = 0; i < B2_N_FORMATS; i++) {
        b2_format format = B2_FORMAT_TEXT;
        assert_true(b2_format_find(b2_format_name((b2_format)i), &format));
        assert_int_equal(format, i);
    }
    b2_record_status status;
    b2_format format;
    assert_false(b2_record_status_find("fine", &status) || b2_record_status_find(NULL, &status));
    assert_false(b2_format_find("xml", &format));
}

/* In tables the words of a column are one cell; in JSON each is a string of its own, whatever it holds. */
static void test_matched_words(void **state) {
    (void)state;
    static const char list[] = "red, green\nball\n";
    char text[] = "A red, green ball", path[] = "x.png";
    b2_words words = {0};
    assert_int_equal(b2_words_add_list(&words, "own", list, sizeof list - 1, NULL), BLIP2_OK);
    const b2_ask ask = {0};
    b2_answer answer = {.text = text};
    const b2_record record = {.path = path, .answers = &answer, .n_answers = 1}, failed = {.path = path, .error = path};
    b2_style style = {.asks = &ask, .n_asks = 1, .n_results = 1, .words = &words, .match_mode = B2_MATCH_SUBSTRING};
    style.format = B2_FORMAT_JSONL;
    expect_record(&style, &record,
                  "{\"v\":1,\"index\":0,\"path\":\"x.png\",\"caption\":\"A red, green ball\",\"status\":\"ok\","
                  "\"matches\":{\"own\":[\"red, green\",\"ball\"]}}\n");
    style.format = B2_FORMAT_CSV;
    expect_record(&style, &record, "x.png,\"A red, green ball\",\"red, green, ball\",ok,\n");
    expect_record(&style, &failed, "x.png,,,error,x.png\n");
    style.format = B2_FORMAT_TSV;
    expect_record(&style, &record, "x.png\tA red, green ball\tred, green, ball\n");
    b2_words_free(&words);
}

/* Two answers to each of two asks: columns with numbers, arrays. */
typedef struct again {
    const b2_style *style;
    FILE *out;
    size_t index;
} again;

static blip2_status write_again(void *context, const char *name, const char *taken, blip2_error *err) {
    again *a = context;
    (void)err;
    const b2_record record = {.index = a->index++, .path = (char *)(uintptr_t)name, .taken = (char *)(uintptr_t)taken};
    assert_true(b2_record_write(a->style, &record, a->out));
    return BLIP2_OK;
}

/* What every format writes, with what its cells and lines have to escape, is read as rows and comes out the same. */
static void test_rows_are_taken_as_they_are(void **state) {
    (void)state;
    static const b2_ask asks[2] = {{0}, {.question = "a \"b\"?"}};
    char odd[] = "a \"cat\",\n\t\\x\xC3\xA9", path[] = "d/\"1\", \t\\n.png", file[] = "/tmp/blip2_rows_XXXXXX";
    b2_answer answers[4] = {{.text = odd}, {.text = (char[]){""}}, {.text = odd}, {.text = odd}};
    b2_record records[] = {{.index = 0, .path = path, .answers = answers, .n_answers = 4},
                           {.index = 1, .path = path, .answers = answers, .n_answers = 4, .rotated = true},
                           {.index = 2, .path = (char[]){"\xFF"}, .error = odd},
                           {.index = 3, .path = (char[]){"s"}, .is_skipped = true}};
    close(mkstemp(file));
    for (int format = 0; format < B2_N_FORMATS; format++) {
        const b2_style style = {
            .format = (b2_format)format, .asks = asks, .n_asks = 2, .n_results = 2, .output_path = "metadata.jsonl"};
        const b2_rows_layout layout = {0};
        char *text = NULL;
        size_t n = 0, n_unreadable = 9;
        FILE *out = fopen(file, "wb");
        b2_record_write_header(&style, out);
        for (size_t i = 0; i < 4; i++) b2_record_write(&style, &records[i], out);
        fclose(out);
        again a = {.style = &style, .out = open_memstream(&text, &n)};
        b2_record_write_header(&style, a.out);
        blip2_error err;
        if (b2_rows_each(&style, &layout, file, write_again, &a, &n_unreadable, &err) != BLIP2_OK)
            fail_msg("%s", err.message);
        fclose(a.out);
        char *want;
        size_t n_want;
        assert_int_equal(b2_file_read(file, 1 << 20, &want, &n_want, &err), BLIP2_OK);
        assert_string_equal(text, want);
        assert_true(n_unreadable == 0 && a.index == (format == B2_FORMAT_IMAGEFOLDER ? 2 : 4));
        free(text);
        free(want);
    }
    unlink(file);
}

static void test_several_answers_to_each_ask(void **state) {
    (void)state;
    char path[] = "x.png", texts[4][8] = {"a", "b", "c", ""};
    const b2_ask asks[2] = {{0}, {.question = "why?"}};
    b2_answer answers[4];
    for (size_t i = 0; i < 4; i++) answers[i] = (b2_answer){.text = texts[i], .score = -0.5 - (double)i};
    answers[3].outcome = B2_RECORD_ERROR;
    const b2_record record = {.path = path, .answers = answers, .n_answers = 4}, failed = {.path = path, .error = path};
    b2_style style = {.asks = asks, .n_asks = 2, .n_results = 2, .format = B2_FORMAT_CSV};
    char name[B2_COLUMN_BYTES];
    assert_int_equal(b2_style_answers(&style), 4);
    assert_string_equal(b2_style_answer_column(&style, 1, name), "caption_2");
    assert_string_equal(b2_style_answer_column(&style, 2, name), "answer_1");
    expect_record(&style, &record, "x.png,a,b,c,,error,\"" NO_TOKEN "\"\n");
    expect_record(&style, &failed, "x.png,,,,,error,x.png\n");
    style.format = B2_FORMAT_TEXT;
    expect_record(&style, &record, "x.png\ta\tb\tc\t\n");
    style.format = B2_FORMAT_JSONL;
    expect_record(
        &style, &record,
        "{\"v\":1,\"index\":0,\"path\":\"x.png\",\"caption\":\"a\",\"status\":\"ok\",\"captions\":["
        "{\"caption\":\"a\",\"status\":\"ok\",\"score\":-0.5},{\"caption\":\"b\",\"status\":\"ok\",\"score\":-1.5}]}\n"
        "{\"v\":1,\"index\":0,\"path\":\"x.png\",\"question\":\"why?\",\"answer\":\"c\",\"status\":\"ok\",\"answers\":["
        "{\"answer\":\"c\",\"status\":\"ok\",\"score\":-2.5},{\"answer\":\"\",\"status\":\"error\",\"error\":\"" NO_TOKEN
        "\"}]}\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records),
        cmocka_unit_test(test_a_full_disk_is_noticed),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_a_record_without_numbers),
        cmocka_unit_test(test_names_of_statuses_and_formats),
        cmocka_unit_test(test_matched_words),
        cmocka_unit_test(test_rows_are_taken_as_they_are),
        cmocka_unit_test(test_several_answers_to_each_ask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
