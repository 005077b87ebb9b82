/* test_weights.c: the binder finds every tensor of quant/parts.def in a file, and refuses a file in which one is
 * missing, of another shape or type, or which holds one more. The header is changed in memory, a tensor at a time. */
#include "fixture.h"
#include "model/weights.h"
#include "quant/tensors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <xxhash.h>

#include <cmocka.h>

typedef struct file {
    uint8_t *data;
    size_t size_bytes, data_start, hash_at, planes_at;
    b2_gguf gguf; /* of the bytes as they were written */
} file;

static void open_file(file *f, b2_dtype dtype, bool with_head) {
    char path[] = "/tmp/blip2-test-XXXXXX";
    const b2_hparams h = fixture_hparams();
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_true(fixture_write_model(path, &h, dtype, with_head));
    b2_mapfile map;
    assert_int_equal(b2_mapfile_open(path, &map, NULL), BLIP2_OK);
    *f = (file){.data = malloc(map.size_bytes), .size_bytes = map.size_bytes};
    assert_non_null(f->data);
    memcpy(f->data, map.data, map.size_bytes);
    b2_mapfile_close(&map);
    unlink(path);
    assert_int_equal(b2_gguf_parse_keys(f->data, f->size_bytes, &f->gguf, NULL), BLIP2_OK);
    assert_int_equal(b2_gguf_parse_tensors(&f->gguf, NULL), BLIP2_OK);
    f->data_start = f->gguf.data_start;
    f->hash_at = b2_gguf_find_key(&f->gguf, B2_KEY_HEADER_HASH)->value_offset;
    f->planes_at = b2_gguf_find_key(&f->gguf, B2_KEY_PLANES)->value_offset;
}

static void close_file(file *f) {
    b2_gguf_free(&f->gguf);
    free(f->data);
}

/* Opens and binds the bytes as they are now, under a right hash. */
static blip2_status bind(file *f, blip2_error *err) {
    b2_checkpoint *c;
    b2_weights w;
    memset(f->data + f->hash_at, 0, 8);
    const uint64_t hash = XXH3_64bits(f->data, f->data_start);
    memcpy(f->data + f->hash_at, &hash, sizeof hash);
    *err = (blip2_error){0};
    B2_TRY(b2_checkpoint_parse(f->data, f->size_bytes, &c, err));
    const blip2_status status = b2_weights_bind(c, &w, err);
    if (status == BLIP2_OK) b2_weights_free(&w);
    b2_checkpoint_close(c);
    return status;
}

/* Tensor i's entry of the header: name, u32 n_dims, u64 ne[n_dims], u32 dtype, u64 offset. */
typedef struct entry {
    uint8_t *name, *ne, *dtype, *planes;
    uint8_t saved[256];
    size_t n_bytes, name_len;
} entry;

static entry save_entry(file *f, size_t i) {
    const b2_tensor *t = &f->gguf.tensors[i];
    entry e = {.name = f->data + ((const uint8_t *)t->name.data - f->data), .name_len = t->name.len};
    e.ne = e.name + t->name.len + 4;
    e.dtype = e.ne + 8 * t->n_dims;
    e.planes = f->data + f->planes_at + i;
    e.n_bytes = (size_t)(e.dtype + 4 - e.name);
    assert_true(e.n_bytes <= sizeof e.saved);
    memcpy(e.saved, e.name, e.n_bytes);
    return e;
}

static void expect_refused(file *f, const entry *e, const char *what, blip2_error *err) {
    char expected[128];
    snprintf(expected, sizeof expected, "tensor %.*s%s", (int)e->name_len, (const char *)e->saved, what);
    const blip2_status status = bind(f, err);
    if (status != BLIP2_SHAPE || strncmp(err->message, expected, strlen(expected)) != 0)
        fail_msg("expected '%s...', got status %d and '%s'", expected, (int)status, err->message);
}

