#include "convert/torch_zip.h"

#include "base/retry.h"

#include "convert/lookalike.h"
#include "convert/torch_types.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

enum { ENTRIES_MAX = 1 << 20, ROOT_MAX_BYTES = 512 };

struct b2_torch_zip {
    char *path;
    zip_t *archive;
    char root[ROOT_MAX_BYTES]; /* the folder in the archive that holds data.pkl, with its slash */

    zip_file_t *reader; /* the entry being read, how far, and its size */
    uint64_t entry, at, entry_bytes;
};

/* ---- reading --------------------------------------------------------------------------------------------------- */

static blip2_status fail_zip(const b2_torch_zip *f, uint64_t entry, blip2_status status, const char *reason,
                             blip2_error *err) {
    const char *name = zip_get_name(f->archive, entry, ZIP_FL_ENC_RAW);
    return b2_fail(err, status, "%s: entry %s cannot be read: %s", f->path, name == NULL ? "?" : name, reason);
}

/* Size of an entry that can be read as it lies. */
static blip2_status entry_size(b2_torch_zip *f, uint64_t entry, uint64_t *n_bytes, blip2_error *err) {
    zip_stat_t st;
    zip_stat_init(&st);
    const zip_uint64_t wanted = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
    if (zip_stat_index(f->archive, entry, 0, &st) != 0 || (st.valid & wanted) != wanted)
        return fail_zip(f, entry, BLIP2_IO, zip_strerror(f->archive), err);
    if (st.comp_method != ZIP_CM_STORE || st.encryption_method != ZIP_EM_NONE)
        return b2_fail(err, BLIP2_UNSUPPORTED, "%s: entry %s is compressed or encrypted, expected stored as it is",
                       f->path, st.name);
    *n_bytes = st.size;
    return BLIP2_OK;
}

static void close_reader(b2_torch_zip *f) {
    if (f->reader != NULL) zip_fclose(f->reader);
    f->reader = NULL;
}

static blip2_status fail_reading(b2_torch_zip *f, blip2_error *err) {
    const bool has_changed = zip_error_code_zip(zip_file_get_error(f->reader)) == ZIP_ER_CRC;
    const char *reason = has_changed ? "its checksum does not hold: a damaged download?" : zip_file_strerror(f->reader);
    const blip2_status status = fail_zip(f, f->entry, has_changed ? BLIP2_CHECKSUM : BLIP2_IO, reason, err);
    close_reader(f);
    return status;
}

/* Brings the reader to a byte of an entry. A stored entry can be skipped in without being read. */
static blip2_status seek(b2_torch_zip *f, uint64_t entry, uint64_t offset_bytes, blip2_error *err) {
    if (f->reader != NULL && f->entry == entry && f->at == offset_bytes) return BLIP2_OK;
    close_reader(f);
    B2_TRY(entry_size(f, entry, &f->entry_bytes, err));
    f->reader = zip_fopen_index(f->archive, entry, 0);
    if (f->reader == NULL) return fail_zip(f, entry, BLIP2_IO, zip_strerror(f->archive), err);
    f->entry = entry;
    f->at = offset_bytes;
    if (offset_bytes > 0 && zip_fseek(f->reader, (zip_int64_t)offset_bytes, SEEK_SET) != 0) return fail_reading(f, err);
    return BLIP2_OK;
}

/* libzip compares the checksum when it is asked for what lies beyond the end, if it has seen the entry from first to
 * last. */
static blip2_status check_end(b2_torch_zip *f, blip2_error *err) {
    uint8_t beyond;
    return f->at < f->entry_bytes || zip_fread(f->reader, &beyond, 1) == 0 ? BLIP2_OK : fail_reading(f, err);
}

