/* fuzz_run.c: what lies after open(): a model file whose keys, vocabulary and weights were changed and whose hash was
 * made right again is opened, looks at a picture and answers. Input: edits of 8 bytes: what, which (3), a value (4).
 * Ids lie in the vocabulary, texts are UTF-8, errors have a sentence. Run from the root. */
#include "base/clock.h"
#include "base/utf8.h"
#include "checkpoint/gguf_reader.h"
#include "convert/convert.h"
#include "reach.h"

#include <string.h>
#include <xxhash.h>

enum { MAX_EDITS = 16, EDIT_BYTES = 8, MAX_SECONDS = 3 };

typedef struct base {
    uint8_t *bytes;
    size_t n;
    uint8_t picture[1 << 16];
    size_t n_picture;
} base;

static size_t read_file(const char *path, uint8_t *bytes, size_t capacity) {
    FILE *file = fopen(path, "rb");
    fuzz_require(file != NULL);
    const size_t n = fread(bytes, 1, capacity, file);
    fclose(file);
    return n;
}

static void load(base *b, const char *path) {
    b2_convert_options options = b2_convert_options_default();
    options.source = "tests/golden/models/one";
    options.output = path;
    fuzz_require(b2_convert(&options, NULL) == BLIP2_OK);
    b->bytes = malloc(4 << 20);
    fuzz_require(b->bytes != NULL);
    b->n = read_file(path, b->bytes, 4 << 20);
    b->n_picture = read_file("tests/golden/models/one/picture0.png", b->picture, sizeof b->picture);
}

/* Values at which sizes, ids and floats turn over. */
static uint32_t odd_value(uint32_t which) {
    static const uint32_t odd[] = {
        0,       1,          2,          3,          7,          8,          15,         16,         31,        32,
        63,      64,         127,        128,        255,        256,        1023,       4096,       65535,     65536,
        1000000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7F800000, 0x7FC00000, 0xFF800000, 0x00000001, 0x3F7FFFFF};
    return odd[which % (sizeof odd / sizeof *odd)];
}

/* One of the file's bytes or numbers; the places come from the file as it was. */
static void edit(const b2_gguf *gguf, uint8_t *copy, const uint8_t *e) {
    const uint32_t which = e[1] | (uint32_t)e[2] << 8 | (uint32_t)e[3] << 16;
    uint32_t value;
    memcpy(&value, e + 4, 4);
    const b2_gguf_key *key = &gguf->keys[which % gguf->n_keys];
    const b2_tensor *tensor = &gguf->tensors[which % gguf->n_tensors];
    uint8_t *data = copy + ((const uint8_t *)tensor->data - gguf->data);
    const bool is_text = key->type == B2_GGUF_STRING;
    if (e[0] & 0x80) value = odd_value(value);
    switch (e[0] % 5) {
    case 0: /* a number, or an item of an array of them */
        if (is_text) {
            const b2_text *texts = key->items, *text = &texts[value % (key->n_items > 0 ? key->n_items : 1)];
            if (key->is_array && key->n_items > 0 && text->len > 0) /* a single one is a copy */
                copy[(const uint8_t *)text->data - gguf->data + (value >> 8) % text->len] = (uint8_t)(value >> 24);
        } else if (key->value_offset + 4 <= gguf->data_start)
            memcpy(copy + key->value_offset, &value, key->type == B2_GGUF_BOOL || key->type == B2_GGUF_U8 ? 1 : 4);
        break;
    case 1: /* an item in the middle */
        if (!is_text && key->is_array && key->n_items > 0 && key->type == B2_GGUF_I32)
            memcpy(copy + key->value_offset + 4 * (value % key->n_items), &which, 4);
        break;
    case 2: copy[which % gguf->data_start] = (uint8_t)value; break;
    case 3: memset(data, (int)(value & 255), tensor->n_bytes); break;
    default:
        if (tensor->n_bytes >= 4) memcpy(data + value % (tensor->n_bytes - 3), (uint32_t[]){odd_value(which)}, 4);
    }
}

static void make_hash_right(uint8_t *bytes, size_t n) {
    b2_gguf gguf;
    if (b2_gguf_parse_keys(bytes, n, &gguf, NULL) != BLIP2_OK) return;
    if (b2_gguf_parse_tensors(&gguf, NULL) != BLIP2_OK) return;
    const b2_gguf_key *key = b2_gguf_find_key(&gguf, B2_KEY_HEADER_HASH);
    if (key != NULL && key->type == B2_GGUF_U64 && !key->is_array) {
        memset(bytes + key->value_offset, 0, 8);
        const uint64_t hash = XXH3_64bits(bytes, gguf.data_start);
        memcpy(bytes + key->value_offset, &hash, sizeof hash);
    }
    b2_gguf_free(&gguf);
}

