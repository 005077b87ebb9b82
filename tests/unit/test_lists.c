/* test_lists.c: what the user gave, byte for byte: lists as sources of pictures. */
#include "lists/csv.h"
#include "lists/inputs.h"
#include "base/file.h"
#include "base/path.h"
#include "lists/json_list.h"
#include "lists/json_scan.h"
#include "lists/list_source.h"
#include "lists/list_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char work[] = "/tmp/blip2_lists_XXXXXX";

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

static char *make_file(const char *name, const char *text) {
    char *path = b2_path_join(work, name);
    assert_int_equal(b2_file_write(path, text, strlen(text), NULL), BLIP2_OK);
    return path;
}

/* ---- sources --------------------------------------------------------------------------------------------------- */

static void expect_item(b2_list_source *s, size_t index, const char *name, const char *path, const char *carried) {
    b2_item item;
    bool has_item;
    assert_int_equal(s->source.next(&s->source, &item, &has_item, NULL), BLIP2_OK);
    assert_true(has_item);
    assert_int_equal(item.index, index);
    assert_string_equal(item.name, name);
    assert_int_equal(item.carried.len, strlen(carried));
    assert_memory_equal(item.carried.data, carried, item.carried.len);
    if (path != NULL) assert_string_equal(item.path, path);
    else assert_true(item.path == NULL && item.bytes == NULL && item.error.status == BLIP2_ARGUMENT);
    b2_item_free(&item);
    assert_true(item.name == NULL && item.path == NULL);
}

static void expect_end(b2_list_source *s) {
    b2_item item;
    bool has_item = true;
    assert_int_equal(s->source.next(&s->source, &item, &has_item, NULL), BLIP2_OK);
    assert_false(has_item);
}

/* All rows, then a selection: name as written, the file beside the table, the row's bytes. */
static void test_a_table_is_a_source(void **state) {
    (void)state;
    char *table = make_file("t.csv", "file,note\r\na.png,\"x, \"\"y\"\"\"\r\nsub\\b.png,2\r\n,3\r\n\"c.png\",\r\n"),
         *a = make_file("a.png", "");
    char *folder = b2_path_join(work, "sub/"), *c = strdup("c.png");
    assert_int_equal(b2_path_make_folders(folder, NULL), BLIP2_OK);
    char *b = make_file("sub/b.png", "");
    b2_inputs inputs = {0};
    assert_int_equal(b2_inputs_add_csv(&inputs, table, "file", NULL), BLIP2_OK);
    b2_list_source s = b2_list_source_of(&inputs);
    assert_true(s.source.n == 4 && s.source.hash == b2_inputs_hash(&inputs));
    expect_item(&s, 0, "a.png", a, "a.png,\"x, \"\"y\"\"\"");
    expect_item(&s, 1, "sub\\b.png", b, "sub\\b.png,2");
    expect_item(&s, 2, "", NULL, ",3");
    expect_item(&s, 3, "c.png", c, "\"c.png\",");
    expect_end(&s);
    expect_end(&s);
    static const size_t todo[] = {1, 3};
    s = b2_list_source_of(&inputs);
    b2_list_source_select(&s, todo, 2);
    assert_int_equal(s.source.n, 4);
    expect_item(&s, 1, "sub\\b.png", b, "sub\\b.png,2");
    expect_item(&s, 3, "c.png", c, "\"c.png\",");
    expect_end(&s);
    b2_inputs_free(&inputs);
    free(table), free(a), free(b), free(c), free(folder);
}

static void test_json_lines_are_a_source(void **state) {
    (void)state;
    char *lines = make_file("l.jsonl", "{\"image\":\"/x.png\",\"n\": 1}\n\n{\"n\":2,\"image\":\"/y\\u00e9.png\"} \r\n");
    b2_inputs inputs = {0};
    assert_int_equal(b2_inputs_add_jsonl(&inputs, lines, "image", NULL), BLIP2_OK);
    b2_list_source s = b2_list_source_of(&inputs);
    expect_item(&s, 0, "/x.png", "/x.png", "{\"image\":\"/x.png\",\"n\": 1}");
    expect_item(&s, 1, "/y\xC3\xA9.png", "/y\xC3\xA9.png", "{\"n\":2,\"image\":\"/y\\u00e9.png\"}");
    expect_end(&s);
    b2_inputs_free(&inputs);
    free(lines);
}

