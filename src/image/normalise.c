/* normalise.c: bytes to floats, and pixels to planes. There are only 3 x 256 different results, so they are computed
 * once per picture, each rounded after every step as the reference rounds them: u/255, then - mean, then / std. */
#include "image/image.h"

void b2_picture_normalise(const b2_picture *in, const b2_normalisation *normalisation, float *planes) {
    const size_t n_pixels = in->width * in->height;
    for (size_t c = 0; c < 3; c++) {
        float table[256];
        for (int u = 0; u < 256; u++) {
            const float scaled = (float)u / 255.0f;
            const float centred = scaled - normalisation->mean[c];
            table[u] = centred / normalisation->std[c];
        }
        float *plane = planes + c * n_pixels;
        for (size_t i = 0; i < n_pixels; i++) plane[i] = table[in->rgb[3 * i + c]];
    }
}
