/* test_adapter.c: adapters of PEFT merged by the converter against merge_and_unload() of peft, and the other forms in
 * which checkpoints are found: bitsandbytes' int8, PyTorch's format before 1.6. tests/tools/make_adapter_golden.py
 * made the goldens. */
#include "blip2.h"
#include "checkpoint/checkpoint.h"
#include "convert/convert.h"
#include "convert/pattern.h"
#include "convert/safetensors.h"
#include "files.h"
#include "result.h"

#include <math.h>
#include <sys/stat.h>

#include <jansson.h>

#define BASE "data/demo/model"
#define GOLDEN "tests/golden/adapters/"

static const char *const FORMS[] = {"plain",     "rslora",   "patterns",       "fan_in_fan_out",  "dora",
                                    "lora_bias", "bias_all", "bias_lora_only", "modules_to_save", "vision",
                                    "qformer",   "bin",      "wrapped",        "trained"};
enum { N_FORMS = sizeof FORMS / sizeof *FORMS };

static blip2_status convert(const char *source, const char *adapter, const char *cache, const char *output,
                            b2_dtype type, int n_threads, blip2_error *err) {
    b2_convert_options options = b2_convert_options_default();
    options.source = source;
    options.adapter = adapter;
    options.cache_root = cache;
    options.output = output;
    options.type = type;
    options.n_threads = n_threads;
    return b2_convert(&options, err);
}

static void expect_converted(const char *source, const char *adapter, const char *output, b2_dtype type,
                             int n_threads) {
    blip2_error err;
    if (convert(source, adapter, NULL, output, type, n_threads, &err) != BLIP2_OK) fail_msg("%s", err.message);
}

/* ---- rows ------------------------------------------------------------------------------------------------------ */

/* "name@row" of merged.safetensors against the row of the model file. */
static void check_row(const b2_checkpoint *c, const b2_flat_file *file, const b2_stored_tensor *want,
                      const char *form) {
    char name[256];
    snprintf(name, sizeof name, "%s", want->name);
    char *at = strchr(name, '@');
    assert_non_null(at);
    *at = '\0';
    const b2_tensor *t = b2_checkpoint_find(c, name);
    if (t == NULL) fail_msg("%s: no tensor %s", form, name);
    assert_int_equal(t->dtype, B2_DTYPE_F32);
    const size_t n = (size_t)want->n_elements, row = strtoul(at + 1, NULL, 10);
    assert_true((row + 1) * n * sizeof(float) <= t->n_bytes);
    const float *got = (const float *)t->data + row * n;
    float *expected = malloc(n * sizeof *expected), max = 0;
    assert_int_equal(b2_flat_file_read(file, want->offset_bytes, n * sizeof *expected, expected, NULL), BLIP2_OK);
    for (size_t k = 0; k < n; k++) max = fabsf(expected[k]) > max ? fabsf(expected[k]) : max;
    for (size_t k = 0; k < n; k++)
        if (!(fabsf(got[k] - expected[k]) <= 2e-7f * max)) /* torch sums in another order: the last bit */
            fail_msg("%s: %s row %zu, element %zu is %.9g, expected %.9g", form, name, row, k, (double)got[k],
                     (double)expected[k]);
    free(expected);
}

static size_t check_rows(const char *form, const char *model) {
    char path[256];
    b2_flat_file file;
    b2_tensor_list list = {0};
    b2_checkpoint *c = NULL;
    snprintf(path, sizeof path, GOLDEN "%s/merged.safetensors", form);
    assert_int_equal(b2_safetensors_open(path, &file, &list, NULL), BLIP2_OK);
    assert_int_equal(b2_checkpoint_open(model, &c, NULL), BLIP2_OK);
    for (size_t i = 0; i < list.n; i++) check_row(c, &file, &list.items[i], form);
    const size_t n = list.n;
    b2_checkpoint_close(c);
    b2_tensor_list_free(&list);
    b2_flat_file_close(&file);
    return n;
}

