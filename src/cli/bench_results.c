/* bench_results.c: see bench_results.h. Lines without a figure (a rival has no probe) leave it out of their median. */
#include "cli/bench_results.h"

#include "base/cpu.h"
#include "base/grow.h"
#include "base/status.h"
#include "lists/csv.h"
#include "record/json.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct figure {
    const char *column;
    size_t offset; /* in b2_bench_figures */
    bool is_time;
} figure;

#define AT(member) offsetof(b2_bench_figures, member)
static const figure figures[] = {
    {"vision_s", AT(vision_s), true},  {"qformer_s", AT(qformer_s), true}, {"prefill_s", AT(prefill_s), true},
    {"ms_token", AT(ms_token), true},  {"caption_s", AT(caption_s), true}, {"dot_gops", AT(dot_gops), false},
    {"read_gbs", AT(read_gbs), false},
};
enum { N_FIGURES = sizeof figures / sizeof figures[0], CAPTION = 4, MACHINE = 0, ENGINE, THREADS, N_NAMES };
static const char *const names[N_NAMES] = {"machine", "engine", "threads"};

typedef struct line {
    double values[N_FIGURES]; /* 0: not known */
} line;

/* The lines of one machine, engine and number of threads. */
typedef struct entry {
    char *names[N_NAMES];
    line *lines;
    size_t n_lines, capacity;
} entry;

struct b2_bench_results {
    entry *entries;
    size_t n, capacity;
};

