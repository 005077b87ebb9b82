/* grown.c: the output is read twice: first to see that none of its rows would be lost, then to take them. */
#include "job/grown.h"

#include "base/memory_text.h"
#include "base/utf8.h"
#include "console/signals.h"
#include "lists/json_scan.h"
#include "record/json.h"
#include "record/rows.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

typedef struct named_row {
    uint64_t key; /* of the text that the output names it by */
    size_t index;
    bool is_met;
} named_row;

typedef struct taking {
    const b2_grown *grown;
    b2_journal *journal;
    b2_record_location *places;
    uint64_t *hashes; /* [inputs->n] */
    named_row *rows;  /* [n_rows], ascending by key and index: pictures with a name */
    size_t n_rows;
    bool only_looks;
    size_t n_foreign;
    char *first_foreign; /* from malloc */
} taking;

/* ---- rows by their names --------------------------------------------------------------------------------------- */

static int compare_rows(const void *a, const void *b) {
    const named_row *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static uint64_t hash_name(const char *name) { return XXH3_64bits(name, strlen(name)); }

/* What the output calls picture i; from malloc. In imagefolder bytes that are not UTF-8 are U+FFFD. */
static char *name_picture(const b2_grown *g, size_t i) {
    const char *path = g->inputs->paths[i];
    if (g->style->format != B2_FORMAT_IMAGEFOLDER) return strdup(path);
    char *name = b2_inputs_path_from(g->style->output_path, g->inputs, i, path);
    if (name == NULL || b2_is_utf8(name)) return name;
    b2_memory_text json;
    size_t n_name;
    FILE *out = b2_memory_text_begin(&json);
    if (out != NULL) b2_json_write_string(name, out);
    free(name);
    if (out == NULL || !b2_memory_text_end(&json)) return NULL;
    name = b2_json_unescape((b2_text){json.text + 1, json.len - 2}, &n_name);
    free(json.text);
    return name;
}

/* Of the list of the state each row's hash is the state's own, wherever the job is run from. */
static uint64_t *find_hashes(const b2_grown *g) {
    uint64_t *hashes = b2_state_hash_rows(g->inputs, g->output_path);
    const b2_state *s = g->state;
    const bool is_known = g->is_same_list && s->is_whole && s->n_rows == g->inputs->n;
    for (size_t i = 0; hashes != NULL && is_known && i < s->n_rows; i++) hashes[s->rows[i].order] = s->rows[i].hash;
    return hashes;
}

static blip2_status list_rows(taking *t, blip2_error *err) {
    const b2_inputs *inputs = t->grown->inputs;
    t->hashes = find_hashes(t->grown);
    t->rows = malloc((inputs->n + 1) * sizeof *t->rows);
    bool is_done = t->hashes != NULL && t->rows != NULL;
    for (size_t i = 0; is_done && i < inputs->n; i++) {
        if (inputs->paths[i][0] == '\0') continue;
        char *name = name_picture(t->grown, i);
        is_done = name != NULL;
        if (is_done) t->rows[t->n_rows++] = (named_row){.key = hash_name(name), .index = i};
        free(name);
    }
    if (!is_done) return b2_fail(err, BLIP2_MEMORY, "no memory for a list of %zu pictures", inputs->n);
    qsort(t->rows, t->n_rows, sizeof *t->rows, compare_rows);
    return BLIP2_OK;
}

/* The first picture of this name that no row of the output was for; NULL: there is none. */
static named_row *meet(taking *t, uint64_t key) {
    size_t low = 0, high = t->n_rows;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (t->rows[middle].key < key) low = middle + 1;
        else high = middle;
    }
    for (; low < t->n_rows && t->rows[low].key == key; low++) {
        if (t->rows[low].is_met) continue;
        t->rows[low].is_met = true;
        return &t->rows[low];
    }
    return NULL;
}

/* The only row of an output without names is that of the state. */
static named_row *meet_only(taking *t) {
    for (size_t i = 0; i < t->n_rows; i++)
        if (b2_state_has(t->grown->state, t->hashes[t->rows[i].index])) return &t->rows[i];
    return NULL;
}

/* ---- taking ---------------------------------------------------------------------------------------------------- */

static blip2_status append(taking *t, size_t i, const b2_record *record, blip2_error *err) {
    const uint64_t offset = t->journal->n_bytes;
    B2_TRY(b2_journal_append(t->journal, record, err));
    t->places[i] = (b2_record_location){.offset = offset,
                                        .is_failed = b2_record_get_status(record) == B2_RECORD_ERROR,
                                        .is_skipped = b2_record_get_status(record) == B2_RECORD_SKIPPED};
    return BLIP2_OK;
}

