/* fuzz_bmp.c: any bytes as a BMP file. */
#include "picture.h"

FUZZ_DECODER(b2_bmp_decode)
