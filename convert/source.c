#include "convert/source.h"

#include "base/file.h"
#include "convert/json_file.h"
#include "convert/lookalike.h"
#include "base/path.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define CACHE_PREFIX "models--"

enum { COMMIT_LEN = 40 };

/* ---- names ----------------------------------------------------------------------------------------------------- */

static bool is_commit(const char *text) {
    return strlen(text) == COMMIT_LEN && strspn(text, "0123456789abcdef") == COMMIT_LEN;
}

/* "models--org--name" -> "org/name". Neither part may hold "--" itself. NULL: not a cache entry's name, or no
 * memory. */
static char *repository_of_entry(const char *entry) {
    if (strncmp(entry, CACHE_PREFIX, strlen(CACHE_PREFIX)) != 0 || !b2_path_is_component(entry)) return NULL;
    char *repository = strdup(entry + strlen(CACHE_PREFIX));
    char *dashes = repository == NULL ? NULL : strstr(repository, "--");
    if (dashes == NULL) return repository;
    *dashes = '/';
    memmove(dashes + 1, dashes + 2, strlen(dashes + 2) + 1);
    return repository;
}

/* "org/name" -> "models--org--name"; NULL when it cannot be a repository's id. */
static char *entry_of_repository(const char *id) {
    const char *slash = strchr(id, '/');
    if (slash == NULL || slash == id || slash[1] == '\0' || strchr(slash + 1, '/') != NULL || id[0] == '.') return NULL;
    const size_t capacity = strlen(id) + sizeof CACHE_PREFIX + 2;
    char *entry = malloc(capacity);
    if (entry != NULL) snprintf(entry, capacity, CACHE_PREFIX "%.*s--%s", (int)(slash - id), id, slash + 1);
    if (entry != NULL && !b2_path_is_component(entry)) {
        free(entry);
        return NULL;
    }
    return entry;
}

/* ---- the three forms of a folder ------------------------------------------------------------------------------- */

/* The first line of a small file, when it is a commit id. */
static char *read_commit(const char *path) {
    char *text = NULL;
    size_t len = 0;
    if (b2_file_read(path, 4096, &text, &len, NULL) != BLIP2_OK) return NULL;
    text[strcspn(text, "\r\n")] = '\0';
    if (is_commit(text)) return text;
    free(text);
    return NULL;
}

static char *read_commit_below(const char *folder, const char *name) {
    char *path = b2_path_join(folder, name);
    char *commit = path == NULL ? NULL : read_commit(path);
    free(path);
    return commit;
}

/* A revision is a commit, or what refs/<revision> names. */
static char *find_commit(const char *entry, const char *revision) {
    char name[256];
    if (is_commit(revision)) return strdup(revision);
    if (!b2_path_is_component(revision) || strlen(revision) > 200) return NULL;
    snprintf(name, sizeof name, "refs/%s", revision);
    return read_commit_below(entry, name);
}

/* .../models--org--name: refs/main, or another revision, says which snapshot. */
static blip2_status resolve_entry(const char *entry, const char *revision, b2_source *source, blip2_error *err) {
    source->repository = repository_of_entry(b2_path_base(entry));
    source->revision = find_commit(entry, revision);
    if (source->revision == NULL)
        return b2_fail(err, BLIP2_FORMAT, "%s: refs/%s names no revision; give one of the folders in %s/snapshots",
                       entry, revision, entry);
    char *snapshots = b2_path_join(entry, "snapshots");
    if (snapshots != NULL) source->folder = b2_path_join(snapshots, source->revision);
    free(snapshots);
    if (source->folder == NULL) return b2_fail(err, BLIP2_MEMORY, "%s: no memory", entry);
    if (b2_path_is_folder(source->folder)) return BLIP2_OK;
    return b2_fail(err, BLIP2_IO, "%s: is missing: the cache entry does not hold revision %s", source->folder,
                   revision);
}

/* A revision in the cache knows its names from its path; `hf download --local-dir` leaves the commit in a note. */
static blip2_status resolve_plain(const char *real, b2_source *source, blip2_error *err) {
    source->folder = strdup(real);
    char *parent = strdup(real);
    if (source->folder == NULL || parent == NULL) {
        free(parent);
        return b2_fail(err, BLIP2_MEMORY, "%s: no memory", real);
    }
    const char *base = b2_path_base(real);
    if (is_commit(base)) source->revision = strdup(base);
    else source->revision = read_commit_below(real, ".cache/huggingface/download/config.json.metadata");
    for (int up = 0; up < 2; up++) {
        char *slash = strrchr(parent, '/');
        if (slash != NULL) *slash = '\0';
        if (up == 0 && strcmp(b2_path_base(parent), "snapshots") != 0) break;
        if (up == 1) source->repository = repository_of_entry(b2_path_base(parent));
    }
    free(parent);
    return BLIP2_OK;
}

static blip2_status resolve_folder(const char *path, const char *revision, b2_source *source, blip2_error *err) {
    char *real = realpath(path, NULL); /* what the user typed may be "." */
    if (real == NULL) return b2_fail(err, BLIP2_IO, "%s: cannot be found", path);
    const bool is_entry = b2_path_has(real, "snapshots") && !b2_path_has(real, "config.json");
    const blip2_status status =
        is_entry ? resolve_entry(real, revision, source, err) : resolve_plain(real, source, err);
    free(real);
    return status;
}

/* ---- what the user typed --------------------------------------------------------------------------------------- */

static blip2_status resolve_repository(const char *id, const char *revision, const char *cache_root, b2_source *source,
                                       blip2_error *err) {
    char *entry = entry_of_repository(id);
    if (entry == NULL)
        return b2_fail(err, BLIP2_IO, "%s: no such folder, and no repository's id (org/name) either", id);
    char *path = cache_root == NULL ? NULL : b2_path_join(cache_root, entry);
    blip2_status status;
    if (path != NULL && b2_path_is_folder(path)) status = resolve_folder(path, revision, source, err);
    else if (path != NULL)
        status = b2_fail(err, BLIP2_IO,
                         "%s: found neither as a folder nor as %s; `hf download %s \"*.safetensors\" "
                         "\"*.json\" \"*.txt\"` would fetch it",
                         id, path, id);
    else status = b2_fail(err, BLIP2_IO, "%s: no such folder, and there is no Hugging Face cache to look in", id);
    free(path);
    free(entry);
    return status;
}

static blip2_status resolve(const char *src, const char *cache_root, b2_source *source, blip2_error *err) {
    if (b2_path_is_folder(src)) return resolve_folder(src, "main", source, err);
    struct stat st;
    if (stat(src, &st) == 0) return b2_lookalike_source(src, err);
    const char *at = strchr(src, '@');
    char *id = at == NULL ? strdup(src) : strndup(src, (size_t)(at - src));
    if (id == NULL) return b2_fail(err, BLIP2_MEMORY, "%s: no memory", src);
    const blip2_status status = resolve_repository(id, at == NULL ? "main" : at + 1, cache_root, source, err);
    free(id);
    return status;
}

blip2_status b2_source_resolve(const char *src, const char *cache_root, b2_source *source, blip2_error *err) {
    *source = (b2_source){0};
    const blip2_status status = resolve(src, cache_root, source, err);
    if (status != BLIP2_OK) b2_source_free(source);
    return status;
}

void b2_source_free(b2_source *source) {
    free(source->folder);
    free(source->repository);
    free(source->revision);
    *source = (b2_source){0};
}
