#include "checkpoint/profile.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static blip2_status check_u32(const b2_gguf *g, const char *name, uint32_t expected, blip2_error *err) {
    const uint32_t *value = b2_gguf_get_items(g, name, B2_GGUF_U32, false, 1, err);
    if (value == NULL) return BLIP2_FORMAT;
    if (*value == expected) return BLIP2_OK;
    return b2_fail(err, BLIP2_OTHER_VERSION, "%s is %" PRIu32 ", expected %" PRIu32, name, *value, expected);
}

/* A string out of a file goes into a sentence only when it is short and printable. */
static const char *printable(const b2_text *text) {
    if (text->len > 64) return "(long)";
    for (size_t i = 0; i < text->len; i++)
        if (text->data[i] < 0x20 || text->data[i] > 0x7E) return "(unprintable)";
    return text->data;
}

static bool is_text(const b2_text *text, const char *expected) {
    return text->len == strlen(expected) && memcmp(text->data, expected, text->len) == 0;
}

static blip2_status check_string(const b2_gguf *g, const char *name, const char *expected, blip2_status status,
                                 blip2_error *err) {
    const b2_text *value = b2_gguf_get_items(g, name, B2_GGUF_STRING, false, 1, err);
    if (value == NULL) return BLIP2_FORMAT;
    if (is_text(value, expected)) return BLIP2_OK;
    return b2_fail(err, status, "%s is '%s', expected '%s'", name, printable(value), expected);
}

static blip2_status find_arch(const b2_gguf *g, b2_arch *out, blip2_error *err) {
    const b2_text *name = b2_gguf_get_items(g, B2_KEY_ARCHITECTURE, B2_GGUF_STRING, false, 1, err);
    if (name == NULL) return BLIP2_FORMAT;
    for (*out = 0; *out < B2_N_ARCHS; ++*out)
        if (is_text(name, b2_arch_name(*out))) return BLIP2_OK;
    char known[128] = "";
    for (b2_arch i = 0; i < B2_N_ARCHS; i++)
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s'%s'", i > 0 ? " or " : "", b2_arch_name(i));
    return b2_fail(err, BLIP2_OTHER_VERSION, "%s is '%s', expected %s", B2_KEY_ARCHITECTURE, printable(name), known);
}

blip2_status b2_profile_check_kind(const b2_gguf *g, blip2_error *err) {
    b2_arch arch;
    const blip2_status status = find_arch(g, &arch, err);
    if (status != BLIP2_OK) b2_error_prefix(err, "not a blip2 model file");
    B2_TRY(status);
    B2_TRY(check_u32(g, B2_KEY_FORMAT_VERSION, B2_FORMAT_VERSION, err));
    return check_u32(g, B2_KEY_ALIGNMENT, B2_FILE_ALIGN_BYTES, err);
}

