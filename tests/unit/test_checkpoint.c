/* test_checkpoint.c: what the writer writes the reader reads; what was changed later verify finds. */
#include "tiny.h"

static void test_round_trip(void **state) {
    const fixture *f = *state;
    blip2_error err;
    b2_checkpoint *c;
    assert_int_equal(b2_checkpoint_open(f->path, &c, &err), BLIP2_OK);
    const b2_hparams *h = b2_checkpoint_hparams(c);
#define SAME_U32(a, b) assert_int_equal(a, b)
#define SAME_DIVISOR(a, b) assert_int_equal(a, b)
#define SAME_F32(a, b) assert_memory_equal(&(a), &(b), sizeof(float))
#define SAME_F32X3(a, b) assert_memory_equal(a, b, 3 * sizeof(float))
#define SAME_BOOL(a, b) assert_int_equal(a, b)
#define B2_HPARAM(type, part, member, key, min, max) SAME_##type(h->part.member, TINY.part.member);
#include "quant/parts.def"

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
    assert_null(b2_checkpoint_string(c, B2_KEY_SOURCE));
    assert_null(b2_checkpoint_string(c, B2_KEY_TOKENS)); /* of another form */
    assert_null(b2_checkpoint_strings(c, B2_KEY_NAME, &n));
    assert_int_equal(n, 0);
    assert_null(b2_checkpoint_i32s(c, B2_KEY_PLANES, NULL));
    b2_checkpoint_close(c);
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
        cmocka_unit_test(test_hints),
        cmocka_unit_test(test_verify),
        cmocka_unit_test(test_verify_refuses_minus_128),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
