/* test_model.c: the seams of the model. Whatever home computes a block: equal bytes; nobody but verbs touches a home's
 * memory; a home that fails says so at the end; slots of the cache change places in any way. */
#include "fixture.h"

#include "blip2.h"
#include "blip2_model.h"
#include "kernels/cpu/cpu_home.h"
#include "kernels/verbs.h"
#include "model/lm.h"
#include "model/qformer.h"
#include "model/vision.h"
#include "tests/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>

#include <cmocka.h>

static char path[] = "/tmp/blip2_model_XXXXXX";

/* ---- a home with memory of its own -------------------------------------------------------------------------------
 *
 * It computes as the CPU does, but its memory is locked except while one of its verbs runs: whoever else looks there
 * is killed by the system. Its fail_at-th verb fails instead. */

typedef struct locked_home {
    b2_ops ops;
    b2_ops *cpu;
    struct {
        void *base;
        size_t n_bytes;
    } ranges[2]; /* the weights', the workspace's */
    size_t n_verbs, fail_at, n_after_failure;
} locked_home;

static void lock(locked_home *home, int protection) {
    for (size_t i = 0; i < 2; i++)
        if (home->ranges[i].base != NULL)
            assert_int_equal(mprotect(home->ranges[i].base, home->ranges[i].n_bytes, protection), 0);
}

/* The CPU's table, its memory unlocked; or its failure. */
static const b2_verbs *enter(b2_ops *ops) {
    locked_home *home = (locked_home *)(void *)ops;
    if (home->n_verbs > home->fail_at) home->n_after_failure++;
    if (home->n_verbs++ == home->fail_at) {
        b2_ops_fail(ops, BLIP2_DEVICE, "the first sentence");
        b2_ops_fail(ops, BLIP2_MEMORY, "the second sentence");
    }
    lock(home, PROT_READ | PROT_WRITE);
    return home->cpu->verbs;
}
#define CPU(ops) ((locked_home *)(void *)(ops))->cpu
#define LOCKED(verb, parameters, ...)                                                                                  \
    static void locked_##verb parameters {                                                                             \
        enter(ops)->verb(CPU(ops), __VA_ARGS__);                                                                       \
        lock((locked_home *)(void *)ops, PROT_NONE);                                                                   \
    }
LOCKED(send, (b2_ops * ops, const float *x, size_t n, float *y), x, n, y)
LOCKED(fetch, (b2_ops * ops, const float *x, size_t n, float *y), x, n, y)
LOCKED(copy_rows, (b2_ops * ops, const float *x, size_t stride, size_t n, size_t width, float *y), x, stride, n, width,
       y)
LOCKED(add_rows, (b2_ops * ops, const float *x, const float *t, const size_t *rows, size_t n, size_t width, float *y),
       x, t, rows, n, width, y)
LOCKED(cut_patches, (b2_ops * ops, const float *x, size_t size, size_t p, float *y), x, size, p, y)
LOCKED(layernorm, (b2_ops * ops, const b2_norm *norm, const float *x, size_t n, float *y), norm, x, n, y)
LOCKED(linear,
       (b2_ops * ops, const b2_matrix *w, const float *x, size_t groups, size_t rows, b2_epilogue epilogue, float *y),
       w, x, groups, rows, epilogue, y)
LOCKED(attend,
       (b2_ops * ops, size_t n, size_t heads, size_t len, b2_head_rows q, size_t n_q, b2_head_rows k, b2_head_rows v,
        size_t n_k, float *y),
       n, heads, len, q, n_q, k, v, n_k, y)
LOCKED(attend_cached,
       (b2_ops * ops, const b2_block_cache *cache, const float *x, const b2_cache_places *at, size_t rows, float *y),
       cache, x, at, rows, y)
LOCKED(move_slots, (b2_ops * ops, const b2_block_cache *cache, const b2_slot_move *moves, size_t n, size_t n_positions),
       cache, moves, n, n_positions)

static void locked_plan(b2_ops *ops, const b2_ops_limits *limits, b2_arena *arena) {
    b2_ops_plan(CPU(ops), limits, arena);
}

