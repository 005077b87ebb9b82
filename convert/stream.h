/* stream.h: reads a checkpoint in pieces, in the order of the file to be written, while others work on the pieces
 * before. One thread reads; three buffers go round. */
#ifndef B2_STREAM_H
#define B2_STREAM_H

#include "convert/names.h"

/* Rows of one matrix or vector as they are stored, from one stored tensor of it. */
typedef struct b2_segment {
    const b2_stored_tensor *tensor;
    size_t first_row, n_rows; /* in the stored tensor */
    size_t at_bytes;          /* in the piece's buffer */
    const b2_merge *merge;    /* what changes them, whose numbers lie in the buffer from merge_at_bytes on */
    size_t merge_at_bytes;
} b2_segment;

/* Rows first_row .. first_row + n_rows of a stem's weight or bias. Pieces of an int8 matrix begin at whole panels. */
typedef struct b2_piece {
    const b2_stem *stem;
    bool is_bias;
    size_t n_rows_all, n_in; /* of the whole; n_in is 1 for vectors */
    size_t first_row, n_rows;
    size_t n_segments, n_bytes;
    b2_segment segments[B2_STORED_MAX];
    const uint8_t *data;
} b2_piece;

static inline bool b2_piece_is_last(const b2_piece *p) { return p->first_row + p->n_rows == p->n_rows_all; }

/* Where the reading stands; {0} at the start. */
typedef struct b2_piece_cursor {
    size_t stem, row;
    bool is_bias;
} b2_piece_cursor;

/* The next piece, without data; false at the end. */
bool b2_piece_next(const b2_stems *stems, b2_piece_cursor *cursor, b2_piece *piece);

/* Which element of which tensor lies in row `row` of the piece, column 0. */
const b2_stored_tensor *b2_piece_locate(const b2_piece *piece, size_t row, uint64_t *element);

/* Rows of a piece as f32, merged: in place where they are stored so and lie in one segment, else in
 * scratch[n][n_in]. */
const float *b2_piece_rows(const b2_piece *piece, size_t row, size_t n, float *scratch);

typedef struct b2_stream b2_stream;

/* Starts the reader. source and stems must outlive the stream, and source is the reader's until it is closed.
 * Errors: BLIP2_MEMORY. */
blip2_status b2_stream_open(b2_tensor_source *source, const b2_stems *stems, b2_stream **out, blip2_error *err);

/* The next piece, valid until the next call; *piece is NULL at the end. Errors: those of reading. */
blip2_status b2_stream_next(b2_stream *stream, const b2_piece **piece, blip2_error *err);

/* After the end: how many weights (matrices, gains, tables; no biases) held nothing but zeros, and the first of them:
 * the mark of a download that was broken off after its space had been reserved. */
size_t b2_stream_zeros(const b2_stream *stream, const b2_stored_tensor **first);

/* Stops the reader and frees; NULL is fine. */
void b2_stream_close(b2_stream *stream);

#endif
