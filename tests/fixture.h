/* fixture.h: a tiny model file with random weights, written by the test that needs one. */
#ifndef B2_FIXTURE_H
#define B2_FIXTURE_H

#include "quant/dtype.h"
#include "quant/hparams.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h> /* these and the following: what every test of a model file needs */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Odd sizes on purpose: heads of 22, 12 and 20, widths that fill no panel and no group. */
b2_hparams fixture_hparams(void);

/* Writes the model to path, the stem `odd` as another type; true when it worked. with_head: an LM head of its own. */
bool fixture_write_mixed(const char *path, const b2_hparams *h, b2_dtype dtype, bool with_head, size_t odd,
                         b2_dtype odd_dtype);

bool fixture_write_model(const char *path, const b2_hparams *h, b2_dtype dtype, bool with_head);

/* A BMP of pseudo-random smooth colours, as bytes; the caller frees. */
uint8_t *fixture_picture(size_t width, size_t height, uint64_t seed, size_t *n_bytes);

#endif
