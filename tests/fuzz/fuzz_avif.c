/* fuzz_avif.c: any bytes as a AVIF file. */
#include "picture.h"

#if B2_HAVE_AVIF
FUZZ_DECODER(b2_avif_decode)
#else
FUZZ_DECODER(b2_png_decode)
#endif
