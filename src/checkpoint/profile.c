#include "checkpoint/profile.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static blip2_status check_u32(const b2_gguf *g, const char *name, uint32_t expected, blip2_error *err) {
    const uint32_t *value = b2_gguf_get_items(g, name, B2_GGUF_U32, false, 1, err);
    if (value == NULL) return BLIP2_FORMAT;
    if (*value == expected) return BLIP2_OK;
    return b2_fail(err, BLIP2_VERSION_SKEW, "%s is %" PRIu32 ", expected %" PRIu32, name, *value, expected);
}

/* A string out of a file goes into a sentence only when it is short and printable. */
static const char *printable(const b2_text *text) {
    if (text->len > 64) return "(long)";
    for (size_t i = 0; i < text->len; i++)
        if (text->data[i] < 0x20 || text->data[i] > 0x7E) return "(unprintable)";
    return text->data;
}

static blip2_status check_string(const b2_gguf *g, const char *name, const char *expected, blip2_status status,
                                 blip2_error *err) {
    const b2_text *value = b2_gguf_get_items(g, name, B2_GGUF_STRING, false, 1, err);
    if (value == NULL) return BLIP2_FORMAT;
    if (value->len == strlen(expected) && memcmp(value->data, expected, value->len) == 0) return BLIP2_OK;
    return b2_fail(err, status, "%s is '%s', expected '%s'", name, printable(value), expected);
}

blip2_status b2_profile_check_kind(const b2_gguf *g, blip2_error *err) {
    const blip2_status status = check_string(g, B2_KEY_ARCHITECTURE, B2_ARCHITECTURE, BLIP2_VERSION_SKEW, err);
    if (status != BLIP2_OK) b2_error_prefix(err, "not a blip2 model file");
    B2_TRY(status);
    B2_TRY(check_u32(g, B2_KEY_FORMAT_VERSION, B2_FORMAT_VERSION, err));
    return check_u32(g, B2_KEY_ALIGNMENT, B2_FILE_ALIGN_BYTES, err);
}

