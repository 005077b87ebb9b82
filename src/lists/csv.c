/* csv.c: rows are views into the files' bytes, and cells are found in them when they are wanted, so that a table of a
 * million rows costs little more than itself, however many columns it has; every cell is written back as it came. */
#include "lists/csv.h"

#include "base/grow.h"
#include "base/utf8.h"
#include "lists/list_text.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

const b2_csv_style b2_csv_plain = {',', false, "\n"};

/* ---- scanning -------------------------------------------------------------------------------------------------- */

typedef struct csv_cursor {
    const char *at, *end;
    char separator;
    const char *open_quote; /* of a cell whose quotes never close; NULL */
} csv_cursor;

/* The raw cell at the cursor, which stops at its separator, line end or the end. */
static b2_text scan_cell(csv_cursor *c) {
    const char *start = c->at;
    if (c->at < c->end && *c->at == '"') {
        for (c->at++; c->at < c->end; c->at++) {
            if (*c->at != '"') continue;
            if (c->at + 1 < c->end && c->at[1] == '"') c->at++;
            else break;
        }
        if (c->at == c->end) c->open_quote = start;
        if (c->at < c->end) c->at++;
    }
    while (c->at < c->end && *c->at != c->separator && *c->at != '\n' && *c->at != '\r') c->at++;
    return (b2_text){start, (size_t)(c->at - start)};
}

/* A line end is \n, \r\n, or what careless tools make of it: \r\r\n, \r. False: there is none here. */
static bool skip_line_end(csv_cursor *c) {
    const char *start = c->at;
    while (c->at < c->end && *c->at == '\r') c->at++;
    if (c->at < c->end && *c->at == '\n') c->at++;
    return c->at > start;
}

/* The next cell of a row; false after the last. The row is over at a line end, or the end. */
static bool next_cell(csv_cursor *c, bool *is_first, b2_text *cell) {
    if (!*is_first && (c->at == c->end || *c->at != c->separator)) return false;
    if (!*is_first) c->at++;
    *is_first = false;
    *cell = scan_cell(c);
    return true;
}

/* How many cells the row at the cursor has, which goes to its end. */
static size_t skip_row(csv_cursor *c) {
    b2_text cell;
    size_t n = 0;
    for (bool is_first = true; next_cell(c, &is_first, &cell);) n++;
    return n;
}

static csv_cursor open_row(const b2_csv *csv, size_t row) {
    const b2_text text = csv->rows[row];
    return (csv_cursor){.at = text.data, .end = text.data + text.len, .separator = csv->style.separator};
}

/* ---- what kind of table ---------------------------------------------------------------------------------------- */

/* Excel's own way to say it: a first line "sep=;". */
static bool read_separator_line(csv_cursor *c) {
    const size_t n = (size_t)(c->end - c->at);
    if (n < 6 || (memcmp(c->at, "sep=", 4) != 0 && memcmp(c->at, "SEP=", 4) != 0)) return false;
    if (strchr("\"\r\n", c->at[4]) != NULL || (c->at[5] != '\r' && c->at[5] != '\n')) return false;
    c->separator = c->at[4];
    c->at += 5;
    return skip_line_end(c);
}

/* What cuts the header line into most cells; before that counts whether it cuts the next row into as many, because
 * names of columns may hold the other characters. */
static char choose_separator(csv_cursor c) {
    static const char candidates[] = {',', ';', '\t'};
    while (skip_line_end(&c)) continue;
    char best = ',';
    size_t most = 1;
    bool best_agrees = false;
    for (size_t i = 0; i < sizeof candidates; i++) {
        csv_cursor row = {.at = c.at, .end = c.end, .separator = candidates[i]};
        const size_t n = skip_row(&row);
        const bool is_last = !skip_line_end(&row) || row.at == row.end;
        const bool agrees = n > 1 && (is_last || skip_row(&row) == n);
        if (n == 1 || agrees < best_agrees || (agrees == best_agrees && n <= most)) continue;
        best = candidates[i];
        most = n;
        best_agrees = agrees;
    }
    return best;
}

