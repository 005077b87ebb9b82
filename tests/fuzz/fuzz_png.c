/* fuzz_png.c: any bytes as a PNG file. */
#include "picture.h"

FUZZ_DECODER(b2_png_decode)
