/* test_convert.c: the converter's promises beside parity (tests/parity): both hub vintages and both containers give one
 * file, threads change nothing, and whatever is wrong with a checkpoint is one sentence with nothing left behind. */
#include "convert/config.h"
#include "convert/convert.h"
#include "convert/json_file.h"
#include "convert/pickle.h"
#include "convert/source.h"
#include "files.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define GOLDEN "tests/golden/models/"

static blip2_status convert(const char *source, const char *output, b2_dtype type, int n_threads, blip2_error *err) {
    b2_convert_options options = b2_convert_options_default();
    options.source = source;
    options.output = output;
    options.type = type;
    options.n_threads = n_threads;
    return b2_convert(&options, err);
}

/* The bytes of a converted golden checkpoint. */
static char *convert_golden(const char *name, b2_dtype type, int n_threads, size_t *n) {
    char folder[] = "/tmp/blip2_convert_XXXXXX", source[128], output[128];
    make_folder(folder);
    snprintf(source, sizeof source, GOLDEN "%s", name);
    snprintf(output, sizeof output, "%s/m.gguf", folder);
    blip2_error err;
    if (convert(source, output, type, n_threads, &err) != BLIP2_OK) fail_msg("%s: %s", name, err.message);
    assert_int_equal(count_entries(folder), 1);
    char *bytes = read_all(output, n);
    remove_folder(folder);
    return bytes;
}

static void expect_same(const char *a_name, int a_threads, const char *b_name, int b_threads, b2_dtype type) {
    size_t n_a, n_b;
    char *a = convert_golden(a_name, type, a_threads, &n_a), *b = convert_golden(b_name, type, b_threads, &n_b);
    assert_int_equal(n_a, n_b);
    assert_memory_equal(a, b, n_a);
    free(a);
    free(b);
}

static void test_torch_and_safetensors_give_one_file(void **state) {
    (void)state;
    expect_same("old", 1, "old_bin", 1, B2_DTYPE_F32);
    expect_same("old", 2, "old_bin", 3, B2_DTYPE_I8);
}

static void test_threads_change_nothing(void **state) {
    (void)state;
    static const int threads[] = {2, 3, 7};
    for (size_t i = 0; i < 3; i++) expect_same("heads", 1, "heads", threads[i], B2_DTYPE_I8);
    expect_same("one", 1, "one", 5, B2_DTYPE_F16);
}

/* ---- what may be wrong ----------------------------------------------------------------------------------------- */

typedef struct damage {
    const char *golden, *file;
    const char *find,
        *put; /* the first find in file becomes put; find NULL: the file is removed; put NULL: it ends before find */
    b2_dtype type;
    blip2_status status;
    const char *words; /* of the sentence */
} damage;