blip2_status b2_torch_zip_read(b2_torch_zip *f, uint64_t entry, uint64_t offset_bytes, size_t n_bytes, void *out,
                               blip2_error *err) {
    B2_TRY(seek(f, entry, offset_bytes, err));
    uint8_t *to = out;
    while (n_bytes > 0) {
        const zip_int64_t got = zip_fread(f->reader, to, n_bytes);
        if (got < 0) return fail_reading(f, err);
        if (got == 0) return fail_zip(f, entry, BLIP2_IO, "it ends too early", err);
        to += got;
        f->at += (uint64_t)got;
        n_bytes -= (size_t)got;
    }
    return check_end(f, err);
}

/* ---- the archive's table --------------------------------------------------------------------------------------- */

/* data.pkl lies in the one folder of the archive, whose name is free. */
static blip2_status find_pickle(b2_torch_zip *f, uint64_t *entry, blip2_error *err) {
    const zip_int64_t n = zip_get_num_entries(f->archive, 0);
    if (n > ENTRIES_MAX)
        return b2_fail(err, BLIP2_LIMIT, "%s: has %" PRId64 " entries, expected at most %d", f->path, (int64_t)n,
                       (int)ENTRIES_MAX);
    for (zip_int64_t i = 0; i < n; i++) {
        const char *name = zip_get_name(f->archive, (zip_uint64_t)i, ZIP_FL_ENC_RAW);
        const char *slash = name == NULL ? NULL : strchr(name, '/');
        if (slash == NULL || strcmp(slash, "/data.pkl") != 0 || slash - name >= ROOT_MAX_BYTES - 1) continue;
        memcpy(f->root, name, (size_t)(slash + 1 - name));
        *entry = (uint64_t)i;
        return BLIP2_OK;
    }
    return b2_fail(err, BLIP2_FORMAT, "%s: is a zip archive without data.pkl, expected a PyTorch checkpoint", f->path);
}

/* The entry root + name; false when there is none. */
static bool find_entry(const b2_torch_zip *f, const char *name, size_t len, uint64_t *entry) {
    char full[ROOT_MAX_BYTES + 64];
    const int n = snprintf(full, sizeof full, "%s%.*s", f->root, (int)len, name);
    const zip_int64_t at = n > 0 && (size_t)n < sizeof full ? zip_name_locate(f->archive, full, ZIP_FL_ENC_RAW) : -1;
    *entry = (uint64_t)at;
    return at >= 0;
}

/* Newer archives say the order of their bytes. */
static blip2_status check_byte_order(b2_torch_zip *f, blip2_error *err) {
    uint64_t entry = 0, n_bytes = 0;
    char order[8] = {0};
    if (!find_entry(f, "byteorder", strlen("byteorder"), &entry)) return BLIP2_OK;
    B2_TRY(entry_size(f, entry, &n_bytes, err));
    if (n_bytes < sizeof order) B2_TRY(b2_torch_zip_read(f, entry, 0, (size_t)n_bytes, order, err));
    if (strcmp(order, "little") == 0) return BLIP2_OK;
    return b2_fail(err, BLIP2_UNSUPPORTED, "%s: its byte order is not little", f->path);
}

/* ---- tensors --------------------------------------------------------------------------------------------------- */

static blip2_status add_tensor(b2_torch_zip *f, const b2_pickle_tensor *p, b2_tensor_list *list, blip2_error *err) {
    b2_stored_tensor *t = NULL;
    uint64_t n_bytes = 0;
    size_t element_bytes = 0;
    char name[64];
    B2_TRY(b2_torch_describe(f->path, p, list, &t, &element_bytes, err));
    const int len = p->key.len > 50 ? -1 : snprintf(name, sizeof name, "data/%.*s", (int)p->key.len, p->key.data);
    if (len < 0 || !find_entry(f, name, (size_t)len, &t->entry))
        return b2_fail(err, BLIP2_FORMAT, "%s: the storage of tensor %s is not in the archive", f->path, t->name);
    B2_TRY(entry_size(f, t->entry, &n_bytes, err));
    if (p->storage_elements == n_bytes / element_bytes && n_bytes % element_bytes == 0) return BLIP2_OK;
    return b2_fail(err, BLIP2_FORMAT, "%s: the storage of tensor %s has %" PRIu64 " bytes, expected %" PRIu64 " x %zu",
                   f->path, t->name, n_bytes, p->storage_elements, element_bytes);
}

