/* targets.c: one table says which outputs may meet which inputs. Files are compared by device and inode, so that no
 * link and no ".." hides one; only regular files can be lost, so pipes and devices pass. */
#include "job/targets.h"

#include "base/file.h"
#include "base/leftovers.h"
#include "base/path.h"
#include "base/retry.h"
#include "base/target.h"
#include "console/output.h"
#include "job/header.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the table ------------------------------------------------------------------------------------------------- */

typedef enum role_out { OUT_OUTPUT, OUT_REPORT, OUT_SHARD, OUT_JOURNAL, OUT_STATE, OUT_SIDECAR, N_OUT } role_out;
typedef enum role_in {
    IN_LIST,
    IN_WORDS,
    IN_ANSWERS,
    IN_SHARD,
    IN_PICTURE,
    IS_MODEL,
    IS_PICTURE,
    IS_JOURNAL,
    IS_STATE,
    N_IN
} role_in;

/* NEVER; ITSELF: the name is the output's own from an earlier run; BACK: when the output gives the list back. */
typedef enum meeting { NEVER, ITSELF, BACK } meeting;

/* IN_ rows are files that the command reads; IS_ rows what any file is by its first bytes. */
static const struct {
    meeting with[N_OUT]; /* output, report, shard's file, journal, state, sidecar */
    const char *what;
} table[N_IN] = {
    [IN_LIST] = {{BACK, NEVER, NEVER, NEVER, NEVER, NEVER}, "is the list itself"},
    [IN_WORDS] = {{NEVER, NEVER, NEVER, NEVER, NEVER, NEVER}, "is a list of words"},
    [IN_ANSWERS] = {{NEVER, NEVER, NEVER, NEVER, NEVER, NEVER}, "is the list of answers or texts"},
    [IN_SHARD] = {{NEVER, NEVER, NEVER, NEVER, NEVER, NEVER}, "is a shard"},
    [IN_PICTURE] = {{NEVER, NEVER, NEVER, NEVER, NEVER, NEVER}, "is a picture of the list"},
    [IS_MODEL] = {{NEVER, NEVER, NEVER, NEVER, NEVER, NEVER}, "is a model"},
    [IS_PICTURE] = {{NEVER, NEVER, NEVER, NEVER, NEVER, NEVER}, "is a picture"},
    [IS_JOURNAL] = {{NEVER, NEVER, ITSELF, ITSELF, NEVER, NEVER}, "is a shard or journal of a job"},
    [IS_STATE] = {{NEVER, NEVER, NEVER, NEVER, ITSELF, NEVER}, "is what a job keeps of a finished output"},
};

static blip2_status refuse(const char *name, role_in in, role_out out, blip2_error *err) {
    const char *other = out == OUT_SIDECAR ? "another --ext or --out-dir" : "another name for the output";
    return b2_fail(err, BLIP2_ARGUMENT, "%s: %s, it would be overwritten: choose %s", name, table[in].what, other);
}

static bool may_meet(const b2_roles *r, role_in in, role_out out) {
    const meeting m = table[in].with[out];
    return m == ITSELF || (m == BACK && r->gives_list_back);
}

/* ---- what a file is -------------------------------------------------------------------------------------------- */

/* P1 to P6, white space, a number or a comment: a text may begin with P1. */
static bool is_pnm(const char *b, size_t n) {
    if (n < 4 || b[0] != 'P' || b[1] < '1' || b[1] > '6') return false;
    return b[2] == '#' || (strchr(" \t\r\n", b[2]) != NULL && strchr(" \t\r\n#0123456789", b[3]) != NULL);
}

/* The room image knows better, but it needs the whole file; here a picture only has to be told from text. (Four zeros
 * at 6: a BMP.) */
