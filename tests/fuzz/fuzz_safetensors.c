/* fuzz_safetensors.c: any bytes as the header of a safetensors file; the first two say how large the file claims to
 * be. */
#include "convert/safetensors.h"
#include "reach.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    b2_tensor_list list = {0};
    const uint64_t file_bytes = 8 + (size - 2) + (uint64_t)data[0] * 256 + data[1];
    const char *header = (const char *)data + 2;
    if (b2_safetensors_parse("fuzz", header, size - 2, file_bytes, &list, NULL) == BLIP2_OK) fuzz_reached();
    b2_tensor_list_free(&list);
    return 0;
}
