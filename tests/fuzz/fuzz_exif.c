/* fuzz_exif.c: any bytes as EXIF, XMP and the segments of a JPEG; what they say is an orientation that there is. */
#include "image/decode.h"
#include "reach.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t *exact = malloc(size); /* one byte too far is seen */
    if (exact == NULL) return 0;
    if (size > 0) memcpy(exact, data, size);
    int n_components = 0;
    const int exif = b2_exif_find_orientation(exact, size), xmp = b2_xmp_find_orientation(exact, size);
    const int jpeg = b2_jpeg_find_orientation(exact, size, &n_components);
    fuzz_require(exif >= 0 && exif <= 8 && xmp >= 0 && xmp <= 8 && jpeg >= 1 && jpeg <= 8);
    fuzz_require(n_components >= 0 && n_components <= 255);
    if (exif > 1 || jpeg > 1) fuzz_reached();
    free(exact);
    return 0;
}
