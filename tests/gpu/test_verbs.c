/* test_verbs.c: every verb of a home on a GPU against the same verb of the CPU with the definition's kernels, bit for
 * bit (NaN as NaN), on real and hostile shapes. Runs on a real GPU (make check-gpu) or on the fake driver
 * (check_fake_gpu.sh). Each tensor has memory of its own, which ends where the tensor ends; what is to be written
 * begins as NaN. */
#include "base/size.h"
#include "gpu/gpu.h"
#include "kernels/cpu/cpu_home.h"
#include "kernels/ops.h"
#include "quant/panel.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CPU, GPU, HOMES, MAX_TENSORS = 64 };

static b2_ops *home[HOMES];
static b2_arena scratch[HOMES], tensors[HOMES][MAX_TENSORS];
static size_t n_tensors[HOMES];
static int n_different, n_checks;
static uint64_t seed = 1;

static void die(const char *what, const blip2_error *err) {
    fprintf(stderr, "%s: %s\n", what, err->message);
    exit(3);
}

static uint32_t next(void) {
    uint64_t z = (seed += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (uint32_t)(z >> 32);
}
static float noise(void) { return (float)((int32_t)next() >> 8) / 8388608.0f; }

static float *floats(size_t n) {
    float *x = malloc((n + 1) * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = noise() * (next() % 16 == 0 ? 40.0f : 1.0f);
    return x;
}

/* ---- tensors of both homes ------------------------------------------------------------------------------------- */

static b2_arena *new_arena(int h) {
    if (n_tensors[h] == MAX_TENSORS) abort();
    b2_arena *a = &tensors[h][n_tensors[h]++];
    *a = (b2_arena){0};
    return a;
}

static float *put(int h, const float *host, size_t n) {
    b2_arena *a = new_arena(h);
    blip2_error err;
    b2_arena_take(a, n, sizeof *host);
    if (b2_ops_reserve(home[h], a, &err) != BLIP2_OK) die("memory", &err);
    float *x = b2_arena_take(a, n, sizeof *host);
    b2_ops_move(home[CPU], host, n, home[h], x);
    return x;
}

static void drop_all(void) {
    for (int h = 0; h < HOMES; h++)
        while (n_tensors[h] > 0) b2_ops_release(home[h], &tensors[h][--n_tensors[h]]);
}

static float *nans(size_t n) {
    float *x = malloc((n + 1) * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = NAN;
    return x;
}

static void compare(const char *what, const float *want, const float *got, size_t n) {
    n_checks++;
    for (size_t i = 0; i < n; i++) {
        if (memcmp(&want[i], &got[i], sizeof *got) == 0 || (isnan(want[i]) && isnan(got[i]))) continue;
        printf("DIFFERENT %s: [%zu] of %zu: expected %.9g, got %.9g\n", what, i, n, (double)want[i], (double)got[i]);
        n_different++;
        return;
    }
}

/* Compares x[n] of both homes, and lets go of all tensors. */
static void judge(const char *what, float *const x[HOMES], size_t n) {
    float *got = nans(n), *want = nans(n);
    blip2_error err;
    b2_ops_fetch(home[CPU], x[CPU], n, want);
    b2_ops_fetch(home[GPU], x[GPU], n, got);
    if (b2_ops_status(home[GPU], &err) != BLIP2_OK) die(what, &err);
    compare(what, want, got, n);
    free(got);
    free(want);
}

/* ---- products -------------------------------------------------------------------------------------------------- */

typedef struct weights {
    int8_t *values;
    uint16_t *scales;
    float *bias;
    b2_matrix m;
} weights;

static weights make_weights(size_t n_out, size_t n_in, size_t panel, int planes, bool has_bias) {
    const b2_panel_shape s = b2_panel_shape_make(n_out, n_in, panel);
    const size_t n = s.n_out_padded * s.n_in_padded;
    weights w = {.values = calloc(n, 1), .scales = calloc(n / s.group, 2), .bias = has_bias ? floats(n_out) : NULL};
    for (size_t row = 0; row < n_out; row++)
        for (size_t k = 0; k < s.n_in_padded; k++) {
            if (k < n_in)
                w.values[b2_panel_value_idx(&s, row, k)] = (int8_t)(next() % 8 == 0 ? 127 : (int)(next() % 255) - 127);
            if (k % s.group == 0) w.scales[b2_panel_scale_idx(&s, row, k)] = (uint16_t)(0x3B00 + next() % 512);
        }
    w.m = (b2_matrix){.dtype = B2_DTYPE_I8,
                      .n_out = n_out,
                      .n_in = n_in,
                      .n_in_padded = s.n_in_padded,
                      .panel = panel,
                      .group = s.group,
                      .planes = planes,
                      .values = w.values,
                      .scales = w.scales,
                      .bias = w.bias};
    return w;
}

static void free_weights(weights *w) {
    free(w->values);
    free(w->scales);
    free(w->bias);
}

static b2_matrix upload(int h, const weights *w) {
    b2_arena *a = new_arena(h);
    blip2_error err;
    b2_matrix m = w->m;
    b2_ops_upload_matrix(home[h], &m, a);
    if (b2_ops_reserve(home[h], a, &err) != BLIP2_OK) die("weights", &err);
    m = w->m;
    b2_ops_upload_matrix(home[h], &m, a);
    return m;
}

/* Rows with silent groups, groups of one loud number, infinities and NaN. */
static float *hostile_rows(size_t n_rows, size_t n_in) {
    float *x = floats(n_rows * n_in);
    for (size_t r = 0; r < n_rows; r++)
        for (size_t g = 0; g < n_in; g += 128) {
            const size_t end = g + 128 < n_in ? g + 128 : n_in;
            switch (next() % 12) {
            case 0:
                for (size_t k = g; k < end; k++) x[r * n_in + k] = 1e-37f * noise();
                break;
            case 1:
                for (size_t k = g; k < end; k++) x[r * n_in + k] = 3e38f;
                break;
            case 2:
                for (size_t k = g; k < end; k++) x[r * n_in + k] = k % 2 == 0 ? -1.0f : 1.0f;
                break;
            case 3: x[r * n_in + g] = n_rows > 2 && r == 1 ? (next() % 2 == 0 ? NAN : INFINITY) : 1e20f; break;
            default: break;
            }
        }
    return x;
}

static void check_linear(size_t rows, size_t n_in, size_t n_out, int planes, size_t panel, b2_epilogue epilogue) {
    weights w = make_weights(n_out, n_in, panel, planes, epilogue != B2_EPILOGUE_STORE || next() % 2 == 0);
    float *x = hostile_rows(rows, n_in), *before = floats(rows * n_out), *out[HOMES];
    if (epilogue != B2_EPILOGUE_ADD)
        for (size_t i = 0; i < rows * n_out; i++) before[i] = NAN;
    char what[96];
    snprintf(what, sizeof what, "linear %zu x %zu -> %zu, %d planes, panel %zu, epilogue %d", rows, n_in, n_out, planes,
             panel, (int)epilogue);
    for (int h = 0; h < HOMES; h++) {
        const b2_matrix m = upload(h, &w);
        out[h] = put(h, before, rows * n_out);
        b2_ops_linear(home[h], &m, put(h, x, rows * n_in), 1, rows, epilogue, out[h]);
    }
    judge(what, out, rows * n_out);
    drop_all();
    free_weights(&w);
    free(x);
    free(before);
}

static void check_gather(size_t n_out, size_t n_in, size_t panel) {
    weights w = make_weights(n_out, n_in, panel, 2, false);
    const int32_t ids[] = {0, (int32_t)n_out - 1, (int32_t)n_out / 2, 0, 3};
    float *empty = nans(5 * n_in), *out[HOMES];
    for (int h = 0; h < HOMES; h++) {
        const b2_matrix m = upload(h, &w);
        b2_ops_gather_rows(home[h], &m, ids, 5, out[h] = put(h, empty, 5 * n_in));
    }
    judge("gather_rows", out, 5 * n_in);
    drop_all();
    free_weights(&w);
    free(empty);
}

/* ---- rows ------------------------------------------------------------------------------------------------------ */

static void check_layernorm(size_t rows, size_t n, bool in_place) {
    float *x = floats(rows * n), *gamma = floats(n), *beta = floats(n), *empty = nans(rows * n), *out[HOMES];
    if (rows > 1) x[n] = NAN;
    if (rows > 2)
        for (size_t i = 0; i < n; i++) x[2 * n + i] = 1.5f;
    for (int h = 0; h < HOMES; h++) {
        const b2_norm norm = {.gamma = put(h, gamma, n), .beta = put(h, beta, n), .n = n, .eps = 1e-5f};
        float *from = put(h, x, rows * n);
        out[h] = in_place ? from : put(h, empty, rows * n);
        b2_ops_layernorm(home[h], &norm, from, rows, out[h]);
    }
    char what[64];
    snprintf(what, sizeof what, "layernorm %zu x %zu%s", rows, n, in_place ? " in place" : "");
    judge(what, out, rows * n);
    drop_all();
    free(x);
    free(gamma);
    free(beta);
    free(empty);
}

static void check_rows(void) {
    enum { WIDTH = 70, ROWS = 9, TABLE = 13 };
    const size_t rows[ROWS] = {12, 0, 3, 3, 7, 1, 12, 5, 0};
    float *x = floats(TABLE * WIDTH), *table = floats(TABLE * WIDTH), *empty = nans(4 * ROWS * WIDTH), *out[HOMES];
    for (int h = 0; h < HOMES; h++) {
        float *from = put(h, x, TABLE * WIDTH), *added = put(h, table, TABLE * WIDTH);
        out[h] = put(h, empty, 4 * ROWS * WIDTH);
        b2_ops_copy_rows(home[h], from, 0, ROWS, WIDTH, out[h]);
        b2_ops_copy_rows(home[h], from, WIDTH + 5, ROWS, WIDTH, out[h] + ROWS * WIDTH);
        b2_ops_add_rows(home[h], from, added, rows, ROWS, WIDTH, out[h] + 2 * ROWS * WIDTH);
        b2_ops_add_rows(home[h], from, added, NULL, ROWS, WIDTH, out[h] + 3 * ROWS * WIDTH);
        b2_ops_add_rows(home[h], out[h], added, rows, ROWS, WIDTH, out[h]); /* in place */
    }
    judge("copy_rows, add_rows", out, 4 * ROWS * WIDTH);
    drop_all();
    free(x);
    free(table);
    free(empty);
}

static void check_patches(size_t size, size_t patch) {
    const size_t side = size / patch, n = side * side * 3 * patch * patch;
    float *pixels = floats(3 * size * size), *empty = nans(n), *out[HOMES];
    for (int h = 0; h < HOMES; h++) b2_ops_cut_patches(home[h], pixels, size, patch, out[h] = put(h, empty, n));
    judge("cut_patches", out, n);
    drop_all();
    free(pixels);
    free(empty);
}

/* ---- attention ------------------------------------------------------------------------------------------------- */

static void check_attend(size_t batch, size_t heads, size_t head_len, size_t n_queries, size_t n_keys) {
    const size_t width = heads * head_len, rows = n_queries > n_keys ? n_queries : n_keys, n = batch * rows * 3 * width;
    float *qkv = floats(n), *empty = nans(batch * n_queries * width), *out[HOMES];
    if (batch > 1) qkv[2 * width + 1] = NAN;
    for (int h = 0; h < HOMES; h++) {
        const float *at = put(h, qkv, n);
        const b2_head_rows q = {at, rows * 3 * width, 3 * width}, k = {at + width, q.batch_stride, q.row_stride},
                           v = {at + 2 * width, q.batch_stride, q.row_stride};
        out[h] = put(h, empty, batch * n_queries * width);
        b2_ops_attend(home[h], batch, heads, head_len, q, n_queries, k, v, n_keys, out[h]);
    }
    char what[96];
    snprintf(what, sizeof what, "attend %zu x %zu heads of %zu, %zu queries, %zu keys", batch, heads, head_len,
             n_queries, n_keys);
    judge(what, out, batch * n_queries * width);
    drop_all();
    free(qkv);
    free(empty);
}

/* Two calls, so that the second one reads what the first one left; then slots change places and a third one follows;
 * then one over positions that lie in several slots. */
static void check_cached(size_t n, size_t rows, size_t heads, size_t head_len, size_t capacity) {
    const size_t width = heads * head_len, slot = width * capacity, n_out = 4 * n * rows * width;
    size_t slots[8], n_past[8];
    float *qkv = floats(3 * n * rows * 3 * width), *cache = floats(n * slot), *empty = nans(n_out), *out[HOMES];
    const b2_slot_move moves[] = {{0, B2_SPARE_SLOT}, {n - 1, 0}, {B2_SPARE_SLOT, n - 1}};
    for (int h = 0; h < HOMES; h++) {
        const b2_block_cache c = {put(h, cache, n * slot), put(h, cache, n * slot), capacity, heads, head_len};
        const float *from = put(h, qkv, 3 * n * rows * 3 * width);
        out[h] = put(h, empty, n_out);
        for (size_t i = 0; i < n; i++) slots[i] = n - 1 - i, n_past[i] = 3 * i;
        for (size_t call = 0; call < 3; call++) {
            b2_ops_attend_cached(home[h], &c, from + call * n * rows * 3 * width,
                                 &(b2_cache_places){.n = n, .slots = slots, .n_past = n_past}, rows,
                                 out[h] + call * n * rows * width);
            if (call == 0)
                b2_ops_attend_cached(home[h], &c, from, &(b2_cache_places){.n = n, .slots = slots, .n_past = n_past},
                                     rows, out[h]);
            for (size_t i = 0; i < n; i++) n_past[i] += rows;
            if (call == 1) b2_ops_move_slots(home[h], &c, moves, 3, n_past[n - 1]);
        }
        uint32_t sources[8 * 64]; /* at last each position from another slot than the one before */
        for (size_t i = 0; i < n; i++) {
            n_past[i] = b2_min(3 * rows, capacity - rows); /* all of them have written so many */
            for (size_t p = 0; p < capacity; p++) sources[i * capacity + p] = (uint32_t)((i + p / 3) % n);
        }
        b2_ops_attend_cached(home[h], &c, from, &(b2_cache_places){n, slots, n_past, sources, capacity}, rows,
                             out[h] + 3 * n * rows * width);
    }
    char what[96];
    snprintf(what, sizeof what, "attend_cached %zu x %zu rows, %zu heads of %zu, capacity %zu", n, rows, heads,
             head_len, capacity);
    judge(what, out, n_out);
    drop_all();
    free(qkv);
    free(cache);
    free(empty);
}

/* ---- logits ---------------------------------------------------------------------------------------------------- */

static void check_logits(size_t n, int kind) {
    float *x = floats(n), *empty = nans(n), results[HOMES][6], *out[HOMES];
    if (kind == 1) x[n / 2] = x[n - 1] = x[n / 3] = 99.0f; /* a tie */
    if (kind == 2) x[n - 1] = NAN;
    if (kind == 3)
        for (size_t i = 0; i < n; i++) x[i] = -INFINITY;
    for (int h = 0; h < HOMES; h++) {
        size_t index = 0;
        const float *at = put(h, x, n);
        float *r = results[h];
        r[0] = b2_ops_argmax(home[h], at, n, &index);
        if (kind == 2) index = 0;
        r[1] = (float)index;
        r[2] = b2_ops_log_probability(home[h], at, n, index);
        r[3] = b2_ops_log_probability(home[h], at, n, n / 2);
        r[4] = b2_ops_max(home[h], at, n);
        r[5] = b2_ops_log_probability(home[h], at, n, index);
        b2_ops_log_softmax(home[h], at, n, out[h] = put(h, empty, n));
    }
    compare("argmax, max, log_probability", results[CPU], results[GPU], 6);
    judge("log_softmax", out, n);
    drop_all();
    free(x);
    free(empty);
}

/* ---- all ------------------------------------------------------------------------------------------------------- */

static void check_small(void) {
    static const size_t rows[] = {1, 2, 3, 5, 8, 9, 64, 65, 70}, ins[] = {4, 100, 128, 300, 640},
                        outs[] = {1, 16, 50, 130};
    for (size_t r = 0; r < 9; r++)
        for (size_t i = 0; i < 5; i++)
            for (int planes = 1; planes <= 2; planes++)
                check_linear(rows[r], ins[i], outs[(r + i) % 4], planes, next() % 2 == 0 ? 16 : 64,
                             (b2_epilogue)((r + i + (size_t)planes) % 4));
    check_linear(33, 256, 64, 1, 64, B2_EPILOGUE_ADD); /* panels and tiles that are exactly full */
    check_linear(128, 128, 128, 2, 16, B2_EPILOGUE_GELU);
    check_linear(3, 5000, 20, 2, 16, B2_EPILOGUE_STORE); /* more than a pass of groups */
    check_gather(50, 300, 16);
    check_gather(130, 128, 64);
    static const size_t widths[] = {1, 7, 16, 64, 100, 1408, 4097, 5000};
    for (size_t i = 0; i < 8; i++) check_layernorm(1 + i % 3, widths[i], i % 2 == 1);
    check_rows();
    check_patches(30, 14);
    check_patches(28, 7);
    check_attend(1, 1, 5, 1, 1);
    check_attend(2, 3, 24, 17, 33);
    check_attend(2, 2, 33, 40, 16);
    check_attend(1, 2, 88, 3, 65);
    check_attend(1, 1, 8, 5, 900);  /* four queries a block */
    check_attend(1, 1, 8, 5, 3100); /* one */
    check_cached(1, 1, 2, 16, 16);
    check_cached(3, 5, 2, 20, 48);
    check_cached(8, 1, 3, 33, 32);
    check_cached(2, 18, 1, 8, 64);
    static const size_t vocabularies[] = {1, 17, 256, 4097, 9000};
    for (size_t i = 0; i < 5; i++)
        for (int kind = 0; kind < 4; kind++) check_logits(vocabularies[i], kind);
}

/* The real model's: ViT, Q-Former, OPT. */
static void check_real(bool all) {
    check_linear(257, 1408, all ? 4224 : 128, 2, 16, B2_EPILOGUE_STORE);
    check_linear(257, all ? 6144 : 640, all ? 1408 : 128, 1, 16, B2_EPILOGUE_ADD);
    check_linear(33, 2560, all ? 10240 : 256, 2, 16, B2_EPILOGUE_RELU);
    check_linear(8, 10240, all ? 2560 : 128, 2, 64, B2_EPILOGUE_ADD);
    check_linear(1, 2560, all ? 50304 : 512, 2, 16, B2_EPILOGUE_STORE);
    check_attend(1, all ? 16 : 1, 88, 257, 257);
    check_attend(1, all ? 12 : 1, 64, 32, 257);
    check_cached(all ? 8 : 2, 11, all ? 32 : 2, 80, 64);
    check_logits(50304, 0);
}

/* Each kernel at least once, small: for the PTX interpreter, which is slow. */
static void check_tiny(void) {
    for (int planes = 1; planes <= 2; planes++) {
        for (size_t rows = 1; rows <= 8; rows *= 2)
            check_linear(rows, rows == 4 ? 4500 : 200, rows < 3 ? 20 : 64, planes, rows == 2 ? 64 : 16,
                         (b2_epilogue)(rows % 4));
        check_linear(70, 300, 100, planes, 16, B2_EPILOGUE_GELU);
        check_linear(20, 256, 64, planes, 64, B2_EPILOGUE_ADD);
    }
    check_gather(50, 300, 16);
    check_gather(130, 128, 64);
    check_layernorm(3, 100, false);
    check_layernorm(2, 5000, true);
    check_rows();
    check_attend(2, 2, 24, 17, 33);
    check_attend(1, 1, 33, 20, 70);
    check_attend(1, 1, 8, 5, 900);
    check_cached(3, 5, 2, 20, 48);
    check_cached(8, 1, 2, 33, 32);
    for (int kind = 0; kind < 4; kind++) check_logits(kind == 3 ? 17 : 5000, kind);
}

static void open_home(int h, b2_ops *ops, bool is_tiny) {
    const b2_ops_limits limits = {.max_linear_values = is_tiny ? 70 * 768 : 257 * (6144 + 128),
                                  .max_keys = 3200,
                                  .max_head_len = 96,
                                  .max_key_values = is_tiny ? 8192 : 2 << 20,
                                  .max_slot_values = is_tiny ? 8192 : 64 * 2560};
    blip2_error err;
    home[h] = ops;
    b2_ops_plan(ops, &limits, &scratch[h]);
    if (b2_ops_reserve(ops, &scratch[h], &err) != BLIP2_OK) die("scratch", &err);
    b2_ops_plan(ops, &limits, &scratch[h]);
    float *empty = nans(scratch[h].capacity_bytes / sizeof *empty);
    b2_ops_move(home[CPU], empty, scratch[h].capacity_bytes / sizeof *empty, ops, (float *)(void *)scratch[h].base);
    free(empty);
}

/* test_verbs [all|tiny]: with the real model's sizes in full; each kernel a few times */
int main(int argc, char **argv) {
    b2_gpu *gpu;
    b2_ops *ops;
    blip2_error err;
    const bool is_tiny = argc > 1 && strcmp(argv[1], "tiny") == 0;
    if (b2_cpu_home_create("scalar", 2, &ops, &err) != BLIP2_OK) die("CPU", &err);
    open_home(CPU, ops, is_tiny);
    if (b2_gpu_open(0, 60, &gpu, &err) != BLIP2_OK || b2_gpu_home_create(gpu, &ops, &err) != BLIP2_OK) die("GPU", &err);
    open_home(GPU, ops, is_tiny);
    if (is_tiny) check_tiny();
    else check_small();
    if (!is_tiny) check_real(argc > 1 && strcmp(argv[1], "all") == 0);
    for (int h = HOMES; h-- > 0;) {
        b2_ops_release(home[h], &scratch[h]);
        b2_ops_free(home[h]);
    }
    b2_gpu_close(gpu);
    printf("%d checks, %d different\n", n_checks, n_different);
    return n_different != 0;
}
