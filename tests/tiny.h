/* tiny.h: the smallest file of ours, five tensors and all keys, and what tests do to it: its bytes changed, the hash of
 * its header made right again. Included by one .c each. */
#ifndef B2_TINY_H
#define B2_TINY_H

#include "checkpoint/checkpoint.h"
#include "convert/gguf_writer.h"
#include "quant/gguf.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include <cmocka.h>

static const b2_hparams TINY = {
    .image = {.size = 28, .patch_size = 14, .mean = {0.48f, 0.46f, 0.41f}, .std = {0.27f, 0.26f, 0.28f}},
    .vision = {.blocks = 1, .width = 24, .ff = 40, .heads = 3, .eps = 1e-5f},
    .qformer = {.n_queries = 3, .blocks = 2, .width = 20, .ff = 36, .heads = 2, .eps = 1e-12f, .cross_frequency = 2},
    .opt = {.blocks = 1, .width = 32, .ff = 64, .heads = 4, .eps = 1e-5f, .max_positions = 9, .n_vocab = 5},
    .tokenizer = {.bos_id = 2, .stop_id = 3, .pad_id = 1, .add_bos = true},
};

static const b2_text TOKENS[5] = {{"<s>", 3}, {"<pad>", 5}, {"</s>", 4}, {"\xC4\x8A", 2}, {"[PAD4]", 6}};
static const int32_t TOKEN_TYPES[5] = {3, 3, 3, 1, 5}; /* control, normal, unused */
static const b2_text MERGES[2] = {{"\xC4\xA0 a", 4}, {"t h", 3}};

/* One tensor of each type and number of dimensions; one ends exactly on the alignment. */
static const struct {
    const char *name;
    b2_dtype dtype;
    uint32_t n_dims;
    uint64_t ne[4];
    size_t n_bytes;
    uint8_t planes;
} TENSORS[] = {
    {"a.f32", B2_DTYPE_F32, 1, {37}, 148, 0},
    {"b.weight", B2_DTYPE_I8, 4, {4, 16, 64, 2}, 8192, 2},
    {"b.scale", B2_DTYPE_BF16, 3, {16, 2, 2}, 128, 0},
    {"c.f16", B2_DTYPE_F16, 2, {31, 67}, 4154, 0},
    {"d.weight", B2_DTYPE_I8, 4, {4, 64, 32, 1}, 8192, 1},
};
enum { N_TENSORS = sizeof TENSORS / sizeof *TENSORS };

static inline uint8_t tensor_byte(size_t tensor, size_t i) { /* any bytes but -128 */
    const uint8_t byte = (uint8_t)(XXH32(&i, sizeof i, (XXH32_hash_t)tensor) & 0xFF);
    return byte == 0x80 ? 1 : byte;
}

typedef struct fixture {
    char folder[64], path[96];
    uint8_t *data; /* the tiny file */
    size_t size_bytes, data_start;
} fixture;

static inline void put_keys(b2_gguf_writer *w) {
    b2_gguf_writer_put_string(w, B2_KEY_NAME, "tiny");
    b2_hparams_put(w, &TINY);
    b2_gguf_writer_put_array_strings(w, B2_KEY_TOKENS, TOKENS, 5);
    b2_gguf_writer_put_array_i32(w, B2_KEY_TOKEN_TYPES, TOKEN_TYPES, 5);
    b2_gguf_writer_put_array_strings(w, B2_KEY_MERGES, MERGES, 2);
    b2_gguf_writer_put_u64(w, "test.u64", 0x0123456789ABCDEFu);
}

static inline void declare_all(b2_gguf_writer *w) {
    for (size_t i = 0; i < N_TENSORS; i++)
        b2_gguf_writer_declare_tensor(w, TENSORS[i].name, TENSORS[i].dtype, TENSORS[i].n_dims, TENSORS[i].ne,
                                      TENSORS[i].planes);
}

