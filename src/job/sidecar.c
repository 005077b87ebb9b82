/* sidecar.c: where the text of a picture goes, whether two texts would meet there, and writing it all at once. */
#include "job/sidecar.h"

#include "base/file.h"
#include "base/leftovers.h"
#include "base/memory_text.h"
#include "base/path.h"

#include "blip2.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_SIDECAR_BYTES = 1 << 30 };

const char *const b2_existing_names[] = {"skip", "overwrite", "append", "prepend", NULL};

bool b2_sidecar_is_ending(const char *extension) {
    return extension[extension[0] == '.'] != '\0' && strchr(extension, '/') == NULL;
}

bool b2_sidecar_is_picture(const char *extension) {
    char name[16];
    bool is_read; /* by this build; another one may */
    if (strlen(extension) > sizeof name - 3) return false;
    snprintf(name, sizeof name, "x%s%s", extension[0] == '.' ? "" : ".", extension);
    return blip2_image_kind_of_name(name, &is_read) != NULL;
}

/* ---- where ----------------------------------------------------------------------------------------------------- */

/* A path made harmless below a folder: no leading slashes, no "." and "..". In place. */
static void keep_inside(char *path) {
    char *to = path;
    for (const char *at = path; *at != '\0';) {
        while (*at == '/') at++;
        const size_t len = strcspn(at, "/");
        const bool is_step = (len == 1 && at[0] == '.') || (len == 2 && strncmp(at, "..", 2) == 0);
        if (len > 0 && !is_step) {
            if (to > path) *to++ = '/';
            memmove(to, at, len);
            to += len;
        }
        at += len;
    }
    *to = '\0';
}

static char *mirror(const char *out_folder, const char *picture) {
    char *inside = strdup(picture);
    if (inside == NULL) return NULL;
    for (char *s = inside; *s != '\0'; s++)
        if (*s == '\\') *s = '/';
    keep_inside(inside);
    char *path = b2_path_join(out_folder, inside);
    free(inside);
    return path;
}

char *b2_sidecar_path(const b2_sidecar_options *o, const b2_inputs *inputs, size_t i, const char *picture) {
    char *path = o->out_folder != NULL ? mirror(o->out_folder, picture) : b2_inputs_resolve(inputs, i, picture, NULL);
    if (path == NULL) return NULL;
    const char *extension = o->extension != NULL ? o->extension : ".txt";
    char *name = strrchr(path, '/'), *dot;
    name = name != NULL ? name + 1 : path;
    dot = strrchr(name, '.');
    const size_t stem = dot != NULL && dot != name ? (size_t)(dot - path) : strlen(path);
    char *sidecar = malloc(stem + strlen(extension) + 2);
    if (sidecar != NULL) {
        memcpy(sidecar, path, stem);
        sidecar[stem] = '\0';
        if (extension[0] != '.') strcat(sidecar, ".");
        strcat(sidecar, extension);
    }
    free(path);
    return sidecar;
}

/* ---- two pictures, one text ------------------------------------------------------------------------------------ */

typedef struct destination {
    char *path;
    size_t picture;
} destination;

static int compare_destinations(const void *a, const void *b) {
    return strcmp(((const destination *)a)->path, ((const destination *)b)->path);
}

static blip2_status find_collision(const b2_inputs *inputs, const destination *all, blip2_error *err) {
    for (size_t i = 1; i < inputs->n; i++) {
        const char *before = inputs->paths[all[i - 1].picture], *after = inputs->paths[all[i].picture];
        if (strcmp(all[i - 1].path, all[i].path) == 0 && strcmp(before, after) != 0)
            return b2_fail(err, BLIP2_ARGUMENT,
                           "%s and %s would both write %s: caption them in two runs with two --ext or --out-dir",
                           before, after, all[i].path);
    }
    return BLIP2_OK;
}

/* A missing folder makes its pictures fail, each by itself; one that cannot be written to is said before any work. */
static blip2_status check_folder(const char *folder, blip2_error *err) {
    if (access(folder, W_OK) == 0 || (errno != EACCES && errno != EROFS && errno != EPERM)) return BLIP2_OK;
    return b2_fail(err, BLIP2_IO, "%s: cannot write sidecars here: %s; --out-dir DIR puts them elsewhere", folder,
                   strerror(errno));
}

