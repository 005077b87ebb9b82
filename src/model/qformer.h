/* qformer.h: image tokens -> soft tokens of the language model. */
#ifndef B2_QFORMER_H
#define B2_QFORMER_H

#include "model/workspace.h"

/* image[n][T][V] -> soft_tokens[n][K][D]: K learned queries look at the image, and the answer is projected to the
 * width of the text. Afterwards buffers->x[n][K][Q] holds the last hidden state. */
void b2_qformer_run(const b2_weights *w, b2_ops *ops, b2_qformer_buffers *buffers, const float *image, size_t n,
                    float *soft_tokens);

#endif
