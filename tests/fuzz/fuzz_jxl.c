/* fuzz_jxl.c: any bytes as a JPEG XL file. */
#include "picture.h"

#if B2_HAVE_JXL
FUZZ_DECODER(b2_jxl_decode)
#else
FUZZ_DECODER(b2_png_decode)
#endif