/* all: sorted, so that a folder's files are neighbours. */
static blip2_status check_folders(const b2_inputs *inputs, const destination *all, blip2_error *err) {
    char *last = NULL;
    blip2_status status = BLIP2_OK;
    for (size_t i = 0; status == BLIP2_OK && i < inputs->n; i++) {
        char *folder = b2_path_folder(all[i].path);
        if (folder == NULL) status = b2_fail(err, BLIP2_MEMORY, "no memory for the names of the sidecars");
        else if (last == NULL || strcmp(last, folder) != 0) status = check_folder(folder, err);
        free(last);
        last = folder;
    }
    free(last);
    return status;
}

static blip2_status check_out_folder(const char *folder, blip2_error *err) {
    char *inside = b2_path_join(folder, ".");
    blip2_status status =
        inside != NULL ? b2_path_make_folders(inside, err) : b2_fail(err, BLIP2_MEMORY, "no memory for a file name");
    if (status == BLIP2_OK && access(inside, W_OK) != 0)
        status = b2_fail(err, BLIP2_IO, "%s: cannot write sidecars here: %s", folder, strerror(errno));
    free(inside);
    return status;
}

blip2_status b2_sidecar_check(const b2_sidecar_options *o, const b2_inputs *inputs, blip2_error *err) {
    if (o->out_folder != NULL) B2_TRY(check_out_folder(o->out_folder, err));
    destination *all = calloc(inputs->n + 1, sizeof *all);
    blip2_status status =
        all != NULL ? BLIP2_OK : b2_fail(err, BLIP2_MEMORY, "no memory for the names of the sidecars");
    for (size_t i = 0; status == BLIP2_OK && i < inputs->n; i++) {
        all[i] = (destination){b2_sidecar_path(o, inputs, i, inputs->paths[i]), i};
        if (all[i].path == NULL) status = b2_fail(err, BLIP2_MEMORY, "no memory for the names of the sidecars");
    }
    if (status == BLIP2_OK) qsort(all, inputs->n, sizeof *all, compare_destinations);
    if (status == BLIP2_OK) status = find_collision(inputs, all, err);
    if (status == BLIP2_OK && o->out_folder == NULL) status = check_folders(inputs, all, err);
    for (size_t i = 0; all != NULL && i < inputs->n; i++) free(all[i].path);
    free(all);
    return status;
}

/* ---- is it there? ---------------------------------------------------------------------------------------------- */

bool b2_sidecar_is_there(const char *path) {
    enum { BLANK_BYTES = 64 };
    char bytes[BLANK_BYTES];
    struct stat st;
    if (stat(path, &st) != 0) return lstat(path, &st) == 0;
    if (!S_ISREG(st.st_mode) || st.st_size >= BLANK_BYTES) return true;
    FILE *file = fopen(path, "rb");
    const size_t n = file != NULL ? fread(bytes, 1, sizeof bytes, file) : 0;
    bool is_blank = file != NULL;
    for (size_t i = 0; i < n; i++) is_blank &= strchr(" \t\r\n", bytes[i]) != NULL && bytes[i] != '\0';
    if (file != NULL) fclose(file);
    return !is_blank;
}

/* ---- writing --------------------------------------------------------------------------------------------------- */

/* Where all answers share one line, a line end within one is a space. */
static void write_text(const char *text, bool on_one_line, FILE *out) {
    for (; text != NULL && *text != '\0'; text++) putc(on_one_line && strchr("\r\n", *text) != NULL ? ' ' : *text, out);
}

/* The answers as the file has them; from malloc, NULL without memory. */
static char *join_answers(const b2_sidecar_options *o, const b2_record *record, size_t *len) {
    const bool on_one_line = o->separator != NULL;
    b2_memory_text text;
    FILE *out = b2_memory_text_begin(&text);
    if (out == NULL) return NULL;
    for (size_t i = 0; i < record->n_answers; i++) {
        if (i > 0) fputs(on_one_line ? o->separator : "\n", out);
        if (i == 0 || !on_one_line) write_text(o->prefix, false, out);
        write_text(record->answers[i].text, on_one_line, out);
        if (i + 1 == record->n_answers || !on_one_line) write_text(o->suffix, false, out);
    }
    if (record->n_answers > 0) putc('\n', out);
    if (!b2_memory_text_end(&text)) return NULL;
    *len = text.len;
    return text.text;
}

