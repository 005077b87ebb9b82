#include "cli/common.h"

#include "base/cpu.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void b2_say(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("blip2: ", stderr);
    vfprintf(stderr, format, args);
    putc('\n', stderr);
    va_end(args);
}

int b2_fail_with(const blip2_error *err, int exit_code) {
    b2_say("%s", err->message);
    if (err->status == BLIP2_MEMORY) return B2_EXIT_MEMORY;
    return err->status == BLIP2_ARGUMENT ? B2_EXIT_USAGE : exit_code;
}

int b2_fail_input(const blip2_error *err) {
    const int signal_code = b2_signals_exit_code();
    if (signal_code == B2_EXIT_OK) return b2_fail_with(err, B2_EXIT_FILES);
    b2_say("interrupted before anything was done");
    return signal_code;
}

int b2_fail_usage(const char *command, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "blip2 %s: ", command);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\nblip2 %s --help lists the options\n", command);
    va_end(args);
    return B2_EXIT_USAGE;
}

/* ---- the model ------------------------------------------------------------------------------------------------------ */

/* The only *.gguf here, from malloc; NULL, with their number, when there is none or more than one. */
static char *find_only_model(size_t *n_found) {
    char *found = NULL;
    *n_found = 0;
    DIR *dir = opendir(".");
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        const char *dot = strrchr(entry->d_name, '.');
        if (dot == NULL || dot == entry->d_name || strcmp(dot, ".gguf") != 0) continue;
        if (++*n_found == 1) found = strdup(entry->d_name);
    }
    if (dir != NULL) closedir(dir);
    if (*n_found == 1) return found;
    free(found);
    return NULL;
}

int b2_open_model(const char *path, blip2_model **model) {
    const char *from_environment = getenv("BLIP2_MODEL");
    size_t n_found = 0;
    char *found = NULL;
    *model = NULL;
    if (path == NULL && from_environment != NULL && from_environment[0] != '\0') path = from_environment;
    if (path == NULL) path = found = find_only_model(&n_found);
    if (path == NULL) {
        b2_say("no model file: looked at -m (not given), $BLIP2_MODEL (not set) and *.gguf in this folder (%zu found, expected 1); "
               "'blip2 convert' makes one", n_found);
        return B2_EXIT_MODEL;
    }
    blip2_error err;
    const blip2_status status = blip2_model_open(path, model, &err);
    free(found);
    return status == BLIP2_OK ? 0 : b2_fail_with(&err, B2_EXIT_MODEL);
}

static int positive_environment(const char *name) {
    const char *value = getenv(name);
    const long n = value != NULL ? strtol(value, NULL, 10) : 0;
    return n >= 1 && n <= 4096 ? (int)n : 0;
}

int b2_choose_threads(int from_option) {
    if (from_option > 0) return from_option;
    const int from_openmp = positive_environment("OMP_NUM_THREADS");
    return from_openmp > 0 ? from_openmp : positive_environment("SLURM_CPUS_PER_TASK");
}

void b2_warn_when_paging(const blip2_model *model, const blip2_session_options *options, size_t n_sessions) {
    blip2_model_info info = {.struct_bytes = sizeof info};
    blip2_memory memory = {.struct_bytes = sizeof memory};
    blip2_model_describe(model, &info);
    const b2_memory_state state = b2_memory_available();
    if (state.available_bytes == 0 || blip2_session_measure(model, options, &memory, NULL) != BLIP2_OK) return;
    const uint64_t own_bytes = memory.total * n_sessions, needed = info.file_bytes + own_bytes;
    if (needed <= state.available_bytes) return;
    b2_say("warning: the model (%.1f GB) and its work space (%.2f GB) exceed the memory available%s (%.1f GB): parts of the file "
           "will be read again and again, which is slow", (double)info.file_bytes * 1e-9, (double)memory.total * 1e-9,
           state.limited_by_cgroup ? " to this process group" : "", (double)state.available_bytes * 1e-9);
}
