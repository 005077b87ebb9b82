/* test_tokenizer_corpus.c: thousands of texts, all code points of Unicode 15.0, broken bytes: ids and texts equal to
 * those of Hugging Face's `tokenizers`, as make_tokenizer_corpus.py recorded them (it also describes corpus.bin).
 * OPT's vocabulary is not ours to commit: its part is skipped where ../shared does not hold it. */
#include "base/parallel.h"
#include "tokenizer/bpe.h"
#include "tokenizer/pretokenize.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>
#include <utf8proc.h>

#define GOLDEN "tests/golden/tokenizer/"
#define OPT "../shared/data/opt-tokenizer/"

enum {
    OPT_VOCABULARY,
    SMALL_VOCABULARY,
    N_VOCABULARIES,
    MAX_TEMPLATES = 8,
    MAX_ADDED = 16,
    MAX_DECODED = 32,
    N_SHOWN = 5
};

/* ---- corpus.bin -------------------------------------------------------------------------------------------------- */

typedef struct reader {
    const uint8_t *at, *end;
} reader;

static size_t read_number(reader *r) {
    uint64_t n = 0;
    for (unsigned shift = 0;; shift += 7) {
        assert_true(r->at < r->end && shift < 35);
        const uint8_t byte = *r->at++;
        n |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) return (size_t)n;
    }
}

static b2_text read_string(reader *r) {
    const size_t len = read_number(r);
    assert_true(len <= (size_t)(r->end - r->at));
    const b2_text text = {(const char *)r->at, len};
    r->at += len;
    return text;
}

typedef struct digest {
    size_t n_ids;
    uint32_t hash;
} digest;

static digest read_digest(reader *r) {
    digest d = {read_number(r), 0};
    assert_true(r->end - r->at >= 4);
    for (unsigned i = 0; i < 4; i++) d.hash |= (uint32_t)*r->at++ << 8 * i;
    return d;
}

static digest digest_of(const int32_t *ids, size_t n_ids) {
    uint64_t h = 0xCBF29CE484222325u;
    for (size_t i = 0; i < n_ids; i++)
        for (unsigned shift = 0; shift < 32; shift += 8) h = (h ^ ((uint32_t)ids[i] >> shift & 0xFF)) * 0x100000001B3u;
    return (digest){n_ids, (uint32_t)(h >> 32 ^ h)};
}

/* A text of the corpus: parts repeated, or a template applied to a run of code points. */
typedef struct example {
    b2_text text;     /* or the template */
    size_t n_repeats; /* 0: a template */
    uint32_t first;
    size_t n_code_points;
    digest expected[N_VOCABULARIES], got;
} example;

typedef struct added_token {
    size_t id;
    bool special;
    b2_text text;
} added_token;

typedef struct corpus {
    char *bytes;
    b2_text library, unicode;
    size_t bos[N_VOCABULARIES], n_added[N_VOCABULARIES];
    added_token added[N_VOCABULARIES][MAX_ADDED];
    example *examples;
    size_t n_texts, n_examples;
    reader classes, decodings;
} corpus;

static char *load_file(const char *path, size_t *len) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) return NULL;
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *len = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*len + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *len, file), *len);
    bytes[*len] = '\0';
    fclose(file);
    return bytes;
}

static void read_header(corpus *c, reader *r) {
    assert_true(r->end - r->at > 8 && memcmp(r->at, "B2TOKENS", 8) == 0);
    r->at += 8;
    c->library = read_string(r);
    c->unicode = read_string(r);
    for (size_t v = 0; v < N_VOCABULARIES; v++) {
        c->bos[v] = read_number(r);
        c->n_added[v] = read_number(r);
        assert_true(c->n_added[v] <= MAX_ADDED);
        for (size_t i = 0; i < c->n_added[v]; i++) {
            c->added[v][i].id = read_number(r);
            c->added[v][i].special = read_number(r) != 0;
            c->added[v][i].text = read_string(r);
        }
    }
}

static void read_expected(example *e, reader *r) {
    for (size_t v = 0; v < N_VOCABULARIES; v++) e->expected[v] = read_digest(r);
}

