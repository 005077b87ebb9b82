/* fixture.c: see fixture.h. */
#include "tests/fixture.h"

#include "convert/gguf_writer.h"
#include "quant/gguf.h"
#include "quant/half.h"
#include "quant/panel.h"
#include "quant/tensors.h"
#include "tests/random.h"
#include "tokenizer/bpe.h"

#include <math.h>

b2_hparams fixture_hparams(void) {
    return (b2_hparams){
        .image = {.size = 30,
                  .patch_size = 5,
                  .mean = {0.48145466f, 0.4578275f, 0.40821073f},
                  .std = {0.26862954f, 0.26130258f, 0.27577711f}},
        .vision = {.blocks = 3, .width = 66, .ff = 111, .heads = 3, .eps = 1e-6f},
        .qformer =
            {.n_queries = 7, .blocks = 3, .width = 48, .ff = 100, .heads = 4, .cross_frequency = 2, .eps = 1e-12f},
        .opt = {.blocks = 3, .width = 60, .ff = 210, .heads = 3, .max_positions = 96, .eps = 1e-5f, .n_vocab = 300},
        .tokenizer = {.bos_id = 2, .stop_id = 263, .pad_id = 1, .add_bos = true},
    };
}

/* ids: 0 <s> 1 <pad> 2 </s> 3 <unk> 4..259 the bytes 260.. some merges, then padding rows */
static void put_tokenizer(b2_gguf_writer *w, const b2_hparams *h) {
    static const char *const merges[] = {"a b", "t h", "th e", "\xC4\xA0 a"};
    char(*names)[16] = calloc(h->opt.n_vocab, sizeof *names);
    b2_text *tokens = calloc(h->opt.n_vocab, sizeof *tokens), texts[4];
    int32_t *types = calloc(h->opt.n_vocab, sizeof *types);
    static const char *const first[] = {"<s>", "<pad>", "</s>", "<unk>"};
    for (int i = 0; i < 4; i++)
        strcpy(names[i], first[i]), types[i] = i == 1 || i == 2 ? B2_TOKEN_CONTROL : B2_TOKEN_NORMAL;
    for (unsigned byte = 0, next = 0x100; byte < 256; byte++) {
        const bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
        const unsigned c = printable ? byte : next++;
        if (c < 0x80) names[4 + byte][0] = (char)c;
        else names[4 + byte][0] = (char)(0xC0 | c >> 6), names[4 + byte][1] = (char)(0x80 | (c & 0x3F));
        types[4 + byte] = B2_TOKEN_NORMAL;
    }
    for (int i = 0; i < 4; i++) {
        const char *space = strchr(merges[i], ' ');
        snprintf(names[260 + i], 16, "%.*s%s", (int)(space - merges[i]), merges[i], space + 1);
        types[260 + i] = B2_TOKEN_NORMAL;
        texts[i] = (b2_text){merges[i], strlen(merges[i])};
    }
    for (uint32_t i = 264; i < h->opt.n_vocab; i++) snprintf(names[i], 16, "[PAD%u]", i), types[i] = B2_TOKEN_UNUSED;
    for (uint32_t i = 0; i < h->opt.n_vocab; i++) tokens[i] = (b2_text){names[i], strlen(names[i])};
    b2_gguf_writer_put_array_strings(w, B2_KEY_TOKENS, tokens, h->opt.n_vocab);
    b2_gguf_writer_put_array_i32(w, B2_KEY_TOKEN_TYPES, types, h->opt.n_vocab);
    b2_gguf_writer_put_array_strings(w, B2_KEY_MERGES, texts, 4);
    free(names), free(tokens), free(types);
}

/* The part's tensors of one stem: visits (suffix, dtype, n_dims, ne, bytes, n_bytes, planes). */
typedef void visit_fn(b2_gguf_writer *w, const char *name, b2_dtype dtype, uint32_t n_dims, const uint64_t *ne,
                      const void *bytes, size_t n_bytes, uint8_t planes);

