/* encode.h: pieces of a checkpoint -> bytes of the file, on all cores. */
#ifndef B2_ENCODE_H
#define B2_ENCODE_H

#include "convert/outliers.h"
#include "convert/stream.h"
#include "quant/fidelity.h"

typedef struct b2_encoder b2_encoder;

typedef struct b2_encoded {
    const void *bytes; /* of the tensor itself: f32, f16 or int8 panels */
    size_t n_bytes;
    const void *scales; /* of the whole matrix, with its last piece; else NULL */
    size_t scales_bytes;
    const b2_stored_tensor *culprit; /* on failure: whose value cannot be stored */
} b2_encoded;

/* What a stem's weight becomes: `type` for matrices, F32 for tables and norms. */
b2_dtype b2_encode_dtype(const b2_tensor_spec *spec, b2_dtype type);

/* type: I8, F16 or F32. with_fidelity: measure what is lost. stems and outliers must outlive the encoder.
 * Errors: BLIP2_MEMORY. */
blip2_status b2_encoder_create(const b2_stems *stems, const b2_outliers *outliers, b2_dtype type, int n_threads,
                               bool with_fidelity, b2_encoder **out, blip2_error *err);
void b2_encoder_free(b2_encoder *encoder);

/* The bytes stay valid until the next run. Errors: BLIP2_FORMAT when a value is not finite, BLIP2_UNSUPPORTED when it
 * does not fit f16; the sentence names tensor and place; the caller adds the culprit's file. */
blip2_status b2_encoder_run(b2_encoder *encoder, const b2_piece *piece, b2_encoded *out, blip2_error *err);

/* Of the matrix whose last piece has just been run. */
const b2_fidelity *b2_encoder_fidelity(const b2_encoder *encoder);

#endif
