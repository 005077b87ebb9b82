/* open_model.c: a user names the model once, in the environment or by keeping it in the working folder, and every
 * command finds it. */
#include "console/open_model.h"

#include "base/cpu.h"
#include "base/mapfile.h"
#include "console/environment.h"
#include "console/say.h"
#include "console/signals.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

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
    size_t n_found = 0;
    char *found = NULL;
    *model = NULL;
    if (path == NULL) path = b2_environment_text("BLIP2_MODEL");
    if (path == NULL) path = found = find_only_model(&n_found);
    if (path == NULL) {
        b2_say(
            "no model file: looked at -m (not given), $BLIP2_MODEL (not set) and *.gguf in this folder (%zu found, expected 1); "
            "'blip2 convert' makes one",
            n_found);
        return B2_EXIT_MODEL;
    }
    blip2_error err;
    const blip2_status status = blip2_model_open(path, model, &err);
    free(found);
    if (status != BLIP2_OK) return b2_fail_with(&err, B2_EXIT_MODEL);
    blip2_model_info info = {.struct_bytes = sizeof info};
    blip2_model_describe(*model, &info);
    b2_signals_set_model(info.file_data, info.file_bytes);
    return B2_EXIT_OK;
}

void b2_close_model(blip2_model **model) {
    b2_signals_set_model(NULL, 0);
    blip2_model_close(model);
}

void b2_warn_when_paging(const blip2_model *model, const blip2_session_options *options, size_t n_sessions) {
    blip2_model_info info = {.struct_bytes = sizeof info};
    blip2_memory memory = {.struct_bytes = sizeof memory};
    blip2_model_describe(model, &info);
    const b2_memory_state state = b2_memory_available();
    if (state.available_bytes == 0 || blip2_session_measure(model, options, &memory, NULL) != BLIP2_OK) return;
    const uint64_t own_bytes = memory.total * n_sessions, needed = info.file_bytes + own_bytes;
    if (needed <= state.available_bytes) return;
    b2_say(
        "warning: the model (%.1f GB) and its work space (%.2f GB) exceed the memory available%s (%.1f GB): parts of the file "
        "will be read again and again, which is slow",
        (double)info.file_bytes * 1e-9, (double)own_bytes * 1e-9,
        state.limited_by_cgroup ? " to this process group" : "", (double)state.available_bytes * 1e-9);
}

/* As much room beside the file as prefetch.c wants: what is locked is taken from everybody. */
void b2_lock_model(const blip2_model *model) {
    blip2_model_info info = {.struct_bytes = sizeof info};
    blip2_error err;
    blip2_model_describe(model, &info);
    const uint64_t available = b2_memory_available().available_bytes, needed = info.file_bytes + info.file_bytes / 8;
    if (available > 0 && available < needed)
        b2_say("warning: --lock: the model is not locked, %.1f GB of memory are available, expected %.1f",
               (double)available * 1e-9, (double)needed * 1e-9);
    else if (b2_mapfile_lock(info.file_data, info.file_bytes, &err) != BLIP2_OK)
        b2_say("warning: --lock: the model is not locked: %s", err.message);
}

/* Neither tells enough alone: a page may bring 8 MB of neighbours or nearly none, and pictures are read from disk, too,
 * though not as pages of a map. */
enum { MANY_PAGES = 200 };

void b2_warn_when_pages_return(b2_page_watch *watch, bool is_locked) {
    const b2_disk_reads reads = b2_disk_reads_of_process();
    if (!watch->has_begun) watch->before = reads;
    watch->has_begun = true;
    if (watch->has_warned || reads.n_pages - watch->before.n_pages < MANY_PAGES ||
        reads.bytes - watch->before.bytes < watch->file_bytes / 4)
        return;
    watch->has_warned = true;
    b2_say("warning: memory is short, parts of the model file are read from disk again and again%s",
           is_locked ? "" : " (--lock keeps the file where the system permits it)");
}
