/* tar.c: libarchive hands out members, this file groups them. A member is read into memory or passed over; its name is
 * a name in the output and nothing else, so that "..", links and devices of a hostile archive mean nothing. */
#include "lists/tar.h"

#include "base/json_string.h"
#include "base/library.h"
#include "base/memory_text.h"
#include "base/retry.h"
#include "base/text.h"
#include "base/utf8.h"
#include "lists/folders.h"
#include "lists/json_scan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

void b2_sample_free(b2_sample *s) {
    free(s->name);
    free(s->json);
    free(s->bytes);
    *s = (b2_sample){0};
}

#ifdef B2_HAVE_ARCHIVE

#include <archive.h>
#include <archive_entry.h>

enum {
    BLOCK_BYTES = 1 << 16,
    MAX_TEXT_BYTES = 4 << 20, /* of all texts of a sample: they stay in memory, and in a line of the journal */
    MAX_NAME_BYTES = 1 << 16
};

/* Loaded when the first tar is opened. */
#define CALLS(X)                                                                                                       \
    X(archive_read_new)                                                                                                \
    X(archive_read_free)                                                                                               \
    X(archive_read_support_format_tar)                                                                                 \
    X(archive_read_support_filter_gzip)                                                                                \
    X(archive_read_support_filter_zstd)                                                                                \
    X(archive_read_open_fd)                                                                                            \
    X(archive_read_next_header)                                                                                        \
    X(archive_read_data)                                                                                               \
    X(archive_error_string)                                                                                            \
    X(archive_errno)                                                                                                   \
    X(archive_entry_pathname)                                                                                          \
    X(archive_entry_pathname_utf8) X(archive_entry_filetype) X(archive_entry_hardlink) X(archive_entry_size)
typedef struct archive_calls {
    CALLS(B2_CALL_FIELD)
} archive_calls;
static const char *const names[] = {CALLS(B2_CALL_NAME)};

struct b2_tar {
    archive_calls lib;
    struct archive *archive;
    int fd; /* -1: stdin */
    const char *path;
    size_t max_bytes;
    struct archive_entry *entry; /* read but not yet used: the first member of the next sample */
    bool has_ended;
    blip2_error damage; /* found and not yet handed out */
};

/* A sample while its members come. */
typedef struct gathering {
    b2_sample *sample;
    char *first; /* name of its first member */
    size_t n_key;
    size_t n_text_bytes;
    bool has_picture;
    b2_memory_text json;
} gathering;

static blip2_status load_library(const char *who, archive_calls *lib, blip2_error *err) {
    return b2_library_load(who, B2_LIBRARY(B2_SO_ARCHIVE), names, sizeof names / sizeof *names, lib, err);
}

blip2_status b2_tar_check(const char *path, blip2_error *err) {
    archive_calls lib;
    return load_library(strcmp(path, "-") == 0 ? "stdin" : path, &lib, err);
}

static const char *say_path(const b2_tar *tar) { return strcmp(tar->path, "-") == 0 ? "stdin" : tar->path; }

static const char *say_why(const b2_tar *tar) {
    const char *why = tar->lib.archive_error_string(tar->archive);
    return why != NULL ? why : "damaged";
}

static blip2_status open_archive(b2_tar *tar, blip2_error *err) {
    const bool is_stdin = strcmp(tar->path, "-") == 0;
    tar->fd = is_stdin ? -1 : b2_open(tar->path, O_RDONLY, 0);
    if (tar->fd < 0 && !is_stdin) return b2_fail(err, BLIP2_IO, "%s: cannot be opened: %s", tar->path, strerror(errno));
    errno = 0; /* libarchive says nothing of memory that was refused */
    const int code = tar->lib.archive_read_open_fd(tar->archive, is_stdin ? 0 : tar->fd, BLOCK_BYTES);
    if (code == ARCHIVE_OK || code == ARCHIVE_WARN) return BLIP2_OK;
    if (errno == ENOMEM) return b2_fail(err, BLIP2_MEMORY, "%s: no memory to read it", say_path(tar));
    return b2_fail(err, tar->lib.archive_errno(tar->archive) > 0 ? BLIP2_IO : BLIP2_FORMAT,
                   "%s: cannot be read as tar: %s", say_path(tar), say_why(tar));
}

