/* test_gguf_reader.c: whatever is cut off or flipped in a file, the reader refuses it or does no harm. */
#include "tiny.h"

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

/* Names that repeat, names that are not names. */
static void test_structure(void **state) {
    const fixture *f = *state;
    blip2_error err;
    assert_int_equal(read_replaced(f, "bos_token_id", "eos_token_id", &err), BLIP2_FORMAT);
    assert_string_equal(err.message, "damaged: key 'tokenizer.ggml.eos_token_id' occurs twice");
    assert_int_equal(read_replaced(f, "d.weight", "b.weight", &err), BLIP2_FORMAT);
    assert_string_equal(err.message, "damaged: tensor 'b.weight' occurs twice");
    assert_int_equal(read_replaced(f, "b.weight", "b.we ght", &err), BLIP2_FORMAT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_bit_flips),
        cmocka_unit_test(test_bit_flips_rehashed),
        cmocka_unit_test(test_structure),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