static void visit_stem(b2_gguf_writer *w, const b2_tensor_spec *spec, b2_dtype dtype, uint64_t seed, visit_fn *visit) {
    char name[B2_TENSOR_NAME_BYTES + 8];
    const size_t n = spec->n_out * spec->n_in;
    float *values = malloc(n * sizeof *values), *bias = malloc(spec->n_out * sizeof *bias);
    const bool is_norm = spec->kind == B2_KIND_NORM, is_table = spec->kind == B2_KIND_TABLE;
    const float scale = is_norm || is_table ? 0.3f : 2.2f / sqrtf((float)spec->n_in);
    for (size_t i = 0; i < n; i++) values[i] = (is_norm ? 1.0f : 0.0f) + scale * next_unit(&seed);
    for (size_t i = 0; i < spec->n_out; i++) bias[i] = 0.1f * next_unit(&seed);
    const uint64_t plain[2] = {is_norm ? spec->n_out : spec->n_in, spec->n_out}, vector[1] = {spec->n_out};
    snprintf(name, sizeof name, "%s.weight", spec->name);
    if (is_norm || is_table || dtype == B2_DTYPE_F32) {
        visit(w, name, B2_DTYPE_F32, is_norm ? 1 : 2, plain, values, n * 4, 0);
    } else if (dtype == B2_DTYPE_F16) {
        uint16_t *half = malloc(n * 2);
        b2_f32_to_f16_row(values, n, half);
        visit(w, name, B2_DTYPE_F16, 2, plain, half, n * 2, 0);
        free(half);
    } else {
        const b2_panel_shape s = b2_panel_shape_make(spec->n_out, spec->n_in, spec->panel);
        int8_t *q = malloc(b2_panel_values_bytes(&s));
        uint16_t *d = malloc(b2_panel_scales_bytes(&s));
        for (size_t first = 0; first < spec->n_out; first += s.panel)
            b2_panel_quantise(&s, values + first * spec->n_in,
                              spec->n_out - first < s.panel ? spec->n_out - first : s.panel, NULL,
                              q + first * s.n_in_padded, d + first * (s.n_in_padded / s.group));
        const uint64_t ne[4] = {4, s.panel, s.n_in_padded / 4, s.n_out_padded / s.panel};
        const uint64_t scale_ne[3] = {s.panel, s.n_in_padded / s.group, s.n_out_padded / s.panel};
        visit(w, name, B2_DTYPE_I8, 4, ne, q, b2_panel_values_bytes(&s), spec->planes == 2 ? 2 : 1);
        snprintf(name, sizeof name, "%s.scale", spec->name);
        visit(w, name, B2_DTYPE_BF16, 3, scale_ne, d, b2_panel_scales_bytes(&s), 0);
        free(q), free(d);
    }
    snprintf(name, sizeof name, "%s.bias", spec->name);
    if (is_norm || spec->kind == B2_KIND_LINEAR) visit(w, name, B2_DTYPE_F32, 1, vector, bias, spec->n_out * 4, 0);
    free(values), free(bias);
}

static void declare_tensor(b2_gguf_writer *w, const char *name, b2_dtype dtype, uint32_t n_dims, const uint64_t *ne,
                           const void *bytes, size_t n_bytes, uint8_t planes) {
    (void)bytes, (void)n_bytes;
    b2_gguf_writer_declare_tensor(w, name, dtype, n_dims, ne, planes);
}

static void write_tensor(b2_gguf_writer *w, const char *name, b2_dtype dtype, uint32_t n_dims, const uint64_t *ne,
                         const void *bytes, size_t n_bytes, uint8_t planes) {
    (void)name, (void)dtype, (void)n_dims, (void)ne, (void)planes;
    blip2_error err;
    if (b2_gguf_writer_write(w, bytes, n_bytes, &err) != BLIP2_OK) fprintf(stderr, "fixture: %s\n", err.message);
}

bool fixture_write_mixed(const char *path, const b2_hparams *h, b2_dtype dtype, bool with_head, size_t odd,
                         b2_dtype odd_dtype) {
    b2_gguf_writer *w;
    blip2_error err;
    if (b2_gguf_writer_create(path, h->arch, &w, &err) != BLIP2_OK) return false;
    b2_gguf_writer_put_string(w, B2_KEY_NAME, "fixture");
    b2_hparams_put(w, h);
    put_tokenizer(w, h);
    const size_t n = b2_tensors_count(h, with_head);
    for (size_t pass = 0; pass < 2; pass++) {
        if (pass == 1 && b2_gguf_writer_begin(w, &err) != BLIP2_OK) {
            fprintf(stderr, "fixture: %s\n", err.message);
            b2_gguf_writer_abandon(w);
            return false;
        }
        for (size_t i = 0; i < n; i++) {
            const b2_tensor_spec spec = b2_tensors_get(h, with_head, i);
            visit_stem(w, &spec, i == odd ? odd_dtype : dtype, 1000 + i, pass == 0 ? declare_tensor : write_tensor);
        }
    }
    if (b2_gguf_writer_finish(w, &err) == BLIP2_OK) return true;
    fprintf(stderr, "fixture: %s\n", err.message);
    return false;
}

bool fixture_write_model(const char *path, const b2_hparams *h, b2_dtype dtype, bool with_head) {
    return fixture_write_mixed(path, h, dtype, with_head, SIZE_MAX, dtype);
}

uint8_t *fixture_picture(size_t width, size_t height, uint64_t seed, size_t *n_bytes) {
    const size_t row = (width * 3 + 3) / 4 * 4;
    *n_bytes = 54 + row * height;
    uint8_t *b = calloc(1, *n_bytes);
    const uint32_t fields[] = {(uint32_t)*n_bytes, 0, 54, 40, (uint32_t)width, (uint32_t)height};
    b[0] = 'B', b[1] = 'M', b[26] = 1, b[28] = 24;
    for (size_t i = 0; i < 6; i++)
        for (size_t k = 0; k < 4; k++) b[2 + 4 * i + k] = (uint8_t)(fields[i] >> (8 * k));
    float base[3], dx[3], dy[3];
    for (int c = 0; c < 3; c++)
        base[c] = 128 + 80 * next_unit(&seed), dx[c] = 60 * next_unit(&seed), dy[c] = 60 * next_unit(&seed);
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++)
            for (size_t c = 0; c < 3; c++) {
                const float v = base[c] + dx[c] * sinf(9.0f * (float)x / (float)width) +
                                dy[c] * cosf(7.0f * (float)y / (float)height);
                b[54 + y * row + 3 * x + c] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
            }
    return b;
}