static const damage damages[] = {
    {"odd", "config.json", NULL, NULL, B2_DTYPE_I8, BLIP2_IO, "config.json"},
    {"odd", "config.json", "{", "[", B2_DTYPE_I8, BLIP2_FORMAT, "config.json"},
    {"odd", "config.json", "\"text_config\"", NULL, B2_DTYPE_I8, BLIP2_FORMAT, "config.json"},
    {"odd", "config.json", "\"blip-2\"", "\"llava\"", B2_DTYPE_I8, BLIP2_UNSUPPORTED, "llava"},
    {"odd", "config.json", "\"model_type\": \"opt\"", "\"model_type\": \"t5\"", B2_DTYPE_I8, BLIP2_UNSUPPORTED, "t5"},
    {"odd", "config.json", "\"hidden_size\": 39", "\"hidden_size\": 42", B2_DTYPE_I8, BLIP2_SHAPE, "vision"},
    {"odd", "config.json", "\"hidden_size\": 39", "\"hidden_size\": 40", B2_DTYPE_I8, BLIP2_UNSUPPORTED, "divisor"},
    {"odd", "config.json", "\"hidden_size\": 39", "\"hidden_size\": -1", B2_DTYPE_I8, BLIP2_FORMAT, "hidden_size"},
    {"odd", "config.json", "\"num_hidden_layers\": 2,\n    \"patch", "\"num_hidden_layers\": 3,\n    \"patch",
     B2_DTYPE_I8, BLIP2_SHAPE, "layers.2"},
    {"odd", "config.json", "\"num_hidden_layers\": 2,\n    \"patch", "\"num_hidden_layers\": 1,\n    \"patch",
     B2_DTYPE_I8, BLIP2_SHAPE, "layers.1"},
    {"odd", "preprocessor_config.json", "\"height\": 30", "\"height\": 31", B2_DTYPE_I8, BLIP2_UNSUPPORTED, "31"},
    {"odd", "preprocessor_config.json", "\"size\"", "\"sise\"", B2_DTYPE_I8, BLIP2_UNSUPPORTED, "384"},
    {"odd", "preprocessor_config.json", "\"height\"", "\"shortest_edge\"", B2_DTYPE_I8, BLIP2_FORMAT,
     "height and width"},
    {"old", "merges.txt", "\n", NULL, B2_DTYPE_I8, BLIP2_FORMAT, "incomplete"},
    {"odd", "tokenizer.json", "\"vocab\"", "\"vocap\"", B2_DTYPE_I8, BLIP2_FORMAT, "tokenizer.json"},
    {"odd", "model.safetensors", NULL, NULL, B2_DTYPE_I8, BLIP2_IO, "safetensors"},
    {"odd", "model.safetensors", "query_tokens", "query_tokenz", B2_DTYPE_I8, BLIP2_SHAPE, "query_tokens"},
    {"odd", "model.safetensors", "\"dtype\":\"F32\"", "\"dtype\":\"I32\"", B2_DTYPE_I8, BLIP2_SHAPE, "I32"},
    {"odd", "model.safetensors", "\"data_offsets\":[0,", "\"data_offsets\":[8,", B2_DTYPE_I8, BLIP2_FORMAT,
     "model.safetensors"},
    {"heads", "model-00002-of-00003.safetensors", NULL, NULL, B2_DTYPE_I8, BLIP2_IO,
     "model-00002-of-00003.safetensors"},
    {"heads", "model.safetensors.index.json", "model-00003-of-00003", "../../../../etc/pass", B2_DTYPE_I8, BLIP2_FORMAT,
     "index"},
    {"heads", "model.safetensors.index.json", "model-00003-of-00003", "model-00001-of-00003", B2_DTYPE_I8, BLIP2_FORMAT,
     "00001"},
    {"old_bin", "pytorch_model-00002-of-00002.bin", "PK\5\6", "PK\5\7", B2_DTYPE_I8, BLIP2_FORMAT,
     "pytorch_model-00002-of-00002.bin"},
    {"old_bin", "pytorch_model-00001-of-00002.bin", "_rebuild_tensor_v2", "_rebuild_tensor_v9", B2_DTYPE_I8,
     BLIP2_CHECKSUM, "data.pkl"},
};

static char *find_bytes(char *bytes, size_t n, const char *needle) {
    const size_t len = strlen(needle);
    for (size_t i = 0; i + len <= n; i++)
        if (memcmp(bytes + i, needle, len) == 0) return bytes + i;
    fail_msg("'%s' is not in the file", needle);
    return NULL;
}

static void inflict(const char *folder, const damage *d) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, d->file);
    if (d->find == NULL) {
        assert_int_equal(unlink(path), 0);
        return;
    }
    size_t n;
    char *bytes = read_all(path, &n), *at = find_bytes(bytes, n, d->find);
    FILE *file = fopen(path, "wb");
    fwrite(bytes, 1, (size_t)(at - bytes), file);
    if (d->put != NULL) {
        fputs(d->put, file);
        at += strlen(d->find);
        fwrite(at, 1, n - (size_t)(at - bytes), file);
    }
    fclose(file);
    free(bytes);
}

/* Converts folder, which must fail with status and words, leave no new file, and not touch what the output held
 * before. */
static void expect_failure(const char *folder, b2_dtype type, blip2_status status, const char *words) {
    char out_folder[] = "/tmp/blip2_convert_XXXXXX", output[128];
    make_folder(out_folder);
    snprintf(output, sizeof output, "%s/m.gguf", out_folder);
    write_all(output, "GGUF..", 6);
    blip2_error err = {0};
    const blip2_status got = convert(folder, output, type, 2, &err);
    if (got != status || strstr(err.message, words) == NULL)
        fail_msg("expected status %d with '%s', got %d: %s", (int)status, words, (int)got, err.message);
    assert_int_equal(count_entries(out_folder), 1);
    size_t n;
    char *bytes = read_all(output, &n);
    assert_int_equal(n, 6);
    free(bytes);
    remove_folder(out_folder);
}