/* Writes a tensor's bytes in pieces of odd sizes. */
static inline blip2_status write_tensor(b2_gguf_writer *w, size_t tensor, blip2_error *err) {
    uint8_t piece[977];
    for (size_t at = 0; at < TENSORS[tensor].n_bytes;) {
        const size_t left = TENSORS[tensor].n_bytes - at, n = left < sizeof piece ? left : sizeof piece;
        for (size_t i = 0; i < n; i++) piece[i] = tensor_byte(tensor, at + i);
        B2_TRY(b2_gguf_writer_write(w, piece, n, err));
        at += n;
    }
    return BLIP2_OK;
}

static inline void write_tiny(const char *path) {
    b2_gguf_writer *w;
    blip2_error err;
    assert_int_equal(b2_gguf_writer_create(path, TINY.arch, &w, &err), BLIP2_OK);
    put_keys(w);
    declare_all(w);
    assert_int_equal(b2_gguf_writer_begin(w, &err), BLIP2_OK);
    for (size_t i = 0; i < N_TENSORS; i++) assert_int_equal(write_tensor(w, i, &err), BLIP2_OK);
    assert_int_equal(b2_gguf_writer_finish(w, &err), BLIP2_OK);
}

static inline size_t count_files(const char *folder) {
    DIR *dir = opendir(folder);
    size_t n = 0;
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}

static inline int set_up(void **state) {
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    snprintf(f->folder, sizeof f->folder, "/tmp/blip2-test-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof f->path, "%s/tiny.gguf", f->folder);
    write_tiny(f->path);
    b2_mapfile map;
    blip2_error err;
    assert_int_equal(b2_mapfile_open(f->path, &map, &err), BLIP2_OK);
    f->size_bytes = map.size_bytes;
    f->data = malloc(map.size_bytes);
    assert_non_null(f->data);
    memcpy(f->data, map.data, map.size_bytes);
    b2_mapfile_close(&map);
    f->data_start = f->size_bytes;
    for (size_t i = 0; i < N_TENSORS; i++) f->data_start -= (size_t)b2_padded_bytes(TENSORS[i].n_bytes);
    *state = f;
    return 0;
}

static inline int tear_down(void **state) {
    fixture *f = *state;
    unlink(f->path);
    rmdir(f->folder);
    free(f->data);
    free(f);
    return 0;
}

/* ---- what anybody breaks ---------------------------------------------------------------------------------------- */

/* A copy of its own size, so that the sanitizer sees a single byte read beyond the end. */
static inline uint8_t *copy_bytes(const uint8_t *data, size_t n) {
    uint8_t *copy = malloc(n > 0 ? n : 1);
    assert_non_null(copy);
    if (n > 0) memcpy(copy, data, n);
    return copy;
}

/* Parses (and, when that succeeds, verifies) and returns the status. */
static inline blip2_status read_all(const uint8_t *data, size_t n, blip2_error *err) {
    b2_checkpoint *c;
    B2_TRY(b2_checkpoint_parse(data, n, &c, err));
    const blip2_status status = b2_checkpoint_verify(c, NULL, NULL, err);
    b2_checkpoint_close(c);
    return status;
}

static inline size_t find_bytes(const fixture *f, const char *text) {
    const size_t len = strlen(text);
    for (size_t i = 0; i + len <= f->data_start; i++)
        if (memcmp(f->data + i, text, len) == 0) return i;
    fail_msg("%s is not in the header", text);
    return 0;
}

/* Behind key name and type. */
static inline size_t value_offset(const fixture *f, const char *key) { return find_bytes(f, key) + strlen(key) + 4; }

/* Gives a changed header its right hash again, so that what is behind the hash check is reached. */
static inline void rehash(const fixture *f, uint8_t *data) {
    const size_t at = value_offset(f, B2_KEY_HEADER_HASH);
    memset(data + at, 0, 8);
    const uint64_t hash = XXH3_64bits(data, f->data_start);
    memcpy(data + at, &hash, sizeof hash); /* little endian, as all of these tests */
}

#endif
