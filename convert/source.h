/* source.h: from what the user typed to the folder that holds a checkpoint. Never online.
 *
 *   a folder                               with config.json in it
 *   .../models--org--name                  an entry of the Hugging Face cache: the revision that refs/main names
 *   .../models--org--name/snapshots/<sha>  one revision of it
 *   org/name                               such an entry below the cache's root
 *   org/name@revision                      of it, the commit, branch or tag of that name
 *
 * The first that fits counts. Files in the cache are links to blobs; that makes no difference here. */
#ifndef B2_SOURCE_H
#define B2_SOURCE_H

#include "base/status.h"

typedef struct b2_source {
    char *folder;
    char *repository; /* "org/name"; NULL when unknown */
    char *revision;   /* a commit id of 40 hexadecimal digits; NULL when unknown */
} b2_source;

/* cache_root: .../huggingface/hub; may be NULL. Errors: BLIP2_IO (not found: the sentence lists the places),
 * BLIP2_FORMAT (a cache entry that is not whole), BLIP2_MEMORY. On failure *source is zeroed. */
blip2_status b2_source_resolve(const char *src, const char *cache_root, b2_source *source, blip2_error *err);
void b2_source_free(b2_source *source);

#endif