static void test_damaged_checkpoints_are_one_sentence(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        const damage *d = &damages[i];
        char folder[] = "/tmp/blip2_source_XXXXXX", source[128];
        make_folder(folder);
        snprintf(source, sizeof source, GOLDEN "%s", d->golden);
        copy_folder(source, folder);
        inflict(folder, d);
        expect_failure(folder, d->type, d->status, d->words);
        remove_folder(folder);
    }
}

/* Each would be searched for among all pieces: a list of a million would take an hour. */
static void test_too_many_special_tokens(void **state) {
    (void)state;
    char folder[] = "/tmp/blip2_source_XXXXXX", path[256];
    make_folder(folder);
    copy_folder(GOLDEN "odd", folder);
    snprintf(path, sizeof path, "%s/special_tokens_map.json", folder);
    FILE *file = fopen(path, "w");
    fputs("{\"additional_special_tokens\": [\"x\"", file);
    for (int i = 0; i < 1000; i++) fputs(", \"x\"", file);
    fputs("]}", file);
    fclose(file);
    expect_failure(folder, B2_DTYPE_I8, BLIP2_LIMIT, "1001 additional_special_tokens");
    remove_folder(folder);
}

enum {
    LAST = 4,
    LAST_OF_EMBEDDING = 74084
}; /* bytes from the end of odd's weights to the ends of two of its tensors */

/* Overwrites one f32 of odd's weights. */
static void with_value(float value, size_t from_end, b2_dtype type, blip2_status status, const char *words) {
    char folder[] = "/tmp/blip2_source_XXXXXX", path[256];
    make_folder(folder);
    copy_folder(GOLDEN "odd", folder);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    size_t n;
    char *bytes = read_all(path, &n);
    memcpy(bytes + n - from_end, &value, sizeof value);
    write_all(path, bytes, n);
    free(bytes);
    expect_failure(folder, type, status, words);
    remove_folder(folder);
}

static void test_values_that_cannot_be_stored(void **state) {
    (void)state;
    const float nan = (float)strtod("nan", NULL), infinity = (float)strtod("inf", NULL);
    with_value(nan, LAST, B2_DTYPE_I8, BLIP2_FORMAT, "model.safetensors");
    with_value(infinity, LAST, B2_DTYPE_F32, BLIP2_FORMAT, "final_layer_norm.bias");
    with_value(nan, LAST_OF_EMBEDDING, B2_DTYPE_F16, BLIP2_FORMAT,
               "embed_tokens.weight: expected finite numbers, got NaN at element 12671");
    with_value(-70000, LAST_OF_EMBEDDING, B2_DTYPE_F16, BLIP2_UNSUPPORTED,
               "embed_tokens.weight: value -70000 at element 12671 does not fit f16");
}

/* A bit that fell over in a storage of a .bin: its zip archive holds checksums. (torch.save puts storages at multiples
 * of 64 bytes.) */
static void test_changed_storage_is_noticed(void **state) {
    (void)state;
    char folder[] = "/tmp/blip2_source_XXXXXX", path[256];
    make_folder(folder);
    copy_folder(GOLDEN "old_bin", folder);
    snprintf(path, sizeof path, "%s/pytorch_model-00002-of-00002.bin", folder);
    size_t n;
    char *bytes = read_all(path, &n);
    const size_t name = (size_t)(find_bytes(bytes, n, "/data/0") - bytes);
    bytes[(name / 64 + 3) * 64] ^= 1;
    write_all(path, bytes, n);
    free(bytes);
    expect_failure(folder, B2_DTYPE_I8, BLIP2_CHECKSUM, "data/0 cannot be read: its checksum");
    remove_folder(folder);
}

