/* fuzz_webp.c: any bytes as a WebP file. */
#include "picture.h"

#if B2_HAVE_WEBP
FUZZ_DECODER(b2_webp_decode)
#else
FUZZ_DECODER(b2_png_decode)
#endif