/* The hash covers bytes 0 to the start of the data, with its own eight bytes taken as zero. */
static blip2_status check_header_hash(const b2_gguf *g, blip2_error *err) {
    const uint64_t *expected = b2_gguf_get_items(g, B2_KEY_HEADER_HASH, B2_GGUF_U64, false, 1, err);
    if (expected == NULL) return BLIP2_FORMAT;
    const size_t at = b2_gguf_find_key(g, B2_KEY_HEADER_HASH)->value_offset, after = at + sizeof *expected;
    const uint64_t zero = 0;
    XXH3_state_t *state = XXH3_createState();
    if (state == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for the header's checksum");
    XXH3_64bits_reset(state);
    XXH3_64bits_update(state, g->data, at);
    XXH3_64bits_update(state, &zero, sizeof zero);
    XXH3_64bits_update(state, g->data + after, g->data_start - after);
    const uint64_t got = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    if (got == *expected) return BLIP2_OK;
    return b2_fail(err, BLIP2_CHECKSUM, "damaged: the header's checksum is %016" PRIx64 ", expected %016" PRIx64, got,
                   *expected);
}

/* planes go with int8 matrices and with nothing else. */
static blip2_status read_planes(b2_gguf *g, blip2_error *err) {
    const uint8_t *planes = b2_gguf_get_items(g, B2_KEY_PLANES, B2_GGUF_U8, true, g->n_tensors, err);
    if (planes == NULL) return BLIP2_FORMAT;
    for (size_t i = 0; i < g->n_tensors; i++) {
        b2_tensor *t = &g->tensors[i];
        t->planes = planes[i];
        if (t->dtype == B2_DTYPE_I8 ? t->planes == 1 || t->planes == 2 : t->planes == 0) continue;
        return b2_fail(err, BLIP2_FORMAT, "tensor %.*s of type %s cannot have %d activation planes", (int)t->name.len,
                       t->name.data, b2_dtype_name(t->dtype), (int)t->planes);
    }
    return BLIP2_OK;
}

/* ---- the numbers. Whoever multiplies them later must not have to think of overflow ------------------------------- */

static blip2_status check_u32_bounds(const b2_hparam_spec *spec, uint32_t value, blip2_error *err) {
    const uint32_t min = (uint32_t)spec->min, max = (uint32_t)spec->max;
    if (spec->type == B2_TYPE_DIVISOR) {
        if (value != 0 && max % value == 0) return BLIP2_OK;
        return b2_fail(err, BLIP2_FORMAT, "%s is %" PRIu32 ", expected a divisor of %" PRIu32, spec->key, value, max);
    }
    if (value >= min && value <= max) return BLIP2_OK;
    return b2_fail(err, BLIP2_FORMAT, "%s is %" PRIu32 ", expected %" PRIu32 " to %" PRIu32, spec->key, value, min,
                   max);
}

static blip2_status check_f32_bounds(const b2_hparam_spec *spec, const float *values, size_t n, blip2_error *err) {
    for (size_t i = 0; i < n; i++)
        if (!((double)values[i] > spec->min && (double)values[i] < spec->max))
            return b2_fail(err, BLIP2_FORMAT, "%s is %g, expected between %g and %g", spec->key, (double)values[i],
                           spec->min, spec->max);
    return BLIP2_OK;
}

/* Values lie in b2_hparams as they lie in the file: a bool is one byte, 0 or 1, which the reader has checked. */
static blip2_status read_number(const b2_gguf *g, const b2_hparam_spec *spec, b2_hparams *h, blip2_error *err) {
    static const struct {
        b2_gguf_type type;
        size_t n, n_bytes;
    } FORMS[] = {[B2_TYPE_U32] = {B2_GGUF_U32, 1, sizeof(uint32_t)},
                 [B2_TYPE_DIVISOR] = {B2_GGUF_U32, 1, sizeof(uint32_t)},
                 [B2_TYPE_F32] = {B2_GGUF_F32, 1, sizeof(float)},
                 [B2_TYPE_F32X3] = {B2_GGUF_F32, 3, sizeof(b2_f32x3)},
                 [B2_TYPE_BOOL] = {B2_GGUF_BOOL, 1, sizeof(bool)}};
    const size_t n = FORMS[spec->type].n;
    const void *items = b2_gguf_get_items(g, spec->key, FORMS[spec->type].type, n > 1, n, err);
    if (items == NULL) return BLIP2_FORMAT;
    memcpy((char *)h + spec->offset, items, FORMS[spec->type].n_bytes);
    switch (spec->type) {
    case B2_TYPE_U32:
    case B2_TYPE_DIVISOR: return check_u32_bounds(spec, *(const uint32_t *)items, err);
    case B2_TYPE_F32:
    case B2_TYPE_F32X3: return check_f32_bounds(spec, items, n, err);
    case B2_TYPE_BOOL: break;
    }
    return BLIP2_OK;
}

static blip2_status read_hparams(const b2_gguf *g, b2_hparams *h, blip2_error *err) {
    b2_hparam_spec spec;
    for (b2_hparam i = 0; i < B2_N_HPARAMS; i++) {
        spec = b2_hparams_spec(h, i);
        if (b2_arch_has(h->arch, spec.part)) B2_TRY(read_number(g, &spec, h, err));
    }
    for (size_t i = 0; b2_hparams_joint(h, i, &spec); i++)
        if (b2_arch_has(h->arch, spec.part))
            B2_TRY(check_u32_bounds(&spec, *(const uint32_t *)((const char *)h + spec.offset), err));
    return BLIP2_OK;
}

/* What this program computes is fixed; a file that wants something else must not run. */
static blip2_status check_methods(const b2_gguf *g, b2_arch arch, blip2_error *err) {
    const b2_method *method;
    for (size_t i = 0; (method = b2_methods_get(i)) != NULL; i++)
        if (b2_arch_has(arch, method->part))
            B2_TRY(check_string(g, method->key, method->value, BLIP2_UNSUPPORTED, err));
    return BLIP2_OK;
}

static blip2_status check_lists(const b2_gguf *g, const b2_hparams *h, blip2_error *err) {
    if (b2_gguf_get_items(g, B2_KEY_TOKENS, B2_GGUF_STRING, true, b2_vocab_rows(h), err) == NULL) return BLIP2_FORMAT;
    if (b2_gguf_get_items(g, B2_KEY_TOKEN_TYPES, B2_GGUF_I32, true, b2_vocab_rows(h), err) == NULL) return BLIP2_FORMAT;
    if (b2_gguf_get_items(g, B2_KEY_MERGES, B2_GGUF_STRING, true, 0, err) == NULL) return BLIP2_FORMAT;
    if (b2_gguf_get_items(g, B2_KEY_TENSOR_HASHES, B2_GGUF_U64, true, g->n_tensors, err) == NULL) return BLIP2_FORMAT;
    return BLIP2_OK;
}

blip2_status b2_profile_read(b2_gguf *g, b2_hparams *h, blip2_error *err) {
    if (g->n_tensors == 0) return b2_fail(err, BLIP2_FORMAT, "the file holds no tensors");
    B2_TRY(check_header_hash(g, err));
    B2_TRY(read_planes(g, err));
    B2_TRY(find_arch(g, &h->arch, err));
    B2_TRY(read_hparams(g, h, err));
    B2_TRY(check_methods(g, h->arch, err));
    return check_lists(g, h, err);
}