/* The hash covers bytes 0 to the start of the data, with its own eight bytes taken as zero. */
static blip2_status check_header_hash(const b2_gguf *g, blip2_error *err) {
    const uint64_t *expected = b2_gguf_get_items(g, B2_KEY_HEADER_HASH, B2_GGUF_U64, false, 1, err);
    if (expected == NULL) return BLIP2_FORMAT;
    const size_t at = b2_gguf_find_key(g, B2_KEY_HEADER_HASH)->value_offset, behind = at + sizeof *expected;
    const uint64_t zero = 0;
    XXH3_state_t *state = XXH3_createState();
    if (state == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for the header's checksum");
    XXH3_64bits_reset(state);
    XXH3_64bits_update(state, g->data, at);
    XXH3_64bits_update(state, &zero, sizeof zero);
    XXH3_64bits_update(state, g->data + behind, g->data_start - behind);
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

static blip2_status read_u32(const b2_gguf *g, const char *key, uint32_t *out, blip2_error *err) {
    const uint32_t *value = b2_gguf_get_items(g, key, B2_GGUF_U32, false, 1, err);
    if (value == NULL) return BLIP2_FORMAT;
    *out = *value;
    return BLIP2_OK;
}

static blip2_status read_f32(const b2_gguf *g, const char *key, float *out, blip2_error *err) {
    const float *value = b2_gguf_get_items(g, key, B2_GGUF_F32, false, 1, err);
    if (value == NULL) return BLIP2_FORMAT;
    *out = *value;
    return BLIP2_OK;
}

static blip2_status read_f32x3(const b2_gguf *g, const char *key, float (*out)[3], blip2_error *err) {
    const float *values = b2_gguf_get_items(g, key, B2_GGUF_F32, true, 3, err);
    if (values == NULL) return BLIP2_FORMAT;
    memcpy(*out, values, sizeof *out);
    return BLIP2_OK;
}

static blip2_status read_bool(const b2_gguf *g, const char *key, bool *out, blip2_error *err) {
    const uint8_t *value = b2_gguf_get_items(g, key, B2_GGUF_BOOL, false, 1, err);
    if (value == NULL) return BLIP2_FORMAT;
    *out = *value != 0;
    return BLIP2_OK;
}

static blip2_status read_hparams(const b2_gguf *g, b2_hparams *h, blip2_error *err) {
#define READ_U32 read_u32
#define READ_F32 read_f32
#define READ_F32X3 read_f32x3
#define READ_BOOL read_bool
#define B2_HPARAM(type, member, key) B2_TRY(READ_##type(g, key, &h->member, err));
#include "quant/hparams.def"
#undef B2_HPARAM
    return BLIP2_OK;
}

/* ---- is it sane? Whoever multiplies these numbers later must not have to think of overflow ---------------------- */

enum { MAX_SIZE = 1000000, MAX_BLOCKS = 1024, MAX_IMAGE_SIZE = 16384 };

typedef struct u32_range {
    const char *what;
    uint32_t value, min, max;
} u32_range;

static blip2_status check_ranges(const u32_range *ranges, size_t n, blip2_error *err) {
    for (size_t i = 0; i < n; i++)
        if (ranges[i].value < ranges[i].min || ranges[i].value > ranges[i].max)
            return b2_fail(err, BLIP2_FORMAT, "%s is %" PRIu32 ", expected %" PRIu32 " to %" PRIu32, ranges[i].what,
                           ranges[i].value, ranges[i].min, ranges[i].max);
    return BLIP2_OK;
}

static blip2_status check_sizes(const b2_hparams *h, blip2_error *err) {
    const u32_range ranges[] = {
        {"blip2.image.size", h->image_size, 1, MAX_IMAGE_SIZE},
        {"blip2.image.patch_size", h->patch_size, 1, h->image_size},
        {"blip2.vision.block_count", h->vision_blocks, 1, MAX_BLOCKS},
        {"blip2.vision.embedding_length", h->vision_width, 1, MAX_SIZE},
        {"blip2.vision.feed_forward_length", h->vision_ff, 1, MAX_SIZE},
        {"blip2.num_query_tokens", h->n_queries, 1, MAX_SIZE},
        {"blip2.qformer.block_count", h->qformer_blocks, 1, MAX_BLOCKS},
        {"blip2.qformer.embedding_length", h->qformer_width, 1, MAX_SIZE},
        {"blip2.qformer.feed_forward_length", h->qformer_ff, 1, MAX_SIZE},
        {"blip2.qformer.cross_attention_frequency", h->cross_frequency, 1, MAX_BLOCKS},
        {"blip2.text.block_count", h->text_blocks, 1, MAX_BLOCKS},
        {"blip2.text.embedding_length", h->text_width, 1, MAX_SIZE},
        {"blip2.text.feed_forward_length", h->text_ff, 1, MAX_SIZE},
        {"blip2.text.max_positions", h->max_positions, h->n_queries, MAX_SIZE},
        {"blip2.text.vocab_size", h->n_vocab, 1, MAX_SIZE},
        {"tokenizer.ggml.bos_token_id", h->bos_id, 0, h->n_vocab - 1},
        {"tokenizer.ggml.eos_token_id", h->stop_id, 0, h->n_vocab - 1},
        {"tokenizer.ggml.padding_token_id", h->pad_id, 0, h->n_vocab - 1},
    };
    return check_ranges(ranges, sizeof ranges / sizeof *ranges, err);
}

static blip2_status check_heads(const b2_hparams *h, blip2_error *err) {
    const struct {
        const char *tower;
        uint32_t n_heads, width;
    } towers[] = {{"vision", h->vision_heads, h->vision_width},
                  {"qformer", h->qformer_heads, h->qformer_width},
                  {"text", h->text_heads, h->text_width}};
    for (size_t i = 0; i < sizeof towers / sizeof *towers; i++)
        if (towers[i].n_heads == 0 || towers[i].width % towers[i].n_heads != 0)
            return b2_fail(err, BLIP2_FORMAT,
                           "blip2.%s.attention.head_count is %" PRIu32 ", expected a divisor of %" PRIu32,
                           towers[i].tower, towers[i].n_heads, towers[i].width);
    return BLIP2_OK;
}

static blip2_status check_floats(const b2_hparams *h, blip2_error *err) {
    const float eps[] = {h->vision_eps, h->qformer_eps, h->text_eps};
    for (size_t i = 0; i < 3; i++) {
        if (!(eps[i] > 0.0f && eps[i] < 1.0f))
            return b2_fail(err, BLIP2_FORMAT, "a layer_norm_epsilon is %g, expected between 0 and 1", (double)eps[i]);
        if (!isfinite(h->image_mean[i]) || !isfinite(h->image_std[i]) || !(h->image_std[i] > 0.0f))
            return b2_fail(err, BLIP2_FORMAT, "blip2.image.mean or blip2.image.std of channel %zu is impossible", i);
    }
    return BLIP2_OK;
}

/* What this program computes is fixed; a file that asks for something else must not run. */
static blip2_status check_methods(const b2_gguf *g, blip2_error *err) {
    static const struct {
        const char *key, *expected;
    } methods[] = {{B2_KEY_RESAMPLE, B2_BICUBIC},           {B2_KEY_VISION_ACTIVATION, B2_GELU_ERF},
                   {B2_KEY_QFORMER_ACTIVATION, B2_GELU_ERF}, {B2_KEY_TEXT_ACTIVATION, B2_RELU},
                   {B2_KEY_TOKENIZER_MODEL, B2_TOKENIZER_MODEL}, {B2_KEY_TOKENIZER_PRE, B2_TOKENIZER_PRE}};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        B2_TRY(check_string(g, methods[i].key, methods[i].expected, BLIP2_UNSUPPORTED, err));
    return BLIP2_OK;
}

static blip2_status check_lists(const b2_gguf *g, const b2_hparams *h, blip2_error *err) {
    if (b2_gguf_get_items(g, B2_KEY_TOKENS, B2_GGUF_STRING, true, h->n_vocab, err) == NULL) return BLIP2_FORMAT;
    if (b2_gguf_get_items(g, B2_KEY_TOKEN_TYPES, B2_GGUF_I32, true, h->n_vocab, err) == NULL) return BLIP2_FORMAT;
    if (b2_gguf_get_items(g, B2_KEY_MERGES, B2_GGUF_STRING, true, 0, err) == NULL) return BLIP2_FORMAT;
    if (b2_gguf_get_items(g, B2_KEY_TENSOR_HASHES, B2_GGUF_U64, true, g->n_tensors, err) == NULL) return BLIP2_FORMAT;
    return BLIP2_OK;
}

blip2_status b2_profile_read(b2_gguf *g, b2_hparams *h, blip2_error *err) {
    if (g->n_tensors == 0) return b2_fail(err, BLIP2_FORMAT, "the file holds no tensors");
    B2_TRY(check_header_hash(g, err));
    B2_TRY(read_planes(g, err));
    B2_TRY(read_hparams(g, h, err));
    B2_TRY(check_sizes(h, err));
    B2_TRY(check_heads(h, err));
    B2_TRY(check_floats(h, err));
    B2_TRY(check_methods(g, err));
    return check_lists(g, h, err);
}
