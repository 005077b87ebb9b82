/* gguf_reader.h: a bounded reader of GGUF over bytes in memory (quant/FORMAT.md). It believes nothing: every length is
 * checked against the bytes that are left, and what it allocates is bounded by the size of the header. */
#ifndef B2_GGUF_READER_H
#define B2_GGUF_READER_H

#include "base/status.h"
#include "base/text.h"
#include "quant/dtype.h"
#include "quant/gguf.h"

typedef struct b2_tensor {
    b2_text name; /* at most 63 bytes of printable ASCII */
    b2_dtype dtype;
    uint32_t n_dims;
    uint64_t ne[B2_GGUF_DIMS_MAX]; /* fastest first; 1 beyond n_dims */
    const void *data;              /* in the map, aligned to 4096 bytes of the file */
    size_t n_bytes;                /* without padding */
    uint8_t planes;                /* activation planes of an I8 matrix; 0 for any other tensor */
} b2_tensor;

typedef struct b2_gguf_key {
    b2_text name;
    b2_gguf_type type; /* of the value; of the items when is_array */
    bool is_array;
    size_t n_items;      /* 1 for a single value */
    size_t value_offset; /* of the first item, in the file */
    void *items;         /* numbers: an aligned copy. Strings: b2_text[n_items]; a single one is NUL-terminated */
} b2_gguf_key;

/* A name and which key or tensor it belongs to; sorted for searching. */
typedef struct b2_name_entry {
    b2_text name;
    size_t index;
} b2_name_entry;

typedef struct b2_gguf {
    const uint8_t *data; /* the whole file; not owned */
    size_t size_bytes;
    size_t n_keys, n_tensors;
    b2_gguf_key *keys;
    b2_tensor *tensors;
    b2_name_entry *keys_by_name, *tensors_by_name;
    size_t infos_start; /* where the list of tensors begins: after the last key */
    size_t data_start;  /* 0 until the tensors are parsed */
} b2_gguf;

/* Reading goes in two steps, so that a caller can look at the keys of a file that is not ours before its tensors,
 * whose types may be unknown here, are refused. On failure everything is freed.
 * Errors: BLIP2_FORMAT, BLIP2_OTHER_VERSION, BLIP2_LIMIT, BLIP2_MEMORY. */
blip2_status b2_gguf_parse_keys(const uint8_t *data, size_t size_bytes, b2_gguf *gguf, blip2_error *err);
blip2_status b2_gguf_parse_tensors(b2_gguf *gguf, blip2_error *err);
void b2_gguf_free(b2_gguf *gguf);

/* NULL when absent. */
const b2_gguf_key *b2_gguf_find_key(const b2_gguf *gguf, const char *name);
const b2_tensor *b2_gguf_find_tensor(const b2_gguf *gguf, const char *name);

/* The items of the key when it has this form, else NULL and a sentence (BLIP2_FORMAT). n_items 0: any number. */
const void *b2_gguf_get_items(const b2_gguf *gguf, const char *name, b2_gguf_type type, bool is_array, size_t n_items,
                              blip2_error *err);

#endif
