/* blip2_model.h: the inside of the model handle, for the files behind blip2.h. */
#ifndef B2_BLIP2_MODEL_H
#define B2_BLIP2_MODEL_H

#include "checkpoint/checkpoint.h"
#include "model/weights.h"
#include "tokenizer/bpe.h"

struct blip2_model {
    b2_checkpoint *checkpoint; /* the mapped file */
    b2_weights weights;        /* views into it */
    b2_tokenizer *tokenizer;   /* an index over its strings */
    size_t max_piece_bytes;    /* of a vocabulary entry: bounds the text of n tokens */
};

#endif