static int setup(void **state) {
    static const size_t max_examples = 100000;
    corpus *c = calloc(1, sizeof *c);
    assert_non_null(c);
    size_t len;
    c->bytes = load_file(GOLDEN "corpus.bin", &len);
    assert_non_null(c->bytes);
    reader r = {(const uint8_t *)c->bytes, (const uint8_t *)c->bytes + len};
    read_header(c, &r);
    b2_text templates[MAX_TEMPLATES];
    const size_t n_templates = read_number(&r);
    assert_true(n_templates <= MAX_TEMPLATES);
    for (size_t t = 0; t < n_templates; t++) templates[t] = read_string(&r);

    c->examples = calloc(max_examples, sizeof *c->examples);
    assert_non_null(c->examples);
    c->n_texts = read_number(&r);
    assert_true(c->n_texts < max_examples);
    for (; c->n_examples < c->n_texts; c->n_examples++) {
        example *e = &c->examples[c->n_examples];
        e->text = read_string(&r);
        e->n_repeats = read_number(&r);
        read_expected(e, &r);
    }
    uint32_t end = 0;
    for (size_t n_runs = read_number(&r); n_runs > 0; n_runs--) {
        const uint32_t first = end + (uint32_t)read_number(&r);
        const size_t n = read_number(&r);
        end = first + (uint32_t)n;
        for (size_t t = 0; t < n_templates; t++) {
            assert_true(c->n_examples < max_examples);
            example *e = &c->examples[c->n_examples++];
            *e = (example){.text = templates[t], .first = first, .n_code_points = n};
            read_expected(e, &r);
        }
    }
    c->classes = r;
    for (size_t n = read_number(&r); n > 0; n--) {
        read_number(&r);
        read_number(&r);
    }
    c->decodings = r;
    *state = c;
    return 0;
}

static int teardown(void **state) {
    corpus *c = *state;
    free(c->examples);
    free(c->bytes);
    free(c);
    return 0;
}

/* The text of an example; the caller's to free. */
static char *write_example(const example *e, size_t *len) {
    const size_t n = e->n_repeats > 0 ? e->n_repeats : e->n_code_points;
    char *text = malloc(n * e->text.len * 4 + 1), *end = text;
    assert_non_null(text);
    for (size_t k = 0; k < n; k++)
        for (size_t i = 0; i < e->text.len; i++) {
            const char byte = e->text.data[i];
            if (e->n_repeats > 0 || byte != '\0') *end++ = byte;
            else end += utf8proc_encode_char((utf8proc_int32_t)(e->first + k), (utf8proc_uint8_t *)end);
        }
    *len = (size_t)(end - text);
    return text;
}

/* ---- a vocabulary from vocab.json and merges.txt ----------------------------------------------------------------- */

typedef struct loaded {
    json_t *vocab;
    char *merge_bytes;
    b2_text *tokens, *merges;
    int32_t *types;
    b2_tokenizer *tokenizer;
} loaded;

static void load_tokens(loaded *l, const corpus *c, size_t v, size_t *n_tokens) {
    const char *piece;
    json_t *id;
    *n_tokens = 0;
    for (size_t i = 0; i < c->n_added[v]; i++)
        if (c->added[v][i].id >= *n_tokens) *n_tokens = c->added[v][i].id + 1;
    json_object_foreach(l->vocab, piece, id) if ((size_t)json_integer_value(id) >= *n_tokens) *n_tokens =
        (size_t)json_integer_value(id) + 1;
    l->tokens = calloc(*n_tokens, sizeof *l->tokens);
    l->types = calloc(*n_tokens, sizeof *l->types);
    assert_true(l->tokens != NULL && l->types != NULL);
    for (size_t i = 0; i < *n_tokens; i++) l->types[i] = B2_TOKEN_UNUSED;
    json_object_foreach(l->vocab, piece, id) {
        l->tokens[json_integer_value(id)] = (b2_text){piece, strlen(piece)};
        l->types[json_integer_value(id)] = B2_TOKEN_NORMAL;
    }
    for (size_t i = 0; i < c->n_added[v]; i++) {
        const added_token *added = &c->added[v][i];
        l->tokens[added->id] = added->text;
        l->types[added->id] = added->special ? B2_TOKEN_CONTROL : B2_TOKEN_USER_DEFINED;
    }
}

static void load_merges(loaded *l, size_t len, size_t *n_merges) {
    l->merges = calloc(len / 2, sizeof *l->merges);
    assert_non_null(l->merges);
    *n_merges = 0;
    for (char *line = l->merge_bytes, *end; (end = strchr(line, '\n')) != NULL; line = end + 1)
        if (end > line && strncmp(line, "#version", 8) != 0)
            l->merges[(*n_merges)++] = (b2_text){line, (size_t)(end - line)};
}