static void test_every_cut_of_a_shard_is_a_sentence(void **state) {
    (void)state;
    static const char *const goldens[][2] = {{"odd", "model.safetensors"},
                                             {"old_bin", "pytorch_model-00001-of-00002.bin"}};
    for (size_t g = 0; g < 2; g++) {
        char folder[] = "/tmp/blip2_source_XXXXXX", source[128], path[256];
        make_folder(folder);
        snprintf(source, sizeof source, GOLDEN "%s", goldens[g][0]);
        copy_folder(source, folder);
        snprintf(path, sizeof path, "%s/%s", folder, goldens[g][1]);
        size_t n;
        char *bytes = read_all(path, &n);
        for (size_t i = 0; i < 24; i++) {
            const size_t cut = i < 12 ? i : n - 1 - (n - 12) * (i - 12) / 12;
            blip2_error err;
            char output[300];
            write_all(path, bytes, cut);
            snprintf(output, sizeof output, "%s/out.gguf", folder);
            assert_int_not_equal(convert(folder, output, B2_DTYPE_F32, 1, &err), BLIP2_OK);
            assert_non_null(strstr(err.message, goldens[g][1]));
            assert_int_not_equal(access(output, F_OK), 0);
        }
        free(bytes);
        remove_folder(folder);
    }
}

/* ---- the way out ----------------------------------------------------------------------------------------------- */

static void test_output_that_cannot_be_written(void **state) {
    (void)state;
    blip2_error err;
    assert_int_equal(convert(GOLDEN "odd", "/nonexistent/folder/m.gguf", B2_DTYPE_I8, 1, &err), BLIP2_IO);
    assert_non_null(strstr(err.message, "/nonexistent/folder"));
}

/* A disk that fills up while the file grows, here the limit on a file's size. */
static void test_disk_full_leaves_nothing(void **state) {
    (void)state;
    struct rlimit old, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 200000;
    signal(SIGXFSZ, SIG_IGN);
    char folder[] = "/tmp/blip2_convert_XXXXXX", output[128];
    make_folder(folder);
    snprintf(output, sizeof output, "%s/m.gguf", folder);
    setrlimit(RLIMIT_FSIZE, &small);
    blip2_error err;
    const blip2_status status = convert(GOLDEN "odd", output, B2_DTYPE_F32, 2, &err);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(status, BLIP2_NO_SPACE);
    assert_int_equal(count_entries(folder), 0);
    remove_folder(folder);
}

static bool cancel_after_three(void *context) { return ++*(int *)context > 3; }

static void test_cancelling_leaves_nothing(void **state) {
    (void)state;
    char folder[] = "/tmp/blip2_convert_XXXXXX", output[128];
    make_folder(folder);
    snprintf(output, sizeof output, "%s/m.gguf", folder);
    int n_asked = 0;
    b2_convert_options options = b2_convert_options_default();
    options.source = GOLDEN "odd";
    options.output = output;
    options.is_cancelled = cancel_after_three;
    options.context = &n_asked;
    blip2_error err;
    assert_int_equal(b2_convert(&options, &err), BLIP2_CANCELLED);
    assert_int_equal(count_entries(folder), 0);
    remove_folder(folder);
}

/* ---- where checkpoints live ------------------------------------------------------------------------------------ */

static void test_hugging_face_cache(void **state) {
    (void)state;
    static const char sha[] = "0123456789abcdef0123456789abcdef01234567";
    char root[] = "/tmp/blip2_cache_XXXXXX", entry[200], path[400];
    make_folder(root);
    snprintf(entry, sizeof entry, "%s/models--Salesforce--blip2", root);
    mkdir(entry, 0700);
    b2_source source;
    blip2_error err;
    snprintf(path, sizeof path, "%s/snapshots", entry);
    mkdir(path, 0700);
    assert_int_equal(b2_source_resolve("Salesforce/blip2", root, &source, &err), BLIP2_FORMAT); /* without refs/main */
    snprintf(path, sizeof path, "%s/refs", entry);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/refs/main", entry);
    write_all(path, sha, sizeof sha - 1);
    snprintf(path, sizeof path, "%s/snapshots/%s", entry, sha);
    mkdir(path, 0700);
    char real[4096], target[4200], link_path[700];
    assert_non_null(realpath(GOLDEN "odd/config.json", real));
    snprintf(target, sizeof target, "%s", real);
    snprintf(link_path, sizeof link_path, "%s/config.json", path);
    assert_int_equal(symlink(target, link_path), 0);
    static const char *const spellings[] = {"Salesforce/blip2", NULL, NULL};
    for (int i = 0; i < 3; i++) {
        const char *name = i == 0 ? spellings[0] : i == 1 ? entry : path;
        if (b2_source_resolve(name, root, &source, &err) != BLIP2_OK) fail_msg("%s: %s", name, err.message);
        assert_string_equal(source.repository, "Salesforce/blip2");
        assert_string_equal(source.revision, sha);
        b2_source_free(&source);
    }
    assert_int_not_equal(b2_source_resolve("nobody/nothing", root, &source, &err), BLIP2_OK);
    assert_non_null(strstr(err.message, "nobody/nothing"));
    assert_int_not_equal(b2_source_resolve("../etc", root, &source, &err), BLIP2_OK);
    remove_folder(root);
}

