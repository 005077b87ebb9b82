/* blip2_model.h: the inside of the model handle, for the files that fill blip2.h. */
#ifndef B2_BLIP2_MODEL_H
#define B2_BLIP2_MODEL_H

#include "blip2_device.h"
#include "checkpoint/checkpoint.h"
#include "model/weights.h"
#include "tokenizer/bpe.h"

struct blip2_model {
    b2_checkpoint *checkpoint; /* the mapped file */
    b2_weights weights;        /* views into it */
    b2_tokenizer *tokenizer;   /* an index over its strings */
    b2_device *device;         /* shared by the sessions; opened when the first one wants it */
    int32_t image_id;          /* <image>: stands for a soft token where rules look at the ids so far */
    size_t max_piece_bytes;    /* of a vocabulary entry: bounds the text of n tokens */
};

#endif
