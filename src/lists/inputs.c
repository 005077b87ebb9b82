/* inputs.c: paths as the user wrote them, with the table or lines that they came from. What a path means is decided
 * when its picture is opened. */
#include "lists/inputs.h"

#include "base/file.h"
#include "base/grow.h"
#include "base/path.h"
#include "base/retry.h"
#include "base/utf8.h"
#include "lists/folders.h"
#include "lists/list_text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utf8proc.h>
#include <xxhash.h>

blip2_status b2_inputs_append(b2_inputs *inputs, const char *path, blip2_error *err) {
    if (!b2_grow(&inputs->paths, inputs->n, &inputs->capacity, sizeof *inputs->paths))
        return b2_fail(err, BLIP2_MEMORY, "no memory for the list of pictures");
    char *copy = strdup(path);
    if (copy == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for the list of pictures");
    inputs->paths[inputs->n++] = copy;
    return BLIP2_OK;
}

static blip2_status append_found(void *context, const char *path, blip2_error *err) {
    return b2_inputs_append(context, path, err);
}

blip2_status b2_inputs_add_path(b2_inputs *inputs, const char *path, blip2_error *err) {
    if (strcmp(path, "-") == 0) {
        if (inputs->has_stdin_picture) return b2_fail(err, BLIP2_ARGUMENT, "stdin (-) can be named once");
        inputs->has_stdin_picture = true;
    }
    if (b2_path_is_folder(path)) return b2_folder_each(&inputs->folders, path, append_found, inputs, err);
    return b2_inputs_append(inputs, path, err);
}

/* ---- lists ----------------------------------------------------------------------------------------------------- */

blip2_status b2_inputs_name_list(b2_inputs *inputs, const char *path, size_t first, blip2_error *err) {
    const bool is_stdin = strcmp(path, "-") == 0;
    for (size_t i = 0; is_stdin && i < inputs->n_lists; i++)
        if (strcmp(inputs->lists[i].path, "-") == 0) return b2_fail(err, BLIP2_ARGUMENT, "stdin (-) can be named once");
    if (!b2_grow(&inputs->lists, inputs->n_lists, &inputs->list_capacity, sizeof *inputs->lists))
        return b2_fail(err, BLIP2_MEMORY, "no memory for the list of pictures");
    inputs->lists[inputs->n_lists++] = (b2_list_part){.path = path, .first = first};
    return BLIP2_OK;
}

const b2_list_part *b2_inputs_list_of(const b2_inputs *inputs, size_t i) {
    const b2_list_part *found = NULL;
    for (size_t k = 0; k < inputs->n_lists && inputs->lists[k].first <= i; k++) found = &inputs->lists[k];
    return found;
}

/* A line of a list of paths, NUL-terminated at line[n]. */
static blip2_status add_line(b2_inputs *inputs, const char *name, size_t number, char *line, size_t n,
                             blip2_error *err) {
    while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r')) line[--n] = '\0';
    const char *path = line + (number == 1 ? b2_utf8_mark(line, n) : 0);
    if (strlen(line) < n)
        return b2_fail(err, BLIP2_FORMAT, "%s: line %zu holds NUL bytes (-0 reads paths that end with them)", name,
                       number);
    inputs->n_blank += *path == '\0';
    return *path != '\0' ? b2_inputs_append(inputs, path, err) : BLIP2_OK;
}

/* The first line shows that the list is UTF-16, in which lines end otherwise: the rest is read as a whole. */
static blip2_status add_utf16(b2_inputs *inputs, FILE *file, const char *name, const char *first, size_t n_first,
                              blip2_error *err) {
    enum { MAX_BYTES = 1 << 30, GUESS = 1 << 16 };
    char *rest = NULL;
    size_t n = 0;
    B2_TRY(b2_stream_read(file, name, GUESS, MAX_BYTES, &rest, &n, err));
    char *all = malloc(n_first + n + 1);
    if (all == NULL) {
        free(rest);
        return b2_fail(err, BLIP2_MEMORY, "%s: no memory to read it", name);
    }
    memcpy(all, first, n_first);
    memcpy(all + n_first, rest, n);
    free(rest);
    n += n_first;
    blip2_status status = b2_list_to_utf8(&all, &n, name, err);
    char *at = all, *end = all + n;
    for (size_t number = 1; status == BLIP2_OK && at < end; number++) {
        char *newline = memchr(at, '\n', (size_t)(end - at)), *stop = newline != NULL ? newline : end;
        *stop = '\0';
        status = add_line(inputs, name, number, at, (size_t)(stop - at), err);
        at = newline != NULL ? newline + 1 : end;
    }
    free(all);
    return status;
}

blip2_status b2_inputs_add_list(b2_inputs *inputs, const char *path, int kind, blip2_error *err) {
    B2_TRY(b2_inputs_name_list(inputs, path, inputs->n, err));
    const int fd = strcmp(path, "-") == 0 ? STDIN_FILENO : b2_open(path, O_RDONLY, 0);
    FILE *file = fd == STDIN_FILENO ? stdin : fd >= 0 ? b2_fdopen(fd, "rb", NULL) : NULL;
    if (file == NULL)
        return b2_fail(err, fd >= 0 ? BLIP2_MEMORY : BLIP2_IO, "%s: cannot be opened: %s", path, strerror(errno));
    char *line = NULL;
    size_t capacity = 0, number = 1;
    const int end = kind == B2_LIST_NUL ? '\0' : '\n';
    blip2_status status = BLIP2_OK;
    /* a line that finds no memory looks like the list's end, but for errno */
    for (ssize_t n; status == BLIP2_OK && (errno = 0, n = getdelim(&line, &capacity, end, file)) > 0; number++) {
        if (kind == B2_LIST_NUL) {
            inputs->n_blank += line[0] == '\0';
            if (line[0] != '\0') status = b2_inputs_append(inputs, line, err);
        } else if (number == 1 && b2_utf16_has_mark(line, (size_t)n)) {
            status = add_utf16(inputs, file, path, line, (size_t)n, err);
        } else {
            status = add_line(inputs, path, number, line, (size_t)n, err);
        }
    }
    if (status == BLIP2_OK && errno == ENOMEM) status = b2_fail(err, BLIP2_MEMORY, "%s: no memory to read it", path);
    else if (status == BLIP2_OK && ferror(file))
        status = b2_fail(err, BLIP2_IO, "%s: cannot be read: %s", path, strerror(errno));
    free(line);
    if (file != stdin) fclose(file);
    return status;
}

/* ---- tables ---------------------------------------------------------------------------------------------------- */

/* The path that a cell means; one with a NUL byte would be another file's name. */
static blip2_status add_cell(b2_inputs *inputs, const char *name, b2_text cell, blip2_error *err) {
    char *value = memchr(cell.data, '\0', cell.len) != NULL ? strdup("") : b2_csv_value(cell);
    const blip2_status status = value != NULL ? b2_inputs_append(inputs, value, err)
                                              : b2_fail(err, BLIP2_MEMORY, "%s: no memory to read it", name);
    free(value);
    return status;
}

blip2_status b2_inputs_add_csv(b2_inputs *inputs, const char *path, const char *column, blip2_error *err) {
    b2_csv *csv = &inputs->csv;
    size_t at = 0;
    B2_TRY(b2_inputs_name_list(inputs, path, inputs->n, err));
    B2_TRY(b2_csv_add_file(csv, path, err));
    inputs->lists[inputs->n_lists - 1].text = csv->texts[csv->n_texts - 1];
    inputs->has_csv = true;
    inputs->column = column;
    inputs->n_blank = csv->n_blank;
    if (column != NULL) {
        const blip2_status status = b2_csv_find_column(csv, column, &at, err);
        if (status != BLIP2_OK) {
            b2_error_prefix(err, "%s", path);
            return status;
        }
    }
    for (size_t row = b2_csv_first(csv) + inputs->n; row < csv->n_rows; row++)
        B2_TRY(add_cell(inputs, path, b2_csv_cell(csv, row, at), err));
    return BLIP2_OK;
}

void b2_inputs_free(b2_inputs *inputs) {
    for (size_t i = 0; i < inputs->n; i++) free(inputs->paths[i]);
    for (size_t i = 0; i < inputs->n_texts; i++) free(inputs->texts[i]);
    free(inputs->paths);
    free(inputs->lines);
    free(inputs->texts);
    free(inputs->lists);
    b2_csv_free(&inputs->csv);
    *inputs = (b2_inputs){0};
}

uint64_t b2_inputs_bytes(const b2_inputs *inputs) {
    enum { BLOCK_BYTES = 16 }; /* of malloc, for each path */
    const b2_csv *csv = &inputs->csv;
    uint64_t bytes = inputs->capacity * sizeof *inputs->paths;
    for (size_t i = 0; i < inputs->n; i++) bytes += strlen(inputs->paths[i]) + BLOCK_BYTES;
    for (size_t i = 0; inputs->lines != NULL && i < inputs->n; i++)
        bytes += inputs->lines[i].len + sizeof *inputs->lines;
    for (size_t i = 0; i < csv->n_rows; i++) bytes += csv->rows[i].len + sizeof *csv->rows;
    return bytes;
}

/* ---- what a path means ----------------------------------------------------------------------------------------- */

static bool exists(const char *path) { return access(path, F_OK) == 0; }

static bool is_ascii(const char *text) {
    for (; *text != '\0'; text++)
        if ((unsigned char)*text >= 0x80) return false;
    return true;
}

/* The path in the other of Unicode's two forms, if that is another path and exists; from malloc. */
static char *find_other_form(const char *path) {
    if (is_ascii(path)) return NULL;
    const utf8proc_uint8_t *bytes = (const utf8proc_uint8_t *)path;
    for (int i = 0; i < 2; i++) {
        char *other = (char *)(i == 0 ? utf8proc_NFC(bytes) : utf8proc_NFD(bytes));
        if (other != NULL && strcmp(other, path) != 0 && exists(other)) return other;
        free(other);
    }
    return NULL;
}

/* The path below folder (NULL: as it is) in whichever form exists; NULL: none does, or no memory. */
static char *find_below(const char *folder, const char *path, bool *is_other_form) {
    char *candidate = folder != NULL ? b2_path_join(folder, path) : strdup(path);
    if (candidate == NULL || exists(candidate)) return candidate;
    char *found = find_other_form(candidate);
    for (char *s = candidate; found == NULL && *s != '\0'; s++)
        if (*s == '\\') *s = '/';
    if (found == NULL && exists(candidate)) return candidate;
    if (found == NULL) found = find_other_form(candidate);
    free(candidate);
    *is_other_form = found != NULL;
    return found;
}

char *b2_inputs_resolve(const b2_inputs *inputs, size_t i, const char *path, bool *is_other_form) {
    const bool is_absolute = path[0] == '/';
    const b2_list_part *list = b2_inputs_list_of(inputs, i);
    bool is_other = false;
    char *found = NULL;
    if (inputs->base_folder != NULL && !is_absolute) {
        found = find_below(inputs->base_folder, path, &is_other);
        if (found == NULL) found = b2_path_join(inputs->base_folder, path);
    } else {
        found = find_below(NULL, path, &is_other);
        if (found == NULL && !is_absolute && list != NULL && strcmp(list->path, "-") != 0) {
            char *folder = b2_path_folder(list->path);
            if (folder != NULL) found = find_below(folder, path, &is_other);
            free(folder);
        }
        if (found == NULL) found = strdup(path);
    }
    if (is_other_form != NULL) *is_other_form = is_other;
    return found;
}

static uint64_t hash_text(b2_text text, uint64_t hash) { return XXH3_64bits_withSeed(text.data, text.len, hash); }

/* What was possible from the beginning (one list, commas, a header) adds nothing of its own: journals stay valid. */
static uint64_t hash_kind(const b2_inputs *inputs, uint64_t hash) {
    const b2_csv *csv = &inputs->csv;
    if (inputs->has_csv && csv->style.separator != ',') hash = hash_text((b2_text){&csv->style.separator, 1}, hash);
    if (inputs->has_csv && csv->no_header) hash = hash_text((b2_text){"no header", 9}, hash);
    for (size_t k = 1; k < inputs->n_lists; k++) {
        char first[32];
        const int n = snprintf(first, sizeof first, "list %zu", inputs->lists[k].first);
        hash = hash_text((b2_text){first, (size_t)n}, hash);
    }
    return hash;
}

uint64_t b2_inputs_hash(const b2_inputs *inputs) {
    uint64_t hash = inputs->base_folder != NULL ? XXH3_64bits(inputs->base_folder, strlen(inputs->base_folder)) : 0;
    hash = hash_kind(inputs, hash);
    for (size_t i = 0; i < inputs->n; i++)
        hash = hash_text((b2_text){inputs->paths[i], strlen(inputs->paths[i])}, hash);
    for (size_t i = 0; inputs->lines != NULL && i < inputs->n; i++) hash = hash_text(inputs->lines[i], hash);
    return b2_csv_hash(&inputs->csv, hash);
}

char *b2_inputs_path_from(const char *from, const b2_inputs *inputs, size_t i, const char *path) {
    char *resolved = inputs != NULL ? b2_inputs_resolve(inputs, i, path, NULL) : strdup(path);
    char *absolute = resolved != NULL ? b2_path_absolute(resolved) : NULL;
    char *folder_name = b2_path_folder(from), *folder = folder_name != NULL ? b2_path_absolute(folder_name) : NULL;
    char *relative = absolute != NULL && folder != NULL ? b2_path_relative(folder, absolute) : NULL;
    free(resolved);
    free(absolute);
    free(folder_name);
    free(folder);
    return relative;
}
