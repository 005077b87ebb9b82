/* blip2_image.h: the inside of the image handle, for the files that fill blip2.h. */
#ifndef B2_BLIP2_IMAGE_H
#define B2_BLIP2_IMAGE_H

#include "image/image.h"

struct blip2_image {
    size_t size;   /* side in pixels */
    float *pixels; /* [3][size][size] */
    bool was_rotated;
    const char *hint;    /* what is lost of the picture; NULL: nothing */
    b2_pixels thumbnail; /* empty unless wanted */
};

#endif
