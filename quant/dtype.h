/* dtype.h: the element types a file of ours may hold, under GGUF's numbers (ggml.h, enum ggml_type). */
#ifndef B2_DTYPE_H
#define B2_DTYPE_H

#include <stddef.h>

typedef enum b2_dtype { B2_DTYPE_F32 = 0, B2_DTYPE_F16 = 1, B2_DTYPE_I8 = 24, B2_DTYPE_BF16 = 30 } b2_dtype;

/* Bytes per element; 0 for a number that is none of the four. */
static inline size_t b2_dtype_bytes(b2_dtype dtype) {
    switch (dtype) {
    case B2_DTYPE_F32: return 4;
    case B2_DTYPE_F16:
    case B2_DTYPE_BF16: return 2;
    case B2_DTYPE_I8: return 1;
    }
    return 0;
}

static inline const char *b2_dtype_name(b2_dtype dtype) {
    switch (dtype) {
    case B2_DTYPE_F32: return "f32";
    case B2_DTYPE_F16: return "f16";
    case B2_DTYPE_BF16: return "bf16";
    case B2_DTYPE_I8: return "i8";
    }
    return "unknown";
}

#endif
