/* resize.h: Pillow's BICUBIC, fed row by row: a picture of any height needs a few of its rows in memory. */
#ifndef B2_IMAGE_RESIZE_H
#define B2_IMAGE_RESIZE_H

#include "image/image.h"

/* How the rows of a file relate to the picture that is to be seen. */
typedef struct b2_row_order {
    size_t width, height; /* as stored */
    int orientation;      /* as in EXIF; 1: upright */
    bool bottom_up;       /* the last row comes first */
} b2_row_order;

typedef struct b2_reducer b2_reducer;

/* For a picture that is width x height pixels after it has been turned. NULL: no memory. */
b2_reducer *b2_reducer_create(const b2_row_order *in, size_t width, size_t height);
void b2_reducer_free(b2_reducer *r);

/* Takes the next row, [in.width][3]. After in.height rows all is there. */
void b2_reducer_put(b2_reducer *r, const uint8_t *row);

/* The result, as stored (not yet turned), which becomes the caller's. Rows that never came count as black. */
b2_pixels b2_reducer_take(b2_reducer *r);

#endif