/* What merged.safetensors does not name is as in the base. */
static void check_the_rest(const char *form, const char *base, const char *model) {
    char path[256];
    size_t n_golden, n_same = 0;
    b2_checkpoint *a = NULL, *b = NULL;
    snprintf(path, sizeof path, GOLDEN "%s/merged.safetensors", form);
    char *golden = read_all(path, &n_golden);
    assert_int_equal(b2_checkpoint_open(base, &a, NULL), BLIP2_OK);
    assert_int_equal(b2_checkpoint_open(model, &b, NULL), BLIP2_OK);
    assert_int_equal(b2_checkpoint_n_tensors(a), b2_checkpoint_n_tensors(b));
    for (size_t i = 0; i < b2_checkpoint_n_tensors(a); i++) {
        char name[80];
        const b2_tensor *x = b2_checkpoint_tensor(a, i), *y = b2_checkpoint_tensor(b, i);
        snprintf(name, sizeof name, "\"%.*s@", (int)x->name.len, x->name.data);
        const bool is_same = x->n_bytes == y->n_bytes && memcmp(x->data, y->data, x->n_bytes) == 0;
        const bool is_named = strstr(golden + 8, name) != NULL;
        if (is_same == is_named)
            fail_msg("%s: tensor %s changed: %d, in the golden: %d", form, name, !is_same, is_named);
        n_same += is_same;
    }
    assert_true(n_same > 100);
    b2_checkpoint_close(a);
    b2_checkpoint_close(b);
    free(golden);
}

static void test_each_form_equals_merge_and_unload(void **state) {
    (void)state;
    char folder[] = "/tmp/blip2_adapter_XXXXXX", base[128], model[128], adapter[128];
    make_folder(folder);
    snprintf(base, sizeof base, "%s/base.gguf", folder);
    snprintf(model, sizeof model, "%s/merged.gguf", folder);
    expect_converted(BASE, NULL, base, B2_DTYPE_F32, 1);
    for (size_t i = 0; i < N_FORMS; i++) {
        snprintf(adapter, sizeof adapter, GOLDEN "%s", FORMS[i]);
        expect_converted(BASE, adapter, model, B2_DTYPE_F32, 2);
        assert_true(check_rows(FORMS[i], model) >= 2);
        if (strcmp(FORMS[i], "bias_all") != 0) check_the_rest(FORMS[i], base, model); /* its golden names a part only */
    }
    remove_folder(folder);
}

static void test_threads_change_nothing(void **state) {
    (void)state;
    char folder[] = "/tmp/blip2_adapter_XXXXXX", a[128], b[128];
    make_folder(folder);
    snprintf(a, sizeof a, "%s/a.gguf", folder);
    snprintf(b, sizeof b, "%s/b.gguf", folder);
    expect_converted(BASE, GOLDEN "vision", a, B2_DTYPE_I8, 1);
    expect_converted(BASE, GOLDEN "vision", b, B2_DTYPE_I8, 3);
    size_t n_a, n_b;
    char *x = read_all(a, &n_a), *y = read_all(b, &n_b);
    assert_int_equal(n_a, n_b);
    assert_memory_equal(x, y, n_a);
    free(x);
    free(y);
    remove_folder(folder);
}

/* ---- what a trained one says ------------------------------------------------------------------------------------ */

static json_t *load_expected(void) {
    json_t *rows = json_load_file(GOLDEN "trained/expected.json", 0, NULL);
    assert_true(json_array_size(rows) >= 8);
    return rows;
}

static blip2_image *load_picture(const blip2_model *model, const json_t *row) {
    char path[256];
    blip2_error err;
    blip2_image *image = NULL;
    snprintf(path, sizeof path, "data/demo/images/%s", json_string_value(json_object_get(row, "file")));
    if (blip2_image_load(model, path, NULL, &image, &err) != BLIP2_OK) fail_msg("%s", err.message);
    return image;
}

