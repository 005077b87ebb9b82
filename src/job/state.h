/* state.h: what a finished output was made of, in a file beside it, OUT.blip2: the header of its journal and, for each
 * picture of its list, a hash of where it lies and how it ended. With it --resume knows whether an output is finished,
 * and which of its rows a longer list may take over; the answers themselves stand in the output alone.
 *
 *   {"blip2_state":1,"job":{"blip2_journal":1,...}}
 *   {"row":"0123456789abcdef","status":"ok"} */
#ifndef B2_STATE_H
#define B2_STATE_H

#include "job/journal.h"

typedef struct b2_state_row {
    uint64_t hash; /* b2_state_hash_rows() */
    b2_record_status status;
    uint32_t order; /* its place in the list */
    bool is_taken;  /* b2_state_take() */
} b2_state_row;

typedef struct b2_state {
    b2_header header;
    json_t *json;       /* owns the header's strings */
    b2_state_row *rows; /* [n_rows], ascending by hash and order; from malloc */
    size_t n_rows, n_failed;
    bool is_whole; /* it has a row for each picture: none was damaged */
} b2_state;

/* "OUT.blip2", from malloc; NULL without memory. */
char *b2_state_path(const char *output_path);

/* A hash for each picture of the list, [inputs->n], from malloc: of its path and of where relative paths begin, as seen
 * from the output, so that a whole folder may move. NULL without memory. */
uint64_t *b2_state_hash_rows(const b2_inputs *inputs, const char *output_path);

/* Reads a state; whatever its bytes are, no row comes out that is not in it whole. b2_state_free() comes after in
 * either case. Errors: BLIP2_IO, BLIP2_FORMAT, BLIP2_OTHER_VERSION, BLIP2_MEMORY. */
blip2_status b2_state_read(const char *path, b2_state *state, blip2_error *err);
/* Is there a row of this hash? */
bool b2_state_has(const b2_state *state, uint64_t hash);
/* The first row of this hash that was not taken before; NULL: there is none. */
const b2_state_row *b2_state_take(b2_state *state, uint64_t hash);
void b2_state_free(b2_state *state);

/* Writes the state of an output that is there, at once and as private as it is. places[n] and hashes[n] in the order of
 * the list; hashes NULL: of a stream, which cannot grow. Errors: BLIP2_IO, BLIP2_NO_SPACE, BLIP2_MEMORY. */
blip2_status b2_state_write(const char *output_path, const b2_header *header, const uint64_t *hashes,
                            const b2_record_location *places, size_t n, blip2_error *err);

#endif
