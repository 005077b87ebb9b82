#include "cli/inputs.h"

#include "cli/files.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

static blip2_status append(b2_inputs *inputs, const char *path, blip2_error *err) {
    if (inputs->n == inputs->capacity) {
        const size_t capacity = inputs->capacity > 0 ? 2 * inputs->capacity : 64;
        char **larger = realloc(inputs->paths, capacity * sizeof *larger);
        if (larger == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for the list of pictures");
        inputs->paths = larger;
        inputs->capacity = capacity;
    }
    char *copy = strdup(path);
    if (copy == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for the list of pictures");
    inputs->paths[inputs->n++] = copy;
    return BLIP2_OK;
}

/* ---- folders ------------------------------------------------------------------------------------------------------ */

/* In a folder only names that look like pictures count; a file named on the command line is opened whatever its name. */
bool b2_looks_like_picture(const char *name) {
    static const char *const extensions[] = {".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".pbm", ".pnm", ".jpe", ".jfif"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot != NULL && i < sizeof extensions / sizeof extensions[0]; i++)
        if (strcasecmp(dot, extensions[i]) == 0) return true;
    return false;
}

static int compare_names(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static bool is_folder(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Pipes, sockets and devices of a folder are no pictures: to open a pipe may take for ever. A link that leads nowhere is
 * listed, so that its failure is told. */
static bool may_be_picture(const char *path) {
    struct stat st;
    return stat(path, &st) != 0 || S_ISREG(st.st_mode);
}

/* A folder and those that led to it: a link back to one of them is not followed, or the same pictures would come again and
 * again (two such links side by side: without end). */
typedef struct folder_chain {
    const struct folder_chain *above;
    dev_t device;
    ino_t inode;
} folder_chain;

static bool is_within(const char *folder, const folder_chain *chain, folder_chain *mine) {
    struct stat st;
    if (stat(folder, &st) != 0) return false; /* the listing says why */
    *mine = (folder_chain){.above = chain, .device = st.st_dev, .inode = st.st_ino};
    for (; chain != NULL; chain = chain->above)
        if (chain->device == st.st_dev && chain->inode == st.st_ino) return true;
    return false;
}

/* The folder's names, sorted by bytes: the same order on every machine. */
static blip2_status list_names(const char *folder, char ***names, size_t *n, blip2_error *err) {
    DIR *dir = opendir(folder);
    *names = NULL;
    *n = 0;
    if (dir == NULL) return b2_fail(err, BLIP2_IO, "%s: cannot be listed: %s", folder, strerror(errno));
    b2_inputs list = {0};
    blip2_status status = BLIP2_OK;
    for (struct dirent *entry; status == BLIP2_OK && (entry = readdir(dir)) != NULL;)
        if (entry->d_name[0] != '.') status = append(&list, entry->d_name, err);
    closedir(dir);
    if (list.n > 0) qsort(list.paths, list.n, sizeof *list.paths, compare_names);
    *names = list.paths;
    *n = list.n;
    return status;
}

static blip2_status add_folder(b2_inputs *inputs, const char *folder, bool recursive, const folder_chain *above, blip2_error *err);

/* One name of a folder: a picture, a folder, or something else. */
static blip2_status add_entry(b2_inputs *inputs, const char *path, bool recursive, const folder_chain *chain, blip2_error *err) {
    if (is_folder(path)) return recursive ? add_folder(inputs, path, true, chain, err) : BLIP2_OK;
    return b2_looks_like_picture(path) && may_be_picture(path) ? append(inputs, path, err) : BLIP2_OK;
}

static blip2_status add_folder(b2_inputs *inputs, const char *folder, bool recursive, const folder_chain *above, blip2_error *err) {
    char **names;
    size_t n;
    folder_chain mine = {0};
    if (is_within(folder, above, &mine)) return BLIP2_OK;
    blip2_status status = list_names(folder, &names, &n, err);
    for (size_t i = 0; i < n; i++) {
        char *path = status == BLIP2_OK ? b2_path_join(folder, names[i]) : NULL;
        if (path != NULL) status = add_entry(inputs, path, recursive, &mine, err);
        else if (status == BLIP2_OK) status = b2_fail(err, BLIP2_MEMORY, "no memory for the list of pictures");
        free(path);
        free(names[i]);
    }
    free(names);
    return status;
}

blip2_status b2_inputs_add_path(b2_inputs *inputs, const char *path, bool recursive, blip2_error *err) {
    if (strcmp(path, "-") == 0) {
        if (inputs->has_stdin_picture) return b2_fail(err, BLIP2_ARGUMENT, "stdin (-) can be named once");
        inputs->has_stdin_picture = true;
    }
    return is_folder(path) ? add_folder(inputs, path, recursive, NULL, err) : append(inputs, path, err);
}

/* ---- lists -------------------------------------------------------------------------------------------------------- */

/* The UTF-8 mark that Windows' editors put before the first line. */
static size_t mark_length(const char *bytes, size_t n) { return n >= 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0; }

blip2_status b2_inputs_add_list(b2_inputs *inputs, const char *path, int kind, blip2_error *err) {
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    if (file == NULL) return b2_fail(err, BLIP2_IO, "%s: cannot be opened: %s", path, strerror(errno));
    inputs->list_path = path;
    char *line = NULL;
    size_t capacity = 0;
    bool is_first = true;
    blip2_status status = BLIP2_OK;
    for (ssize_t n; status == BLIP2_OK && (n = getdelim(&line, &capacity, kind == B2_LIST_NUL ? '\0' : '\n', file)) > 0; is_first = false) {
        if (kind == B2_LIST_LINES)
            while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r')) line[--n] = '\0';
        const char *name = line + (is_first && kind == B2_LIST_LINES ? mark_length(line, (size_t)n) : 0);
        if (*name != '\0') status = append(inputs, name, err);
        else inputs->n_blank++;
    }
    if (status == BLIP2_OK && ferror(file)) status = b2_fail(err, BLIP2_IO, "%s: cannot be read: %s", path, strerror(errno));
    free(line);
    if (file != stdin) fclose(file);
    return status;
}

blip2_status b2_inputs_add_csv(b2_inputs *inputs, const char *path, const char *column, blip2_error *err) {
    size_t at = 0;
    B2_TRY(b2_csv_load(path, &inputs->csv, err));
    inputs->has_csv = true;
    inputs->column = column;
    inputs->list_path = path;
    inputs->n_blank = inputs->csv.n_blank;
    if (column != NULL) {
        const blip2_status status = b2_csv_find_column(&inputs->csv, column, &at, err);
        if (status != BLIP2_OK) {
            b2_error_prefix(err, "%s", path);
            return status;
        }
    }
    for (size_t row = 1; row < inputs->csv.n_rows; row++) {
        char *value = b2_csv_value(b2_csv_cell(&inputs->csv, row, at));
        const blip2_status status = value == NULL ? b2_fail(err, BLIP2_MEMORY, "%s: no memory", path) : append(inputs, value, err);
        free(value);
        B2_TRY(status);
    }
    return BLIP2_OK;
}

/* ---- JSON lines ----------------------------------------------------------------------------------------------------- */

static blip2_status add_json_line(b2_inputs *inputs, const char *name, size_t number, b2_text line, const char *key, blip2_error *err) {
    json_error_t why;
    json_t *object = json_loadb(line.data, line.len, 0, &why);
    const char *path = json_string_value(json_object_get(object, key));
    blip2_status status;
    if (object == NULL) status = b2_fail(err, BLIP2_FORMAT, "%s: line %zu is no JSON: %s", name, number, why.text);
    else if (path == NULL) status = b2_fail(err, BLIP2_FORMAT, "%s: line %zu has no text \"%s\" (--image-key names the member with the path)", name, number, key);
    else status = append(inputs, path, err);
    json_decref(object);
    return status;
}

static blip2_status add_json_lines(b2_inputs *inputs, const char *name, size_t n_bytes, const char *key, blip2_error *err) {
    const char *at = inputs->line_bytes + mark_length(inputs->line_bytes, n_bytes), *end = inputs->line_bytes + n_bytes;
    size_t capacity = 0;
    for (size_t number = 1; at < end; number++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        b2_text line = {at, (size_t)((newline != NULL ? newline : end) - at)};
        at = newline != NULL ? newline + 1 : end;
        while (line.len > 0 && (line.data[line.len - 1] == '\r' || line.data[line.len - 1] == ' ')) line.len--;
        if (line.len == 0) {
            inputs->n_blank++;
            continue;
        }
        if (inputs->n == capacity) {
            b2_text *larger = realloc(inputs->lines, (capacity = capacity > 0 ? 2 * capacity : 256) * sizeof *larger);
            if (larger == NULL) return b2_fail(err, BLIP2_MEMORY, "%s: no memory to read it", name);
            inputs->lines = larger;
        }
        inputs->lines[inputs->n] = line;
        B2_TRY(add_json_line(inputs, name, number, line, key, err));
    }
    return BLIP2_OK;
}

blip2_status b2_inputs_add_jsonl(b2_inputs *inputs, const char *path, const char *key, blip2_error *err) {
    size_t n_bytes = 0;
    inputs->list_path = path;
    inputs->column = key;
    B2_TRY(b2_read_whole(path, &inputs->line_bytes, &n_bytes, err));
    return add_json_lines(inputs, path, n_bytes, key, err);
}

void b2_inputs_free(b2_inputs *inputs) {
    for (size_t i = 0; i < inputs->n; i++) free(inputs->paths[i]);
    free(inputs->paths);
    free(inputs->lines);
    free(inputs->line_bytes);
    b2_csv_free(&inputs->csv);
    *inputs = (b2_inputs){0};
}

uint64_t b2_inputs_bytes(const b2_inputs *inputs) {
    enum { BLOCK_BYTES = 16 }; /* of malloc, for each path */
    uint64_t bytes = inputs->capacity * sizeof *inputs->paths;
    for (size_t i = 0; i < inputs->n; i++) bytes += strlen(inputs->paths[i]) + BLOCK_BYTES;
    for (size_t i = 0; inputs->lines != NULL && i < inputs->n; i++) bytes += inputs->lines[i].len + sizeof *inputs->lines;
    if (!inputs->has_csv) return bytes;
    const b2_csv *csv = &inputs->csv;
    const size_t n_cells = csv->row_start[csv->n_rows];
    const b2_text last = n_cells > 0 ? csv->cells[n_cells - 1] : (b2_text){csv->bytes, 0};
    return bytes + (uint64_t)(last.data + last.len - csv->bytes) + n_cells * sizeof *csv->cells + csv->n_rows * sizeof *csv->row_start;
}

/* ---- what a path means ------------------------------------------------------------------------------------------------ */

/* The path, or the path with slashes for backslashes, below folder (NULL: as it is), when it exists. */
static char *find_below(const char *folder, const char *path) {
    char *candidate = folder != NULL ? b2_path_join(folder, path) : strdup(path);
    if (candidate == NULL || access(candidate, F_OK) == 0) return candidate;
    for (char *s = candidate; *s != '\0'; s++)
        if (*s == '\\') *s = '/';
    if (access(candidate, F_OK) == 0) return candidate;
    free(candidate);
    return NULL;
}

char *b2_inputs_resolve(const b2_inputs *inputs, const char *path) {
    const bool is_absolute = path[0] == '/';
    char *found = NULL;
    if (inputs->base_folder != NULL && !is_absolute) {
        found = find_below(inputs->base_folder, path);
        return found != NULL ? found : b2_path_join(inputs->base_folder, path);
    }
    found = find_below(NULL, path);
    if (found == NULL && !is_absolute && inputs->list_path != NULL && strcmp(inputs->list_path, "-") != 0) {
        char *folder = b2_path_folder(inputs->list_path);
        if (folder != NULL) found = find_below(folder, path);
        free(folder);
    }
    return found != NULL ? found : strdup(path);
}

uint64_t b2_inputs_hash(const b2_inputs *inputs) {
    uint64_t hash = inputs->base_folder != NULL ? XXH3_64bits(inputs->base_folder, strlen(inputs->base_folder)) : 0;
    for (size_t i = 0; i < inputs->n; i++) hash = XXH3_64bits_withSeed(inputs->paths[i], strlen(inputs->paths[i]), hash);
    for (size_t i = 0; inputs->lines != NULL && i < inputs->n; i++) hash = XXH3_64bits_withSeed(inputs->lines[i].data, inputs->lines[i].len, hash);
    for (size_t i = 0; inputs->has_csv && i < inputs->csv.row_start[inputs->csv.n_rows]; i++)
        hash = XXH3_64bits_withSeed(inputs->csv.cells[i].data, inputs->csv.cells[i].len, hash);
    return hash;
}