static bool is_late(void *deadline_ns) { return b2_clock_ns() > *(int64_t *)deadline_ns; }

static void check_results(const blip2_session *session, size_t n_requests, uint32_t n_vocab) {
    for (size_t i = 0; i < n_requests; i++)
        for (size_t rank = 0; rank < blip2_session_n_results(session, i); rank++) {
            blip2_result result = {.struct_bytes = sizeof result};
            fuzz_require(blip2_session_result(session, i, rank, &result));
            fuzz_require(b2_utf8_valid_len(result.text, strlen(result.text)) == strlen(result.text));
            for (size_t k = 0; k < result.n_tokens; k++)
                fuzz_require(result.tokens[k] >= 0 && (uint32_t)result.tokens[k] < n_vocab);
        }
    fuzz_reached();
}

static void answer(const blip2_model *model, blip2_session *session, const base *b, const blip2_decoding *decoding) {
    static const blip2_request requests[3] = {
        {0}, {.image = 1, .prompt = "a red <s>"}, {.image = 1, .question = "how?"}};
    blip2_image *images[2] = {NULL, NULL};
    blip2_error err = {.message = ""};
    blip2_model_info info = {.struct_bytes = sizeof info};
    blip2_model_describe(model, &info);
    blip2_status status = BLIP2_OK;
    for (int i = 0; i < 2 && status == BLIP2_OK; i++)
        status = blip2_image_load_memory(model, b->picture, b->n_picture, "picture", NULL, &images[i], &err);
    if (status == BLIP2_OK) status = blip2_session_encode(session, images, 2, &err);
    if (status == BLIP2_OK) status = blip2_session_generate(session, requests, 3, decoding, &err);
    if (status == BLIP2_OK) check_results(session, 3, (uint32_t)info.n_vocab);
    else fuzz_require(err.message[0] != '\0');
    blip2_image_free(&images[0]);
    blip2_image_free(&images[1]);
}

static void run(const blip2_model *model, const base *b, uint8_t choice) {
    static const char *const isas[] = {NULL, "scalar", "avx2", NULL};
    int64_t deadline_ns = b2_clock_ns() + (int64_t)MAX_SECONDS * 1000000000;
    blip2_session_options options;
    blip2_session_options_default(&options);
    options.n_threads = 1;
    options.isa = isas[choice % 4];
    options.max_images = 2;
    options.max_requests = 3;
    options.max_prompt_tokens = 16;
    options.max_new_tokens = 6;
    options.max_results = 2;
    options.is_cancelled = is_late;
    options.cancel_context = &deadline_ns;
    blip2_decoding decoding;
    blip2_decoding_default(&decoding);
    decoding.num_beams = choice & 4 ? 2 : 1;
    decoding.do_sample = (choice & 12) == 8;
    decoding.repetition_penalty = choice & 16 ? 1.5 : 0;
    blip2_memory memory = {.struct_bytes = sizeof memory};
    blip2_model_info info = {.struct_bytes = sizeof info};
    blip2_session *session = NULL;
    blip2_model_describe(model, &info);
    if (info.image_size > 512 || blip2_session_measure(model, &options, &memory, NULL) != BLIP2_OK) return;
    if (memory.total > (size_t)300 << 20) return; /* not what is looked for here */
    if (blip2_session_create(model, &options, &session, NULL) == BLIP2_OK) answer(model, session, b, &decoding);
    blip2_session_free(&session);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static base b;
    char path[64];
    fuzz_name(path, sizeof path, ".gguf");
    if (b.bytes == NULL) load(&b, path);
    if (size < 1) return 0;
    uint8_t *copy = malloc(b.n);
    b2_gguf gguf;
    fuzz_require(copy != NULL && b2_gguf_parse_keys(b.bytes, b.n, &gguf, NULL) == BLIP2_OK);
    fuzz_require(b2_gguf_parse_tensors(&gguf, NULL) == BLIP2_OK);
    memcpy(copy, b.bytes, b.n);
    for (size_t at = 1; at + EDIT_BYTES <= size && at < 1 + MAX_EDITS * EDIT_BYTES; at += EDIT_BYTES)
        edit(&gguf, copy, data + at);
    b2_gguf_free(&gguf);
    make_hash_right(copy, b.n);
    unlink(path); /* a mapped file is never written over */
    fuzz_write_file(path, copy, b.n);
    free(copy);
    blip2_model *model = NULL;
    blip2_error err = {.message = ""};
    if (blip2_model_open(path, &model, &err) == BLIP2_OK) run(model, &b, data[0]);
    else fuzz_require(err.message[0] != '\0');
    blip2_model_close(&model);
    return 0;
}
