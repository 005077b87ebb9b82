#include "cli/output.h"

#include "cli/common.h"
#include "cli/files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

blip2_status b2_output_fail(const b2_output *o, blip2_error *err) {
    return b2_fail(err, BLIP2_IO, "%s: cannot be written: %s", o->path != NULL ? o->path : "standard output", strerror(errno));
}

blip2_status b2_output_open(b2_output *o, const char *path, blip2_error *err) {
    *o = (b2_output){.file = stdout, .path = path};
    if (path == NULL) return BLIP2_OK;
    struct stat st;
    const bool exists = stat(path, &st) == 0, in_place = exists && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
    if (!in_place) {
        o->new_path = malloc(strlen(path) + sizeof ".new");
        if (o->new_path == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for a file name");
        sprintf(o->new_path, "%s.new", path);
    }
    o->file = fopen(in_place ? path : o->new_path, "wb");
    if (o->file != NULL) {
        if (exists && !in_place) fchmod(fileno(o->file), st.st_mode & 0777); /* who could read it still can, and no one else */
        b2_signals_set_cleanup(o->new_path);
        return BLIP2_OK;
    }
    const blip2_status status = b2_output_fail(o, err);
    free(o->new_path);
    *o = (b2_output){0};
    return status;
}

blip2_status b2_output_commit(b2_output *o, blip2_error *err) {
    bool written = fflush(o->file) == 0 && !ferror(o->file);
    if (o->path == NULL) return written ? BLIP2_OK : b2_output_fail(o, err);
    written = written && (fsync(fileno(o->file)) == 0 || errno == EINVAL || errno == ENOTSUP);
    const int why = errno;
    if (fclose(o->file) != 0 && written) written = false;
    else errno = why;
    if (o->new_path != NULL) {
        written = written && rename(o->new_path, o->path) == 0;
        if (written) b2_sync_folder(o->path); /* before the caller removes the journal */
    }
    const blip2_status status = written ? BLIP2_OK : b2_output_fail(o, err);
    if (!written && o->new_path != NULL) unlink(o->new_path);
    b2_signals_set_cleanup(NULL);
    free(o->new_path);
    *o = (b2_output){0};
    return status;
}

void b2_output_abandon(b2_output *o) {
    if (o->path == NULL || o->file == NULL) return;
    fclose(o->file);
    if (o->new_path != NULL) unlink(o->new_path);
    b2_signals_set_cleanup(NULL);
    free(o->new_path);
    *o = (b2_output){0};
}
