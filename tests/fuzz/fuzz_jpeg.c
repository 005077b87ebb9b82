/* fuzz_jpeg.c: any bytes as a JPEG file. */
#include "picture.h"

FUZZ_DECODER(b2_jpeg_decode)
