/* ptx.h: the kernels as the driver takes them: PTX texts, compiled in, translated by the driver for the card at hand.
 * A text runs on its own generation and on every later one. */
#ifndef B2_GPU_PTX_H
#define B2_GPU_PTX_H

/* The text for a card of this compute capability (75 is 7.5): the newest that it can run. "" when this build has none:
 * no compiler for it was found. NULL when the card is older than 6.1. */
const char *b2_ptx_find(int capability);

#endif