static blip2_status take_row(taking *t, size_t i, char *taken, blip2_error *err) {
    const b2_state_row *row = b2_state_take(t->grown->state, t->hashes[i]);
    if (row == NULL || t->places[i].offset != 0 || (row->status == B2_RECORD_ERROR && t->grown->retries_failed))
        return BLIP2_OK;
    const b2_record record = {
        .index = i, .path = t->grown->inputs->paths[i], .taken = taken, .taken_status = row->status};
    return append(t, i, &record, err);
}

static blip2_status take(void *context, const char *name, const char *taken, blip2_error *err) {
    taking *t = context;
    if (b2_signals_pending(NULL)) return b2_fail(err, BLIP2_CANCELLED, "interrupted");
    if (name != NULL && name[0] == '\0') return BLIP2_OK; /* a row without a picture is looked at again */
    const named_row *row = name != NULL ? meet(t, hash_name(name)) : meet_only(t);
    if (row != NULL && b2_state_has(t->grown->state, t->hashes[row->index]))
        return t->only_looks ? BLIP2_OK : take_row(t, row->index, (char *)(uintptr_t)taken, err);
    t->n_foreign++;
    if (t->first_foreign == NULL) t->first_foreign = strdup(name != NULL ? name : "its only row");
    return BLIP2_OK;
}

/* imagefolder has no line of a picture without a text. */
static blip2_status take_without_line(taking *t, blip2_error *err) {
    char why[] = "failed before";
    for (size_t i = 0; i < t->grown->inputs->n; i++) {
        if (t->places[i].offset != 0) continue;
        const b2_state_row *row = b2_state_take(t->grown->state, t->hashes[i]);
        if (row == NULL || row->status == B2_RECORD_OK) continue;
        const bool is_failed = row->status == B2_RECORD_ERROR;
        if (is_failed && t->grown->retries_failed) continue;
        const b2_record record = {
            .index = i, .path = t->grown->inputs->paths[i], .error = is_failed ? why : NULL, .is_skipped = !is_failed};
        B2_TRY(append(t, i, &record, err));
    }
    return BLIP2_OK;
}

static blip2_status read_output(taking *t, bool only_looks, size_t *n_unreadable, blip2_error *err) {
    const b2_grown *g = t->grown;
    const b2_header *h = &g->state->header;
    const b2_rows_layout layout = {.is_table = h->csv != NULL,
                                   .no_header = h->no_header,
                                   .column = h->column,
                                   .only_text = h->count == 1 && !h->spec.has_format};
    t->only_looks = only_looks;
    for (size_t i = 0; i < t->n_rows; i++) t->rows[i].is_met = false;
    return b2_rows_each(g->style, &layout, g->output_path, take, t, n_unreadable, err);
}

static blip2_status check_and_take(taking *t, blip2_error *err) {
    const char *path = t->grown->output_path;
    size_t n_unreadable = 0;
    B2_TRY(list_rows(t, err));
    B2_TRY(read_output(t, true, &n_unreadable, err));
    if (n_unreadable > 0)
        return b2_fail(err, BLIP2_ARGUMENT,
                       "%s: %zu of its rows cannot be taken over: expected them as blip2 writes them; start without "
                       "--resume to do all anew",
                       path, n_unreadable);
    if (t->n_foreign > 0)
        return b2_fail(err, BLIP2_ARGUMENT,
                       "%s: %zu of its rows %s not of this list and would be lost, the first is %s: choose another "
                       "output, or start without --resume to do all anew",
                       path, t->n_foreign, t->n_foreign == 1 ? "is" : "are",
                       t->first_foreign != NULL ? t->first_foreign : "nameless");
    B2_TRY(read_output(t, false, &n_unreadable, err));
    return t->grown->style->format == B2_FORMAT_IMAGEFOLDER ? take_without_line(t, err) : BLIP2_OK;
}

blip2_status b2_grown_take(const b2_grown *grown, b2_journal *journal, b2_record_location *places, blip2_error *err) {
    taking t = {.grown = grown, .journal = journal, .places = places};
    const blip2_status status = check_and_take(&t, err);
    free(t.hashes);
    free(t.rows);
    free(t.first_foreign);
    return status;
}