static void check_answer(blip2_session *session, blip2_image *image, const json_t *row) {
    blip2_error err;
    const blip2_request request = {.image = 0};
    const json_t *tokens = json_object_get(row, "tokens"), *logprobs = json_object_get(row, "token_logprobs");
    assert_int_equal(blip2_session_encode(session, &image, 1, &err), BLIP2_OK);
    if (blip2_session_generate(session, &request, 1, NULL, &err) != BLIP2_OK) fail_msg("%s", err.message);
    const blip2_result result = fixture_result(session, 0);
    assert_string_equal(result.text, json_string_value(json_object_get(row, "caption")));
    assert_int_equal(result.n_tokens, json_array_size(tokens));
    for (size_t t = 0; t < result.n_tokens; t++) {
        assert_int_equal(result.tokens[t], json_integer_value(json_array_get(tokens, t)));
        assert_true(fabs((double)result.token_logprobs[t] - json_number_value(json_array_get(logprobs, t))) < 2e-3);
    }
}

/* Logits after the prompt, of the first three pictures. */
static void check_logits(blip2_session *session, const blip2_model *model, const json_t *rows) {
    size_t n_bytes, n = 0;
    char *bytes = read_all(GOLDEN "trained/logits.bin", &n_bytes);
    for (size_t i = 0; i < 3; i++) {
        blip2_image *image = load_picture(model, json_array_get(rows, i));
        const blip2_request request = {.image = 0};
        blip2_decoding decoding;
        blip2_decoding_default(&decoding);
        decoding.max_new_tokens = 1;
        assert_int_equal(blip2_session_encode(session, &image, 1, NULL), BLIP2_OK);
        assert_int_equal(blip2_session_generate(session, &request, 1, &decoding, NULL), BLIP2_OK);
        const float *got = blip2_session_logits(session, 0, 0, &n);
        assert_non_null(got);
        assert_int_equal(n_bytes, 3 * n * sizeof(float));
        const float *want = (const float *)(const void *)bytes + i * n;
        for (size_t k = 0; k < n; k++)
            if (!(fabsf(got[k] - want[k]) <= 2e-3f))
                fail_msg("picture %zu, logit %zu is %g, expected %g", i, k, (double)got[k], (double)want[k]);
        blip2_image_free(&image);
    }
    free(bytes);
}

static void test_a_trained_adapter_speaks_like_transformers(void **state) {
    (void)state;
    char folder[] = "/tmp/blip2_adapter_XXXXXX", path[128];
    make_folder(folder);
    snprintf(path, sizeof path, "%s/m.gguf", folder);
    expect_converted(BASE, GOLDEN "trained", path, B2_DTYPE_F32, 2);
    blip2_model *model = NULL;
    blip2_session *session = NULL;
    blip2_session_options options;
    blip2_session_options_default(&options);
    options.n_threads = 2;
    options.max_new_tokens = 20;
    options.keeps_logits = true;
    assert_int_equal(blip2_model_open(path, &model, NULL), BLIP2_OK);
    assert_int_equal(blip2_session_create(model, &options, &session, NULL), BLIP2_OK);
    json_t *rows = load_expected(), *row;
    size_t i, n_other = 0;
    json_array_foreach(rows, i, row) {
        blip2_image *image = load_picture(model, row);
        check_answer(session, image, row);
        blip2_image_free(&image);
        n_other += !json_equal(json_object_get(row, "caption"), json_object_get(row, "caption_of_the_base"));
    }
    assert_true(n_other >= 4);
    check_logits(session, model, rows);
    json_decref(rows);
    blip2_session_free(&session);
    blip2_model_close(&model);
    remove_folder(folder);
}

/* ---- what is refused ------------------------------------------------------------------------------------------- */

typedef struct edit {
    const char *form, *file, *find, *put; /* of the same length in safetensors */
    blip2_status status;
    const char *words;
} edit;

