/* fuzz_ids.c: any text as a list of token ids of each kind. */
#include "generate/ids.h"
#include "reach.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = calloc(size + 1, 1);
    if (text == NULL) return 0;
    if (size > 0) memcpy(text, data, size);
    for (int kind = B2_IDS; kind <= B2_IDS_DECAY; kind++) {
        b2_ids ids = b2_ids_walk(text, (b2_ids_kind)kind);
        size_t n = 0;
        while (b2_ids_next(&ids)) {
            fuzz_require(ids.n <= B2_MAX_LIST_IDS && ++n <= size);
            if (kind == B2_IDS_BIASED) fuzz_reached();
        }
    }
    free(text);
    return 0;
}
