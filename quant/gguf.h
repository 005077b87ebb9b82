/* gguf.h: the container and the names of our keys. GGUF v3, of which our files are a profile: FORMAT.md. */
#ifndef B2_GGUF_H
#define B2_GGUF_H

#include <stdbool.h>
#include <stdint.h>

#define B2_GGUF_MAGIC 0x46554747u /* "GGUF", little endian */

enum {
    B2_GGUF_VERSION = 3,
    B2_FILE_ALIGN_BYTES = 4096, /* general.alignment: where the data and each tensor begin */
    B2_FORMAT_VERSION = 1,      /* blip2.format_version: raised when an old reader would read wrong numbers */
    B2_GGUF_NAME_MAX = 63,      /* bytes of a tensor's name; other readers stop there */
    B2_GGUF_DIMS_MAX = 4
};

typedef enum b2_gguf_type {
    B2_GGUF_U8 = 0,
    B2_GGUF_I8 = 1,
    B2_GGUF_U16 = 2,
    B2_GGUF_I16 = 3,
    B2_GGUF_U32 = 4,
    B2_GGUF_I32 = 5,
    B2_GGUF_F32 = 6,
    B2_GGUF_BOOL = 7,
    B2_GGUF_STRING = 8,
    B2_GGUF_ARRAY = 9,
    B2_GGUF_U64 = 10,
    B2_GGUF_I64 = 11,
    B2_GGUF_F64 = 12
} b2_gguf_type;

/* Keys of the file as a whole; those of its numbers and methods are in the .def of their part. */
#define B2_KEY_ARCHITECTURE "general.architecture"
#define B2_KEY_ALIGNMENT "general.alignment"
#define B2_KEY_NAME "general.name"
#define B2_KEY_SOURCE "general.source.repo_url"
#define B2_KEY_REVISION "general.source.revision"
#define B2_KEY_FORMAT_VERSION "blip2.format_version"
#define B2_KEY_PLANES "blip2.activation_planes"
#define B2_KEY_TOKENS "tokenizer.ggml.tokens"
#define B2_KEY_TOKEN_TYPES "tokenizer.ggml.token_type"
#define B2_KEY_MERGES "tokenizer.ggml.merges"
#define B2_KEY_TENSOR_HASHES "blip2.hash.tensors"
#define B2_KEY_HEADER_HASH "blip2.hash.header"

/* What n_bytes take in the file: the data and each tensor, the last one too, end on the alignment. */
static inline uint64_t b2_padded_bytes(uint64_t n_bytes) {
    return (n_bytes + B2_FILE_ALIGN_BYTES - 1) & ~(uint64_t)(B2_FILE_ALIGN_BYTES - 1);
}

/* Files are little endian and tensors are used as they lie: other machines must say no. */
static inline bool b2_host_is_little_endian(void) {
    const uint16_t one = 1;
    return *(const uint8_t *)&one == 1;
}

#endif
