/* fuzz_pickle.c: any bytes as the data.pkl of a PyTorch checkpoint. */
#include "convert/pickle.h"
#include "reach.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    b2_pickle_tensors tensors;
    if (b2_pickle_read("fuzz", data, size, NULL, &tensors, NULL) == BLIP2_OK) {
        b2_pickle_tensors_free(&tensors);
        fuzz_reached();
    }
    return 0;
}
