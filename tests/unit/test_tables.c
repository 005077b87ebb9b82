/* test_tables.c: the cells of tables, as written and as meant, and what is written in their style. */
#include "lists/csv.h"
#include "base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void load(const char *text, b2_csv *csv) {
    blip2_error err;
    *csv = (b2_csv){0};
    if (b2_csv_add_text(csv, strdup(text), strlen(text), "test", &err) != BLIP2_OK) fail_msg("%s", err.message);
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
    assert_int_equal(csv.preamble.len, 3);
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

static void refuse(const char *text, size_t n, blip2_status status, const char *why) {
    b2_csv csv = {0};
    blip2_error err;
    char *bytes = malloc(n + 1);
    memcpy(bytes, text, n);
    bytes[n] = '\0';
    assert_int_equal(b2_csv_add_text(&csv, bytes, n, "t", &err), status);
    assert_non_null(strstr(err.message, why));
    b2_csv_free(&csv);
}

static void test_files_that_are_not_csv(void **state) {
    (void)state;
    refuse("", 0, BLIP2_FORMAT, "t: is empty, expected a header line");
    refuse("\n\n", 2, BLIP2_FORMAT, "t: is empty");
    refuse("\xEF\xBB\xBF", 3, BLIP2_FORMAT, "t: is empty");
    refuse("a\n\"b", 4, BLIP2_FORMAT, "begins on line 2 never ends");
    refuse("a\0b\n", 4, BLIP2_FORMAT, "it holds NUL bytes (UTF-16 without its mark?");
    refuse("PK\3\4xl", 6, BLIP2_FORMAT, "a workbook or ZIP archive");
}

/* What separates the cells, how lines end, what is quoted: text, separator, quotes_all, line end, cells of row 1. */
static void test_kinds_of_tables(void **state) {
    (void)state;
    static const struct {
        const char *text;
        char separator;
        bool quotes_all;
        const char *line_end;
        size_t n_preamble, n_cells;
    } cases[] = {
        {"image,n\na,1\n", ',', false, "\n", 0, 2},
        {"image\na;b\n", ',', false, "\n", 0, 1},
        {"Bild;Breite\r\na.png;1,5\r\n", ';', false, "\r\n", 0, 2},
        {"image\tnote\ra\tb\r", '\t', false, "\r", 0, 2},
        {"image;size, mm\na;1\n", ';', false, "\n", 0, 2},     /* as many of both: the next row tells */
        {"image,n (a;b;c)\na,1\n", ',', false, "\n", 0, 2},    /* more semicolons, but only in a name */
        {"\"a,b\",\"c,d\"\n1,2\n", ',', false, "\n", 0, 2},    /* quotes that are needed are no style */
        {"\"a\",\"b\"\n\"1\",\"2\"\n", ',', true, "\n", 0, 2}, /* these are one */
        {"\"a\",b\n1,2\n", ',', false, "\n", 0, 2},
        {"\xEF\xBB\xBFsep=;\r\na;b\r\n1;2\r\n", ';', false, "\r\n", 10, 2},
        {"sep=|\na|b,c\n1|2\n", '|', false, "\n", 6, 2},
        {"\n\na\tb\n1\t2", '\t', false, "\n", 0, 2},
        {"a,b\r\r\n1,2", ',', false, "\r\n", 0, 2},
        {"a;b", ';', false, "\n", 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        b2_csv csv;
        load(cases[i].text, &csv);
        assert_int_equal(csv.style.separator, cases[i].separator);
        assert_int_equal(csv.style.quotes_all, cases[i].quotes_all);
        assert_string_equal(csv.style.line_end, cases[i].line_end);
        assert_int_equal(csv.preamble.len, cases[i].n_preamble);
        assert_int_equal(csv.n_rows > 1 ? b2_csv_n_cells(&csv, 1) : 0, cases[i].n_cells);
        b2_csv_free(&csv);
    }
}

static void expect_written(const b2_csv_style *style, const char *value, const char *want) {
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    b2_csv_write_value(style, value, true, out);
    fclose(out);
    assert_string_equal(text, want);
    free(text);
}

static void test_values_in_the_tables_style(void **state) {
    (void)state;
    const b2_csv_style semicolons = {';', false, "\n"}, quoted = {'\t', true, "\n"};
    expect_written(&b2_csv_plain, "a;b", ",a;b");
    expect_written(&b2_csv_plain, "a,b", ",\"a,b\"");
    expect_written(&semicolons, "a;b", ";\"a;b\"");
    expect_written(&semicolons, "a,b", ";a,b");
    expect_written(&quoted, "", "\t\"\"");
    expect_written(&quoted, "say \"a\"", "\t\"say \"\"a\"\"\"");
}

static void test_rows_of_other_lengths_are_named(void **state) {
    (void)state;
    char text[300];
    b2_csv csv;
    load("a,b\n1,2\n3\n\"4\n5\",6,7\n8,9\n10\n11\n12\n", &csv);
    b2_csv_print_ragged(&csv, text, sizeof text);
    assert_string_equal(text, "test line 3 has 1 cell; test line 4 has 3 cells; test line 7 has 1 cell; and 2 more; "
                              "the header has 2");
    b2_csv_print_ragged(&csv, text, 20); /* cut, not written behind its end */
    assert_string_equal(text, "test line 3 has 1 c");
    b2_csv_free(&csv);
    load("a,b\n1,2\n", &csv);
    b2_csv_print_ragged(&csv, text, sizeof text);
    assert_string_equal(text, "");
    b2_csv_free(&csv);
}

/* Two tables under one header; one with another header or separator does not belong to them. */
static void test_tables_in_turn(void **state) {
    (void)state;
    blip2_error err;
    b2_csv csv;
    load("a,\"b\"\n1,2\n", &csv);
    assert_int_equal(b2_csv_add_text(&csv, strdup("\na,b\r\n3,4\r\n5,6"), 15, "u", &err), BLIP2_OK);
    assert_int_equal(csv.n_rows, 4);
    expect_cell(&csv, 1, 1, "2", "2");
    expect_cell(&csv, 3, 0, "5", "5");
    assert_int_equal(b2_csv_add_text(&csv, strdup("a,c\n7,8\n"), 8, "v", &err), BLIP2_ARGUMENT);
    assert_non_null(strstr(err.message, "v: its header is not that of the table before it"));
    assert_int_equal(b2_csv_add_text(&csv, strdup("a;b\n7;8\n"), 8, "w", &err), BLIP2_ARGUMENT);
    assert_non_null(strstr(err.message, "w: is separated by semicolons, the table before it by commas"));
    b2_csv_free(&csv);
    csv = (b2_csv){.no_header = true};
    assert_int_equal(b2_csv_add_text(&csv, strdup("x.png,1\n"), 8, "t", &err), BLIP2_OK);
    assert_int_equal(b2_csv_add_text(&csv, strdup("y.png,2\n"), 8, "u", &err), BLIP2_OK);
    assert_int_equal(csv.n_rows, 2);
    size_t column;
    assert_int_equal(b2_csv_find_column(&csv, "x.png", &column, &err), BLIP2_ARGUMENT);
    assert_non_null(strstr(err.message, "columns have numbers, 1 to 2"));
    b2_csv_free(&csv);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cells_as_written_and_as_meant),
        cmocka_unit_test(test_files_that_are_not_csv),
        cmocka_unit_test(test_kinds_of_tables),
        cmocka_unit_test(test_values_in_the_tables_style),
        cmocka_unit_test(test_rows_of_other_lengths_are_named),
        cmocka_unit_test(test_tables_in_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