/* How the first row ends, and whether all of its cells are quoted, also those that need it not. */
static void find_style(const b2_csv *csv, const char *end, b2_csv_style *style) {
    const char *at = csv->rows[0].data + csv->rows[0].len;
    const bool has_cr = at < end && *at == '\r';
    while (at < end && *at == '\r') at++;
    const bool has_lf = at < end && *at == '\n';
    style->line_end = has_cr && has_lf ? "\r\n" : has_cr ? "\r" : "\n";
    bool all_quoted = true, is_needed = true, is_first = true;
    csv_cursor c = open_row(csv, 0);
    for (b2_text cell; next_cell(&c, &is_first, &cell);) {
        all_quoted &= cell.len >= 2 && cell.data[0] == '"';
        bool needs_it = false;
        for (size_t k = 1; k + 1 < cell.len; k++)
            needs_it |= cell.data[k] == style->separator || memchr("\"\r\n", cell.data[k], 3) != NULL;
        is_needed &= needs_it;
    }
    style->quotes_all = all_quoted && !is_needed;
}

static const char *name_separator(char separator, char text[32]) {
    snprintf(text, 32, "'%c'", separator);
    return separator == ',' ? "commas" : separator == ';' ? "semicolons" : separator == '\t' ? "tabs" : text;
}

static bool means_the_same(b2_text a, b2_text b) {
    char *x = b2_csv_value(a), *y = b2_csv_value(b);
    const bool is_same = x != NULL && y != NULL && strcmp(x, y) == 0;
    free(x);
    free(y);
    return is_same;
}

/* The header of a further file must be the table's; it is dropped. */
static blip2_status drop_header(b2_csv *csv, size_t n_cells, const char *name, blip2_error *err) {
    bool is_same = n_cells == csv->n_columns;
    for (size_t i = 0; is_same && i < n_cells; i++)
        is_same = means_the_same(b2_csv_cell(csv, 0, i), b2_csv_cell(csv, csv->n_rows - 1, i));
    csv->n_rows--;
    if (is_same) return BLIP2_OK;
    return b2_fail(err, BLIP2_ARGUMENT,
                   "%s: its header is not that of the table before it; tables that are named together are one", name);
}

/* ---- a file ---------------------------------------------------------------------------------------------------- */

blip2_status b2_csv_add_file(b2_csv *csv, const char *path, blip2_error *err) {
    char *bytes = NULL;
    size_t n_bytes = 0;
    B2_TRY(b2_list_read(path, &bytes, &n_bytes, err));
    return b2_csv_add_text(csv, bytes, n_bytes, path, err);
}

/* A row may hold anything; a first line with NUL bytes is not text. */
static blip2_status check_text(csv_cursor c, const char *name, blip2_error *err) {
    const size_t n = (size_t)(c.end - c.at);
    if (n >= 4 && memcmp(c.at, "PK\3\4", 4) == 0)
        return b2_fail(err, BLIP2_FORMAT, "%s: not a CSV file but a workbook or ZIP archive: save it as \"CSV UTF-8\"",
                       name);
    const char *newline = memchr(c.at, '\n', n);
    if (memchr(c.at, '\0', newline != NULL ? (size_t)(newline - c.at) : n) == NULL) return BLIP2_OK;
    return b2_fail(err, BLIP2_FORMAT,
                   "%s: not a CSV file: it holds NUL bytes (UTF-16 without its mark? save it as \"CSV UTF-8\")", name);
}

static void note_ragged(b2_csv *csv, size_t n_cells, const char *name) {
    const char *place = csv->rows[csv->n_rows - 1].data;
    if (n_cells == csv->n_columns) return;
    if (csv->n_ragged < B2_CSV_RAGGED_MAX)
        csv->ragged[csv->n_ragged] = (b2_csv_ragged){name, b2_list_line(csv->texts[csv->n_texts - 1], place), n_cells};
    csv->n_ragged++;
}

