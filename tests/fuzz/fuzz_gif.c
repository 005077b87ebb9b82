/* fuzz_gif.c: any bytes as a GIF file. */
#include "picture.h"

#if B2_HAVE_GIF
FUZZ_DECODER(b2_gif_decode)
#else
FUZZ_DECODER(b2_png_decode)
#endif
