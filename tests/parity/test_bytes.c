/* test_bytes.c: one definition, every machine. The int8 file of every golden checkpoint, and every bit of what it says,
 * have hashes that are committed (tests/golden/bytes.txt): whatever the CPU, the kernels, the threads and the batch.
 *
 *   test_bytes --update    writes the hashes of this machine */
#include "convert/convert.h"

#include "blip2.h"
#include "result.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include <cmocka.h>

/* Small matrices get two activation planes in the ViT; some are forced to the one that the real model has. */
typedef struct checkpoint {
    const char *name;
    int vision_planes; /* 0: the converter's choice */
} checkpoint;

static const checkpoint checkpoints[] = {{"odd", 1},  {"old", 0}, {"heads", 1},  {"long", 0},
                                         {"deep", 1}, {"one", 1}, {"outlier", 0}};
enum { N_GOLDEN = sizeof checkpoints / sizeof checkpoints[0], N_ITEMS = 16, N_PICTURES = 3, N_NEW = 8 };
#define HASHES "tests/golden/bytes.txt"

typedef struct way {
    int n_threads;
    size_t batch;
} way;

/* All of them for the fastest kernels, the diagonal for the others. */
static const int threads[] = {1, 2, 3, 7, 64};
static const size_t batches[] = {1, 2, 3, 8, 16};
enum { N_WAYS = 5 };

static uint64_t hash_file(const char *path) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    XXH3_state_t *state = XXH3_createState();
    XXH3_64bits_reset(state);
    static char buffer[1 << 16];
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, file)) > 0;) XXH3_64bits_update(state, buffer, n);
    fclose(file);
    const uint64_t hash = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    return hash;
}

/* Item i: picture i % 3, every second one with a prompt; `batch` items at a time. */
static uint64_t hash_answers(const blip2_model *model, blip2_image **images, const char *isa, way w) {
    blip2_session_options options;
    blip2_session_options_default(&options);
    options.isa = isa;
    options.n_threads = (size_t)w.n_threads;
    options.max_images = options.max_requests = w.batch;
    options.max_prompt_tokens = 16;
    options.max_new_tokens = N_NEW;
    blip2_session *session = NULL;
    blip2_error err;
    if (blip2_session_create(model, &options, &session, &err) != BLIP2_OK) fail_msg("%s", err.message);
    XXH3_state_t *state = XXH3_createState();
    XXH3_64bits_reset(state);
    for (size_t first = 0; first < N_ITEMS; first += w.batch) {
        const size_t n = N_ITEMS - first < w.batch ? N_ITEMS - first : w.batch;
        blip2_image *seen[N_ITEMS];
        blip2_request requests[N_ITEMS] = {{0}};
        for (size_t i = 0; i < n; i++) {
            seen[i] = images[(first + i) % N_PICTURES];
            requests[i].image = i;
            requests[i].prompt = (first + i) % 2 == 1 ? "Question: which city is this? Answer:" : NULL;
        }
        if (blip2_session_encode(session, seen, n, &err) != BLIP2_OK ||
            blip2_session_generate(session, requests, n, NULL, &err) != BLIP2_OK)
            fail_msg("%s", err.message);
        for (size_t i = 0; i < n; i++) {
            const blip2_result result = fixture_result(session, i);
            XXH3_64bits_update(state, result.tokens, result.n_tokens * sizeof *result.tokens);
            XXH3_64bits_update(state, result.token_logprobs, result.n_tokens * sizeof *result.token_logprobs);
        }
    }
    const uint64_t hash = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    blip2_session_free(&session);
    return hash;
}

static blip2_model *convert_and_open(const checkpoint *c, char *path) {
    const char *name = c->name;
    char source[256];
    snprintf(source, sizeof source, "tests/golden/models/%s", name);
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    b2_convert_options options = b2_convert_options_default();
    options.source = source;
    options.output = path;
    options.vision_planes = c->vision_planes;
    blip2_error err;
    blip2_model *model = NULL;
    if (b2_convert(&options, &err) != BLIP2_OK || blip2_model_open(path, &model, &err) != BLIP2_OK)
        fail_msg("%s: %s", name, err.message);
    return model;
}

static void load_pictures(const char *name, const blip2_model *model, blip2_image **images) {
    for (size_t i = 0; i < N_PICTURES; i++) {
        char picture[256];
        blip2_error err;
        snprintf(picture, sizeof picture, "tests/golden/models/%s/picture%zu.png", name, i);
        if (blip2_image_load(model, picture, NULL, &images[i], &err) != BLIP2_OK) fail_msg("%s", err.message);
    }
}

static void expect(const char *name, const char *isa, way w, uint64_t got, uint64_t want) {
    if (got != want)
        fail_msg("%s: kernels %s, %d threads, batch %zu: answers %016" PRIx64 ", expected %016" PRIx64, name, isa,
                 w.n_threads, w.batch, got, want);
}

static void check_every_way(const char *name, const blip2_model *model, blip2_image **images, uint64_t want) {
    const char *isas[16];
    const size_t n_isas = blip2_isa_list(isas, 16);
    for (size_t k = 0; k < n_isas; k++)
        for (size_t t = 0; t < N_WAYS; t++)
            for (size_t b = 0; b < N_WAYS; b++) {
                const way w = {threads[t], batches[b]};
                if (k == 0 || t == b) expect(name, isas[k], w, hash_answers(model, images, isas[k], w), want);
            }
}

static bool find_hashes(const char *name, uint64_t *file_hash, uint64_t *answer_hash) {
    FILE *file = fopen(HASHES, "r");
    char found[64];
    bool is_found = false;
    while (file != NULL && !is_found && fscanf(file, "%63s %" SCNx64 " %" SCNx64, found, file_hash, answer_hash) == 3)
        is_found = strcmp(found, name) == 0;
    if (file != NULL) fclose(file);
    return is_found;
}

static void test_one_definition_every_machine(void **state) {
    FILE *update = *state != NULL ? fopen(HASHES, "w") : NULL;
    for (size_t i = 0; i < N_GOLDEN; i++) {
        char path[] = "/tmp/blip2_bytes_XXXXXX";
        blip2_model *model = convert_and_open(&checkpoints[i], path);
        blip2_image *images[N_PICTURES];
        load_pictures(checkpoints[i].name, model, images);
        uint64_t want_file = hash_file(path), want = hash_answers(model, images, "scalar", (way){1, 1});
        if (update != NULL) fprintf(update, "%s %016" PRIx64 " %016" PRIx64 "\n", checkpoints[i].name, want_file, want);
        else if (!find_hashes(checkpoints[i].name, &want_file, &want))
            fail_msg("%s: no hash in " HASHES, checkpoints[i].name);
        if (hash_file(path) != want_file) fail_msg("%s: the converted file has another hash", checkpoints[i].name);
        check_every_way(checkpoints[i].name, model, images, want);
        for (size_t k = 0; k < N_PICTURES; k++) blip2_image_free(&images[k]);
        blip2_model_close(&model);
        unlink(path);
    }
    if (update != NULL) fclose(update);
}

int main(int argc, char **argv) {
    const bool update = argc > 1 && strcmp(argv[1], "--update") == 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(test_one_definition_every_machine, update ? argv[1] : NULL)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