/* "-" is the bytes of stdin only where the user said so on the command line; in a list it is a name. */
static void test_stdin_is_a_picture(void **state) {
    (void)state;
    char *picture = make_file("stdin", "the bytes"), *list = make_file("list", "-\n");
    assert_non_null(freopen(picture, "rb", stdin));
    b2_inputs inputs = {0}, named = {0};
    b2_item item;
    bool has_item;
    assert_int_equal(b2_inputs_add_path(&inputs, "-", NULL), BLIP2_OK);
    b2_list_source s = b2_list_source_of(&inputs);
    assert_int_equal(s.source.next(&s.source, &item, &has_item, NULL), BLIP2_OK);
    assert_true(has_item && item.path == NULL && item.n_bytes == 9 && memcmp(item.bytes, "the bytes", 9) == 0);
    b2_item_free(&item);
    assert_int_equal(b2_inputs_add_list(&named, list, B2_LIST_LINES, NULL), BLIP2_OK);
    s = b2_list_source_of(&named);
    expect_item(&s, 0, "-", "-", "");
    b2_inputs_free(&inputs);
    b2_inputs_free(&named);
    free(picture), free(list);
}

/* ---- UTF-16 ---------------------------------------------------------------------------------------------------- */

static void expect_utf8(const char *text, size_t n, const char *want) {
    char *bytes = malloc(n);
    memcpy(bytes, text, n);
    assert_int_equal(b2_list_to_utf8(&bytes, &n, "t", NULL), BLIP2_OK);
    assert_int_equal(n, strlen(want));
    assert_memory_equal(bytes, want, n);
    free(bytes);
}

static void test_utf16_becomes_utf8(void **state) {
    (void)state;
    expect_utf8("\xFF\xFE"
                "a\0\xE9\0",
                6,
                "\xEF\xBB\xBF"
                "a\xC3\xA9");
    expect_utf8("\xFE\xFF\0a\x20\xAC", 6,
                "\xEF\xBB\xBF"
                "a\xE2\x82\xAC");
    expect_utf8("\xFF\xFE\x3D\xD8\x08\xDE", 6, "\xEF\xBB\xBF\xF0\x9F\x98\x88");
    expect_utf8("\xFF\xFE\x3D\xD8"
                "a\0",
                6,
                "\xEF\xBB\xBF\xEF\xBF\xBD"
                "a");                                                                   /* half a pair */
    expect_utf8("\xFF\xFE\x08\xDE\x3D\xD8", 6, "\xEF\xBB\xBF\xEF\xBF\xBD\xEF\xBF\xBD"); /* halves, turned round */
    expect_utf8("\xFF\xFE"
                "a\0b",
                5,
                "\xEF\xBB\xBF"
                "a\xEF\xBF\xBD"); /* half a unit */
    expect_utf8("\xFF\xFE", 2, "\xEF\xBB\xBF");
    expect_utf8("plain", 5, "plain");
}

/* ---- JSON ------------------------------------------------------------------------------------------------------ */

static void expect_json(const char *json, const char *path, const char *why) {
    const char *got_why = NULL;
    b2_text raw;
    const bool is_value = b2_json_is_value((b2_text){json, strlen(json)}, "image", &raw, &got_why);
    if (is_value != (why == NULL)) fail_msg("%s: %s", json, got_why != NULL ? got_why : "taken");
    if (why != NULL) assert_string_equal(got_why, why);
    if (why != NULL) return;
    if (path == NULL) assert_null(raw.data);
    if (path == NULL) return;
    size_t len;
    char *text = b2_json_unescape(raw, &len);
    assert_string_equal(text, path);
    assert_int_equal(len, strlen(path));
    free(text);
}

static void test_json_as_python_writes_it(void **state) {
    (void)state;
    expect_json("{\"image\":\"a.png\",\"x\":[NaN,Infinity,-Infinity,18446744073709551616,-0.5e+3,true,null,{}]}",
                "a.png", NULL);
    expect_json(" {\"x\" : {\"image\":\"inner\"} , \"image\":\"outer\"}\r", "outer", NULL);
    expect_json("{\"image\":\"first\",\"image\":\"last\"}", "last", NULL);
    expect_json("{\"im\\u0061ge\":\"a\\u00e9\\ud83d\\ude08\\/\\\\\\\"\\n\"}", "a\xC3\xA9\xF0\x9F\x98\x88/\\\"\n", NULL);
    expect_json("{\"image\":\"\\udcff\\ud800x\\udc41\"}", "\xFF\xED\xA0\x80x\xED\xB1\x81", NULL); /* surrogateescape */
    expect_json("{\"image\":3}", NULL, NULL);
    expect_json("{\"image\":\"a\",\"image\":[\"b\"]}", NULL, NULL);
    expect_json("[\"image\"]", NULL, NULL);
    expect_json("[[[{\"image\":\"x\"}]],{}]", NULL, NULL);
    expect_json("\"image\"", NULL, NULL);
}

