/* test_profile.c: every key must be there, every number within its bounds, every method the one that is computed here:
 * the lists of quant/parts.def, one row after the other. */
#include "tiny.h"

static void test_other_files(void **state) {
    const fixture *f = *state;
    blip2_error err;
    uint8_t *data = copy_bytes(f->data, f->size_bytes);
    memcpy(data + value_offset(f, B2_KEY_ARCHITECTURE) + 8, "llama", 5);
    assert_int_equal(read_all(data, f->size_bytes, &err), BLIP2_OTHER_VERSION);
    assert_string_equal(err.message, "not a blip2 model file: general.architecture is 'llama', expected 'blip2'");
    memcpy(data, f->data, f->data_start);
    data[4] = 2;
    assert_int_equal(read_all(data, f->size_bytes, &err), BLIP2_OTHER_VERSION);
    memcpy(data + 4, "\0\0\0\3", 4);
    assert_int_equal(read_all(data, f->size_bytes, &err), BLIP2_OTHER_VERSION);
    assert_non_null(strstr(err.message, "big-endian"));
    free(data);
}

/* A copy of the file in which `n` bytes at `at` are others, under a right hash. */
static blip2_status read_changed(const fixture *f, size_t at, const void *bytes, size_t n, blip2_error *err) {
    uint8_t *data = copy_bytes(f->data, f->size_bytes);
    memcpy(data + at, bytes, n);
    rehash(f, data);
    const blip2_status status = read_all(data, f->size_bytes, err);
    free(data);
    return status;
}

/* A key renamed is a key missing. */
static void expect_needed(const fixture *f, const char *key) {
    char expected[128];
    blip2_error err;
    snprintf(expected, sizeof expected, "key '%s' is missing", key);
    assert_int_not_equal(read_changed(f, find_bytes(f, key), "#", 1, &err), BLIP2_OK);
    if (strstr(err.message, expected) == NULL) fail_msg("expected '%s', got '%s'", expected, err.message);
}

static void test_every_key_is_needed(void **state) {
    static const char *const others[] = {B2_KEY_ARCHITECTURE, B2_KEY_ALIGNMENT,     B2_KEY_FORMAT_VERSION,
                                         B2_KEY_TOKENS,       B2_KEY_TOKEN_TYPES,   B2_KEY_MERGES,
                                         B2_KEY_PLANES,       B2_KEY_TENSOR_HASHES, B2_KEY_HEADER_HASH};
    const b2_method *method;
    for (b2_hparam i = 0; i < B2_N_HPARAMS; i++) expect_needed(*state, b2_hparams_spec(&TINY, i).key);
    for (size_t i = 0; (method = b2_methods_get(i)) != NULL; i++) expect_needed(*state, method->key);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) expect_needed(*state, others[i]);
}

/* ---- bounds ----------------------------------------------------------------------------------------------------- */

/* With this value the number itself is refused by a sentence that begins with its key, or it is not. What else a file
 * with such a number lacks (rows of the vocabulary) is not asked here. */
static void expect_number(const fixture *f, const b2_hparam_spec *spec, size_t channel, const void *value,
                          bool is_refused) {
    const size_t at = value_offset(f, spec->key) + (spec->type == B2_TYPE_F32X3 ? 12 + 4 * channel : 0);
    char start[96];
    blip2_error err = {0};
    snprintf(start, sizeof start, "%s is ", spec->key);
    const blip2_status status = read_changed(f, at, value, 4, &err);
    const bool names_it = status != BLIP2_OK && strncmp(err.message, start, strlen(start)) == 0;
    if (is_refused && status != BLIP2_FORMAT) fail_msg("%s: expected a refusal, got status %d", spec->key, (int)status);
    if (names_it != is_refused) fail_msg("%s: got '%s'", spec->key, err.message);
}

static void expect_u32(const fixture *f, const b2_hparam_spec *spec, double value, bool is_refused) {
    if (value < 0) return;
    const uint32_t bytes = (uint32_t)value;
    expect_number(f, spec, 0, &bytes, is_refused);
}

static void expect_f32(const fixture *f, const b2_hparam_spec *spec, float value, bool is_refused) {
    for (size_t i = 0; i < (spec->type == B2_TYPE_F32X3 ? 3 : 1); i++) expect_number(f, spec, i, &value, is_refused);
}

