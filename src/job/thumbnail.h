/* thumbnail.h: a small picture as text for a report. */
#ifndef B2_THUMBNAIL_H
#define B2_THUMBNAIL_H

#include <stddef.h>
#include <stdint.h>

enum { B2_THUMBNAIL_SIDE = 224 };

/* RGB [height][width][3] -> a JPEG in base64, from malloc; NULL without memory. The same text on every machine. */
char *b2_thumbnail_encode(const uint8_t *rgb, size_t width, size_t height);

#endif