/* Skips the test, loudly, when the files are not there. */
static loaded load(const corpus *c, size_t v) {
    loaded l = {0};
    const char *vocab = v == OPT_VOCABULARY ? OPT "vocab.json" : GOLDEN "small-vocab.json";
    const char *merges = v == OPT_VOCABULARY ? OPT "merges.txt" : GOLDEN "small-merges.txt";
    if (v == OPT_VOCABULARY && access(vocab, R_OK) != 0) {
        fprintf(stderr, "SKIPPED: OPT's vocabulary is not in " OPT ": its ids are not tested\n");
        skip();
    }
    size_t len = 0, n_tokens, n_merges;
    l.vocab = json_load_file(vocab, JSON_ALLOW_NUL, NULL);
    l.merge_bytes = load_file(merges, &len);
    assert_true(l.vocab != NULL && l.merge_bytes != NULL);
    load_tokens(&l, c, v, &n_tokens);
    load_merges(&l, len, &n_merges);
    const b2_vocabulary vocabulary = {.n_tokens = n_tokens,
                                      .tokens = l.tokens,
                                      .token_types = l.types,
                                      .n_merges = n_merges,
                                      .merges = l.merges,
                                      .bos_id = (int32_t)c->bos[v],
                                      .add_bos = true};
    blip2_error err = {0};
    if (b2_tokenizer_create(&vocabulary, &l.tokenizer, &err) != BLIP2_OK) fail_msg("%s: %s", vocab, err.message);
    return l;
}

static void unload(loaded *l) {
    b2_tokenizer_free(l->tokenizer);
    json_decref(l->vocab);
    free(l->merge_bytes);
    free(l->tokens);
    free(l->merges);
    free(l->types);
}

/* ---- encoding ---------------------------------------------------------------------------------------------------- */

typedef struct encoding_job {
    corpus *corpus;
    const b2_tokenizer *tokenizer;
} encoding_job;

/* Every thread uses the one tokenizer; the digests tell whether any of them disturbed another. */
static void encode_example(void *context, size_t unit, int thread) {
    (void)thread;
    const encoding_job *job = context;
    example *e = &job->corpus->examples[unit];
    size_t len, n_ids;
    char *text = write_example(e, &len);
    const size_t bound = b2_tokenizer_encode_bound(job->tokenizer, len);
    int32_t *ids = malloc(bound * sizeof *ids);
    e->got = (digest){0};
    if (ids != NULL && b2_tokenizer_encode(job->tokenizer, text, len, ids, bound, &n_ids, NULL) == BLIP2_OK)
        e->got = digest_of(ids, n_ids);
    free(ids);
    free(text);
}

static void report_example(const example *e, const loaded *l) {
    size_t len, n_ids;
    char *text = write_example(e, &len);
    int32_t ids[16];
    b2_tokenizer_encode(l->tokenizer, text, len, ids, 16, &n_ids, NULL);
    fprintf(stderr, "%zu bytes, U+%04X and %zu more, \"%.*s\": %zu ids:", len, (unsigned)e->first, e->n_code_points,
            (int)(len < 60 ? len : 60), text, n_ids);
    for (size_t i = 0; i < n_ids && i < 16; i++) fprintf(stderr, " %d", (int)ids[i]);
    fprintf(stderr, "\n");
    free(text);
}

static void check_encoding(corpus *c, size_t v) {
    loaded l = load(c, v);
    encoding_job job = {c, l.tokenizer};
    b2_team *team = b2_team_create(3);
    assert_non_null(team);
    b2_parallel_for(team, c->n_examples, encode_example, &job);
    b2_team_free(team);
    size_t n_bad = 0;
    for (size_t i = 0; i < c->n_examples; i++) {
        const example *e = &c->examples[i];
        if (e->got.n_ids == e->expected[v].n_ids && e->got.hash == e->expected[v].hash) continue;
        if (n_bad++ < N_SHOWN) report_example(e, &l);
    }
    unload(&l);
    assert_int_equal(n_bad, 0);
}

static void test_opt_ids_equal_tokenizers(void **state) {
    corpus *c = *state;
    assert_true(c->n_texts >= 10000);
    check_encoding(c, OPT_VOCABULARY);
}

static void test_small_ids_equal_tokenizers(void **state) { check_encoding(*state, SMALL_VOCABULARY); }

static void test_opt_ids_of_the_specification(void **state) {
    static const struct {
        const char *text;
        int32_t ids[12];
    } spec[] = {
        {"Question: which city is this? Answer:", {2, 45641, 35, 61, 343, 16, 42, 116, 31652, 35}},
        {"Question: how many cats are there? Answer:", {2, 45641, 35, 141, 171, 10017, 32, 89, 116, 31652, 35}},
        {"a photo of", {2, 102, 1345, 9}},
        {"this is a photo of", {2, 9226, 16, 10, 1345, 9}},
        {"a woman sitting on the beach with a dog", {2, 102, 693, 2828, 15, 5, 4105, 19, 10, 2335}},
        {"How many dogs are in the picture?", {2, 6179, 171, 3678, 32, 11, 5, 2170, 116}},
        {"Is there a woman in this picture?", {2, 6209, 89, 10, 693, 11, 42, 2170, 116}},
        {"", {2}},
        {"\n", {2, 50118}},
        {" ", {2, 1437}},
    };
    loaded l = load(*state, OPT_VOCABULARY);
    for (size_t i = 0; i < sizeof spec / sizeof spec[0]; i++) {
        int32_t ids[12] = {0};
        char text[64];
        size_t n_ids;
        assert_int_equal(b2_tokenizer_encode(l.tokenizer, spec[i].text, strlen(spec[i].text), ids, 12, &n_ids, NULL),
                         BLIP2_OK);
        assert_memory_equal(ids, spec[i].ids, sizeof ids); /* 0 ends each list: no text has the id 0 */
        b2_tokenizer_decode(l.tokenizer, ids, n_ids, text, sizeof text);
        assert_string_equal(text, spec[i].text); /* without the bos */
    }
    unload(&l);
}

