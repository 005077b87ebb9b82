/* reader.h: pictures are read and made ready on a thread of their own, a bounded number ahead of the model. */
#ifndef B2_READER_H
#define B2_READER_H

#include "cli/inputs.h"

typedef struct b2_reader b2_reader;

/* Reads inputs->paths in order. n_ahead: pictures held ready at most. inputs and model outlive the reader.
 * NULL without memory or threads. */
b2_reader *b2_reader_start(const blip2_model *model, const b2_inputs *inputs, bool apply_exif, size_t n_ahead);

/* Waits for picture i (asked for in the order 0, 1, 2, ...) and hands it over: the caller frees *image.
 * On failure *image is NULL and err has the sentence. */
blip2_status b2_reader_take(b2_reader *reader, size_t i, blip2_image **image, blip2_error *err);

/* Nanoseconds that b2_reader_take() has waited, beyond the first picture's. */
int64_t b2_reader_waited_ns(const b2_reader *reader);

/* Stops the thread and frees what nobody took. */
void b2_reader_stop(b2_reader *reader);

#endif