static bool is_picture(const char *b, size_t n) {
    static const struct {
        const char *bytes;
        size_t at, n;
    } signatures[] = {{"\xFF\xD8\xFF", 0, 3},
                      {"\x89PNG\r\n", 0, 6},
                      {"GIF8", 0, 4},
                      {"WEBP", 8, 4},
                      {"II*\0", 0, 4},
                      {"MM\0*", 0, 4},
                      {"ftyp", 4, 4},
                      {"\xFF\x0A", 0, 2},
                      {"\0\0\0\x0CJXL ", 0, 8},
                      {"\0\0\0\0", 6, 4},
                      {"qoif", 0, 4},
                      {"8BPS\0", 0, 5},
                      {"P7\n", 0, 3},
                      {"II+\0", 0, 4},
                      {"MM\0+", 0, 4},
                      {"PF\n", 0, 3},
                      {"Pf\n", 0, 3},
                      {"IIU\0", 0, 4},
                      {"IIRO", 0, 4},
                      {"FUJIFILM", 0, 8},
                      {"II\xBC\x01", 0, 4},
                      {"\0\0\0\x0CjP  ", 0, 8},
                      {"\xFF\x4F\xFF\x51", 0, 4},
                      {"gimp xcf", 0, 8},
                      {"\x76\x2F\x31\x01", 0, 4},
                      {"\0\0\1\0", 0, 4}};
    for (size_t i = 0; i < sizeof signatures / sizeof signatures[0]; i++)
        if (signatures[i].at + signatures[i].n <= n &&
            memcmp(b + signatures[i].at, signatures[i].bytes, signatures[i].n) == 0)
            return true;
    return is_pnm(b, n);
}

/* IS_MODEL, IS_PICTURE, IS_JOURNAL or IS_STATE; N_IN: nothing that is known. */
static role_in recognise(const char *path) {
    char bytes[32];
    const size_t n = b2_file_start(path, bytes, sizeof bytes);
    if (n >= 4 && memcmp(bytes, "GGUF", 4) == 0) return IS_MODEL;
    if (is_picture(bytes, n)) return IS_PICTURE;
    if (n == sizeof bytes && memcmp(bytes, B2_STATE_START, sizeof B2_STATE_START - 1) == 0) return IS_STATE;
    return n == sizeof bytes && b2_header_may_begin(bytes, n) ? IS_JOURNAL : N_IN;
}

/* ---- files that the command reads ------------------------------------------------------------------------------ */

static bool is_file(const struct stat *a, const char *path) {
    struct stat b;
    return stat(path, &b) == 0 && a->st_dev == b.st_dev && a->st_ino == b.st_ino;
}

static bool is_list(const b2_inputs *inputs, const struct stat *st) {
    for (size_t i = 0; inputs != NULL && i < inputs->n_lists; i++)
        if (is_file(st, inputs->lists[i].path)) return true;
    return false;
}

bool b2_targets_is_list(const b2_inputs *inputs, const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && is_list(inputs, &st);
}

/* Which input other than a picture is this file? N_IN: none. */
static role_in find_input(const b2_roles *r, const struct stat *st) {
    if (is_list(r->inputs, st)) return IN_LIST;
    for (size_t i = 0; i < r->n_words; i++) {
        const char *equals = strchr(r->words[i], '=');
        if (is_file(st, equals != NULL ? equals + 1 : r->words[i])) return IN_WORDS;
    }
    if (r->answers != NULL && strcmp(r->answers, "-") != 0 && is_file(st, r->answers)) return IN_ANSWERS;
    for (size_t i = 0; i < r->n_shards; i++)
        if (is_file(st, r->shards[i])) return IN_SHARD;
    return N_IN;
}

/* ---- the outputs that have a name of their own ----------------------------------------------------------------- */

typedef struct outputs {
    b2_target targets[OUT_SIDECAR];
    const char *names[OUT_SIDECAR]; /* NULL: there is none */
} outputs;