static blip2_status load(b2_tar *tar, blip2_error *err) {
    B2_TRY(load_library(say_path(tar), &tar->lib, err));
    tar->archive = tar->lib.archive_read_new();
    const bool is_ready = tar->archive != NULL &&
                          tar->lib.archive_read_support_format_tar(tar->archive) != ARCHIVE_FATAL &&
                          tar->lib.archive_read_support_filter_gzip(tar->archive) != ARCHIVE_FATAL &&
                          tar->lib.archive_read_support_filter_zstd(tar->archive) != ARCHIVE_FATAL;
    return is_ready ? BLIP2_OK : b2_fail(err, BLIP2_MEMORY, "%s: no memory to read it", tar->path);
}

blip2_status b2_tar_open(const char *path, size_t max_bytes, b2_tar **out, blip2_error *err) {
    b2_tar *tar = *out = calloc(1, sizeof *tar);
    if (tar == NULL) return b2_fail(err, BLIP2_MEMORY, "%s: no memory to read it", path);
    *tar = (b2_tar){.fd = -1, .path = path, .max_bytes = max_bytes};
    blip2_status status = load(tar, err);
    if (status == BLIP2_OK) status = open_archive(tar, err);
    if (status == BLIP2_OK) return BLIP2_OK;
    b2_tar_close(tar);
    *out = NULL;
    return status;
}

void b2_tar_close(b2_tar *tar) {
    if (tar == NULL) return;
    if (tar->archive != NULL) tar->lib.archive_read_free(tar->archive);
    if (tar->fd >= 0) close(tar->fd);
    free(tar);
}

/* ---- names ----------------------------------------------------------------------------------------------------- */

/* Bytes as they stand in the archive: nothing is turned into the locale's characters. NULL: no usable name. */
static const char *name_of(const b2_tar *tar, struct archive_entry *entry) {
    const char *name = tar->lib.archive_entry_pathname(entry);
    if (name == NULL) name = tar->lib.archive_entry_pathname_utf8(entry);
    return name != NULL && strlen(name) < MAX_NAME_BYTES ? name : NULL;
}

/* WebDataset's rule: up to the first dot after the last slash; 0 for names that it passes over: hidden ones, and those
 * without a dot. "./0001.jpg" is 0001.jpg, as tar writes `tar c .`. */
static size_t find_key(const char *name) {
    const char *slash = strrchr(name, '/'), *base = slash != NULL ? slash + 1 : name, *dot = strchr(base, '.');
    return dot != NULL && dot > base ? (size_t)(dot - name) : 0;
}

static const char *skip_here(const char *name) {
    while (name[0] == '.' && name[1] == '/') name += 2;
    return name;
}

static bool is_member(const b2_tar *tar, struct archive_entry *entry) {
    const char *name = name_of(tar, entry);
    return tar->lib.archive_entry_filetype(entry) == AE_IFREG && tar->lib.archive_entry_hardlink(entry) == NULL &&
           name != NULL && find_key(skip_here(name)) > 0;
}

/* ---- members --------------------------------------------------------------------------------------------------- */

static void note_damage(b2_tar *tar, const char *why) {
    if (tar->damage.status == BLIP2_OK) b2_fail(&tar->damage, BLIP2_FORMAT, "%s: %s", say_path(tar), why);
}

