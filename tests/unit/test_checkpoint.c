/* test_checkpoint.c: what the writer writes the reader reads; what anybody breaks the reader refuses. */
#include "checkpoint/checkpoint.h"
#include "convert/gguf_writer.h"
#include "quant/gguf.h"

#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <cmocka.h>

static const b2_hparams TINY = {
    .image_size = 28, .patch_size = 14, .image_mean = {0.48f, 0.46f, 0.41f}, .image_std = {0.27f, 0.26f, 0.28f},
    .vision_blocks = 1, .vision_width = 24, .vision_ff = 40, .vision_heads = 3, .vision_eps = 1e-5f,
    .n_queries = 3, .qformer_blocks = 2, .qformer_width = 20, .qformer_ff = 36, .qformer_heads = 2,
    .qformer_eps = 1e-12f, .cross_frequency = 2,
    .text_blocks = 1, .text_width = 32, .text_ff = 64, .text_heads = 4, .text_eps = 1e-5f, .max_positions = 9,
    .n_vocab = 5, .bos_id = 2, .stop_id = 3, .pad_id = 1, .add_bos = true,
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

static uint8_t tensor_byte(size_t tensor, size_t i) { /* any bytes but -128 */
    const uint8_t byte = (uint8_t)(XXH32(&i, sizeof i, (XXH32_hash_t)tensor) & 0xFF);
    return byte == 0x80 ? 1 : byte;
}

typedef struct fixture {
    char folder[64], path[96];
    uint8_t *data; /* the tiny file */
    size_t size_bytes, data_start;
} fixture;

static void put_keys(b2_gguf_writer *w) {
    b2_gguf_writer_put_string(w, B2_KEY_NAME, "tiny");
    b2_gguf_writer_put_string(w, B2_KEY_LICENSE, "");
    b2_hparams_put(w, &TINY);
    b2_gguf_writer_put_string(w, B2_KEY_RESAMPLE, B2_BICUBIC);
    b2_gguf_writer_put_string(w, B2_KEY_VISION_ACTIVATION, B2_GELU_ERF);
    b2_gguf_writer_put_string(w, B2_KEY_QFORMER_ACTIVATION, B2_GELU_ERF);
    b2_gguf_writer_put_string(w, B2_KEY_TEXT_ACTIVATION, B2_RELU);
    b2_gguf_writer_put_string(w, B2_KEY_TOKENIZER_MODEL, B2_TOKENIZER_MODEL);
    b2_gguf_writer_put_string(w, B2_KEY_TOKENIZER_PRE, B2_TOKENIZER_PRE);
    b2_gguf_writer_put_array_strings(w, B2_KEY_TOKENS, TOKENS, 5);
    b2_gguf_writer_put_array_i32(w, B2_KEY_TOKEN_TYPES, TOKEN_TYPES, 5);
    b2_gguf_writer_put_array_strings(w, B2_KEY_MERGES, MERGES, 2);
    b2_gguf_writer_put_u64(w, "test.u64", 0x0123456789ABCDEFu);
}

static void declare_all(b2_gguf_writer *w) {
    for (size_t i = 0; i < N_TENSORS; i++)
        b2_gguf_writer_declare_tensor(w, TENSORS[i].name, TENSORS[i].dtype, TENSORS[i].n_dims, TENSORS[i].ne,
                                      TENSORS[i].planes);
}

/* Writes a tensor's bytes in pieces of odd sizes. */
static blip2_status write_tensor(b2_gguf_writer *w, size_t tensor, blip2_error *err) {
    uint8_t piece[977];
    for (size_t at = 0; at < TENSORS[tensor].n_bytes;) {
        const size_t left = TENSORS[tensor].n_bytes - at, n = left < sizeof piece ? left : sizeof piece;
        for (size_t i = 0; i < n; i++) piece[i] = tensor_byte(tensor, at + i);
        B2_TRY(b2_gguf_writer_write(w, piece, n, err));
        at += n;
    }
    return BLIP2_OK;
}

static void write_tiny(const char *path) {
    b2_gguf_writer *w;
    blip2_error err;
    assert_int_equal(b2_gguf_writer_create(path, &w, &err), BLIP2_OK);
    put_keys(w);
    declare_all(w);
    assert_int_equal(b2_gguf_writer_begin(w, &err), BLIP2_OK);
    for (size_t i = 0; i < N_TENSORS; i++) assert_int_equal(write_tensor(w, i, &err), BLIP2_OK);
    assert_int_equal(b2_gguf_writer_finish(w, &err), BLIP2_OK);
}

static size_t count_files(const char *folder) {
    DIR *dir = opendir(folder);
    size_t n = 0;
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}

static int set_up(void **state) {
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

static int tear_down(void **state) {
    fixture *f = *state;
    unlink(f->path);
    rmdir(f->folder);
    free(f->data);
    free(f);
    return 0;
}

/* ---- the writer ------------------------------------------------------------------------------------------------- */

static void test_round_trip(void **state) {
    const fixture *f = *state;
    blip2_error err;
    b2_checkpoint *c;
    assert_int_equal(b2_checkpoint_open(f->path, &c, &err), BLIP2_OK);
    const b2_hparams *h = b2_checkpoint_hparams(c);
#define SAME_U32(a, b) assert_int_equal(a, b)
#define SAME_F32(a, b) assert_memory_equal(&(a), &(b), sizeof(float))
#define SAME_F32X3(a, b) assert_memory_equal(a, b, 3 * sizeof(float))
#define SAME_BOOL(a, b) assert_int_equal(a, b)
#define B2_HPARAM(type, member, key) SAME_##type(h->member, TINY.member);
#include "quant/hparams.def"
#undef B2_HPARAM

    assert_int_equal(b2_checkpoint_n_tensors(c), N_TENSORS);
    for (size_t i = 0; i < N_TENSORS; i++) {
        const b2_tensor *t = b2_checkpoint_tensor(c, i);
        assert_ptr_equal(t, b2_checkpoint_find(c, TENSORS[i].name));
        assert_int_equal(t->dtype, TENSORS[i].dtype);
        assert_int_equal(t->n_dims, TENSORS[i].n_dims);
        assert_int_equal(t->n_bytes, TENSORS[i].n_bytes);
        assert_int_equal(t->planes, TENSORS[i].planes);
        assert_int_equal((uintptr_t)t->data % 64, 0);
        for (uint32_t d = 0; d < 4; d++) assert_int_equal(t->ne[d], d < t->n_dims ? TENSORS[i].ne[d] : 1);
        for (size_t k = 0; k < t->n_bytes; k++) assert_int_equal(((const uint8_t *)t->data)[k], tensor_byte(i, k));
    }
    assert_null(b2_checkpoint_find(c, "b"));
    assert_null(b2_checkpoint_find(c, "b.weight2"));
    assert_int_equal(b2_checkpoint_map(c)->size_bytes, f->size_bytes);
    b2_checkpoint_close(c);
}

static void test_values_by_key(void **state) {
    const fixture *f = *state;
    b2_checkpoint *c;
    size_t n;
    assert_int_equal(b2_checkpoint_parse(f->data, f->size_bytes, &c, NULL), BLIP2_OK);
    const b2_text *tokens = b2_checkpoint_strings(c, B2_KEY_TOKENS, &n);
    assert_int_equal(n, 5);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(tokens[i].len, TOKENS[i].len);
        assert_memory_equal(tokens[i].data, TOKENS[i].data, TOKENS[i].len);
    }
    const int32_t *types = b2_checkpoint_i32s(c, B2_KEY_TOKEN_TYPES, &n);
    assert_int_equal(n, 5);
    assert_memory_equal(types, TOKEN_TYPES, sizeof TOKEN_TYPES);
    assert_string_equal(b2_checkpoint_string(c, B2_KEY_NAME), "tiny");
    assert_string_equal(b2_checkpoint_string(c, B2_KEY_LICENSE), "");
    assert_null(b2_checkpoint_string(c, B2_KEY_SOURCE));
    assert_null(b2_checkpoint_string(c, B2_KEY_TOKENS)); /* of another form */
    assert_null(b2_checkpoint_strings(c, B2_KEY_NAME, &n));
    assert_int_equal(n, 0);
    assert_null(b2_checkpoint_i32s(c, B2_KEY_PLANES, NULL));
    b2_checkpoint_close(c);
}

static void test_same_input_same_bytes(void **state) {
    const fixture *f = *state;
    char other[128];
    snprintf(other, sizeof other, "%s/other.gguf", f->folder);
    write_tiny(other);
    write_tiny(other); /* over an old one */
    b2_mapfile map;
    assert_int_equal(b2_mapfile_open(other, &map, NULL), BLIP2_OK);
    assert_int_equal(map.size_bytes, f->size_bytes);
    assert_memory_equal(map.data, f->data, f->size_bytes);
    b2_mapfile_close(&map);
    unlink(other);
    assert_int_equal(count_files(f->folder), 1);
}

static void test_failed_writers_leave_nothing(void **state) {
    const fixture *f = *state;
    blip2_error err;
    b2_gguf_writer *w;
    assert_int_equal(b2_gguf_writer_create(f->path, &w, &err), BLIP2_OK);
    assert_int_equal(access(b2_gguf_writer_temp_path(w), F_OK), 0);
    assert_int_equal(count_files(f->folder), 2);
    b2_gguf_writer_abandon(w);
    assert_int_equal(count_files(f->folder), 1);
    b2_gguf_writer_abandon(NULL);

    assert_int_equal(b2_gguf_writer_create(f->path, &w, &err), BLIP2_OK);
    put_keys(w);
    declare_all(w);
    assert_int_equal(b2_gguf_writer_begin(w, &err), BLIP2_OK);
    assert_int_equal(b2_gguf_writer_file_bytes(w), f->size_bytes);
    assert_int_equal(write_tensor(w, 0, &err), BLIP2_OK);
    assert_int_equal(b2_gguf_writer_write(w, f->data, 8193, &err), BLIP2_ARGUMENT);
    assert_int_equal(b2_gguf_writer_finish(w, &err), BLIP2_ARGUMENT); /* four tensors are missing */
    assert_non_null(strstr(err.message, "1 of 5 tensors"));
    assert_int_equal(count_files(f->folder), 1);

    b2_mapfile map; /* what stood there before still does */
    assert_int_equal(b2_mapfile_open(f->path, &map, NULL), BLIP2_OK);
    assert_memory_equal(map.data, f->data, f->size_bytes);
    b2_mapfile_close(&map);
}

static void test_writer_refuses(void **state) {
    const fixture *f = *state;
    blip2_error err;
    b2_gguf_writer *w;
    assert_int_equal(b2_gguf_writer_create(f->folder, &w, &err), BLIP2_IO);
    assert_non_null(strstr(err.message, "is a folder"));
    assert_int_equal(b2_gguf_writer_create("/dev/null", &w, &err), BLIP2_IO);
    assert_non_null(strstr(err.message, "not a regular file"));
    assert_int_equal(b2_gguf_writer_create("/nonexistent/x.gguf", &w, &err), BLIP2_IO);
    assert_non_null(strstr(err.message, "/nonexistent/x.gguf: cannot be created: No such file"));

    const struct {
        const char *name;
        uint32_t n_dims;
        uint64_t ne[2];
        blip2_status status;
        const char *message;
    } bad[] = {
        {"0123456789012345678901234567890123456789012345678901234567890123", 1, {1}, BLIP2_LIMIT, "63 bytes"},
        {"none", 0, {1}, BLIP2_SHAPE, "impossible shape of tensor 'none'"},
        {"zero", 2, {4, 0}, BLIP2_SHAPE, "impossible shape of tensor 'zero'"},
        {"wraps", 2, {UINT64_MAX / 2, 4}, BLIP2_SHAPE, "impossible shape of tensor 'wraps'"},
        {"large", 1, {(uint64_t)1 << 52}, BLIP2_IO, "its disk has"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(b2_gguf_writer_create(f->path, &w, &err), BLIP2_OK);
        b2_gguf_writer_declare_tensor(w, bad[i].name, B2_DTYPE_F32, bad[i].n_dims, bad[i].ne, 0);
        assert_int_equal(b2_gguf_writer_begin(w, &err), bad[i].status);
        assert_non_null(strstr(err.message, bad[i].message));
        b2_gguf_writer_abandon(w);
    }
    assert_int_equal(count_files(f->folder), 1);
}

/* A disk that fills up while the data is written, played by a limit on file sizes. */
static void test_disk_full(void **state) {
    const fixture *f = *state;
    blip2_error err;
    b2_gguf_writer *w;
    struct rlimit limit, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    small = limit;
    small.rlim_cur = 12000;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(b2_gguf_writer_create(f->path, &w, &err), BLIP2_OK);
    put_keys(w);
    declare_all(w);
    assert_int_equal(b2_gguf_writer_begin(w, &err), BLIP2_OK);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(write_tensor(w, 0, &err), BLIP2_OK);
    const blip2_status status = write_tensor(w, 1, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(status, BLIP2_IO);
    assert_non_null(strstr(err.message, "tiny.gguf: cannot be written: "));
    b2_gguf_writer_abandon(w);
    assert_int_equal(count_files(f->folder), 1);
}

/* ---- the reader, on broken files -------------------------------------------------------------------------------- */

/* A copy of its own size, so that the sanitizer sees a single byte read beyond the end. */
static uint8_t *copy_bytes(const uint8_t *data, size_t n) {
    uint8_t *copy = malloc(n > 0 ? n : 1);
    assert_non_null(copy);
    if (n > 0) memcpy(copy, data, n);
    return copy;
}

/* Parses (and, when that succeeds, verifies) and returns the status. */
static blip2_status read_all(const uint8_t *data, size_t n, blip2_error *err) {
    b2_checkpoint *c;
    B2_TRY(b2_checkpoint_parse(data, n, &c, err));
    const blip2_status status = b2_checkpoint_verify(c, NULL, NULL, err);
    b2_checkpoint_close(c);
    return status;
}

static size_t find_bytes(const fixture *f, const char *text) {
    const size_t len = strlen(text);
    for (size_t i = 0; i + len <= f->data_start; i++)
        if (memcmp(f->data + i, text, len) == 0) return i;
    fail_msg("%s is not in the header", text);
    return 0;
}

/* Behind key name and type. */
static size_t value_offset(const fixture *f, const char *key) { return find_bytes(f, key) + strlen(key) + 4; }

/* Gives a changed header its right hash again, so that what is behind the hash check is reached. */
static void rehash(const fixture *f, uint8_t *data) {
    const size_t at = value_offset(f, B2_KEY_HEADER_HASH);
    memset(data + at, 0, 8);
    const uint64_t hash = XXH3_64bits(data, f->data_start);
    memcpy(data + at, &hash, sizeof hash); /* little endian, as all of these tests */
}

static void test_truncated(void **state) {
    const fixture *f = *state;
    blip2_error err;
    for (size_t n = 0; n < f->size_bytes; n += n < f->data_start + 16 ? 1 : 509) {
        uint8_t *data = copy_bytes(f->data, n);
        const blip2_status status = read_all(data, n, &err);
        free(data);
        assert_int_equal(status, BLIP2_FORMAT);
        assert_true(err.message[0] != '\0');
    }
    char expected[96];
    snprintf(expected, sizeof expected, "truncated: expected %zu bytes, got %zu", f->size_bytes, f->size_bytes - 1);
    assert_int_equal(read_all(f->data, f->size_bytes - 1, &err), BLIP2_FORMAT);
    assert_string_equal(err.message, expected);

    uint8_t *longer = calloc(1, f->size_bytes + 1);
    assert_non_null(longer);
    memcpy(longer, f->data, f->size_bytes);
    assert_int_equal(read_all(longer, f->size_bytes + 1, &err), BLIP2_FORMAT);
    free(longer);
}

/* Every bit of the header: refused. */
static void test_bit_flips(void **state) {
    const fixture *f = *state;
    uint8_t *data = copy_bytes(f->data, f->size_bytes);
    b2_checkpoint *c;
    for (size_t bit = 0; bit < 8 * f->data_start; bit++) {
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (b2_checkpoint_parse(data, f->size_bytes, &c, NULL) == BLIP2_OK) fail_msg("bit %zu was not noticed", bit);
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_int_equal(b2_checkpoint_parse(data, f->size_bytes, &c, NULL), BLIP2_OK);
    b2_checkpoint_close(c);
    free(data);
}

/* The same with the hash made right again: refused or harmless, never a crash. */
static void test_bit_flips_rehashed(void **state) {
    const fixture *f = *state;
    uint8_t *data = copy_bytes(f->data, f->size_bytes);
    const size_t end = find_bytes(f, TENSORS[N_TENSORS - 1].name) + 64;
    for (size_t bit = 0; bit < 8 * end; bit++) {
        memcpy(data, f->data, f->data_start);
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        rehash(f, data);
        read_all(data, f->size_bytes, NULL);
    }
    free(data);
}

/* A key renamed is a key missing; a number changed beyond reason is refused; each time the key is named. */
static void test_every_key_is_needed(void **state) {
    const fixture *f = *state;
    static const char *const keys[] = {
#define B2_HPARAM(type, member, key) key,
#include "quant/hparams.def"
#undef B2_HPARAM
        B2_KEY_ARCHITECTURE, B2_KEY_ALIGNMENT, B2_KEY_FORMAT_VERSION, B2_KEY_RESAMPLE, B2_KEY_VISION_ACTIVATION,
        B2_KEY_QFORMER_ACTIVATION, B2_KEY_TEXT_ACTIVATION, B2_KEY_TOKENIZER_MODEL, B2_KEY_TOKENIZER_PRE,
        B2_KEY_TOKENS, B2_KEY_TOKEN_TYPES, B2_KEY_MERGES, B2_KEY_PLANES, B2_KEY_TENSOR_HASHES, B2_KEY_HEADER_HASH,
    };
    uint8_t *data = copy_bytes(f->data, f->size_bytes);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        char expected[128];
        blip2_error err;
        memcpy(data, f->data, f->data_start);
        data[find_bytes(f, keys[i])] = '#';
        rehash(f, data);
        snprintf(expected, sizeof expected, "key '%s' is missing", keys[i]);
        assert_int_not_equal(read_all(data, f->size_bytes, &err), BLIP2_OK);
        assert_non_null(strstr(err.message, expected));
    }
    free(data);
}

static void test_insane_numbers(void **state) {
    const fixture *f = *state;
    static const struct {
        const char *key;
        uint32_t value;
        blip2_status status;
    } bad[] = {
        {"blip2.image.size", 0, BLIP2_FORMAT},
        {"blip2.image.patch_size", 0, BLIP2_FORMAT},
        {"blip2.image.patch_size", 29, BLIP2_FORMAT},
        {"blip2.vision.block_count", 0, BLIP2_FORMAT},
        {"blip2.vision.block_count", 0xFFFFFFFF, BLIP2_FORMAT},
        {"blip2.vision.embedding_length", 1000001, BLIP2_FORMAT},
        {"blip2.vision.attention.head_count", 0, BLIP2_FORMAT},
        {"blip2.vision.attention.head_count", 5, BLIP2_FORMAT},
        {"blip2.qformer.attention.head_count", 3, BLIP2_FORMAT},
        {"blip2.text.attention.head_count", 64, BLIP2_FORMAT},
        {"blip2.num_query_tokens", 0, BLIP2_FORMAT},
        {"blip2.num_query_tokens", 10, BLIP2_FORMAT}, /* more than positions */
        {"blip2.qformer.cross_attention_frequency", 0, BLIP2_FORMAT},
        {"blip2.text.vocab_size", 6, BLIP2_FORMAT}, /* tokens has 5 */
        {"blip2.text.vocab_size", 0, BLIP2_FORMAT},
        {"tokenizer.ggml.eos_token_id", 5, BLIP2_FORMAT},
        {"blip2.text.attention.layer_norm_epsilon", 0x7FC00000, BLIP2_FORMAT}, /* NaN */
        {"blip2.qformer.attention.layer_norm_epsilon", 0, BLIP2_FORMAT},
        {B2_KEY_FORMAT_VERSION, 2, BLIP2_VERSION_SKEW},
        {B2_KEY_ALIGNMENT, 32, BLIP2_VERSION_SKEW},
    };
    uint8_t *data = copy_bytes(f->data, f->size_bytes);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        memcpy(data, f->data, f->data_start);
        memcpy(data + value_offset(f, bad[i].key), &bad[i].value, 4);
        rehash(f, data);
        assert_int_equal(read_all(data, f->size_bytes, NULL), bad[i].status);
    }
    free(data);
}

/* Same length, other bytes: `from` becomes `to` at its first place in the header. */
static blip2_status read_replaced(const fixture *f, const char *from, const char *to, blip2_error *err) {
    uint8_t *data = copy_bytes(f->data, f->size_bytes);
    assert_int_equal(strlen(from), strlen(to));
    memcpy(data + find_bytes(f, from), to, strlen(to));
    rehash(f, data);
    const blip2_status status = read_all(data, f->size_bytes, err);
    free(data);
    return status;
}

static void test_other_files(void **state) {
    const fixture *f = *state;
    blip2_error err;
    uint8_t *data = copy_bytes(f->data, f->size_bytes);
    memcpy(data + value_offset(f, B2_KEY_ARCHITECTURE) + 8, "llama", 5);
    assert_int_equal(read_all(data, f->size_bytes, &err), BLIP2_VERSION_SKEW);
    assert_string_equal(err.message, "not a blip2 model file: general.architecture is 'llama', expected 'blip2'");
    memcpy(data, f->data, f->data_start);
    data[4] = 2;
    assert_int_equal(read_all(data, f->size_bytes, &err), BLIP2_VERSION_SKEW);
    memcpy(data + 4, "\0\0\0\3", 4);
    assert_int_equal(read_all(data, f->size_bytes, &err), BLIP2_VERSION_SKEW);
    assert_non_null(strstr(err.message, "big-endian"));
    free(data);

    assert_int_equal(read_replaced(f, "bos_token_id", "eos_token_id", &err), BLIP2_FORMAT);
    assert_string_equal(err.message, "damaged: key 'tokenizer.ggml.eos_token_id' occurs twice");
    assert_int_equal(read_replaced(f, "d.weight", "b.weight", &err), BLIP2_FORMAT);
    assert_string_equal(err.message, "damaged: tensor 'b.weight' occurs twice");
    assert_int_equal(read_replaced(f, "b.weight", "b.we ght", &err), BLIP2_FORMAT);
    assert_int_equal(read_replaced(f, "gelu_erf", "gelu_new", &err), BLIP2_UNSUPPORTED);
    assert_string_equal(err.message, "blip2.vision.activation is 'gelu_new', expected 'gelu_erf'");
}

static void write_file(const char *path, const void *bytes, size_t n) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

/* What people pass as -m before they have read that there is a converter. */
static void test_hints(void **state) {
    const fixture *f = *state;
    blip2_error err;
    b2_checkpoint *c;
    char path[128];
    assert_int_equal(b2_checkpoint_open(f->folder, &c, &err), BLIP2_FORMAT);
    assert_null(c);
    assert_non_null(strstr(err.message, "is a folder"));
    assert_non_null(strstr(err.message, "blip2 convert"));
    snprintf(path, sizeof path, "%s/model.safetensors", f->folder);
    static const struct {
        const char *bytes, *message;
        size_t n;
    } files[] = {
        {"\x10\0\0\0\0\0\0\0{\"a\":1}", "a safetensors checkpoint", 15},
        {"PK\3\4....", "a PyTorch checkpoint", 8},
        {"{\"model_type\": \"blip-2\"}", "a JSON file", 24},
        {"hello", "not a blip2 model file", 5},
        {"", "truncated or damaged", 0},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        write_file(path, files[i].bytes, files[i].n);
        assert_int_equal(b2_checkpoint_open(path, &c, &err), BLIP2_FORMAT);
        assert_non_null(strstr(err.message, files[i].message));
        assert_int_equal(strncmp(err.message, path, strlen(path)), 0);
    }
    unlink(path);
    assert_int_equal(b2_checkpoint_open(path, &c, &err), BLIP2_IO);
}

/* ---- verify ----------------------------------------------------------------------------------------------------- */

typedef struct progress_log {
    size_t n_calls;
    uint64_t last_done, total;
} progress_log;

static void log_progress(void *context, uint64_t done_bytes, uint64_t total_bytes) {
    progress_log *log = context;
    assert_true(done_bytes > log->last_done);
    log->n_calls++;
    log->last_done = done_bytes;
    log->total = total_bytes;
}

static void test_verify(void **state) {
    const fixture *f = *state;
    blip2_error err;
    b2_checkpoint *c;
    progress_log log = {0};
    uint8_t *data = copy_bytes(f->data, f->size_bytes);
    assert_int_equal(b2_checkpoint_parse(data, f->size_bytes, &c, &err), BLIP2_OK);
    assert_int_equal(b2_checkpoint_verify(c, log_progress, &log, &err), BLIP2_OK);
    assert_int_equal(log.n_calls, N_TENSORS);
    assert_true(log.last_done == f->size_bytes && log.total == f->size_bytes);
    for (size_t i = 0; i < N_TENSORS; i++) { /* the first, a middle and the last byte; the first and last of padding */
        const size_t n = TENSORS[i].n_bytes, end = (size_t)b2_padded_bytes(n), places[] = {0, n / 2, n - 1, n, end - 1};
        uint8_t *bytes = data + ((const uint8_t *)b2_checkpoint_tensor(c, i)->data - data);
        for (size_t p = 0; p < 5; p++) {
            if (places[p] >= end) continue; /* no padding */
            bytes[places[p]] ^= 0x10;
            assert_int_equal(b2_checkpoint_verify(c, NULL, NULL, &err), BLIP2_CHECKSUM);
            assert_non_null(strstr(err.message, TENSORS[i].name));
            bytes[places[p]] ^= 0x10;
        }
    }
    assert_int_equal(b2_checkpoint_verify(c, NULL, NULL, &err), BLIP2_OK);
    b2_checkpoint_close(c);
    free(data);
}

/* -128 is no weight, even under a right checksum. */
static void test_verify_refuses_minus_128(void **state) {
    const fixture *f = *state;
    blip2_error err;
    uint8_t *data = copy_bytes(f->data, f->size_bytes);
    uint8_t *weights = data + f->data_start + b2_padded_bytes(TENSORS[0].n_bytes);
    weights[100] = 0x80;
    const uint64_t hash = XXH3_64bits(weights, TENSORS[1].n_bytes);
    memcpy(data + value_offset(f, B2_KEY_TENSOR_HASHES) + 12 + 8, &hash, 8); /* item type, count, first hash */
    rehash(f, data);
    assert_int_equal(read_all(data, f->size_bytes, &err), BLIP2_FORMAT);
    assert_string_equal(err.message, "tensor b.weight: holds -128, expected -127 to 127");
    free(data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_values_by_key),
        cmocka_unit_test(test_same_input_same_bytes),
        cmocka_unit_test(test_failed_writers_leave_nothing),
        cmocka_unit_test(test_writer_refuses),
        cmocka_unit_test(test_disk_full),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_bit_flips),
        cmocka_unit_test(test_bit_flips_rehashed),
        cmocka_unit_test(test_every_key_is_needed),
        cmocka_unit_test(test_insane_numbers),
        cmocka_unit_test(test_other_files),
        cmocka_unit_test(test_hints),
        cmocka_unit_test(test_verify),
        cmocka_unit_test(test_verify_refuses_minus_128),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