/* ---- classes ----------------------------------------------------------------------------------------------------- */

/* Seen from outside: the neighbour that a code point stays together with (1 letter, 2 number, 3 other), else 0. */
static size_t class_of(uint32_t code_point) {
    static const char neighbours[] = {'a', '1', '!'};
    char text[8];
    if (code_point >= 0xD800 && code_point < 0xE000) return 3;
    const size_t len = 1 + (size_t)utf8proc_encode_char((utf8proc_int32_t)code_point, (utf8proc_uint8_t *)text + 1);
    for (size_t i = 0; i < 3; i++) {
        text[0] = neighbours[i];
        if (b2_pretokenize_next(text, len) == len) return i + 1;
    }
    return 0;
}

/* Code points that Unicode 15.0 does not know depend on the tables of both libraries: counted and listed. */
static void test_classes_of_all_code_points(void **state) {
    const corpus *c = *state;
    reader r = c->classes;
    uint32_t code_point = 0;
    size_t n_bad = 0, n_later = 0, n_listed = 0;
    char list[4096] = "";
    for (size_t n_stretches = read_number(&r); n_stretches > 0; n_stretches--) {
        const uint32_t end = code_point + (uint32_t)read_number(&r);
        const size_t code = read_number(&r), n_later_before = n_later;
        uint32_t first = 0, last = 0;
        for (; code_point < end; code_point++) {
            if (class_of(code_point) == (code & 3)) continue;
            if (code < 4 && n_bad++ < N_SHOWN) fprintf(stderr, "U+%04X: expected class %zu\n", code_point, code);
            if (code < 4) continue;
            if (n_later++ == n_later_before) first = code_point;
            last = code_point;
        }
        if (n_later > n_later_before)
            n_listed += (size_t)snprintf(list + n_listed, sizeof list - n_listed, " %04X-%04X", first, last);
        assert_true(n_listed < sizeof list);
    }
    assert_int_equal(code_point, 0x110000);
    assert_int_equal(n_bad, 0);
    if (n_later > 0)
        fprintf(stderr,
                "tokenizer: %zu code points newer than Unicode %.*s are of another class in utf8proc (Unicode "
                "%s) than in %.*s:%s\n",
                n_later, (int)c->unicode.len, c->unicode.data, utf8proc_unicode_version(), (int)c->library.len,
                c->library.data, list);
}

/* ---- decoding ---------------------------------------------------------------------------------------------------- */

/* The vocabulary's share of the decodings; those of the other are read over. */
static void check_decoding(const corpus *c, size_t wanted) {
    loaded l = load(c, wanted);
    reader r = c->decodings;
    size_t n_bad = 0;
    for (size_t v = 0; v < N_VOCABULARIES; v++) {
        const size_t n_cases = read_number(&r);
        assert_true(n_cases >= 2000);
        for (size_t k = 0; k < n_cases; k++) {
            int32_t ids[MAX_DECODED];
            char text[512];
            const size_t n_ids = read_number(&r);
            assert_true(n_ids <= MAX_DECODED);
            for (size_t i = 0; i < n_ids; i++) ids[i] = (int32_t)read_number(&r);
            const b2_text expected = read_string(&r);
            if (v != wanted) continue;
            const size_t len = b2_tokenizer_decode(l.tokenizer, ids, n_ids, text, sizeof text);
            if (len == expected.len && len < sizeof text && memcmp(text, expected.data, len) == 0) continue;
            if (n_bad++ < N_SHOWN) fprintf(stderr, "decoding %zu: got \"%s\"\n", k, text);
        }
    }
    assert_true(r.end - r.at == 3 && memcmp(r.at, "END", 3) == 0);
    unload(&l);
    assert_int_equal(n_bad, 0);
}

static void test_opt_texts_equal_python(void **state) { check_decoding(*state, OPT_VOCABULARY); }

static void test_small_texts_equal_python(void **state) { check_decoding(*state, SMALL_VOCABULARY); }

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opt_ids_of_the_specification), cmocka_unit_test(test_opt_ids_equal_tokenizers),
        cmocka_unit_test(test_small_ids_equal_tokenizers),   cmocka_unit_test(test_classes_of_all_code_points),
        cmocka_unit_test(test_opt_texts_equal_python),       cmocka_unit_test(test_small_texts_equal_python),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