/* A file cannot be made where its folder is missing or read-only: better known now than after hours. */
static blip2_status check_writable(const char *path, blip2_error *err) {
    b2_replacement probe;
    b2_leftovers_sweep(path, NULL,
                       NULL); /* a probe that was killed, too: where there is nothing to do, no one else does */
    B2_TRY(b2_replacement_open(path, true, &probe, err));
    b2_replacement_abandon(&probe);
    return BLIP2_OK;
}

static blip2_status refuse_state(const char *name, const char *why, blip2_error *err) {
    return b2_fail(err, BLIP2_ARGUMENT, "%s: %s: move it away, or --no-state", name, why);
}

static blip2_status check_output(const b2_roles *r, const outputs *o, role_out out, blip2_error *err) {
    const b2_target *t = &o->targets[out];
    const char *name = o->names[out];
    for (int other = 0; other < (int)out; other++)
        if (o->names[other] != NULL && b2_target_is_same(t, &o->targets[other]))
            return out == OUT_REPORT
                       ? b2_fail(err, BLIP2_ARGUMENT, "%s: is named by both -o and --report", o->names[OUT_OUTPUT])
                       : b2_fail(err, BLIP2_ARGUMENT, "%s: would be written by two of this job's outputs", name);
    if (t->kind != B2_TARGET_FILE) return BLIP2_OK;
    if (t->exists && S_ISDIR(t->st.st_mode))
        return b2_fail(err, BLIP2_IO, "%s: is a folder, expected the name of a file", name);
    if (t->exists) {
        const role_in read = find_input(r, &t->st), is = recognise(t->path);
        if (read != N_IN && !may_meet(r, read, out)) return refuse(name, read, out, err);
        if (is != N_IN && !may_meet(r, is, out)) return refuse(name, is, out, err);
        if (out == OUT_STATE && is != IS_STATE) return refuse_state(name, "is there, and not as blip2 writes it", err);
    }
    struct stat st;
    if (out == OUT_STATE && lstat(name, &st) == 0 && S_ISLNK(st.st_mode)) return refuse_state(name, "is a link", err);
    return out == OUT_JOURNAL ? BLIP2_OK : check_writable(name, err);
}

