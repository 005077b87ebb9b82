/* test_gguf_writer.c: equal input gives equal bytes, and a file that fails leaves what stood there before. */
#include "tiny.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

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
    assert_int_equal(b2_gguf_writer_create(f->path, TINY.arch, &w, &err), BLIP2_OK);
    assert_int_equal(access(b2_gguf_writer_temp_path(w), F_OK), 0);
    assert_int_equal(count_files(f->folder), 2);
    b2_gguf_writer_abandon(w);
    assert_int_equal(count_files(f->folder), 1);
    b2_gguf_writer_abandon(NULL);

    assert_int_equal(b2_gguf_writer_create(f->path, TINY.arch, &w, &err), BLIP2_OK);
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
    assert_int_equal(b2_gguf_writer_create(f->folder, TINY.arch, &w, &err), BLIP2_IO);
    assert_non_null(strstr(err.message, "is a folder"));
    assert_int_equal(b2_gguf_writer_create("/dev/null", TINY.arch, &w, &err), BLIP2_IO);
    assert_non_null(strstr(err.message, "not a regular file"));
    assert_int_equal(b2_gguf_writer_create("/nonexistent/x.gguf", TINY.arch, &w, &err), BLIP2_IO);
    assert_non_null(strstr(err.message, "/nonexistent/x.gguf: cannot be written: No such file"));

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
        assert_int_equal(b2_gguf_writer_create(f->path, TINY.arch, &w, &err), BLIP2_OK);
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
    assert_int_equal(b2_gguf_writer_create(f->path, TINY.arch, &w, &err), BLIP2_OK);
    put_keys(w);
    declare_all(w);
    assert_int_equal(b2_gguf_writer_begin(w, &err), BLIP2_OK);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(write_tensor(w, 0, &err), BLIP2_OK);
    const blip2_status status = write_tensor(w, 1, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(status, BLIP2_NO_SPACE);
    assert_non_null(strstr(err.message, "tiny.gguf: cannot be written: "));
    b2_gguf_writer_abandon(w);
    assert_int_equal(count_files(f->folder), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_input_same_bytes),
        cmocka_unit_test(test_failed_writers_leave_nothing),
        cmocka_unit_test(test_writer_refuses),
        cmocka_unit_test(test_disk_full),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