/* Old and new content as one; NULL with *is_there when the file has the text already, NULL without memory. */
static char *combine(const char *old, size_t n_old, const char *text, size_t n_text, bool prepend, size_t *n,
                     bool *is_there) {
    const bool ends_line = n_old == 0 || old[n_old - 1] == '\n';
    const size_t at_end = n_old >= n_text ? n_old - n_text : 0;
    /* whole lines only: "a dog\n" stands at the end of "photo of a dog\n" and is not there */
    const bool begins_line = prepend || at_end == 0 || old[at_end - 1] == '\n';
    *is_there = n_old >= n_text && begins_line && memcmp(prepend ? old : old + at_end, text, n_text) == 0;
    if (*is_there) return NULL;
    char *both = malloc(n_old + n_text + 2), *at = both;
    if (both == NULL) return NULL;
    if (prepend) at = (char *)memcpy(at, text, n_text) + n_text;
    at = (char *)memcpy(at, old, n_old) + n_old;
    if (!ends_line) *at++ = '\n';
    if (!prepend) at = (char *)memcpy(at, text, n_text) + n_text;
    *n = (size_t)(at - both);
    return both;
}

static blip2_status write_beside(const char *path, b2_existing existing, const char *text, size_t n_text,
                                 blip2_error *err) {
    if (existing == B2_EXISTING_OVERWRITE || !b2_sidecar_is_there(path)) return b2_file_write(path, text, n_text, err);
    if (existing == B2_EXISTING_SKIP) return BLIP2_OK;
    char *old;
    size_t n_old, n;
    bool is_there;
    B2_TRY(b2_file_read(path, MAX_SIDECAR_BYTES, &old, &n_old, err));
    char *both = combine(old, n_old, text, n_text, existing == B2_EXISTING_PREPEND, &n, &is_there);
    blip2_status status = BLIP2_OK;
    if (both != NULL) status = b2_file_write(path, both, n, err);
    else if (!is_there) status = b2_fail(err, BLIP2_MEMORY, "%s: no memory to read it", path);
    free(both);
    free(old);
    return status;
}

/* Below the folder that the user named, no link leads elsewhere: somebody else may have put it there. */
static blip2_status check_no_link(const char *out_folder, char *path, blip2_error *err) {
    blip2_status status = BLIP2_OK;
    for (char *slash = strchr(path + strlen(out_folder) + 1, '/'); slash != NULL && status == BLIP2_OK;
         slash = strchr(slash + 1, '/')) {
        struct stat st;
        *slash = '\0';
        if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode))
            status = b2_fail(err, BLIP2_IO, "%s: is a link, expected a folder below --out-dir", path);
        *slash = '/';
    }
    return status;
}

void b2_sidecar_sweep(const b2_sidecar_options *o, const b2_inputs *inputs, const b2_record *record) {
    char *path = b2_sidecar_path(o, inputs, record->index, record->path);
    if (path != NULL) b2_leftovers_sweep(path, NULL, NULL);
    free(path);
}

blip2_status b2_sidecar_write(const b2_sidecar_options *o, const b2_inputs *inputs, const b2_record *record,
                              blip2_error *err) {
    size_t n_text = 0;
    char *path = b2_sidecar_path(o, inputs, record->index, record->path), *text = join_answers(o, record, &n_text);
    blip2_status status =
        path != NULL && text != NULL ? BLIP2_OK : b2_fail(err, BLIP2_MEMORY, "no memory for a sidecar");
    if (status == BLIP2_OK && o->out_folder != NULL) status = check_no_link(o->out_folder, path, err);
    if (status == BLIP2_OK && o->out_folder != NULL) status = b2_path_make_folders(path, err);
    if (status == BLIP2_OK) status = write_beside(path, o->existing, text, n_text, err);
    free(path);
    free(text);
    return status;
}