static double get(const b2_bench_figures *f, size_t i) {
    double value;
    memcpy(&value, (const char *)f + figures[i].offset, sizeof value);
    return value;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static double number(b2_text cell) {
    char text[64], *end;
    if (cell.len == 0 || cell.len >= sizeof text) return 0;
    memcpy(text, cell.data, cell.len);
    text[cell.len] = '\0';
    const double value = strtod(text, &end);
    return end != text && *end == '\0' && isfinite(value) && value > 0 ? value : 0;
}

static bool is_of(const entry *e, char *const *texts) {
    for (int i = 0; i < N_NAMES; i++)
        if (strcmp(e->names[i], texts[i]) != 0) return false;
    return true;
}

/* The entry of these names, which it takes over when it is a new one; NULL without memory. */
static entry *find_entry(b2_bench_results *r, char **texts) {
    for (size_t i = 0; i < r->n; i++)
        if (is_of(&r->entries[i], texts)) return &r->entries[i];
    if (!b2_grow(&r->entries, r->n, &r->capacity, sizeof *r->entries)) return NULL;
    entry *e = &r->entries[r->n++];
    *e = (entry){0};
    for (int i = 0; i < N_NAMES; i++) {
        e->names[i] = texts[i];
        texts[i] = NULL;
    }
    return e;
}

static bool add_line(b2_bench_results *r, const b2_csv *csv, size_t row, const size_t *columns) {
    char *texts[N_NAMES];
    bool is_done = true;
    for (int i = 0; i < N_NAMES; i++)
        if ((texts[i] = b2_csv_value(b2_csv_cell(csv, row, columns[i]))) == NULL) is_done = false;
    entry *e = is_done ? find_entry(r, texts) : NULL;
    is_done = e != NULL && b2_grow(&e->lines, e->n_lines, &e->capacity, sizeof *e->lines);
    for (size_t i = 0; is_done && i < N_FIGURES; i++) {
        const size_t column = columns[N_NAMES + i];
        e->lines[e->n_lines].values[i] = column == SIZE_MAX ? 0 : number(b2_csv_cell(csv, row, column));
    }
    if (is_done) e->n_lines++;
    for (int i = 0; i < N_NAMES; i++) free(texts[i]);
    return is_done;
}

/* Where a column of the file stands; times may be missing, but not what the lines are of. */
static blip2_status find_columns(const b2_csv *csv, size_t *columns, blip2_error *err) {
    for (size_t i = 0; i < N_NAMES + N_FIGURES; i++) {
        const char *name = i < N_NAMES ? names[i] : figures[i - N_NAMES].column;
        const bool is_needed = i < N_NAMES || i == N_NAMES + CAPTION;
        blip2_error why;
        if (b2_csv_find_column(csv, name, &columns[i], is_needed ? err : &why) == BLIP2_OK) continue;
        if (is_needed) return BLIP2_FORMAT;
        columns[i] = SIZE_MAX;
    }
    return BLIP2_OK;
}

static blip2_status read_lines(const b2_csv *csv, b2_bench_results *r, blip2_error *err) {
    size_t columns[N_NAMES + N_FIGURES];
    B2_TRY(find_columns(csv, columns, err));
    for (size_t row = 1; row < csv->n_rows; row++)
        if (!add_line(r, csv, row, columns)) return b2_fail(err, BLIP2_MEMORY, "no memory for earlier results");
    return BLIP2_OK;
}

blip2_status b2_bench_results_load(const char *path, b2_bench_results **results, blip2_error *err) {
    b2_csv csv = {0};
    *results = NULL;
    b2_bench_results *r = calloc(1, sizeof *r);
    if (r == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for earlier results");
    blip2_status status = b2_csv_add_file(&csv, path, err);
    if (status == BLIP2_OK) status = read_lines(&csv, r, err);
    b2_csv_free(&csv);
    if (status == BLIP2_OK) *results = r;
    else b2_bench_results_free(r);
    return status;
}

void b2_bench_results_free(b2_bench_results *results) {
    if (results == NULL) return;
    for (size_t i = 0; i < results->n; i++) {
        for (int k = 0; k < N_NAMES; k++) free(results->entries[i].names[k]);
        free(results->entries[i].lines);
    }
    free(results->entries);
    free(results);
}

/* ---- saying ------------------------------------------------------------------------------------------------------ */

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double b2_median(double *values, size_t n) {
    if (n == 0) return 0;
    qsort(values, n, sizeof *values, compare);
    return n % 2 == 1 ? values[n / 2] : 0.5 * (values[n / 2 - 1] + values[n / 2]);
}

/* room[n_lines] is for sorting. */
static double median_of(const entry *e, size_t which, double *room) {
    size_t n = 0;
    for (size_t i = 0; i < e->n_lines; i++)
        if (e->lines[i].values[which] > 0) room[n++] = e->lines[i].values[which];
    return b2_median(room, n);
}

static double divide(double a, double b) { return b > 0 ? a / b : 0; }

/* The shares of its own probes: of the int8 probe in vision and prefill, of reading in a decode step. */
static void print_json(const entry *e, const double *there, const b2_bench_figures *here, const double *shares) {
    fputs("{\"machine\":", stdout);
    b2_json_write_string(e->names[MACHINE], stdout);
    b2_json_write_member("engine", e->names[ENGINE], stdout);
    b2_json_write_member("threads", e->names[THREADS], stdout);
    printf(",\"lines\":%zu", e->n_lines);
    for (size_t i = 0; i < N_FIGURES; i++)
        if (there[i] > 0) printf(",\"%s\":%.6g", figures[i].column, there[i]);
    for (size_t i = 0; i < N_FIGURES; i++)
        if (figures[i].is_time && there[i] > 0 && get(here, i) > 0)
            printf(",\"%s_there_to_here\":%.3f", figures[i].column, there[i] / get(here, i));
    printf(",\"vision_percent_of_probe\":%.1f,\"prefill_percent_of_probe\":%.1f,\"decode_percent_of_read\":%.1f}\n",
           shares[0], shares[1], shares[2]);
}

static void print_text(const entry *e, const double *there, const b2_bench_figures *here, const double *shares) {
    printf("  %s; %s, %s threads, %zu lines\n   ", e->names[MACHINE], e->names[ENGINE], e->names[THREADS], e->n_lines);
    static const char *const labels[] = {"vision", "q-former", "prefill", "a token", "caption"};
    for (size_t i = 0; i <= CAPTION; i++) {
        const double ms = there[i] * (i == CAPTION - 1 ? 1 : 1e3);
        if (there[i] > 0) printf(" %s %.1f ms (%.2f x)", labels[i], ms, divide(there[i], get(here, i)));
    }
    if (shares[0] > 0) printf("; %.0f, %.0f %% of its int8 probe", shares[0], shares[1]);
    if (shares[2] > 0) printf(", %.0f %% of its reading", shares[2]);
    putchar('\n');
}

void b2_bench_results_print(const b2_bench_results *results, const b2_bench_figures *here, const b2_bench_work *stages,
                            bool is_jsonl) {
    size_t most = 1;
    for (size_t i = 0; i < results->n; i++)
        most = results->entries[i].n_lines > most ? results->entries[i].n_lines : most;
    double *room = calloc(most, sizeof *room);
    if (room == NULL) return;
    if (!is_jsonl) puts("\nearlier results, medians (in brackets: the time there, over the time measured here)");
    for (size_t i = 0; i < results->n; i++) {
        double there[N_FIGURES];
        for (size_t k = 0; k < N_FIGURES; k++) there[k] = median_of(&results->entries[i], k, room);
        const double dot = there[5] * 1e7, read = there[6] * 1e7; /* a hundredth of it, in a second */
        const double shares[] = {divide(stages[B2_STAGE_VISION].ops, there[0] * dot),
                                 divide(stages[B2_STAGE_PREFILL].ops, there[2] * dot),
                                 divide(stages[B2_STAGE_DECODE].bytes, there[3] * 1e-3 * read)};
        (is_jsonl ? print_json : print_text)(&results->entries[i], there, here, shares);
    }
    free(room);
}

void b2_bench_print_csv(const char *engine, size_t n_threads, const b2_bench_figures *here) {
    char machine[256], date[16] = "";
    const time_t now = time(NULL);
    struct tm day;
    if (gmtime_r(&now, &day) != NULL) strftime(date, sizeof date, "%Y-%m-%d", &day);
    b2_cpu_describe(machine, sizeof machine);
    fputs("date,machine,engine,threads", stdout);
    for (size_t i = 0; i < N_FIGURES; i++) printf(",%s", figures[i].column);
    printf("\n%s", date);
    b2_csv_write_value(&b2_csv_plain, machine, true, stdout);
    b2_csv_write_value(&b2_csv_plain, engine, true, stdout);
    printf(",%zu", n_threads);
    for (size_t i = 0; i < N_FIGURES; i++) printf(",%.6g", get(here, i));
    putchar('\n');
}
