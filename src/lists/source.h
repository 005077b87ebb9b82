/* source.h: where a job's pictures come from, one after another. The reader of a job knows nothing else: whether they
 * are the files of a list, the members of an archive or what a pipe brings is the business of one function. */
#ifndef B2_SOURCE_H
#define B2_SOURCE_H

#include "base/status.h"
#include "base/text.h"

/* One picture. Exactly one of path and bytes is set, unless error.status says why there is neither. */
typedef struct b2_item {
    size_t index;   /* its place in the whole list, from 0 */
    char *name;     /* as the user wrote it; from malloc */
    char *path;     /* to open; from malloc */
    uint8_t *bytes; /* [n_bytes], the file's content; from malloc */
    size_t n_bytes;
    b2_text carried;   /* the row or line of the list that it came with, as it was; lives as long as the source */
    char *sample;      /* of an archive: the picture's key and texts as JSON (tar.h); from malloc; NULL: none */
    bool is_skipped;   /* its sidecar is there: nothing of it is to be read */
    blip2_error error; /* of this picture alone: the next one may be fine */
} b2_item;

void b2_item_free(b2_item *item);

#define B2_LENGTH_UNKNOWN SIZE_MAX

typedef struct b2_source b2_source;
struct b2_source {
    size_t n;      /* items of the whole list; B2_LENGTH_UNKNOWN: only its end tells */
    uint64_t hash; /* of the whole list, equal for equal ones; 0: not known beforehand */
    /* The next picture, which the caller frees with b2_item_free(); *has_item false: there is none. May wait for a pipe
     * or disk. One caller at a time, on any thread. Errors: the source itself cannot go on. */
    blip2_status (*next)(b2_source *source, b2_item *item, bool *has_item, blip2_error *err);
};

#endif