#define CONFIG "adapter_config.json"
#define WEIGHTS "adapter_model.safetensors"
static const edit EDITS[] = {
    {"plain", CONFIG, "\"LORA\"", "\"LOHA\"", BLIP2_UNSUPPORTED, "peft_type is \"LOHA\""},
    {"plain", CONFIG, "\"r\": 2", "\"r\": 3", BLIP2_SHAPE, "says rank 3 for language_model"},
    {"plain", CONFIG, "\"r\": 2", "\"r\": -2", BLIP2_FORMAT, "r is -2"},
    {"plain", CONFIG, "\"lora_alpha\": 6", "\"lora_alpha\": \"x\"", BLIP2_FORMAT, "lora_alpha"},
    {"plain", CONFIG, "\"use_qalora\": false", "\"use_qalora\": true", BLIP2_UNSUPPORTED, "use_qalora is set"},
    {"plain", CONFIG, "\"revision\": null", "\"a_later_key\": 5", BLIP2_UNSUPPORTED, "a_later_key is set"},
    {"plain", CONFIG, "\"layer_replication\": null", "\"layer_replication\": [[0, 2]]", BLIP2_UNSUPPORTED,
     "layer_replication is set"},
    {"plain", CONFIG, "\"init_lora_weights\": true", "\"init_lora_weights\": \"pissa\"", BLIP2_UNSUPPORTED, "pissa"},
    {"plain", CONFIG, "\"use_dora\": false", "\"use_dora\": true", BLIP2_SHAPE, "has no lora_magnitude_vector"},
    {"dora", CONFIG, "\"use_dora\": true", "\"use_dora\": false", BLIP2_SHAPE, "has a lora_magnitude_vector"},
    {"plain", CONFIG, "\"rank_pattern\": {}", "\"rank_pattern\": {\"(?i)Q_PROJ\": 2}", BLIP2_UNSUPPORTED, "regular"},
    {"plain", CONFIG, "\"rank_pattern\": {}", "\"rank_pattern\": {\"q_proj\": \"2\"}", BLIP2_FORMAT, "rank_pattern"},
    {"plain", CONFIG, "{", "[", BLIP2_FORMAT, CONFIG},
    {"plain", WEIGHTS, "layers.3.self_attn.q_proj.lora_A", "layers.7.self_attn.q_proj.lora_A", BLIP2_SHAPE,
     "q_proj.lora_B.weight has no lora_A.weight"},
    {"plain", WEIGHTS, "q_proj.lora_A.weight", "q_proj.lora_E.weight", BLIP2_SHAPE, "has no lora_A.weight beside it"},
    {"modules_to_save", WEIGHTS, "language_projection.bias", "language_projectile.bias", BLIP2_UNSUPPORTED,
     "tensor language_projectile.bias has no place"},
    {"plain", WEIGHTS, "\"shape\":[2,160]", "\"shape\":[4,80]", BLIP2_SHAPE, "does not fit"},
    {"plain", WEIGHTS, "\"dtype\":\"F32\"", "\"dtype\":\"I32\"", BLIP2_SHAPE, "has type I32"},
};

static void inflict(const char *folder, const edit *e) {
    char path[256];
    size_t n;
    snprintf(path, sizeof path, "%s/%s", folder, e->file);
    char *bytes = read_all(path, &n), *at = NULL;
    for (size_t i = 0; at == NULL && i + strlen(e->find) <= n; i++)
        if (memcmp(bytes + i, e->find, strlen(e->find)) == 0) at = bytes + i;
    if (at == NULL) fail_msg("'%s' is not in %s", e->find, path);
    FILE *file = fopen(path, "wb");
    fwrite(bytes, 1, (size_t)(at - bytes), file);
    fputs(e->put, file);
    const int n_pad = (int)(strlen(e->find) - strlen(e->put)); /* JSON allows spaces */
    if (strcmp(e->file, WEIGHTS) == 0) fprintf(file, "%*s", n_pad, "");
    fwrite(at + strlen(e->find), 1, n - (size_t)(at - bytes) - strlen(e->find), file);
    fclose(file);
    free(bytes);
}

