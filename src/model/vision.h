/* vision.h: pixels -> image tokens. */
#ifndef B2_VISION_H
#define B2_VISION_H

#include "model/workspace.h"

/* pixels[n][3][image_size][image_size], normalised -> buffers->x[n][T][V]: the last hidden state of the ViT after its
 * final LayerNorm, class token included. n <= buffers->n_images. Returns early when ops is cancelled. */
void b2_vision_run(const b2_weights *w, b2_ops *ops, b2_vision_buffers *buffers, const float *const *pixels, size_t n);

#endif