static blip2_status scan_rows(csv_cursor *c, b2_csv *csv, const char *name, blip2_error *err) {
    bool had_row = false;
    while (c->at < c->end && c->open_quote == NULL) {
        const char *start = c->at;
        const size_t n_cells = skip_row(c);
        const b2_text row = {start, (size_t)(c->at - start)};
        const bool ended = skip_line_end(c);
        csv->n_blank += row.len == 0 && ended;
        if (row.len == 0 || c->open_quote != NULL) continue;
        if (!b2_grow(&csv->rows, csv->n_rows, &csv->row_capacity, sizeof *csv->rows))
            return b2_fail(err, BLIP2_MEMORY, "%s: no memory to read it", name);
        csv->rows[csv->n_rows++] = row;
        if (csv->n_rows == 1) csv->n_columns = n_cells;
        if (!had_row && csv->n_texts > 1 && !csv->no_header) B2_TRY(drop_header(csv, n_cells, name, err));
        else note_ragged(csv, n_cells, name);
        had_row = true;
    }
    if (c->open_quote != NULL)
        return b2_fail(err, BLIP2_FORMAT, "%s: the quoted cell that begins on line %zu never ends", name,
                       b2_list_line(csv->texts[csv->n_texts - 1], c->open_quote));
    if (had_row) return BLIP2_OK;
    return b2_fail(err, BLIP2_FORMAT, "%s: is empty, expected a %s", name, csv->no_header ? "row" : "header line");
}

blip2_status b2_csv_add_text(b2_csv *csv, char *bytes, size_t n_bytes, const char *name, blip2_error *err) {
    if (!b2_grow(&csv->texts, csv->n_texts, &csv->text_capacity, sizeof *csv->texts)) {
        free(bytes);
        return b2_fail(err, BLIP2_MEMORY, "%s: no memory to read it", name);
    }
    csv->texts[csv->n_texts++] = bytes;
    csv_cursor c = {.at = bytes + b2_utf8_mark(bytes, n_bytes), .end = bytes + n_bytes};
    B2_TRY(check_text(c, name, err));
    if (!read_separator_line(&c)) c.separator = choose_separator(c);
    const bool is_first = csv->n_texts == 1;
    char own[32], other[32];
    if (!is_first && c.separator != csv->style.separator)
        return b2_fail(err, BLIP2_ARGUMENT, "%s: is separated by %s, the table before it by %s", name,
                       name_separator(c.separator, own), name_separator(csv->style.separator, other));
    if (is_first) {
        csv->style.separator = c.separator;
        csv->preamble = (b2_text){bytes, (size_t)(c.at - bytes)};
    }
    B2_TRY(scan_rows(&c, csv, name, err));
    if (is_first) find_style(csv, c.end, &csv->style);
    return BLIP2_OK;
}

void b2_csv_free(b2_csv *csv) {
    for (size_t i = 0; i < csv->n_texts; i++) free(csv->texts[i]);
    free(csv->texts);
    free(csv->rows);
    *csv = (b2_csv){0};
}

/* ---- cells ----------------------------------------------------------------------------------------------------- */

b2_text b2_csv_cell(const b2_csv *csv, size_t row, size_t column) {
    csv_cursor c = open_row(csv, row);
    bool is_first = true;
    for (b2_text cell; next_cell(&c, &is_first, &cell); column--)
        if (column == 0) return cell;
    return (b2_text){"", 0};
}

size_t b2_csv_n_cells(const b2_csv *csv, size_t row) {
    csv_cursor c = open_row(csv, row);
    return skip_row(&c);
}

uint64_t b2_csv_hash(const b2_csv *csv, uint64_t hash) {
    for (size_t row = 0; row < csv->n_rows; row++) {
        csv_cursor c = open_row(csv, row);
        bool is_first = true;
        for (b2_text cell; next_cell(&c, &is_first, &cell);) hash = XXH3_64bits_withSeed(cell.data, cell.len, hash);
    }
    return hash;
}

