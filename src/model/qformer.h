/* qformer.h: image tokens -> soft tokens of the language model. */
#ifndef B2_QFORMER_H
#define B2_QFORMER_H

#include "model/workspace.h"

/* Images [first, first + n) of a batch, as b2_vision_run left them -> their rows of homes[B2_HOME_CPU].soft_tokens
 * [n_images][K][D]: K learned queries look at the image, and the answer is projected to the width of the text.
 * Afterwards qformer.x[n][K][Q] of its home holds the last hidden state. */
void b2_qformer_run(const b2_weights *w, b2_workspace *homes, size_t first, size_t n);

#endif
