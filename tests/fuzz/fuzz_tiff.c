/* fuzz_tiff.c: any bytes as a TIFF file. */
#include "picture.h"

#if B2_HAVE_TIFF
FUZZ_DECODER(b2_tiff_decode)
#else
FUZZ_DECODER(b2_png_decode)
#endif
