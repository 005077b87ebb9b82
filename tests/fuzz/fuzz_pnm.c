/* fuzz_pnm.c: any bytes as a PBM, PGM or PPM file: after the letter and digit by which it is known. */
#include "picture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2 || data[0] != 'P' || data[1] < '1' || data[1] > '6') return 0;
    return fuzz_decoder(b2_pnm_decode, data, size);
}
