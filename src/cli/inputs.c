#include "cli/inputs.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

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
static bool looks_like_picture(const char *name) {
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

static blip2_status add_folder(b2_inputs *inputs, const char *folder, bool recursive, int depth, blip2_error *err) {
    char **names;
    size_t n;
    blip2_status status = list_names(folder, &names, &n, err);
    const size_t folder_len = strlen(folder);
    const char *slash = folder_len > 0 && folder[folder_len - 1] == '/' ? "" : "/";
    for (size_t i = 0; i < n; i++) {
        const size_t len = folder_len + strlen(names[i]) + 2;
        char *path = status == BLIP2_OK ? malloc(len) : NULL;
        if (path != NULL) {
            snprintf(path, len, "%s%s%s", folder, slash, names[i]);
            if (is_folder(path)) {
                if (recursive && depth < 64) status = add_folder(inputs, path, true, depth + 1, err);
            } else if (looks_like_picture(names[i])) {
                status = append(inputs, path, err);
            }
        } else if (status == BLIP2_OK) {
            status = b2_fail(err, BLIP2_MEMORY, "no memory for the list of pictures");
        }
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
    return is_folder(path) ? add_folder(inputs, path, recursive, 0, err) : append(inputs, path, err);
}

/* ---- lists -------------------------------------------------------------------------------------------------------- */

blip2_status b2_inputs_add_list(b2_inputs *inputs, const char *path, int kind, blip2_error *err) {
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    if (file == NULL) return b2_fail(err, BLIP2_IO, "%s: cannot be opened: %s", path, strerror(errno));
    char *line = NULL;
    size_t capacity = 0;
    blip2_status status = BLIP2_OK;
    for (ssize_t n; status == BLIP2_OK && (n = getdelim(&line, &capacity, kind == B2_LIST_NUL ? '\0' : '\n', file)) > 0;) {
        if (kind == B2_LIST_LINES)
            while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r')) line[--n] = '\0';
        if (line[0] != '\0') status = append(inputs, line, err);
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

void b2_inputs_free(b2_inputs *inputs) {
    for (size_t i = 0; i < inputs->n; i++) free(inputs->paths[i]);
    free(inputs->paths);
    b2_csv_free(&inputs->csv);
    *inputs = (b2_inputs){0};
}

char *b2_inputs_resolve(const char *path) {
    char *resolved = strdup(path);
    if (resolved == NULL || strchr(path, '\\') == NULL || access(path, F_OK) == 0) return resolved;
    for (char *s = resolved; *s != '\0'; s++)
        if (*s == '\\') *s = '/';
    return resolved;
}
