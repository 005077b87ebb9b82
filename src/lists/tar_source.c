/* tar_source.c: archive after archive; one that is broken costs its own samples and no other's. */
#include "lists/tar_source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

static bool is_stdin(const char *path) { return strcmp(path, "-") == 0; }

/* "shards/000.tar/a/0001.jpg"; from malloc. */
static char *join(const char *archive, const char *member) {
    if (is_stdin(archive)) return strdup(member[0] != '\0' ? member : "-");
    char *name = malloc(strlen(archive) + strlen(member) + 2);
    if (name != NULL) sprintf(name, member[0] != '\0' ? "%s/%s" : "%s", archive, member);
    return name;
}

static blip2_status hand_out(b2_tar_source *s, const char *archive, b2_sample *sample, b2_item *item,
                             blip2_error *err) {
    const char *member = sample->name != NULL ? sample->name : "";
    *item = (b2_item){.index = s->n_samples++, .name = join(archive, member), .error = sample->error};
    if (item->error.status == BLIP2_OK) {
        item->bytes = sample->bytes;
        item->n_bytes = sample->n_bytes;
        sample->bytes = NULL;
    }
    item->sample = sample->json;
    sample->json = NULL;
    b2_sample_free(sample);
    if (item->name != NULL) return BLIP2_OK;
    b2_item_free(item);
    return b2_fail(err, BLIP2_MEMORY, "%s: no memory to read it", archive);
}

static blip2_status next(b2_source *source, b2_item *item, bool *has_item, blip2_error *err) {
    b2_tar_source *s = (b2_tar_source *)source;
    for (*has_item = false; s->at < s->n_paths; s->at++) {
        const char *archive = s->paths[s->at];
        b2_sample sample = {0};
        if (s->tar == NULL && b2_tar_open(archive, s->max_bytes, &s->tar, &sample.error) != BLIP2_OK) {
            s->at++;
            *has_item = true;
            return hand_out(s, archive, &sample, item, err);
        }
        B2_TRY(b2_tar_next(s->tar, &sample, has_item, err));
        if (*has_item) return hand_out(s, archive, &sample, item, err);
        b2_tar_close(s->tar);
        s->tar = NULL;
    }
    return BLIP2_OK;
}

/* A shard that has been written again is another one. */
static uint64_t hash(const char *const *paths, size_t n_paths) {
    uint64_t h = 0;
    for (size_t i = 0; i < n_paths; i++) {
        struct stat st;
        const bool is_there = !is_stdin(paths[i]) && stat(paths[i], &st) == 0;
        const int64_t facts[2] = {is_there ? (int64_t)st.st_size : -1, is_there ? (int64_t)st.st_mtime : -1};
        h = XXH3_64bits_withSeed(paths[i], strlen(paths[i]) + 1, h);
        h = XXH3_64bits_withSeed(facts, sizeof facts, h);
    }
    return h;
}

b2_tar_source b2_tar_source_of(const char *const *paths, size_t n_paths, size_t max_bytes) {
    return (b2_tar_source){.source = {.n = B2_LENGTH_UNKNOWN, .hash = hash(paths, n_paths), .next = next},
                           .paths = paths,
                           .n_paths = n_paths,
                           .max_bytes = max_bytes};
}

void b2_tar_source_close(b2_tar_source *s) {
    b2_tar_close(s->tar);
    s->tar = NULL;
}

blip2_status b2_tar_source_check(const char *const *paths, size_t n_paths, blip2_error *err) {
    B2_TRY(b2_tar_check(paths[0], err));
    for (size_t i = 0; i < n_paths; i++) {
        struct stat st;
        if (is_stdin(paths[i])) continue;
        if (stat(paths[i], &st) == 0 && S_ISDIR(st.st_mode))
            return b2_fail(err, BLIP2_IO, "%s: is a folder, expected a tar file", paths[i]);
        if (access(paths[i], R_OK) != 0)
            return b2_fail(err, BLIP2_IO, "%s: cannot be opened: %s", paths[i], strerror(errno));
    }
    return BLIP2_OK;
}

/* ---- brace lists ----------------------------------------------------------------------------------------------- */

enum { MAX_NAMES = 100000 };

typedef struct expansion {
    bool (*add)(void *context, const char *name);
    void *context;
    size_t n;
} expansion;

static bool expand(expansion *e, const char *text);

/* The name with the n bytes `middle` where the braces [open, close] were, expanded further. */
static bool put(expansion *e, const char *text, const char *open, const char *close, const char *middle, size_t n) {
    char *name = malloc(strlen(text) + n + 1);
    if (name == NULL) return false;
    sprintf(name, "%.*s%.*s%s", (int)(open - text), text, (int)n, middle, close + 1);
    const bool goes_on = expand(e, name);
    free(name);
    return goes_on;
}

/* 000..009: as wide as the first number is written. */
static bool put_range(expansion *e, const char *text, const char *open, const char *close, const char *dots) {
    const long from = strtol(open + 1, NULL, 10), to = strtol(dots + 2, NULL, 10);
    const int width = open[1] == '0' ? (int)(dots - open - 1) : 1;
    if (labs(to - from) >= MAX_NAMES) return false;
    for (long i = from;; i += from <= to ? 1 : -1) {
        char number[64];
        const int n = snprintf(number, sizeof number, "%0*ld", width, i);
        if (!put(e, text, open, close, number, (size_t)n)) return false;
        if (i == to) return true;
    }
}

static bool put_choices(expansion *e, const char *text, const char *open, const char *close) {
    for (const char *at = open + 1; at <= close;) {
        const size_t n = strcspn(at, ",}");
        if (!put(e, text, open, close, at, n)) return false;
        at += n + 1;
    }
    return true;
}

static bool expand(expansion *e, const char *text) {
    static const char digits[] = "0123456789";
    const char *open = strchr(text, '{'), *close = open != NULL ? strchr(open, '}') : NULL;
    if (close == NULL || access(text, F_OK) == 0) return e->n++ < MAX_NAMES && e->add(e->context, text);
    const size_t first = strspn(open + 1, digits);
    const char *dots = open + 1 + first;
    const size_t second = strncmp(dots, "..", 2) == 0 ? strspn(dots + 2, digits) : 0;
    const bool is_range = first > 0 && first < 18 && second > 0 && second < 18 && dots + 2 + second == close;
    return is_range ? put_range(e, text, open, close, dots) : put_choices(e, text, open, close);
}

bool b2_braces_each(const char *text, bool (*add)(void *context, const char *name), void *context) {
    expansion e = {add, context, 0};
    return expand(&e, text);
}