/* Goes to the next member that counts. False: the archive has ended. */
static bool find_member(b2_tar *tar) {
    while (tar->entry == NULL && !tar->has_ended) {
        errno = 0;
        const int code = tar->lib.archive_read_next_header(tar->archive, &tar->entry);
        const bool is_read = code == ARCHIVE_OK || code == ARCHIVE_WARN;
        if (!is_read || !is_member(tar, tar->entry)) tar->entry = NULL;
        if (is_read && errno != ENOMEM) continue; /* without memory a member may have no name */
        tar->entry = NULL;
        if (code == ARCHIVE_EOF) tar->has_ended = true;
        else if (errno == ENOMEM) b2_fail(&tar->damage, BLIP2_MEMORY, "%s: no memory to read it", say_path(tar));
        else note_damage(tar, say_why(tar));
        tar->has_ended |= code == ARCHIVE_FATAL;
    }
    return tar->entry != NULL;
}

/* Reads the member whole, NUL after it. NULL with *error set. */
static char *read_member(b2_tar *tar, const char *name, size_t max_bytes, size_t *n, blip2_error *error) {
    const int64_t size = tar->lib.archive_entry_size(tar->entry);
    *n = 0;
    if (size < 0 || (uint64_t)size > max_bytes) {
        b2_fail(error, BLIP2_LIMIT, "%s: %s has %lld bytes, expected at most %zu", say_path(tar), name, (long long)size,
                max_bytes);
        return NULL;
    }
    char *bytes = malloc((size_t)size + 1);
    if (bytes == NULL) {
        b2_fail(error, BLIP2_LIMIT, "%s: no memory for the %lld bytes of %s", say_path(tar), (long long)size, name);
        errno = 0; /* of a member, which may be huge: the next sample has room */
        return NULL;
    }
    while (*n < (size_t)size) {
        const la_ssize_t got = tar->lib.archive_read_data(tar->archive, bytes + *n, (size_t)size - *n);
        tar->has_ended |= got == ARCHIVE_FATAL;
        if (got <= 0) break;
        *n += (size_t)got;
    }
    bytes[*n] = '\0';
    if (*n == (size_t)size) return bytes;
    b2_fail(error, BLIP2_FORMAT, "%s: %s is damaged: %s", say_path(tar), name, say_why(tar));
    free(bytes);
    return NULL;
}

static bool is_text(const char *name) {
    const size_t len = strlen(name);
    return (len > 4 && strcasecmp(name + len - 4, ".txt") == 0) ||
           (len > 5 && strcasecmp(name + len - 5, ".json") == 0);
}

/* JSON goes in as it is, on one line; anything else as a string. */
static void write_value(const char *name, const char *text, size_t len, FILE *out) {
    const char *why, *end = strrchr(name, '.');
    const b2_text json = {text, len};
    const bool is_json = strcasecmp(end, ".json") == 0 && b2_utf8_valid_len(text, len) == len &&
                         b2_json_is_value(json, NULL, NULL, &why);
    if (!is_json) {
        b2_json_write_text(text, len, out);
        return;
    }
    for (size_t i = 0; i < len; i++) putc(text[i] == '\n' || text[i] == '\r' ? ' ' : text[i], out);
}

/* Takes in the member at hand. */
static void gather(b2_tar *tar, gathering *g, const char *name) {
    b2_sample *s = g->sample;
    size_t n = 0;
    if (b2_looks_like_picture(name) && !g->has_picture) {
        g->has_picture = true;
        free(s->name);
        s->name = strdup(name);
        blip2_error error = {.status = BLIP2_OK};
        s->bytes = (uint8_t *)read_member(tar, name, tar->max_bytes, &s->n_bytes, &error);
        if (s->error.status == BLIP2_OK) s->error = error;
    } else if (is_text(name)) {
        const size_t left = MAX_TEXT_BYTES - g->n_text_bytes;
        blip2_error error = {.status = BLIP2_OK};
        char *text = read_member(tar, name, left < tar->max_bytes ? left : tar->max_bytes, &n, &error);
        if (s->error.status == BLIP2_OK) s->error = error;
        if (text == NULL) return;
        g->n_text_bytes += n;
        putc(',', g->json.file);
        b2_json_write_text(name + g->n_key + 1, strlen(name + g->n_key + 1), g->json.file);
        putc(':', g->json.file);
        write_value(name, text, n, g->json.file);
        free(text);
    }
}