static void test_what_is_not_merged_is_named(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof EDITS / sizeof *EDITS; i++) {
        const edit *e = &EDITS[i];
        char folder[] = "/tmp/blip2_adapter_XXXXXX", source[128], output[128];
        blip2_error err = {0};
        make_folder(folder);
        snprintf(source, sizeof source, GOLDEN "%s", e->form);
        snprintf(output, sizeof output, "%s/m.gguf", folder);
        copy_folder(source, folder);
        inflict(folder, e);
        const blip2_status got = convert(BASE, folder, NULL, output, B2_DTYPE_I8, 1, &err);
        if (got != e->status || strstr(err.message, e->words) == NULL)
            fail_msg("%zu: expected status %d with '%s', got %d: %s", i, (int)e->status, e->words, (int)got,
                     err.message);
        assert_int_not_equal(access(output, F_OK), 0);
        remove_folder(folder);
    }
}

static void test_patterns_as_python_matches_them(void **state) {
    (void)state;
    static const struct {
        const char *pattern, *name;
        bool is_known, matches;
    } cases[] = {{"q_proj", "a.q_proj", true, true},
                 {"q_proj", "q_proj", true, true},
                 {"q_proj", "a.xq_proj", true, false},
                 {"proj", "a.q_proj", true, false},
                 {"layers.1.self", "a.layers.1.self", true, true},
                 {"layers.1.self", "a.layersx1.self", true, true},
                 {"layers\\.1", "a.layersx1", true, false},
                 {"^q", "a.q", true, false},
                 {"^a.q$", "a.q", true, true},
                 {".*\\.[0-2]\\.q", "x.layers.1.q", true, true},
                 {".*\\.[^0-2]\\.q", "x.layers.1.q", true, false},
                 {"(q|k|out)_proj", "a.out_proj", true, true},
                 {"(q|k|(v|w))_proj", "a.w_proj", true, true},
                 {"q|k", "a.k", true, true},
                 {"layers\\.\\d+\\.fc1", "d.layers.31.fc1", true, true},
                 {"layers\\.\\d+\\.fc1", "d.layers..fc1", true, false},
                 {"colou?r*", "colorrr", true, true},
                 {"", "a.", true, true},
                 {"a++", "a", false, false},
                 {"(a)+", "a", false, false},
                 {"(?i)A", "a", false, false},
                 {"a{2}", "aa", false, false},
                 {"[a", "a", false, false},
                 {"a)", "a", false, false},
                 {"(a", "a", false, false},
                 {"\\w", "a", false, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (b2_pattern_is_known(cases[i].pattern) != cases[i].is_known) fail_msg("%s", cases[i].pattern);
        if (cases[i].is_known && b2_pattern_matches(cases[i].pattern, cases[i].name) != cases[i].matches)
            fail_msg("%s against %s", cases[i].pattern, cases[i].name);
    }
    char evil[B2_PATTERN_MAX_BYTES + 1] = "", name[256];
    for (size_t i = 0; i + 2 < sizeof evil; i += 2) memcpy(evil + i, ".*", 3);
    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    evil[B2_PATTERN_MAX_BYTES - 1] = 'b';
    assert_false(b2_pattern_matches(evil, name)); /* at once: others try 2^200 ways */
}

/* ---- where adapters lie ---------------------------------------------------------------------------------------- */

static void test_an_adapter_finds_its_base_in_the_cache(void **state) {
    (void)state;
    static const char sha[] = "0123456789abcdef0123456789abcdef01234567";
    char root[] = "/tmp/blip2_cache_XXXXXX", path[512], output[128], real[4096];
    blip2_error err = {0};
    make_folder(root);
    snprintf(output, sizeof output, "%s/m.gguf", root);
    assert_int_equal(convert(GOLDEN "plain", NULL, root, output, B2_DTYPE_F32, 1, &err), BLIP2_IO);
    assert_non_null(strstr(err.message, "is an adapter"));
    assert_non_null(strstr(err.message, "example/blip2-demo"));
    static const char *const parts[] = {"", "/refs", "/snapshots"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/models--example--blip2-demo%s", root, parts[i]);
        mkdir(path, 0700);
    }
    snprintf(path, sizeof path, "%s/models--example--blip2-demo/refs/main", root);
    write_all(path, sha, sizeof sha - 1);
    assert_non_null(realpath(BASE, real));
    snprintf(path, sizeof path, "%s/models--example--blip2-demo/snapshots/%s", root, sha);
    assert_int_equal(symlink(real, path), 0);
    if (convert(GOLDEN "plain", NULL, root, output, B2_DTYPE_F32, 1, &err) != BLIP2_OK) fail_msg("%s", err.message);
    check_rows("plain", output);
    remove_folder(root);
}

static void test_an_adapter_beside_a_model_is_merged(void **state) {
    (void)state;
    char folder[] = "/tmp/blip2_both_XXXXXX", output[128];
    make_folder(folder);
    copy_folder(BASE, folder);
    copy_folder(GOLDEN "dora", folder);
    snprintf(output, sizeof output, "%s/m.gguf", folder);
    expect_converted(folder, NULL, output, B2_DTYPE_F32, 1);
    check_rows("dora", output);
    remove_folder(folder);
}

/* ---- other containers ------------------------------------------------------------------------------------------ */

/* Puts the golden `one` into folder, with a file of GOLDEN instead of its weights. */
static void make_one(const char *folder, const char *name, const char *weights) {
    char from[256], to[256];
    copy_folder("tests/golden/models/one", folder);
    snprintf(to, sizeof to, "%s/model.safetensors", folder);
    unlink(to);
    snprintf(from, sizeof from, GOLDEN "%s/%s", name, weights);
    snprintf(to, sizeof to, "%s/%s", folder, weights);
    copy_file(from, to);
}

static void test_bitsandbytes_int8_is_converted(void **state) {
    (void)state;
    char folder[] = "/tmp/blip2_int8_XXXXXX", output[128];
    make_folder(folder);
    snprintf(output, sizeof output, "%s/m.gguf", folder);
    make_one(folder, "int8", "model.safetensors");
    expect_converted(folder, NULL, output, B2_DTYPE_F32, 2);
    assert_true(check_rows("int8", output) >= 8);
    remove_folder(folder);
}

static const char *const OLD_NAME = "pytorch_model.bin";

static void test_the_format_before_pytorch_1_6(void **state) {
    (void)state;
    char folder[] = "/tmp/blip2_old_XXXXXX", old[128], new[128], path[128];
    make_folder(folder);
    snprintf(old, sizeof old, "%s/old.gguf", folder);
    snprintf(new, sizeof new, "%s/new.gguf", folder);
    snprintf(path, sizeof path, "%s/%s", folder, OLD_NAME);
    make_one(folder, "torch_old", OLD_NAME);
    expect_converted(folder, NULL, old, B2_DTYPE_I8, 2);
    expect_converted("tests/golden/models/one", NULL, new, B2_DTYPE_I8, 1);
    size_t n, m;
    char *a = read_all(old, &n), *b = read_all(new, &m);
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n);
    free(a);
    free(b);
    char *bytes = read_all(path, &n);
    for (size_t i = 0; i < 60; i++) { /* every cut is a sentence */
        blip2_error err = {0};
        write_all(path, bytes, i < 20 ? i : n - 1 - (n - 20) * (i - 20) / 40);
        assert_int_not_equal(convert(folder, NULL, NULL, old, B2_DTYPE_F32, 1, &err), BLIP2_OK);
        assert_non_null(strstr(err.message, OLD_NAME));
    }
    free(bytes);
    remove_folder(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_form_equals_merge_and_unload),
        cmocka_unit_test(test_threads_change_nothing),
        cmocka_unit_test(test_a_trained_adapter_speaks_like_transformers),
        cmocka_unit_test(test_what_is_not_merged_is_named),
        cmocka_unit_test(test_patterns_as_python_matches_them),
        cmocka_unit_test(test_an_adapter_finds_its_base_in_the_cache),
        cmocka_unit_test(test_an_adapter_beside_a_model_is_merged),
        cmocka_unit_test(test_bitsandbytes_int8_is_converted),
        cmocka_unit_test(test_the_format_before_pytorch_1_6),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