static blip2_status locked_reserve(b2_ops *ops, b2_arena *arena, blip2_error *err) {
    locked_home *home = (locked_home *)(void *)ops;
    const size_t which = home->ranges[0].base == NULL ? 0 : 1, n_bytes = arena->used_bytes + 1;
    (void)err;
    arena->base = mmap(NULL, n_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(arena->base, MAP_FAILED);
    home->ranges[which].base = arena->base;
    home->ranges[which].n_bytes = n_bytes;
    arena->capacity_bytes = n_bytes;
    arena->used_bytes = 0;
    return BLIP2_OK;
}

static void locked_release(b2_ops *ops, b2_arena *arena) {
    locked_home *home = (locked_home *)(void *)ops;
    for (size_t i = 0; i < 2; i++)
        if (home->ranges[i].base == arena->base) home->ranges[i].base = NULL;
    munmap(arena->base, arena->capacity_bytes);
    *arena = (b2_arena){0};
}

static const void *locked_upload(b2_ops *ops, const void *host, size_t n_bytes, b2_arena *arena) {
    void *copy = b2_arena_take(arena, n_bytes, 1);
    if (copy == NULL) return NULL;
    enter(ops);
    memcpy(copy, host, n_bytes);
    lock((locked_home *)(void *)ops, PROT_NONE);
    return copy;
}

static const b2_verbs locked_verbs = {
    .name = "locked",
    .plan = locked_plan,
    .reserve = locked_reserve,
    .release = locked_release,
    .upload = locked_upload,
    .send = locked_send,
    .fetch = locked_fetch,
    .copy_rows = locked_copy_rows,
    .add_rows = locked_add_rows,
    .cut_patches = locked_cut_patches,
    .layernorm = locked_layernorm,
    .linear = locked_linear,
    .attend = locked_attend,
    .attend_cached = locked_attend_cached,
    .move_slots = locked_move_slots,
}; /* gather_rows and what is read off logits: not called here; NULL would be noticed */

/* ---- a model over two homes -------------------------------------------------------------------------------------- */

enum { N_IMAGES = 2, N_SEQUENCES = 4, N_PROMPT = 6, N_NEW = 4, N_STEPS = 3 };

typedef struct house {
    blip2_model *model;
    b2_weights placed;
    b2_arena weights_arena;
    b2_workspace homes[B2_MAX_HOMES];
    locked_home device;
    float *pixels[N_IMAGES];
} house;

static const b2_capacity capacity = {.n_images = N_IMAGES,
                                     .n_requests = N_SEQUENCES,
                                     .n_sequences = N_SEQUENCES,
                                     .n_prompt_tokens = N_PROMPT,
                                     .n_new_tokens = N_NEW};

static void open_house(house *a, uint32_t n_away, size_t fail_at) {
    blip2_error err;
    *a = (house){.device = {.ops = {.verbs = &locked_verbs}, .fail_at = fail_at}};
    assert_int_equal(blip2_model_open(path, &a->model, &err), BLIP2_OK);
    b2_ops *cpu, *device = &a->device.ops;
    assert_int_equal(b2_cpu_home_create(NULL, 2, &cpu, &err), BLIP2_OK);
    assert_int_equal(b2_cpu_home_create(NULL, 2, &a->device.cpu, &err), BLIP2_OK);
    assert_int_equal(b2_weights_place(&a->model->weights, n_away, device, &a->weights_arena, &a->placed, &err),
                     BLIP2_OK);
    for (size_t home = 0; home < B2_MAX_HOMES; home++) {
        b2_ops *ops = home == B2_HOME_CPU ? cpu : device;
        const size_t n_bytes = b2_workspace_measure(&a->placed, &capacity, home, ops).total;
        assert_int_equal(b2_workspace_create(&a->placed, &capacity, home, ops, &a->homes[home], &err), BLIP2_OK);
        assert_int_equal(n_bytes, a->homes[home].arena.used_bytes);
    }
    const size_t n = 3 * (size_t)a->placed.h.image.size * a->placed.h.image.size;
    for (size_t i = 0; i < N_IMAGES; i++) {
        uint64_t seed = i;
        a->pixels[i] = malloc(n * sizeof(float));
        for (size_t k = 0; k < n; k++) a->pixels[i][k] = next_unit(&seed);
    }
}

static void close_house(house *a) {
    b2_ops *cpu = a->homes[B2_HOME_CPU].ops;
    for (size_t home = 0; home < B2_MAX_HOMES; home++) b2_workspace_free(&a->homes[home]);
    b2_weights_free(&a->placed);
    b2_ops_release(&a->device.ops, &a->weights_arena);
    b2_ops_free(cpu);
    b2_ops_free(a->device.cpu);
    for (size_t i = 0; i < N_IMAGES; i++) free(a->pixels[i]);
    blip2_model_close(&a->model);
}

/* Encodes the images and prefills N_SEQUENCES, of different lengths, sequence i in slot N_SEQUENCES - 1 - i. */
static void prefill(house *a, b2_sequence *sequences) {
    static const int32_t prompt[N_PROMPT] = {2, 17, 99, 4, 250, 31};
    const b2_hparams *h = &a->placed.h;
    b2_vision_run(&a->placed, a->homes, (const float *const *)a->pixels, N_IMAGES);
    b2_qformer_run(&a->placed, a->homes, 0, N_IMAGES);
    for (size_t i = 0; i < N_SEQUENCES; i++)
        sequences[i] = (b2_sequence){
            .soft_tokens = a->homes[B2_HOME_CPU].soft_tokens + i % N_IMAGES * h->qformer.n_queries * h->opt.width,
            .prompt = prompt,
            .n_prompt = i + 1,
            .slot = N_SEQUENCES - 1 - i,
        };
    b2_lm_prefill(&a->placed, a->homes, sequences, N_SEQUENCES);
}

/* logits[N_SEQUENCES][n_vocab] */
static void fetch_logits(house *a, float *logits) {
    const b2_workspace *head = b2_lm_head(&a->placed, a->homes);
    b2_ops_fetch(head->ops, head->logits, N_SEQUENCES * a->placed.h.opt.n_vocab, logits);
}

/* logits[1 + N_STEPS][N_SEQUENCES][n_vocab] */
static void run(house *a, float *logits) {
    b2_sequence sequences[N_SEQUENCES];
    const int32_t ids[N_SEQUENCES] = {5, 6, 7, 8};
    prefill(a, sequences);
    fetch_logits(a, logits);
    for (size_t step = 0; step < N_STEPS; step++) {
        b2_lm_step(&a->placed, a->homes, sequences, ids, N_SEQUENCES);
        fetch_logits(a, logits += N_SEQUENCES * a->placed.h.opt.n_vocab);
    }
}

enum { N_LOGITS = (1 + N_STEPS) * N_SEQUENCES * 300 };

static uint32_t line_length(const b2_hparams *h) { return h->vision.blocks + 1 + 1 + h->opt.blocks; }

static void test_any_split_gives_equal_bytes(void **state) {
    (void)state;
    const b2_hparams h = fixture_hparams();
    const b2_dtype dtypes[] = {B2_DTYPE_I8, B2_DTYPE_F16, B2_DTYPE_F32};
    float *want = malloc(N_LOGITS * sizeof *want), *got = malloc(N_LOGITS * sizeof *got);
    for (size_t t = 0; t < 3; t++) {
        assert_true(fixture_write_model(path, &h, dtypes[t], t == 1));
        for (uint32_t n_away = 0; n_away <= line_length(&h); n_away++) {
            house a;
            open_house(&a, n_away, SIZE_MAX);
            run(&a, n_away == 0 ? want : got);
            assert_int_equal(b2_workspace_status(a.homes, NULL), BLIP2_OK);
            if (n_away > 0) assert_memory_equal(got, want, N_LOGITS * sizeof *want);
            assert_true((a.device.n_verbs > 0) == (n_away > 0));
            close_house(&a);
        }
    }
    free(want), free(got);
}

static void test_the_line(void **state) {
    (void)state;
    b2_weights w = {.h = fixture_hparams()};
    const struct {
        b2_stage stage;
        uint32_t block;
    } line[] = {{B2_STAGE_VISION, 0}, {B2_STAGE_VISION, 1}, {B2_STAGE_VISION, 2}, {B2_STAGE_QFORMER, 0},
                {B2_STAGE_HEAD, 0},   {B2_STAGE_TEXT, 2},   {B2_STAGE_TEXT, 1},   {B2_STAGE_TEXT, 0}};
    assert_int_equal(line_length(&w.h), sizeof line / sizeof line[0]);
    for (w.n_away = 0; w.n_away <= line_length(&w.h); w.n_away++)
        for (uint32_t i = 0; i < line_length(&w.h); i++)
            assert_int_equal(b2_home(&w, line[i].stage, line[i].block), i < w.n_away ? B2_HOME_DEVICE : B2_HOME_CPU);
}

/* Whichever verb fails: the status says so, with the first sentence, and no verb is called afterwards. */
static void test_a_home_that_fails(void **state) {
    (void)state;
    const b2_hparams h = fixture_hparams();
    assert_true(fixture_write_model(path, &h, B2_DTYPE_I8, false));
    float *logits = malloc(N_LOGITS * sizeof *logits);
    size_t fail_at = 0;
    for (;; fail_at++) {
        house a;
        blip2_error err;
        open_house(&a, line_length(&h) - 1, fail_at);
        run(&a, logits);
        const bool has_failed = a.device.n_verbs > fail_at;
        assert_int_equal(b2_workspace_status(a.homes, &err), has_failed ? BLIP2_DEVICE : BLIP2_OK);
        if (has_failed) assert_string_equal(err.message, "the first sentence");
        assert_int_equal(a.device.n_after_failure, 0);
        close_house(&a);
        if (!has_failed) break;
    }
    assert_true(fail_at > 100);
    free(logits);
}

/* ---- slots of the cache ------------------------------------------------------------------------------------------ */

/* Every way in which four slots can take from four, over one home and over two. */
static void test_slots_change_places(void **state) {
    (void)state;
    const b2_hparams h = fixture_hparams();
    enum { N_VOCAB = 300, N_WAYS = N_SEQUENCES * N_SEQUENCES * N_SEQUENCES * N_SEQUENCES };
    static float want[N_SEQUENCES][N_VOCAB], got[N_SEQUENCES][N_VOCAB];
    const int32_t ids[N_SEQUENCES] = {9, 9, 9, 9};
    assert_true(fixture_write_model(path, &h, B2_DTYPE_I8, false));
    for (uint32_t n_away = 0; n_away < line_length(&h); n_away += line_length(&h) - 1) {
        house a;
        open_house(&a, n_away, SIZE_MAX);
        for (size_t way = 0; way < N_WAYS; way++) {
            b2_sequence before[N_SEQUENCES], after[N_SEQUENCES];
            size_t sources[N_SEQUENCES], n_positions = 0, left = way;
            prefill(&a, before);
            for (size_t i = 0; i < N_SEQUENCES; i++, left /= N_SEQUENCES) {
                sources[i] = left % N_SEQUENCES;
                n_positions = before[i].n_past > n_positions ? before[i].n_past : n_positions;
            }
            for (size_t slot = 0; slot < N_SEQUENCES; slot++) {
                after[slot] = before[N_SEQUENCES - 1 - sources[slot]]; /* the sequence that is in sources[slot] */
                after[slot].slot = slot;
            }
            if (way == 0) {
                b2_lm_step(&a.placed, a.homes, before, ids, N_SEQUENCES);
                fetch_logits(&a, want[0]);
            }
            b2_lm_permute_cache(&a.placed, a.homes, sources, N_SEQUENCES, n_positions);
            b2_lm_step(&a.placed, a.homes, after, ids, N_SEQUENCES);
            fetch_logits(&a, got[0]);
            for (size_t slot = 0; slot < N_SEQUENCES; slot++)
                assert_memory_equal(got[slot], want[N_SEQUENCES - 1 - sources[slot]], sizeof got[slot]);
        }
        close_house(&a);
    }
}

static void test_a_slot_is_copied(void **state) {
    (void)state;
    const b2_hparams h = fixture_hparams();
    static float want[N_SEQUENCES][300], got[N_SEQUENCES][300];
    const int32_t ids[N_SEQUENCES] = {9, 9, 9, 9};
    b2_sequence s[N_SEQUENCES];
    house a;
    assert_true(fixture_write_model(path, &h, B2_DTYPE_I8, false));
    open_house(&a, line_length(&h), SIZE_MAX);
    prefill(&a, s);
    b2_lm_step(&a.placed, a.homes, s, ids, N_SEQUENCES);
    fetch_logits(&a, want[0]);
    const size_t to = s[0].slot; /* sequence 0 becomes another one like sequence 3, which had one position less */
    b2_lm_copy_cache(&a.placed, a.homes, s[3].slot, to, s[3].n_past - 1);
    s[0] = s[3];
    s[0].slot = to;
    for (size_t i = 0; i < N_SEQUENCES; i++) s[i].n_past--;
    b2_lm_step(&a.placed, a.homes, s, ids, N_SEQUENCES);
    fetch_logits(&a, got[0]);
    assert_memory_equal(got[0], want[3], sizeof got[0]);
    assert_memory_equal(got[1], want[1], 3 * sizeof got[0]);
    close_house(&a);
}

/* ---- through the public door ------------------------------------------------------------------------------------- */

/* The session's own home (this program's link takes its creation here) fails at a chosen product. */
blip2_status __real_b2_cpu_home_create(const char *isa, int n_threads, b2_ops **ops, blip2_error *err);
blip2_status __wrap_b2_cpu_home_create(const char *isa, int n_threads, b2_ops **ops, blip2_error *err);

static const b2_verbs *cpu_verbs;
static b2_verbs failing_verbs;
static size_t n_products, fail_at_product = SIZE_MAX;

static void linear_or_fail(b2_ops *ops, const b2_matrix *w, const float *x, size_t n_groups, size_t rows_per_item,
                           b2_epilogue epilogue, float *out) {
    if (n_products++ == fail_at_product) b2_ops_fail(ops, BLIP2_DEVICE, "product lost: expected a device, got none");
    else cpu_verbs->linear(ops, w, x, n_groups, rows_per_item, epilogue, out);
}

blip2_status __wrap_b2_cpu_home_create(const char *isa, int n_threads, b2_ops **ops, blip2_error *err) {
    const blip2_status status = __real_b2_cpu_home_create(isa, n_threads, ops, err);
    if (status != BLIP2_OK || fail_at_product == SIZE_MAX) return status;
    cpu_verbs = (*ops)->verbs;
    failing_verbs = *cpu_verbs;
    failing_verbs.linear = linear_or_fail;
    (*ops)->verbs = &failing_verbs;
    return BLIP2_OK;
}

static void test_encode_and_generate_report_a_failure(void **state) {
    (void)state;
    const b2_hparams h = fixture_hparams();
    blip2_model *model = NULL;
    blip2_image *image = NULL;
    blip2_error err;
    size_t n_bytes, n_in_encode = 0, n_in_generate = 0;
    assert_true(fixture_write_model(path, &h, B2_DTYPE_I8, false));
    assert_int_equal(blip2_model_open(path, &model, &err), BLIP2_OK);
    uint8_t *bytes = fixture_picture(40, 30, 5, &n_bytes);
    assert_int_equal(blip2_image_load_memory(model, bytes, n_bytes, "picture", NULL, &image, &err), BLIP2_OK);
    const blip2_request request = {.image = 0};
    for (fail_at_product = 0;; fail_at_product++) {
        blip2_session *session = NULL;
        assert_int_equal(blip2_session_create(model, NULL, &session, &err), BLIP2_OK);
        n_products = 0;
        blip2_status status = blip2_session_encode(session, &image, 1, &err);
        const bool in_encode = status != BLIP2_OK;
        if (!in_encode) status = blip2_session_generate(session, &request, 1, NULL, &err);
        if (status == BLIP2_OK) {
            blip2_session_free(&session);
            break;
        }
        assert_int_equal(status, BLIP2_DEVICE);
        assert_string_equal(err.message, "product lost: expected a device, got none");
        assert_int_equal(blip2_session_encode(session, &image, 1, &err), BLIP2_DEVICE); /* it stays */
        if (in_encode) n_in_encode++;
        else n_in_generate++;
        blip2_session_free(&session);
    }
    fail_at_product = SIZE_MAX;
    assert_true(n_in_encode >= 10 && n_in_generate >= 10);
    free(bytes);
    blip2_image_free(&image);
    blip2_model_close(&model);
}

static int set_up(void **state) {
    (void)state;
    const int fd = mkstemp(path);
    if (fd >= 0) close(fd);
    return fd < 0;
}

static int tear_down(void **state) {
    (void)state;
    return unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_line),          cmocka_unit_test(test_any_split_gives_equal_bytes),
        cmocka_unit_test(test_a_home_that_fails), cmocka_unit_test(test_slots_change_places),
        cmocka_unit_test(test_a_slot_is_copied),  cmocka_unit_test(test_encode_and_generate_report_a_failure),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
