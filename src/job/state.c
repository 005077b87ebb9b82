/* state.c: the rows are lines of one form, written in one way, so that a damaged one shows. */
#include "job/state.h"

#include "base/leftovers.h"
#include "base/path.h"
#include "console/output.h"
#include "console/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static const char start[] = B2_STATE_START "1,\"job\":";
enum { MAX_ROW_BYTES = 80, MIN_ROW_BYTES = 40 };

char *b2_state_path(const char *output_path) {
    char *path = malloc(strlen(output_path) + sizeof B2_STATE_ENDING);
    if (path != NULL) sprintf(path, "%s" B2_STATE_ENDING, output_path);
    return path;
}

/* ---- rows as hashes -------------------------------------------------------------------------------------------- */

/* The NUL is part of it, so that two texts are not one. */
static uint64_t add_text(uint64_t hash, const char *text) { return XXH3_64bits_withSeed(text, strlen(text) + 1, hash); }

/* Where the relative paths of a list begin, from the output's folder; list NULL or stdin: the working folder. False
 * without memory. */
static bool hash_place(const b2_inputs *inputs, const b2_list_part *list, const char *from, uint64_t *hash) {
    const bool has_list = list != NULL && strcmp(list->path, "-") != 0;
    char *folder = inputs->base_folder != NULL ? strdup(inputs->base_folder)
                   : has_list                  ? b2_path_folder(list->path)
                                               : strdup(".");
    char *absolute = folder != NULL ? b2_path_absolute(folder) : NULL;
    char *relative = absolute != NULL ? b2_path_relative(from, absolute) : NULL;
    const bool is_done = relative != NULL;
    if (is_done) *hash = add_text(1, relative);
    free(folder);
    free(absolute);
    free(relative);
    return is_done;
}

static bool hash_rows(const b2_inputs *inputs, const char *from, uint64_t *hashes) {
    const b2_list_part *last = NULL;
    uint64_t place;
    if (!hash_place(inputs, NULL, from, &place)) return false;
    for (size_t i = 0; i < inputs->n; i++) {
        const b2_list_part *list = b2_inputs_list_of(inputs, i);
        if (list != last && !hash_place(inputs, list, from, &place)) return false;
        last = list;
        hashes[i] = add_text(inputs->paths[i][0] == '/' ? 0 : place, inputs->paths[i]);
    }
    return true;
}

uint64_t *b2_state_hash_rows(const b2_inputs *inputs, const char *output_path) {
    uint64_t *hashes = malloc((inputs->n + 1) * sizeof *hashes);
    char *name = b2_path_folder(output_path), *from = name != NULL ? b2_path_absolute(name) : NULL;
    const bool is_done = hashes != NULL && from != NULL && hash_rows(inputs, from, hashes);
    free(name);
    free(from);
    if (is_done) return hashes;
    free(hashes);
    return NULL;
}

/* ---- reading --------------------------------------------------------------------------------------------------- */

static int print_row(char text[MAX_ROW_BYTES], uint64_t hash, b2_record_status status) {
    return snprintf(text, MAX_ROW_BYTES, "{\"row\":\"%016" PRIx64 "\",\"status\":\"%s\"}\n", hash,
                    b2_record_status_name(status));
}

/* One line, newline included, exactly as it is written. */
static bool read_row(const char *line, size_t len, b2_state_row *row) {
    char again[MAX_ROW_BYTES], name[16] = "";
    *row = (b2_state_row){0};
    if (len >= MAX_ROW_BYTES || len < MIN_ROW_BYTES ||
        sscanf(line, "{\"row\":\"%16" SCNx64 "\",\"status\":\"%15[a-z]\"}", &row->hash, name) != 2 ||
        !b2_record_status_find(name, &row->status))
        return false;
    return print_row(again, row->hash, row->status) == (int)len && memcmp(again, line, len) == 0;
}