static void test_json_that_is_none(void **state) {
    (void)state;
    static const char *const wrong[][2] = {
        {"", "expected a value"},
        {"{oops", "expected a member's name in quotes"},
        {"{\"a\":1,}", "expected a member's name in quotes"},
        {"[1,]", "expected a value"},
        {"{\"a\" 1}", "expected ':' after a member's name"},
        {"{\"a\":1", "expected ',' or a closing bracket"},
        {"[1}", "expected ',' or a closing bracket"},
        {"[01]", "expected ',' or a closing bracket"},
        {"nan", "expected a value"},
        {"-", "expected a value"},
        {"1.", "a number without digits after its point"},
        {"1e", "a number without digits in its exponent"},
        {"\"a", "a string that never ends"},
        {"\"a\\\"", "a string that never ends"},
        {"\"\\x\"", "an escape that JSON does not have"},
        {"\"\\u12g4\"", "an escape that JSON does not have"},
        {"\"\\u12", "an escape that JSON does not have"},
        {"\"\t\"", "a control character in a string"},
        {"\"\xFF\"", "bytes that are not UTF-8"},
        {"{} {}", "something after its end"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) expect_json(wrong[i][0], NULL, wrong[i][1]);
    enum { DEEP = 3000 };
    char deep[DEEP + 1];
    memset(deep, '[', DEEP);
    deep[DEEP] = '\0';
    expect_json(deep, NULL, "brackets nested too deep");
}

static void expect_reason(b2_list_source *s, size_t index, const char *carried, const char *why) {
    b2_item item;
    bool has_item;
    assert_int_equal(s->source.next(&s->source, &item, &has_item, NULL), BLIP2_OK);
    assert_true(has_item && item.index == index && item.path == NULL && item.name[0] == '\0');
    assert_int_equal(item.carried.len, strlen(carried));
    assert_memory_equal(item.carried.data, carried, item.carried.len);
    assert_non_null(strstr(item.error.message, why));
    b2_item_free(&item);
}

/* A bad line is one item with a reason and its line; what stands around it is as if it were not there. */
static void test_a_bad_line_is_one_item(void **state) {
    (void)state;
    char *lines =
        make_file("bad.jsonl", "{\"image\":\"/a\"}\n\n{oops\n \t\n{\"image\":null}\n{\"image\":\"b\\u0000c\"}\n"
                               "{\"image\":\"\"}\n{\"image\":\"/d\"}");
    b2_inputs inputs = {0};
    assert_int_equal(b2_inputs_add_jsonl(&inputs, lines, "image", NULL), BLIP2_OK);
    assert_int_equal(inputs.n, 6);
    assert_int_equal(inputs.n_blank, 2);
    b2_list_source s = b2_list_source_of(&inputs);
    expect_item(&s, 0, "/a", "/a", "{\"image\":\"/a\"}");
    expect_reason(&s, 1, "{oops", "bad.jsonl: line 3 is not valid JSON: expected a member's name in quotes");
    expect_reason(&s, 2, "{\"image\":null}", "bad.jsonl: line 5 has no text \"image\" (--image-key");
    expect_reason(&s, 3, "{\"image\":\"b\\u0000c\"}", "bad.jsonl: line 6: its \"image\" holds a NUL");
    expect_reason(&s, 4, "{\"image\":\"\"}", "picture 5 of the list has an empty path");
    expect_item(&s, 5, "/d", "/d", "{\"image\":\"/d\"}");
    expect_end(&s);
    b2_inputs_free(&inputs);
    free(lines);
}

static void test_an_array_is_a_list(void **state) {
    (void)state;
    char *lines = make_file("a.json", "\xEF\xBB\xBF [ {\"image\": \"/a\",\n   \"n\": 1},\n3, {\"image\":\"/b\"}\n]\n"),
         *empty = make_file("e.json", "[ ]"), *broken = make_file("b.json", "[\n{\"image\":\"/a\"},\n{]\n"),
         *odd = make_file("o.jsonl", "[\"image\":\"/a\"}\n{\"image\":\"/b\"}\n");
    blip2_error err;
    b2_inputs inputs = {0};
    assert_int_equal(b2_inputs_add_jsonl(&inputs, lines, "image", NULL), BLIP2_OK);
    b2_list_source s = b2_list_source_of(&inputs);
    expect_item(&s, 0, "/a", "/a", "{\"image\": \"/a\",\n   \"n\": 1}");
    expect_reason(&s, 1, "3", "a.json: line 3 has no text");
    expect_item(&s, 2, "/b", "/b", "{\"image\":\"/b\"}");
    expect_end(&s);
    assert_int_equal(b2_inputs_add_jsonl(&inputs, empty, "image", NULL), BLIP2_OK);
    assert_int_equal(inputs.n, 3);
    assert_int_equal(b2_inputs_add_jsonl(&inputs, broken, "image", &err), BLIP2_FORMAT);
    assert_non_null(strstr(err.message, "b.json: line 3: not a JSON array: expected a member's name"));
    assert_int_equal(b2_inputs_add_jsonl(&inputs, odd, "image", &err), BLIP2_OK); /* lines, of which the first is bad */
    assert_int_equal(inputs.n, 5);
    b2_inputs_free(&inputs);
    free(lines), free(empty), free(broken), free(odd);
}

/* ---- several lists --------------------------------------------------------------------------------------------- */

/* One name in two lists is two pictures, each beside its own list. */
static void test_each_list_has_its_folder(void **state) {
    (void)state;
    char *folder = b2_path_join(work, "two/");
    assert_int_equal(b2_path_make_folders(folder, NULL), BLIP2_OK);
    char *a = make_file("l.txt", "same.png\nonly.png\n"),
         *b = make_file("two/l.txt", "\xFF\xFEs\0a\0m\0e\0.\0p\0n\0g\0\n");
    char *x = make_file("same.png", ""), *y = make_file("two/same.png", "");
    b2_inputs inputs = {0};
    assert_int_equal(b2_inputs_add_list(&inputs, a, B2_LIST_LINES, NULL), BLIP2_OK);
    const uint64_t hash = b2_inputs_hash(&inputs);
    FILE *utf16 = fopen(b, "wb"); /* make_file() stops at NUL */
    fwrite("\xFF\xFEs\0a\0m\0e\0.\0p\0n\0g\0\r\0\n\0", 1, 22, utf16);
    fclose(utf16);
    assert_int_equal(b2_inputs_add_list(&inputs, b, B2_LIST_LINES, NULL), BLIP2_OK);
    assert_true(b2_inputs_hash(&inputs) != hash);
    b2_list_source s = b2_list_source_of(&inputs);
    expect_item(&s, 0, "same.png", x, "");
    expect_item(&s, 1, "only.png", "only.png", "");
    expect_item(&s, 2, "same.png", y, "");
    expect_end(&s);
    assert_int_equal(b2_inputs_name_list(&inputs, "-", 3, NULL), BLIP2_OK);
    assert_int_equal(b2_inputs_name_list(&inputs, "-", 3, NULL), BLIP2_ARGUMENT);
    b2_inputs_free(&inputs);
    free(folder), free(a), free(b), free(x), free(y);
}

/* ---- names ----------------------------------------------------------------------------------------------------- */

static void expect_relative(const char *from, const char *path, const char *want) {
    char *relative = b2_inputs_path_from(from, NULL, 0, path);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths_from_a_file),        cmocka_unit_test(test_utf16_becomes_utf8),
        cmocka_unit_test(test_json_as_python_writes_it), cmocka_unit_test(test_json_that_is_none),
        cmocka_unit_test(test_a_bad_line_is_one_item),   cmocka_unit_test(test_an_array_is_a_list),
        cmocka_unit_test(test_each_list_has_its_folder), cmocka_unit_test(test_a_table_is_a_source),
        cmocka_unit_test(test_json_lines_are_a_source),  cmocka_unit_test(test_stdin_is_a_picture),
    };
    return cmocka_run_group_tests(tests, make_work, remove_work);
}