static blip2_status add_tensors(b2_torch_zip *f, b2_tensor_list *list, blip2_error *err) {
    uint64_t entry = 0, n_bytes = 0;
    B2_TRY(find_pickle(f, &entry, err));
    B2_TRY(check_byte_order(f, err));
    B2_TRY(entry_size(f, entry, &n_bytes, err));
    if (n_bytes > B2_PICKLE_MAX_BYTES)
        return b2_fail(err, BLIP2_LIMIT, "%s: its data.pkl has %" PRIu64 " bytes, expected at most %d", f->path,
                       n_bytes, (int)B2_PICKLE_MAX_BYTES);
    uint8_t *pickle = malloc((size_t)n_bytes + 1);
    if (pickle == NULL) return b2_fail(err, BLIP2_MEMORY, "%s: no memory for its data.pkl", f->path);
    b2_pickle_tensors tensors = {0};
    blip2_status status = b2_torch_zip_read(f, entry, 0, (size_t)n_bytes, pickle, err);
    if (status == BLIP2_OK) status = b2_pickle_read(f->path, pickle, (size_t)n_bytes, NULL, &tensors, err);
    for (size_t i = 0; status == BLIP2_OK && i < tensors.n; i++) status = add_tensor(f, &tensors.items[i], list, err);
    b2_pickle_tensors_free(&tensors);
    free(pickle);
    return status;
}

/* ---- opening --------------------------------------------------------------------------------------------------- */

static blip2_status check_magic(const char *path, blip2_error *err) {
    uint8_t start[4] = {0};
    errno = 0;
    const size_t n = b2_file_start(path, start, sizeof start);
    if (n == 0 && errno != 0) return b2_fail(err, BLIP2_IO, "%s: cannot be opened: %s", path, strerror(errno));
    if (n == sizeof start && memcmp(start, "PK\3\4", 4) == 0) return BLIP2_OK;
    B2_TRY(b2_lookalike_check_file(path, err));
    return b2_fail(err, BLIP2_FORMAT, "%s: is not a PyTorch checkpoint (a zip archive)", path);
}

static blip2_status open_archive(b2_torch_zip *f, blip2_error *err) {
    int code = 0;
    f->archive = zip_open(f->path, ZIP_RDONLY, &code);
    if (f->archive != NULL) return BLIP2_OK;
    zip_error_t reason;
    zip_error_init_with_code(&reason, code);
    const blip2_status status = b2_fail(err, code == ZIP_ER_MEMORY ? BLIP2_MEMORY : BLIP2_FORMAT,
                                        "%s: its zip archive cannot be opened: %s: an incomplete download?", f->path,
                                        zip_error_strerror(&reason));
    zip_error_fini(&reason);
    return status;
}

blip2_status b2_torch_zip_open(const char *path, b2_torch_zip **out, b2_tensor_list *list, blip2_error *err) {
    *out = NULL;
    B2_TRY(check_magic(path, err));
    b2_torch_zip *f = calloc(1, sizeof *f);
    if (f != NULL) f->path = strdup(path);
    blip2_status status = BLIP2_OK;
    if (f == NULL || f->path == NULL) status = b2_fail(err, BLIP2_MEMORY, "%s: no memory", path);
    if (status == BLIP2_OK) status = open_archive(f, err);
    if (status == BLIP2_OK) status = add_tensors(f, list, err);
    if (status == BLIP2_OK) *out = f;
    else b2_torch_zip_close(f);
    return status;
}

void b2_torch_zip_close(b2_torch_zip *f) {
    if (f == NULL) return;
    close_reader(f);
    if (f->archive != NULL) zip_discard(f->archive);
    free(f->path);
    free(f);
}
