/* fuzz_heif.c: any bytes as a HEIC file. */
#include "picture.h"

#if B2_HAVE_HEIF
FUZZ_DECODER(b2_heif_decode)
#else
FUZZ_DECODER(b2_png_decode)
#endif
