/* tar.h: the samples of a tar file as WebDataset cuts them: consecutive members with one key, which is the name up to
 * the first dot after its last slash. Names are only read, never opened or written. */
#ifndef B2_TAR_H
#define B2_TAR_H

#include "base/status.h"

/* What stands for one sample, or for a place where the archive is damaged. */
typedef struct b2_sample {
    char *name;     /* of its picture; without one of its first member; "" for damage; from malloc */
    char *json;     /* {"__key__":"a/0001","txt":"...","json":{...}}: key and texts; from malloc; NULL for damage */
    uint8_t *bytes; /* [n_bytes] the picture's; from malloc; NULL: error says why */
    size_t n_bytes;
    blip2_error error; /* of this sample alone */
} b2_sample;

void b2_sample_free(b2_sample *sample);

typedef struct b2_tar b2_tar;

/* Can tar files be read, by this build and on this machine? Errors: FORMAT, UNSUPPORTED, MEMORY. */
blip2_status b2_tar_check(const char *path, blip2_error *err);

/* Opens an archive (ustar, pax, GNU; plain, gzip, zstd), path "-": stdin. A member of more than max_bytes is not read.
 * Errors: BLIP2_IO, BLIP2_FORMAT (no tar; or a build without libarchive), BLIP2_MEMORY. */
blip2_status b2_tar_open(const char *path, size_t max_bytes, b2_tar **tar, blip2_error *err);
/* The next sample, which the caller frees; *has_sample false: the end. Damage is a sample with an error, one for
 * each damaged stretch: what can be read after it follows. Errors: BLIP2_MEMORY. */
blip2_status b2_tar_next(b2_tar *tar, b2_sample *sample, bool *has_sample, blip2_error *err);
void b2_tar_close(b2_tar *tar);

#endif
