#include "cli/output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

blip2_status b2_output_fail(const b2_output *o, blip2_error *err) {
    return b2_fail(err, BLIP2_IO, "%s: cannot be written: %s", o->path != NULL ? o->part_path : "standard output", strerror(errno));
}

blip2_status b2_output_open(b2_output *o, const char *path, blip2_error *err) {
    *o = (b2_output){.file = stdout, .path = path};
    if (path == NULL) return BLIP2_OK;
    const size_t len = strlen(path) + sizeof ".part";
    o->part_path = malloc(len);
    if (o->part_path == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for a file name");
    snprintf(o->part_path, len, "%s.part", path);
    o->file = fopen(o->part_path, "wb");
    if (o->file != NULL) return BLIP2_OK;
    const blip2_status status = b2_output_fail(o, err);
    free(o->part_path);
    *o = (b2_output){0};
    return status;
}

blip2_status b2_output_commit(b2_output *o, blip2_error *err) {
    bool written = fflush(o->file) == 0 && !ferror(o->file);
    if (o->path == NULL) return written ? BLIP2_OK : b2_output_fail(o, err);
    written = written && (fsync(fileno(o->file)) == 0 || errno == EINVAL || errno == ENOTSUP);
    written = fclose(o->file) == 0 && written;
    written = written && rename(o->part_path, o->path) == 0;
    const blip2_status status = written ? BLIP2_OK : b2_output_fail(o, err);
    free(o->part_path);
    *o = (b2_output){0};
    return status;
}

bool b2_output_abandon(b2_output *o) {
    if (o->path == NULL || o->file == NULL) return false;
    const bool is_empty = ftell(o->file) <= 0;
    fclose(o->file);
    if (is_empty) unlink(o->part_path);
    free(o->part_path);
    *o = (b2_output){0};
    return !is_empty;
}