/* All members of the sample that begins with the member at hand. */
static void gather_all(b2_tar *tar, gathering *g) {
    fputs("{\"__key__\":", g->json.file);
    b2_json_write_text(g->first, g->n_key, g->json.file);
    for (bool is_first = true; find_member(tar); is_first = false) {
        const char *name = skip_here(name_of(tar, tar->entry));
        const bool is_same = find_key(name) == g->n_key && strncmp(name, g->first, g->n_key) == 0;
        if (!is_first && (!is_same || strcmp(name, g->first) == 0)) break;
        char *copy = strdup(name); /* libarchive's own may change while the member is read */
        if (copy != NULL) gather(tar, g, copy);
        else b2_fail(&g->sample->error, BLIP2_MEMORY, "%s: no memory for a name", say_path(tar));
        free(copy);
        tar->entry = NULL;
        b2_memory_text_note(&g->json); /* before the next member clears errno */
    }
    putc('}', g->json.file);
}

static blip2_status hand_out_damage(b2_tar *tar, b2_sample *s, blip2_error *err) {
    *s = (b2_sample){.name = strdup(""), .error = tar->damage};
    tar->damage = (blip2_error){.status = BLIP2_OK};
    return s->name != NULL ? BLIP2_OK : b2_fail(err, BLIP2_MEMORY, "%s: no memory to read it", tar->path);
}

blip2_status b2_tar_next(b2_tar *tar, b2_sample *s, bool *has_sample, blip2_error *err) {
    *s = (b2_sample){0};
    const bool has_member = tar->damage.status == BLIP2_OK && find_member(tar);
    *has_sample = has_member || tar->damage.status != BLIP2_OK;
    if (!*has_sample) return BLIP2_OK;
    if (tar->damage.status != BLIP2_OK) return hand_out_damage(tar, s, err);
    gathering g = {.sample = s, .first = strdup(skip_here(name_of(tar, tar->entry)))};
    bool is_whole = b2_memory_text_begin(&g.json) != NULL;
    if (is_whole && g.first != NULL) {
        s->name = strdup(g.first);
        g.n_key = find_key(g.first);
        gather_all(tar, &g);
    }
    is_whole = is_whole && b2_memory_text_end(&g.json) && g.first != NULL;
    s->json = g.json.text;
    if (is_whole && !g.has_picture && s->error.status == BLIP2_OK)
        b2_fail(&s->error, BLIP2_FORMAT, "%s: sample %.*s has no picture", say_path(tar), (int)g.n_key, g.first);
    free(g.first);
    if (is_whole && s->name != NULL) return BLIP2_OK;
    b2_sample_free(s);
    return b2_fail(err, BLIP2_MEMORY, "%s: no memory to read it", tar->path);
}

#else

blip2_status b2_tar_check(const char *path, blip2_error *err) {
    return b2_fail(err, BLIP2_FORMAT,
                   "%s: this build reads no tar files: libarchive was not found (Debian: libarchive-dev)", path);
}

blip2_status b2_tar_open(const char *path, size_t max_bytes, b2_tar **tar, blip2_error *err) {
    (void)max_bytes;
    *tar = NULL;
    return b2_fail(err, BLIP2_FORMAT, "%s: this build reads no tar files (libarchive-dev brings them)", path);
}

blip2_status b2_tar_next(b2_tar *tar, b2_sample *sample, bool *has_sample, blip2_error *err) {
    (void)tar;
    (void)err;
    *sample = (b2_sample){0};
    *has_sample = false;
    return BLIP2_OK;
}

void b2_tar_close(b2_tar *tar) { (void)tar; }

#endif
