#include "cli/targets.h"

#include "cli/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- one and the same file ---------------------------------------------------------------------------------------------- */

/* Does a path end in this file name, with slashes or backslashes before it? Spares a million calls of stat(). */
static bool ends_in_name(const char *path, const char *name) {
    const size_t n_path = strlen(path), n_name = strlen(name);
    if (n_path < n_name || strcmp(path + n_path - n_name, name) != 0) return false;
    return n_path == n_name || path[n_path - n_name - 1] == '/' || path[n_path - n_name - 1] == '\\';
}

static const char *name_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* Outputs replace a name of a folder, so the names decide, not what links lead to. */
static bool is_same_file(const char *target, const struct stat *target_st, const char *other) {
    struct stat st;
    return ends_in_name(other, name_of(target)) && stat(other, &st) == 0 && st.st_dev == target_st->st_dev && st.st_ino == target_st->st_ino;
}

bool b2_targets_is_list(const b2_inputs *inputs, const char *path) {
    struct stat st;
    return inputs->list_path != NULL && stat(path, &st) == 0 && is_same_file(path, &st, inputs->list_path);
}

static bool is_model(const char *path) {
    char magic[4] = "";
    FILE *file = fopen(path, "rb");
    const bool is_one = file != NULL && fread(magic, 1, 4, file) == 4 && memcmp(magic, "GGUF", 4) == 0;
    if (file != NULL) fclose(file);
    return is_one;
}

static blip2_status check_pictures(const b2_inputs *inputs, const char *target, const struct stat *st, blip2_error *err) {
    for (size_t i = 0; i < inputs->n; i++) {
        if (!ends_in_name(inputs->paths[i], name_of(target))) continue;
        char *path = b2_inputs_resolve(inputs, inputs->paths[i]);
        const bool is_same = path != NULL && is_same_file(target, st, path);
        free(path);
        if (is_same)
            return b2_fail(err, BLIP2_ARGUMENT, "%s: is a picture of the list, it would be overwritten: choose another name for the output", target);
    }
    return BLIP2_OK;
}

/* ---- one target ------------------------------------------------------------------------------------------------------------ */

/* A file cannot be made where its folder is missing or read-only: better known now than after hours. */
static blip2_status check_writable(const char *path, blip2_error *err) {
    char *probe = malloc(strlen(path) + sizeof ".new");
    if (probe == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for a file name");
    sprintf(probe, "%s.new", path);
    const int fd = open(probe, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    const int why = errno;
    if (fd >= 0) close(fd), unlink(probe);
    free(probe);
    if (fd >= 0 || why == EEXIST) return BLIP2_OK; /* a run that was killed left it */
    return b2_fail(err, BLIP2_IO, "%s: cannot be written: %s", path, strerror(why));
}

static blip2_status check_target(const b2_inputs *inputs, const char *path, bool may_be_list, blip2_error *err) {
    struct stat st;
    const bool exists = stat(path, &st) == 0;
    if (exists && S_ISDIR(st.st_mode)) return b2_fail(err, BLIP2_IO, "%s: is a folder, expected the name of a file", path);
    if (exists && !S_ISREG(st.st_mode)) return BLIP2_OK; /* a pipe or a device takes what comes */
    if (exists && is_model(path))
        return b2_fail(err, BLIP2_ARGUMENT, "%s: is a model, it would be overwritten: choose another name for the output", path);
    if (exists && !may_be_list && b2_targets_is_list(inputs, path))
        return b2_fail(err, BLIP2_ARGUMENT, "%s: is the list itself, it would be overwritten: choose another name for the output", path);
    if (exists) B2_TRY(check_pictures(inputs, path, &st, err));
    return check_writable(path, err);
}

/* ---- both -------------------------------------------------------------------------------------------------------------------- */

blip2_status b2_targets_check(const b2_inputs *inputs, const b2_job_options *o, blip2_error *err) {
    const bool gives_table_back = inputs->has_csv && o->spec.has_format && o->spec.format == B2_FORMAT_CSV;
    if (o->output_path != NULL && o->report_path != NULL && b2_path_is_same(o->output_path, o->report_path))
        return b2_fail(err, BLIP2_ARGUMENT, "%s: is named by both -o and --report", o->output_path);
    if (o->output_path != NULL) B2_TRY(check_target(inputs, o->output_path, gives_table_back, err));
    return o->report_path != NULL ? check_target(inputs, o->report_path, false, err) : BLIP2_OK;
}