static int compare_rows(const void *a, const void *b) {
    const b2_state_row *x = a, *y = b;
    if (x->hash != y->hash) return x->hash < y->hash ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static blip2_status read_header(FILE *file, char **line, size_t *capacity, const char *path, b2_state *s,
                                blip2_error *err) {
    const ssize_t n = getline(line, capacity, file);
    const bool begins =
        n > (ssize_t)sizeof start && (*line)[n - 1] == '\n' && memcmp(*line, start, sizeof start - 1) == 0;
    s->json = begins ? json_loadb(*line, (size_t)n, 0, NULL) : NULL;
    if (s->json == NULL)
        return b2_fail(err, BLIP2_FORMAT, "%s: its first line does not say which job the output is of", path);
    B2_TRY(b2_header_from_json(json_object_get(s->json, "job"), path, &s->header, err));
    if (s->header.shard.i == 0 && s->header.shard.n == 1) return BLIP2_OK;
    return b2_fail(err, BLIP2_FORMAT, "%s: expected the state of a whole list", path);
}

static blip2_status read_rows(FILE *file, char **line, size_t *capacity, const char *path, b2_state *s,
                              blip2_error *err) {
    struct stat st;
    size_t most = fstat(fileno(file), &st) == 0 && st.st_size > 0 ? (size_t)st.st_size / MIN_ROW_BYTES + 1 : 1;
    if (!s->header.is_stream && most > s->header.count) most = s->header.count;
    s->rows = malloc((most + 1) * sizeof *s->rows);
    if (s->rows == NULL) return b2_fail(err, BLIP2_MEMORY, "%s: no memory to read it", path);
    ssize_t n;
    uint32_t order = 0;
    for (; order < most && (n = getline(line, capacity, file)) > 0; order++) {
        b2_state_row *row = &s->rows[s->n_rows];
        if (!read_row(*line, (size_t)n, row)) continue;
        row->order = order;
        s->n_rows++;
        s->n_failed += row->status == B2_RECORD_ERROR;
    }
    if (ferror(file)) return b2_fail(err, BLIP2_IO, "%s: cannot be read: %s", path, strerror(errno));
    s->is_whole = s->n_rows == order && (s->header.is_stream || s->n_rows == s->header.count);
    qsort(s->rows, s->n_rows, sizeof *s->rows, compare_rows);
    return BLIP2_OK;
}

blip2_status b2_state_read(const char *path, b2_state *s, blip2_error *err) {
    char *line = NULL;
    size_t capacity = 0;
    struct stat st;
    *s = (b2_state){0};
    const int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return b2_fail(err, BLIP2_IO, "%s: cannot be read: %s", path, strerror(errno));
    FILE *file = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? fdopen(fd, "r") : NULL;
    if (file == NULL) close(fd);
    if (file == NULL) return b2_fail(err, BLIP2_IO, "%s: cannot be read: expected a file", path);
    blip2_status status = read_header(file, &line, &capacity, path, s, err);
    if (status == BLIP2_OK) status = read_rows(file, &line, &capacity, path, s, err);
    free(line);
    fclose(file);
    return status;
}

/* The first row of a hash; n_rows: there is none. */
static size_t find_first(const b2_state *s, uint64_t hash) {
    size_t low = 0, high = s->n_rows;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (s->rows[middle].hash < hash) low = middle + 1;
        else high = middle;
    }
    return low < s->n_rows && s->rows[low].hash == hash ? low : s->n_rows;
}

bool b2_state_has(const b2_state *s, uint64_t hash) { return find_first(s, hash) < s->n_rows; }

const b2_state_row *b2_state_take(b2_state *s, uint64_t hash) {
    for (size_t i = find_first(s, hash); i < s->n_rows && s->rows[i].hash == hash; i++) {
        if (s->rows[i].is_taken) continue;
        s->rows[i].is_taken = true;
        return &s->rows[i];
    }
    return NULL;
}

void b2_state_free(b2_state *s) {
    json_decref(s->json);
    free(s->rows);
    *s = (b2_state){0};
}

/* ---- writing --------------------------------------------------------------------------------------------------- */

static blip2_status write_header(const b2_header *header, FILE *file, blip2_error *err) {
    json_t *json = b2_header_to_json(header);
    char *text = json != NULL ? json_dumps(json, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
    json_decref(json);
    if (text == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for the state of the output");
    fprintf(file, "%s%s}\n", start, text);
    free(text);
    return BLIP2_OK;
}

static blip2_status open_state(const char *output_path, b2_replacement *r, blip2_error *err) {
    struct stat st;
    char *path = b2_state_path(output_path);
    if (path == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for a file name");
    b2_leftovers_sweep(path, NULL, NULL);
    const blip2_status status = b2_replacement_open(path, false, r, err);
    free(path);
    b2_signals_set_cleanup(r->new_path);
    /* where that is not possible the new file's own mode is the user's umask */
    if (status == BLIP2_OK && stat(output_path, &st) == 0 && fchmod(r->fd, st.st_mode & 0666) != 0) errno = 0;
    return status;
}

blip2_status b2_state_write(const char *output_path, const b2_header *header, const uint64_t *hashes,
                            const b2_record_location *places, size_t n, blip2_error *err) {
    b2_replacement r;
    B2_TRY(open_state(output_path, &r, err));
    blip2_status status = write_header(header, r.file, err);
    for (size_t i = 0; status == BLIP2_OK && i < n; i++) {
        char row[MAX_ROW_BYTES];
        const b2_record_status how = places[i].is_failed    ? B2_RECORD_ERROR
                                     : places[i].is_skipped ? B2_RECORD_SKIPPED
                                                            : B2_RECORD_OK;
        print_row(row, hashes != NULL ? hashes[i] : 0, how);
        if (fputs(row, r.file) < 0) status = b2_fail_write(err, r.path, "cannot be written");
    }
    if (status == BLIP2_OK) status = b2_replacement_commit(&r, err);
    else b2_replacement_abandon(&r);
    b2_signals_set_cleanup(NULL);
    return status;
}