/* The same bytes under another shape: the first two dimensions exchanged, or multiplied; a vector one longer. */
static void break_shape(const b2_tensor *t, entry *e) {
    uint64_t ne[2] = {t->ne[0], t->ne[1]};
    if (t->n_dims == 1) ne[0]++; /* in the padding */
    else if (ne[0] != ne[1]) ne[0] = t->ne[1], ne[1] = t->ne[0];
    else ne[0] = 1, ne[1] = t->ne[0] * t->ne[1];
    memcpy(e->ne, ne, 8 * (t->n_dims < 2 ? t->n_dims : 2));
}

/* f32 becomes bf16 of twice the length, i8 bf16 of half of it, f16 and bf16 each other. */
static void break_type(const b2_tensor *t, entry *e) {
    const uint64_t n = t->dtype == B2_DTYPE_F32 ? 2 * t->ne[0] : t->dtype == B2_DTYPE_I8 ? t->ne[0] / 2 : t->ne[0];
    const uint32_t dtype = t->dtype == B2_DTYPE_BF16 ? B2_DTYPE_F16 : B2_DTYPE_BF16;
    memcpy(e->ne, &n, sizeof n);
    memcpy(e->dtype, &dtype, sizeof dtype);
    *e->planes = 0;
}

/* Without its own LM head a file would be whole; under another name that tensor is one too many. */
static void expect_missing(file *f, const entry *e, blip2_error *err) {
    if (memcmp(e->saved, "output.weight", 13) != 0) {
        expect_refused(f, e, " is missing", err);
        return;
    }
    assert_int_equal(bind(f, err), BLIP2_SHAPE);
    assert_non_null(strstr(err->message, "the file holds "));
}

static void check_file(b2_dtype dtype, bool with_head) {
    file f;
    blip2_error err;
    open_file(&f, dtype, with_head);
    assert_int_equal(bind(&f, &err), BLIP2_OK);
    for (size_t i = 0; i < f.gguf.n_tensors; i++) {
        const b2_tensor *t = &f.gguf.tensors[i];
        entry e = save_entry(&f, i);
        const uint8_t planes = *e.planes;
        *e.name = '#';
        expect_missing(&f, &e, &err);
        memcpy(e.name, e.saved, e.n_bytes);
        break_shape(t, &e);
        expect_refused(&f, &e, ": expected shape ", &err);
        memcpy(e.name, e.saved, e.n_bytes);
        break_type(t, &e);
        expect_refused(&f, &e, ": expected type ", &err);
        memcpy(e.name, e.saved, e.n_bytes);
        *e.planes = planes;
    }
    assert_int_equal(bind(&f, &err), BLIP2_OK);
    close_file(&f);
}

static void test_every_tensor(void **state) {
    (void)state;
    check_file(B2_DTYPE_I8, true);
    check_file(B2_DTYPE_F16, false);
    check_file(B2_DTYPE_F32, true);
}

/* The memory of a session is planned for one type of matrices: a file that mixes them must not run. */
static void test_one_type(void **state) {
    (void)state;
    const b2_hparams h = fixture_hparams();
    static const b2_dtype types[] = {B2_DTYPE_I8, B2_DTYPE_F16, B2_DTYPE_F32};
    const size_t n = b2_tensors_count(&h, true), stems[] = {4, n - 1};
    for (size_t i = 0; i < 3; i++)
        for (size_t k = 0; k < 2; k++) {
            char path[] = "/tmp/blip2-test-XXXXXX", expected[128];
            const b2_dtype other = types[(i + 1) % 3];
            b2_checkpoint *c;
            b2_weights w;
            blip2_error err;
            close(mkstemp(path));
            assert_true(fixture_write_mixed(path, &h, types[i], true, stems[k], other));
            assert_int_equal(b2_checkpoint_open(path, &c, &err), BLIP2_OK);
            assert_int_equal(b2_weights_bind(c, &w, &err), BLIP2_SHAPE);
            snprintf(expected, sizeof expected, "tensor %s.weight: expected type %s, got %s",
                     b2_tensors_get(&h, true, stems[k]).name, b2_dtype_name(types[i]), b2_dtype_name(other));
            assert_string_equal(err.message, expected);
            b2_checkpoint_close(c);
            unlink(path);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_tensor),
        cmocka_unit_test(test_one_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