char *b2_csv_value(b2_text raw) {
    char *value = malloc(raw.len + 1);
    if (value == NULL) return NULL;
    size_t n = 0;
    bool quoted = raw.len > 0 && raw.data[0] == '"';
    for (size_t i = quoted ? 1 : 0; i < raw.len; i++) {
        if (quoted && raw.data[i] == '"') {
            if (i + 1 < raw.len && raw.data[i + 1] == '"') i++;
            else {
                quoted = false;
                continue;
            }
        }
        value[n++] = raw.data[i];
    }
    value[n] = '\0';
    return value;
}

static blip2_status fail_column(const b2_csv *csv, const char *name, blip2_error *err) {
    if (csv->no_header)
        return b2_fail(err, BLIP2_ARGUMENT, "no column '%s': without a header, columns have numbers, 1 to %zu", name,
                       csv->n_columns);
    char list[300] = "";
    size_t len = 0;
    csv_cursor c = open_row(csv, 0);
    bool is_first = true;
    for (b2_text cell; len + 8 < sizeof list && next_cell(&c, &is_first, &cell);) {
        const int n = snprintf(list + len, sizeof list - len, "%s%.*s", len > 0 ? ", " : "",
                               (int)(cell.len < 60 ? cell.len : 60), cell.data);
        len += n > 0 ? (size_t)n : 0;
    }
    return b2_fail(err, BLIP2_ARGUMENT, "no column '%s'; the header has: %s", name, list);
}

blip2_status b2_csv_find_column(const b2_csv *csv, const char *name, size_t *column, blip2_error *err) {
    csv_cursor c = open_row(csv, 0);
    bool is_first = true;
    *column = 0;
    for (b2_text cell; !csv->no_header && next_cell(&c, &is_first, &cell); ++*column) {
        char *header = b2_csv_value(cell);
        if (header == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for the name of a column");
        const bool is_same = strcmp(header, name) == 0;
        free(header);
        if (is_same) return BLIP2_OK;
    }
    char *end;
    const unsigned long number = strtoul(name, &end, 10);
    *column = number - 1;
    if (*end == '\0' && number >= 1 && number <= csv->n_columns) return BLIP2_OK;
    return fail_column(csv, name, err);
}

void b2_csv_print_ragged(const b2_csv *csv, char *text, size_t size) {
    size_t len = 0;
    text[0] = '\0';
    for (size_t i = 0; i < csv->n_ragged && i < B2_CSV_RAGGED_MAX && len < size; i++)
        len += (size_t)snprintf(text + len, size - len, "%s%s line %zu has %zu cell%s", i > 0 ? "; " : "",
                                csv->ragged[i].name, csv->ragged[i].line, csv->ragged[i].n_cells,
                                csv->ragged[i].n_cells == 1 ? "" : "s");
    if (csv->n_ragged > B2_CSV_RAGGED_MAX && len < size)
        len += (size_t)snprintf(text + len, size - len, "; and %zu more", csv->n_ragged - B2_CSV_RAGGED_MAX);
    if (csv->n_ragged > 0 && len < size)
        snprintf(text + len, size - len, "; the %s has %zu", csv->no_header ? "first row" : "header", csv->n_columns);
}

/* ---- writing --------------------------------------------------------------------------------------------------- */

void b2_csv_write_row(const b2_csv *csv, size_t row, FILE *out) {
    fwrite(csv->rows[row].data, 1, csv->rows[row].len, out);
    for (size_t n = b2_csv_n_cells(csv, row); n < csv->n_columns; n++) putc(csv->style.separator, out);
}

void b2_csv_write_value(const b2_csv_style *style, const char *value, bool after_another, FILE *out) {
    if (after_another) putc(style->separator, out);
    if (!style->quotes_all && strpbrk(value, "\"\r\n") == NULL && strchr(value, style->separator) == NULL) {
        fputs(value, out);
        return;
    }
    putc('"', out);
    for (; *value != '\0'; value++) {
        if (*value == '"') putc('"', out);
        putc(*value, out);
    }
    putc('"', out);
}
