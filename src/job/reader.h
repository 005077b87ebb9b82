/* reader.h: pictures are read and made ready on threads of their own, a bounded number ahead of the model. */
#ifndef B2_READER_H
#define B2_READER_H

#include "lists/source.h"

typedef struct b2_reader b2_reader;

typedef struct b2_reader_options {
    size_t n_ahead;                     /* pictures held ready at most */
    int n_threads;                      /* that read; at least 1 */
    blip2_image_options images;         /* how they are read */
    bool (*is_stopping)(void *context); /* looked at now and then while a picture is waited for */
    void *context;
} b2_reader_options;

/* A picture as the reader hands it over. */
typedef struct b2_picture {
    size_t index;       /* its place in the whole list */
    char *name;         /* as the user wrote it; from malloc */
    blip2_image *image; /* NULL: error says why */
    blip2_error error;
    char *sample;    /* as in b2_item; from malloc */
    bool is_skipped; /* nothing is to be done about it */
} b2_picture;

/* Reads the pictures of a source, one after another. All that it is given outlives the reader.
 * NULL without memory or threads. */
b2_reader *b2_reader_start(const blip2_model *model, b2_source *source, const b2_reader_options *options);

/* Waits for the i-th picture of the source and hands it over: the caller frees name, sample and image. A picture that
 * cannot be read comes too, without an image and with its error. Each i is taken once, and those taken so far never
 * leave a gap of n_ahead or more. Errors: BLIP2_CANCELLED (the job stops), BLIP2_LIMIT (the source has no i-th
 * picture), those of the source itself. */
blip2_status b2_reader_take(b2_reader *reader, size_t i, b2_picture *picture, blip2_error *err);

/* The same of a source whose length or pace is not known: *has_picture is false when it ends before, or when the
 * picture has not come by deadline_ns of b2_clock_ns() (0: waits as long as it takes). One that has come, but is still
 * being decoded, is waited for, unless it is to be had now or not at all. Errors: as above. */
enum { B2_READER_NOW = -1 };
blip2_status b2_reader_take_by(b2_reader *reader, size_t i, int64_t deadline_ns, b2_picture *picture, bool *has_picture,
                               blip2_error *err);

/* Nanoseconds that all calls of b2_reader_take() together have waited, the first picture apart. */
int64_t b2_reader_waited_ns(const b2_reader *reader);

/* Stops the threads and frees what nobody took. False when one of them hangs in a file (a pipe that nobody writes, a
 * network disk that is gone): then nothing is freed, and nothing that the reader was given may be. */
bool b2_reader_stop(b2_reader *reader);

#endif