static void expect_own_bounds(const fixture *f, const b2_hparam_spec *spec) {
    switch (spec->type) {
    case B2_TYPE_U32:
        expect_u32(f, spec, spec->min - 1, true);
        expect_u32(f, spec, spec->max + 1, true);
        expect_u32(f, spec, UINT32_MAX, true);
        break;
    case B2_TYPE_DIVISOR:
        expect_u32(f, spec, 0, true);
        expect_u32(f, spec, 7, true); /* divides no width of TINY */
        expect_u32(f, spec, 2 * spec->max, true);
        expect_u32(f, spec, 1, false);
        expect_u32(f, spec, spec->max, false);
        break;
    case B2_TYPE_F32:
    case B2_TYPE_F32X3:
        expect_f32(f, spec, (float)spec->min, true);
        expect_f32(f, spec, (float)spec->max, true);
        expect_f32(f, spec, NAN, true);
        expect_f32(f, spec, 0.5f, false);
        break;
    case B2_TYPE_BOOL: break; /* the reader knows but two */
    }
}

static void test_every_number_has_bounds(void **state) {
    for (b2_hparam i = 0; i < B2_N_HPARAMS; i++) {
        const b2_hparam_spec spec = b2_hparams_spec(&TINY, i);
        b2_hparam_spec joint;
        bool has_joint = false;
        expect_own_bounds(*state, &spec);
        for (size_t k = 0; b2_hparams_joint(&TINY, k, &joint); k++) has_joint |= strcmp(joint.key, spec.key) == 0;
        if (spec.type != B2_TYPE_U32 || has_joint) continue;
        expect_u32(*state, &spec, spec.min, false);
        expect_u32(*state, &spec, spec.max, false);
    }
}

static void test_bounds_where_parts_meet(void **state) {
    b2_hparam_spec joint;
    size_t n = 0;
    for (; b2_hparams_joint(&TINY, n, &joint); n++) {
        expect_u32(*state, &joint, joint.min - 1, true);
        expect_u32(*state, &joint, joint.max + 1, true);
        expect_u32(*state, &joint, joint.min, false);
        expect_u32(*state, &joint, joint.max, false);
    }
    assert_int_equal(n, 4);
}

/* The bounds of quant/FORMAT.md, written out: so that the lists themselves are not believed. */
static void test_insane_numbers(void **state) {
    static const struct {
        const char *key;
        uint32_t value;
        blip2_status status;
    } bad[] = {
        {"blip2.image.size", 16385, BLIP2_FORMAT},
        {"blip2.image.patch_size", 29, BLIP2_FORMAT},
        {"blip2.vision.block_count", 1025, BLIP2_FORMAT},
        {"blip2.vision.embedding_length", 1000001, BLIP2_FORMAT},
        {"blip2.qformer.attention.head_count", 3, BLIP2_FORMAT},
        {"blip2.num_query_tokens", 10, BLIP2_FORMAT}, /* more than positions */
        {"blip2.qformer.cross_attention_frequency", 0, BLIP2_FORMAT},
        {"blip2.text.vocab_size", 6, BLIP2_FORMAT}, /* tokens has 5 */
        {"tokenizer.ggml.eos_token_id", 5, BLIP2_FORMAT},
        {"blip2.text.attention.layer_norm_epsilon", 0x3F800000, BLIP2_FORMAT}, /* 1 */
        {B2_KEY_FORMAT_VERSION, 2, BLIP2_OTHER_VERSION},
        {B2_KEY_ALIGNMENT, 32, BLIP2_OTHER_VERSION},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(read_changed(*state, value_offset(*state, bad[i].key), &bad[i].value, 4, NULL), bad[i].status);
}

/* Same length, another last letter. */
static void test_every_method_is_checked(void **state) {
    const fixture *f = *state;
    const b2_method *method;
    blip2_error err;
    size_t n = 0;
    for (; (method = b2_methods_get(n)) != NULL; n++) {
        char expected[128];
        const size_t len = strlen(method->value);
        snprintf(expected, sizeof expected, "%s is '%.*sX', expected '%s'", method->key, (int)len - 1, method->value,
                 method->value);
        assert_int_equal(read_changed(f, value_offset(f, method->key) + 8 + len - 1, "X", 1, &err), BLIP2_UNSUPPORTED);
        assert_string_equal(err.message, expected);
    }
    assert_int_equal(n, 6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_other_files),
        cmocka_unit_test(test_every_key_is_needed),
        cmocka_unit_test(test_every_number_has_bounds),
        cmocka_unit_test(test_bounds_where_parts_meet),
        cmocka_unit_test(test_insane_numbers),
        cmocka_unit_test(test_every_method_is_checked),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