/* ---- defaults of the classes ----------------------------------------------------------------------------------- */

static void test_an_empty_config_means_the_class_defaults(void **state) {
    (void)state;
    json_t *json = json_pack("{s:s, s:{s:s}}", "model_type", "blip-2", "text_config", "model_type", "opt");
    b2_config config;
    blip2_error err;
    if (b2_config_parse("config.json", json, &config, &err) != BLIP2_OK) fail_msg("%s", err.message);
    /* transformers: Blip2VisionConfig, Blip2QFormerConfig, OPTConfig */
    assert_int_equal(config.h.vision.width, 1408);
    assert_int_equal(config.h.vision.blocks, 39);
    assert_int_equal(config.h.vision.ff, 6144);
    assert_int_equal(config.h.image.size, 224);
    assert_true(config.h.vision.eps == 1e-6f);
    assert_int_equal(config.h.qformer.width, 768);
    assert_int_equal(config.h.qformer.blocks, 12);
    assert_true(config.h.qformer.eps == 1e-12f);
    assert_int_equal(config.h.qformer.n_queries, 32);
    assert_int_equal(config.h.opt.width, 768);
    assert_int_equal(config.h.opt.blocks, 12);
    json_decref(json);
}

/* ---- pickles that would execute something ---------------------------------------------------------------------- */

static void expect_refusal(const char *pickle, size_t n, blip2_status status, const char *words) {
    b2_pickle_tensors tensors;
    blip2_error err = {0};
    const blip2_status got = b2_pickle_read("data.pkl", (const uint8_t *)pickle, n, NULL, &tensors, &err);
    if (got != status || strstr(err.message, words) == NULL)
        fail_msg("expected status %d with '%s', got %d: %s", (int)status, words, (int)got, err.message);
}
#define EXPECT_REFUSAL(text, status, words) expect_refusal(text, sizeof text - 1, status, words)

static void test_pickles_cannot_execute(void **state) {
    (void)state;
    EXPECT_REFUSAL("\x80\x02"
                   "cos\nsystem\n(X\4\0\0\0true"
                   "tR.",
                   BLIP2_UNSUPPORTED, "os.system");
    EXPECT_REFUSAL("\x80\x02"
                   "cbuiltins\neval\n(X\1\0\0\0"
                   "1tR.",
                   BLIP2_UNSUPPORTED, "builtins.eval");
    EXPECT_REFUSAL("\x80\x02"
                   "i",
                   BLIP2_UNSUPPORTED, "opcode");
    EXPECT_REFUSAL("\x80\x02", BLIP2_FORMAT, "data.pkl");
    EXPECT_REFUSAL("\x80\x02"
                   "t.",
                   BLIP2_FORMAT, "data.pkl");
    EXPECT_REFUSAL("", BLIP2_FORMAT, "data.pkl");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_torch_and_safetensors_give_one_file),
        cmocka_unit_test(test_threads_change_nothing),
        cmocka_unit_test(test_damaged_checkpoints_are_one_sentence),
        cmocka_unit_test(test_too_many_special_tokens),
        cmocka_unit_test(test_values_that_cannot_be_stored),
        cmocka_unit_test(test_changed_storage_is_noticed),
        cmocka_unit_test(test_every_cut_of_a_shard_is_a_sentence),
        cmocka_unit_test(test_output_that_cannot_be_written),
        cmocka_unit_test(test_disk_full_leaves_nothing),
        cmocka_unit_test(test_cancelling_leaves_nothing),
        cmocka_unit_test(test_hugging_face_cache),
        cmocka_unit_test(test_an_empty_config_means_the_class_defaults),
        cmocka_unit_test(test_pickles_cannot_execute),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