/* One look at each picture, and none when all outputs are new. */
static blip2_status check_pictures(const b2_roles *r, const outputs *o, blip2_error *err) {
    bool has_old = false;
    for (int out = 0; out < OUT_JOURNAL; out++)
        has_old |= o->names[out] != NULL && o->targets[out].exists && o->targets[out].kind == B2_TARGET_FILE;
    for (size_t i = 0; has_old && r->inputs != NULL && i < r->inputs->n; i++) {
        char *path = b2_inputs_resolve(r->inputs, i, r->inputs->paths[i], NULL);
        if (path == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for a file name");
        role_out met = N_OUT;
        for (int out = 0; out < OUT_JOURNAL && met == N_OUT; out++)
            if (o->names[out] != NULL && o->targets[out].exists && is_file(&o->targets[out].st, path))
                met = (role_out)out;
        free(path);
        if (met != N_OUT) return refuse(o->names[met], IN_PICTURE, met, err);
    }
    return BLIP2_OK;
}

/* ---- sidecars -------------------------------------------------------------------------------------------------- */

typedef struct identity {
    dev_t device;
    ino_t inode;
} identity;

static int compare_identities(const void *a, const void *b) {
    const identity *x = a, *y = b;
    if (x->device != y->device) return x->device < y->device ? -1 : 1;
    return x->inode < y->inode ? -1 : x->inode > y->inode;
}

static size_t list_identities(const b2_inputs *inputs, identity *all) {
    size_t n = 0;
    for (size_t i = 0; i < inputs->n; i++) {
        struct stat st;
        char *path = b2_inputs_resolve(inputs, i, inputs->paths[i], NULL);
        if (path != NULL && stat(path, &st) == 0) all[n++] = (identity){st.st_dev, st.st_ino};
        free(path);
    }
    qsort(all, n, sizeof *all, compare_identities);
    return n;
}

/* Text is small: only a file of some size is opened to see what it is. */
static blip2_status check_sidecar(const b2_roles *r, const outputs *o, const identity *pictures, size_t n_pictures,
                                  const char *path, blip2_error *err) {
    enum { SMALL_BYTES = 64 };
    struct stat st;
    if (stat(path, &st) != 0) return BLIP2_OK;
    const identity own = {st.st_dev, st.st_ino};
    if (!S_ISREG(st.st_mode)) return b2_fail(err, BLIP2_ARGUMENT, "%s: expected a file or nothing there", path);
    if (bsearch(&own, pictures, n_pictures, sizeof own, compare_identities) != NULL)
        return refuse(path, IN_PICTURE, OUT_SIDECAR, err);
    const role_in read = find_input(r, &st), is = st.st_size > SMALL_BYTES ? recognise(path) : N_IN;
    for (int out = 0; out < OUT_SIDECAR; out++)
        if (o->names[out] != NULL && o->targets[out].exists && is_file(&o->targets[out].st, path))
            return b2_fail(err, BLIP2_ARGUMENT, "%s: would be written by two of this job's outputs", path);
    if (read != N_IN) return refuse(path, read, OUT_SIDECAR, err);
    return is != N_IN ? refuse(path, is, OUT_SIDECAR, err) : BLIP2_OK;
}

/* An output that is not there yet may be a sidecar's name, too. */
static bool is_new_output(const outputs *o, const char *path) {
    bool is_one = false;
    for (int out = 0; out < OUT_SIDECAR && !is_one; out++) {
        if (o->names[out] == NULL || strcmp(b2_path_base(o->targets[out].path), b2_path_base(path)) != 0) continue;
        b2_target t;
        is_one = b2_target_find(path, &t, NULL) == BLIP2_OK && b2_target_is_same(&t, &o->targets[out]);
        b2_target_free(&t);
    }
    return is_one;
}

static blip2_status check_sidecars(const b2_roles *r, const outputs *o, blip2_error *err) {
    identity *pictures = malloc((r->inputs->n + 1) * sizeof *pictures);
    if (pictures == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for the names of the sidecars");
    const size_t n = list_identities(r->inputs, pictures);
    blip2_status status = BLIP2_OK;
    for (size_t i = 0; status == BLIP2_OK && i < r->inputs->n; i++) {
        char *path = b2_sidecar_path(r->sidecar, r->inputs, i, r->inputs->paths[i]);
        if (path == NULL) status = b2_fail(err, BLIP2_MEMORY, "no memory for the names of the sidecars");
        else if (is_new_output(o, path))
            status = b2_fail(err, BLIP2_ARGUMENT, "%s: would be written by two of this job's outputs", path);
        else status = check_sidecar(r, o, pictures, n, path, err);
        free(path);
    }
    free(pictures);
    return status;
}

/* ---- all ------------------------------------------------------------------------------------------------------- */

static blip2_status find_outputs(const b2_roles *r, outputs *o, blip2_error *err) {
    *o = (outputs){.names = {r->output, r->report, r->shard_path, r->journal, r->state}};
    for (int out = 0; out < OUT_SIDECAR; out++)
        if (o->names[out] != NULL) B2_TRY(b2_target_find(o->names[out], &o->targets[out], err));
    return BLIP2_OK;
}

blip2_status b2_targets_check(const b2_roles *r, blip2_error *err) {
    outputs o;
    blip2_status status = find_outputs(r, &o, err);
    if (status == BLIP2_OK) status = check_pictures(r, &o, err);
    for (int out = 0; status == BLIP2_OK && out < OUT_SIDECAR; out++)
        if (o.names[out] != NULL) status = check_output(r, &o, (role_out)out, err);
    if (status == BLIP2_OK && r->sidecar != NULL && r->sidecar->is_wanted) status = check_sidecars(r, &o, err);
    for (int out = 0; out < OUT_SIDECAR; out++) b2_target_free(&o.targets[out]);
    return status;
}
