/* vision.h: pixels -> image tokens. */
#ifndef B2_VISION_H
#define B2_VISION_H

#include "model/workspace.h"

/* Host pixels[n][3][image_size][image_size], normalised -> vision.x[n][T][V] of the Q-Former's home: the last hidden
 * state of the ViT after its final LayerNorm, class token included. n <= vision.n_images. Returns early when a home is
 * stopped. */
void b2_vision_run(const b2_weights *w, b2_workspace *homes, const float *const *pixels, size_t n);

#endif
