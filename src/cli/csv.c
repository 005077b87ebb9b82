#include "cli/csv.h"

#include "cli/files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- loading ---------------------------------------------------------------------------------------------------- */

blip2_status b2_csv_load(const char *path, b2_csv *csv, blip2_error *err) {
    *csv = (b2_csv){0};
    char *bytes = NULL;
    size_t n_bytes = 0;
    B2_TRY(b2_read_whole(path, &bytes, &n_bytes, err));
    return b2_csv_parse(bytes, n_bytes, path, csv, err);
}

/* ---- parsing ------------------------------------------------------------------------------------------------------ */

typedef struct csv_cursor {
    const char *at, *end;
    const char *open_quote; /* of a cell whose quotes never close; NULL */
} csv_cursor;

/* The raw cell at the cursor, which stops at its comma, line end or the end. */
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
    while (c->at < c->end && *c->at != ',' && *c->at != '\n' && *c->at != '\r') c->at++;
    return (b2_text){start, (size_t)(c->at - start)};
}

/* Makes room for one more element; false without memory. */
static bool grow(void **items, size_t n, size_t *capacity, size_t item_bytes) {
    if (n < *capacity) return true;
    const size_t wanted = *capacity > 0 ? 2 * *capacity : 256;
    void *larger = realloc(*items, wanted * item_bytes);
    if (larger == NULL) return false;
    *items = larger;
    *capacity = wanted;
    return true;
}

static bool scan_rows(csv_cursor *c, b2_csv *csv) {
    size_t n_cells = 0, cell_capacity = 0, row_capacity = 0;
    while (c->at < c->end) {
        if (!grow((void **)&csv->row_start, csv->n_rows + 1, &row_capacity, sizeof *csv->row_start)) return false;
        csv->row_start[csv->n_rows] = n_cells;
        for (;;) {
            if (!grow((void **)&csv->cells, n_cells, &cell_capacity, sizeof *csv->cells)) return false;
            csv->cells[n_cells++] = scan_cell(c);
            if (c->at == c->end || *c->at != ',') break;
            c->at++;
        }
        const bool is_blank = n_cells == csv->row_start[csv->n_rows] + 1 && csv->cells[n_cells - 1].len == 0;
        if (is_blank) n_cells--;
        else csv->n_rows++;
        bool ended = false; /* a line end is \n, \r\n, or what careless tools make of it: \r\r\n, \r */
        while (c->at < c->end && *c->at == '\r') c->at++, ended = true;
        if (c->at < c->end && *c->at == '\n') c->at++, ended = true;
        csv->n_blank += is_blank && ended;
    }
    if (!grow((void **)&csv->row_start, csv->n_rows + 1, &row_capacity, sizeof *csv->row_start)) return false;
    csv->row_start[csv->n_rows] = n_cells;
    return true;
}

/* Of a place in the file, from 1; as an editor counts, stray CRs apart. */
static size_t line_number(const char *bytes, const char *place) {
    size_t n = 1;
    for (; bytes < place; bytes++) n += *bytes == '\n';
    return n;
}

blip2_status b2_csv_parse(char *bytes, size_t n_bytes, const char *name, b2_csv *csv, blip2_error *err) {
    *csv = (b2_csv){.bytes = bytes};
    blip2_status status = BLIP2_OK;
    csv->had_bom = n_bytes >= 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0;
    csv_cursor cursor = {.at = bytes + (csv->had_bom ? 3 : 0), .end = bytes + n_bytes};
    if (memchr(bytes, '\0', n_bytes) != NULL) status = b2_fail(err, BLIP2_FORMAT, "%s: is no CSV file: it holds NUL bytes", name);
    else if (!scan_rows(&cursor, csv)) status = b2_fail(err, BLIP2_MEMORY, "%s: no memory to read it", name);
    else if (cursor.open_quote != NULL)
        status = b2_fail(err, BLIP2_FORMAT, "%s: the quoted cell that begins on line %zu never ends", name, line_number(bytes, cursor.open_quote));
    else if (csv->n_rows == 0) status = b2_fail(err, BLIP2_FORMAT, "%s: is empty, expected a header line", name);
    if (status != BLIP2_OK) b2_csv_free(csv);
    return status;
}

void b2_csv_free(b2_csv *csv) {
    free(csv->bytes);
    free(csv->cells);
    free(csv->row_start);
    *csv = (b2_csv){0};
}

/* ---- cells -------------------------------------------------------------------------------------------------------- */

b2_text b2_csv_cell(const b2_csv *csv, size_t row, size_t column) {
    const size_t at = csv->row_start[row] + column;
    return at < csv->row_start[row + 1] ? csv->cells[at] : (b2_text){"", 0};
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
    char list[300] = "";
    size_t len = 0;
    for (size_t c = 0; c < csv->row_start[1] && len + 8 < sizeof list; c++) {
        const b2_text raw = csv->cells[c];
        const int n = snprintf(list + len, sizeof list - len, "%s%.*s", c > 0 ? ", " : "", (int)(raw.len < 60 ? raw.len : 60), raw.data);
        len += n > 0 ? (size_t)n : 0;
    }
    return b2_fail(err, BLIP2_ARGUMENT, "no column '%s'; the header has: %s", name, list);
}

blip2_status b2_csv_find_column(const b2_csv *csv, const char *name, size_t *column, blip2_error *err) {
    const size_t n_columns = csv->row_start[1];
    for (size_t c = 0; c < n_columns; c++) {
        char *header = b2_csv_value(csv->cells[c]);
        const bool same = header != NULL && strcmp(header, name) == 0;
        free(header);
        *column = c;
        if (same) return BLIP2_OK;
    }
    char *end;
    const unsigned long number = strtoul(name, &end, 10);
    *column = number - 1;
    if (*end == '\0' && number >= 1 && number <= n_columns) return BLIP2_OK;
    return fail_column(csv, name, err);
}

/* ---- writing -------------------------------------------------------------------------------------------------------- */

void b2_csv_write_row(const b2_csv *csv, size_t row, FILE *out) {
    const size_t n_columns = csv->row_start[1], n_cells = csv->row_start[row + 1] - csv->row_start[row];
    const size_t n = n_cells > n_columns ? n_cells : n_columns;
    for (size_t c = 0; c < n; c++) {
        const b2_text cell = b2_csv_cell(csv, row, c);
        if (c > 0) putc(',', out);
        fwrite(cell.data, 1, cell.len, out);
    }
}

void b2_csv_write_value(const char *value, bool behind_comma, FILE *out) {
    if (behind_comma) putc(',', out);
    if (strpbrk(value, ",\"\r\n") == NULL) {
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
