/* reader.h: pictures are read and made ready on threads of their own, a bounded number ahead of the model. */
#ifndef B2_READER_H
#define B2_READER_H

#include "cli/inputs.h"

typedef struct b2_reader b2_reader;

typedef struct b2_reader_options {
    size_t n_ahead;        /* pictures held ready at most */
    int n_threads;         /* that read; at least 1 */
    bool apply_exif;
    size_t thumbnail_side; /* 0: none */
    bool (*is_stopping)(void *context); /* asked now and then by who waits for a picture */
    void *context;
} b2_reader_options;

/* Reads the pictures todo[0], todo[1], ... of the inputs. All that it is given outlives the reader.
 * NULL without memory or threads. */
b2_reader *b2_reader_start(const blip2_model *model, const b2_inputs *inputs, const size_t *todo, size_t n_todo,
                           const b2_reader_options *options);

/* Waits for picture todo[i] and hands it over: the caller frees *image. Each i is taken once, and those taken so far never
 * leave a gap of n_ahead or more. On failure *image is NULL and err has the sentence; BLIP2_CANCELLED: the job stops. */
blip2_status b2_reader_take(b2_reader *reader, size_t i, blip2_image **image, blip2_error *err);

/* Nanoseconds that all calls of b2_reader_take() together have waited, those of the first n_ahead pictures apart. */
int64_t b2_reader_waited_ns(const b2_reader *reader);

/* Stops the threads and frees what nobody took. False when one of them hangs in a file (a pipe that nobody writes, a network
 * disk that is gone): then nothing is freed, and nothing that the reader was given may be. */
bool b2_reader_stop(b2_reader *reader);

#endif
