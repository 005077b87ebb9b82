/* output.c: a file is replaced at once (base/file.h); stdout, pipes and devices take lines as they come. */
#include "console/output.h"

#include "base/leftovers.h"
#include "base/retry.h"
#include "base/target.h"
#include "console/signals.h"
#include "console/terminal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

blip2_status b2_output_fail(const b2_output *o, blip2_error *err) {
    return b2_fail_write(err, o->path != NULL ? o->path : "standard output", "cannot be written");
}

/* A descriptor is written where it stands; a duplicate, so that closing it closes nothing of the caller's. */
static FILE *open_stream(const b2_target *t) {
    fflush(stdout);
    const int fd =
        t->kind == B2_TARGET_STREAM ? open(t->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) : dup(t->fd);
    FILE *file = fd >= 0 ? b2_fdopen(fd, "wb", b2_signals_pending) : NULL;
    return b2_terminal_guard(file, fd);
}

static blip2_status open_target(b2_output *o, const b2_target *t, blip2_error *err) {
    if (t->kind != B2_TARGET_FILE) {
        o->file = open_stream(t);
        return o->file != NULL ? BLIP2_OK : b2_output_fail(o, err);
    }
    b2_leftovers_sweep(t->path, NULL, NULL);
    const blip2_status status = b2_replacement_open(o->path, true, &o->replacement, err);
    o->file = o->replacement.file;
    b2_signals_set_cleanup(o->replacement.new_path);
    return status;
}

blip2_status b2_output_open(b2_output *o, const char *path, blip2_error *err) {
    *o = (b2_output){.path = path};
    b2_target target;
    blip2_status status = b2_target_find(path != NULL ? path : "-", &target, err);
    if (status == BLIP2_OK) status = open_target(o, &target, err);
    b2_target_free(&target);
    return status;
}

blip2_status b2_output_forget(const char *output_path, blip2_error *err) {
    char bytes[sizeof B2_STATE_START], *path = malloc(strlen(output_path) + sizeof B2_STATE_ENDING);
    if (path == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for a file name");
    sprintf(path, "%s" B2_STATE_ENDING, output_path);
    const int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    const ssize_t n = fd >= 0 ? read(fd, bytes, sizeof bytes) : -1;
    blip2_status status = BLIP2_OK;
    if (fd >= 0) close(fd);
    if (n == (ssize_t)sizeof bytes && memcmp(bytes, B2_STATE_START, sizeof bytes - 1) == 0) {
        if (unlink(path) != 0) status = b2_fail_write(err, path, "cannot be removed");
        else b2_sync_folder(path);
    }
    free(path);
    return status;
}

blip2_status b2_output_commit(b2_output *o, blip2_error *err) {
    blip2_status status = BLIP2_OK;
    if (o->replacement.file != NULL) {
        char *path = strdup(o->replacement.path);
        status = path != NULL ? b2_output_forget(path, err) : b2_fail(err, BLIP2_MEMORY, "no memory for a file name");
        if (status == BLIP2_OK) status = b2_replacement_commit(&o->replacement, err);
        else b2_replacement_abandon(&o->replacement);
        if (status == BLIP2_OK && path != NULL) b2_sync_folder(path); /* before the caller removes the journal */
        free(path);
        b2_signals_set_cleanup(NULL);
    } else {
        const bool is_written = fflush(o->file) == 0 && !ferror(o->file);
        if (fclose(o->file) != 0 || !is_written) status = b2_output_fail(o, err);
    }
    o->file = NULL;
    return status;
}

void b2_output_abandon(b2_output *o) {
    if (o->replacement.file != NULL) {
        b2_replacement_abandon(&o->replacement);
        b2_signals_set_cleanup(NULL);
    } else if (o->file != NULL) {
        fclose(o->file);
    }
    o->file = NULL;
}
