/* verbs.c: the verbs on a GPU (kernels/verbs.h): each fills a struct of args.h and queues a kernel or two. */
#include "base/size.h"
#include "gpu/home.h"
#include "quant/group.h"

#include <math.h>
#include <string.h>

enum { ROW_THREADS = 256, FEW_ROWS = 8, SHARED_BYTES = 48 * 1024 };

static size_t n_blocks(size_t n, size_t of) { return (n + of - 1) / of; }

/* ---- scratch --------------------------------------------------------------------------------------------------- */

static void plan(b2_ops *ops, const b2_ops_limits *limits, b2_arena *arena) {
    b2_gpu_home *home = b2_gpu_home_of(ops);
    const size_t n = limits->max_linear_values;
    home->limits = *limits;
    home->plane_hi = b2_arena_take(arena, n, sizeof *home->plane_hi);
    home->plane_lo = b2_arena_take(arena, n, sizeof *home->plane_lo);
    home->plane_scale = b2_arena_take(arena, n / B2_GROUP_LEN, sizeof *home->plane_scale);
    home->keys = b2_arena_take(arena, limits->max_key_values, sizeof *home->keys);
    home->spare = b2_arena_take(arena, limits->max_slot_values, sizeof *home->spare);
}

/* ---- rows ------------------------------------------------------------------------------------------------------ */

static void copy_rows(b2_ops *ops, const float *x, size_t x_stride, size_t n_rows, size_t width, float *y) {
    const b2_rows_args args = {.x = x, .y = y, .x_stride = x_stride, .n_rows = (int)n_rows, .width = (int)width};
    b2_gpu_need(b2_gpu_home_of(ops), x + width);
    b2_gpu_launch(b2_gpu_home_of(ops), B2_KERNEL_copy_or_add_rows,
                  (b2_grid){n_blocks(n_rows * width, ROW_THREADS), 1, 1}, 0, &args);
}

/* The list of rows goes in pieces, as many as the list area takes. */
static void add_rows(b2_ops *ops, const float *x, const float *table, const size_t *rows, size_t n_rows, size_t width,
                     float *y) {
    b2_gpu_home *home = b2_gpu_home_of(ops);
    const size_t most = rows != NULL ? B2_GPU_LIST_LEN : n_rows;
    for (size_t at = 0; at < n_rows; at += most) {
        const size_t n = b2_min(n_rows - at, most);
        b2_rows_args args = {.x = x + at * width,
                             .table = table,
                             .y = y + at * width,
                             .x_stride = width,
                             .n_rows = (int)n,
                             .width = (int)width};
        size_t last = n - 1;
        if (rows != NULL) {
            uint32_t *list = b2_gpu_stage(home, n * sizeof *list);
            if (list == NULL) return;
            for (size_t i = 0; i < n; i++) list[i] = (uint32_t)rows[at + i];
            for (size_t i = 0; i < n; i++) last = b2_max(last, rows[at + i]);
            home->n_slots = 0;
            b2_gpu_send_staged(home, list, n * sizeof *list, home->own);
            args.rows = (const unsigned *)home->own;
        }
        b2_gpu_need(home, table + (last + 1) * width);
        b2_gpu_need(home, x + width);
        b2_gpu_launch(home, B2_KERNEL_copy_or_add_rows, (b2_grid){n_blocks(n * width, ROW_THREADS), 1, 1}, 0, &args);
    }
}

/* Cut on the way: a row of patches at a time, from the host's pixels into pinned memory. */
static void cut_patches(b2_ops *ops, const float *pixels, size_t size, size_t patch, float *patches) {
    b2_gpu_home *home = b2_gpu_home_of(ops);
    const size_t side = size / patch, row_bytes = side * 3 * patch * patch * sizeof *patches;
    for (size_t r = 0; r < side; r++) {
        uint8_t *const staged = b2_gpu_stage(home, row_bytes);
        if (staged == NULL) return;
        float *to = (float *)(void *)staged;
        for (size_t c = 0; c < side; c++)
            for (size_t channel = 0; channel < 3; channel++)
                for (size_t y = 0; y < patch; y++, to += patch)
                    memcpy(to, pixels + (channel * size + r * patch + y) * size + c * patch, patch * sizeof *to);
        b2_gpu_send_staged(home, staged, row_bytes, (uintptr_t)patches + r * row_bytes);
    }
}

static void gather_rows(b2_ops *ops, const b2_matrix *w, const int32_t *ids, size_t n, float *out) {
    b2_gpu_home *home = b2_gpu_home_of(ops);
    for (size_t at = 0; at < n; at += B2_GPU_LIST_LEN) {
        const size_t part = b2_min(n - at, B2_GPU_LIST_LEN);
        const b2_gather_args args = {.w = w->values,
                                     .d = w->scales,
                                     .ids = b2_gpu_send_list(home, ids + at, part * sizeof *ids),
                                     .out = out + at * w->n_in,
                                     .n_in = (int)w->n_in,
                                     .k_padded = (int)w->n_in_padded,
                                     .panel = (int)w->panel,
                                     .n_rows = (int)part};
        b2_gpu_need(home, w->scales + b2_round_up(w->n_out, w->panel) * (w->n_in_padded / w->group));
        b2_gpu_launch(home, B2_KERNEL_gather_rows, (b2_grid){n_blocks(part * w->n_in, ROW_THREADS), 1, 1}, 0, &args);
    }
}

static void layernorm(b2_ops *ops, const b2_norm *norm, const float *x, size_t n_rows, float *y) {
    const b2_layernorm_args args = {
        .x = x, .gamma = norm->gamma, .beta = norm->beta, .y = y, .eps = norm->eps, .n = (int)norm->n};
    b2_gpu_need(b2_gpu_home_of(ops), norm->beta + norm->n);
    b2_gpu_launch(b2_gpu_home_of(ops), B2_KERNEL_layernorm, (b2_grid){n_rows, 1, 1}, 0, &args);
}

/* ---- products -------------------------------------------------------------------------------------------------- */

static void multiply(b2_gpu_home *home, const b2_matrix *w, size_t n_rows, const b2_gemm_args *args) {
    static const b2_kernel few[2][4] = {
        {B2_KERNEL_gemm_few_1_1, B2_KERNEL_gemm_few_1_2, B2_KERNEL_gemm_few_1_4, B2_KERNEL_gemm_few_1_8},
        {B2_KERNEL_gemm_few_2_1, B2_KERNEL_gemm_few_2_2, B2_KERNEL_gemm_few_2_4, B2_KERNEL_gemm_few_2_8}};
    if (n_rows > FEW_ROWS) {
        b2_gpu_launch(home, w->planes == 2 ? B2_KERNEL_gemm_many_2 : B2_KERNEL_gemm_many_1,
                      (b2_grid){n_blocks(w->n_out, 64), n_blocks(n_rows, 64), 1}, 0, args);
        return;
    }
    const size_t which = n_rows > 4 ? 3 : n_rows > 2 ? 2 : n_rows - 1;
    b2_gpu_launch(home, few[w->planes - 1][which], (b2_grid){n_blocks(w->n_out, 16), 1, 1}, 0, args);
}

static void linear(b2_ops *ops, const b2_matrix *w, const float *x, size_t n_groups, size_t rows_per_group,
                   b2_epilogue epilogue, float *out) {
    b2_gpu_home *home = b2_gpu_home_of(ops);
    const size_t n_rows = n_groups * rows_per_group, k_groups = w->n_in_padded / B2_GROUP_LEN;
    if (n_rows == 0) return;
    if (w->dtype != B2_DTYPE_I8 || w->group != B2_GROUP_LEN) {
        b2_ops_fail(ops, BLIP2_UNSUPPORTED, "the GPU multiplies int8 matrices with groups of 128 only");
        return;
    }
    int8_t *lo = w->planes == 2 ? home->plane_lo : NULL;
    const b2_quantise_args rows = {.x = x,
                                   .hi = home->plane_hi,
                                   .lo = lo,
                                   .scale = home->plane_scale,
                                   .n = (int)w->n_in,
                                   .n_padded = (int)w->n_in_padded,
                                   .n_rows = (int)n_rows};
    const b2_gemm_args args = {.w = w->values,
                               .d = w->scales,
                               .hi = home->plane_hi,
                               .lo = lo,
                               .scale = home->plane_scale,
                               .bias = w->bias,
                               .out = out,
                               .n_out = (int)w->n_out,
                               .k_padded = (int)w->n_in_padded,
                               .panel = (int)w->panel,
                               .n_rows = (int)n_rows,
                               .epilogue = (int)epilogue};
    const uint16_t *scales_end = w->scales + b2_round_up(w->n_out, w->panel) * k_groups;
    b2_gpu_need(home, w->bias != NULL ? (const void *)(w->bias + w->n_out) : (const void *)scales_end);
    b2_gpu_launch(home, B2_KERNEL_quantise, (b2_grid){n_blocks(n_rows * k_groups, 8), 1, 1}, 0, &rows);
    multiply(home, w, n_rows, &args);
}

/* ---- attention ------------------------------------------------------------------------------------------------- */

/* As many queries a block as shared memory and the queries themselves allow. */
static void launch_attention(b2_gpu_home *home, size_t n_items, const b2_attend_args *args) {
    static const struct {
        size_t queries;
        b2_kernel kernel;
    } ways[] = {{16, B2_KERNEL_attend_16}, {4, B2_KERNEL_attend_4}, {1, B2_KERNEL_attend_1}};
    const size_t n_queries = (size_t)args->n_queries;
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        const size_t q = ways[i].queries, head_len = b2_round_up((size_t)args->head_len, 4);
        const size_t shared = (q * ((size_t)args->key_stride + head_len) + q) * sizeof(float);
        if (shared > SHARED_BYTES || (q > 1 && n_queries == 1)) continue;
        b2_gpu_launch(home, ways[i].kernel, (b2_grid){(size_t)args->n_heads, n_blocks(n_queries, q), n_items}, shared,
                      args);
        return;
    }
    b2_ops_fail(&home->ops, BLIP2_LIMIT, "attention to more keys than the shared memory of a GPU holds");
}

static void attend(b2_ops *ops, size_t n_batch, size_t n_heads, size_t head_len, b2_head_rows queries, size_t n_queries,
                   b2_head_rows keys, b2_head_rows values, size_t n_keys, float *out) {
    b2_gpu_home *home = b2_gpu_home_of(ops);
    const size_t key_stride = b2_round_up(n_keys, 16);
    const b2_transpose_args transpose = {.keys = keys.data,
                                         .out = home->keys,
                                         .batch_stride = keys.batch_stride,
                                         .row_stride = (int)keys.row_stride,
                                         .n_heads = (int)n_heads,
                                         .head_len = (int)head_len,
                                         .n_keys = (int)n_keys,
                                         .key_stride = (int)key_stride};
    const b2_attend_args args = {.queries = queries.data,
                                 .keys = home->keys,
                                 .values = values.data,
                                 .out = out,
                                 .q_batch = queries.batch_stride,
                                 .value_batch = values.batch_stride,
                                 .value_head = head_len,
                                 .q_stride = (int)queries.row_stride,
                                 .value_stride = (int)values.row_stride,
                                 .key_stride = (int)key_stride,
                                 .n_heads = (int)n_heads,
                                 .head_len = (int)head_len,
                                 .n_queries = (int)n_queries,
                                 .n_keys = (int)n_keys,
                                 .query_scale = 1.0f,
                                 .score_scale = (float)(1.0 / sqrt((double)head_len))};
    b2_gpu_launch(home, B2_KERNEL_transpose_keys,
                  (b2_grid){n_blocks(key_stride, 32), n_heads * n_blocks(head_len, 32), n_batch}, 0, &transpose);
    launch_attention(home, n_batch, &args);
}

/* All blocks of a step ask with the same slots: they travel once. */
static const b2_slot *send_slots(b2_gpu_home *home, const b2_cache_places *at) {
    const size_t n = at->n, n_sources = at->sources != NULL ? n * at->stride : 0;
    const size_t n_items = n + b2_parts(n_sources, sizeof(b2_slot) / sizeof *at->sources);
    bool is_same = home->n_slots == n_items;
    for (size_t i = 0; i < n; i++) {
        const b2_slot slot = {(unsigned)at->slots[i], (unsigned)at->n_past[i]};
        is_same = is_same && home->slots[i].slot == slot.slot && home->slots[i].n_past == slot.n_past;
        home->slots[i] = slot;
    }
    b2_slot *sources = home->slots + n;
    is_same = is_same && (n_sources == 0 || memcmp(sources, at->sources, n_sources * sizeof *at->sources) == 0);
    if (is_same) return (const b2_slot *)home->own;
    if (n_sources > 0) memcpy(sources, at->sources, n_sources * sizeof *at->sources);
    const b2_slot *sent = b2_gpu_send_list(home, home->slots, n_items * sizeof *home->slots);
    home->n_slots = sent != NULL ? n_items : 0;
    return sent;
}

/* Slots, then sources, fit the list area. */
static bool has_room(const b2_cache_places *at) {
    return at->n <= B2_GPU_LIST_LEN && (at->sources == NULL || at->n * (2 + at->stride) < 2 * (size_t)B2_GPU_LIST_LEN);
}

static void attend_cached(b2_ops *ops, const b2_block_cache *cache, const float *qkv, const b2_cache_places *at,
                          size_t rows, float *out) {
    b2_gpu_home *home = b2_gpu_home_of(ops);
    const size_t width = cache->n_heads * cache->head_len, n = at->n;
    if (!has_room(at)) {
        b2_ops_fail(ops, BLIP2_LIMIT, "more sequences at once than the GPU's list of slots holds");
        return;
    }
    const b2_slot *list = send_slots(home, at);
    const b2_append_args append = {.qkv = qkv,
                                   .keys = cache->keys,
                                   .values = cache->values,
                                   .slots = list,
                                   .rows = (int)rows,
                                   .n_heads = (int)cache->n_heads,
                                   .head_len = (int)cache->head_len,
                                   .capacity = (int)cache->capacity};
    const b2_attend_args args = {.queries = qkv,
                                 .keys = cache->keys,
                                 .values = cache->values,
                                 .out = out,
                                 .slots = list,
                                 .sources = at->sources != NULL && list != NULL ? (const unsigned *)(list + n) : NULL,
                                 .source_stride = (int)at->stride,
                                 .q_batch = rows * 3 * width,
                                 .value_batch = width * cache->capacity,
                                 .value_head = cache->head_len * cache->capacity,
                                 .q_stride = (int)(3 * width),
                                 .value_stride = (int)cache->head_len,
                                 .key_stride = (int)cache->capacity,
                                 .n_heads = (int)cache->n_heads,
                                 .head_len = (int)cache->head_len,
                                 .n_queries = (int)rows,
                                 .query_scale = (float)(1.0 / sqrt((double)cache->head_len)),
                                 .score_scale = 1.0f};
    b2_gpu_launch(home, B2_KERNEL_append_cache, (b2_grid){rows, n, 1}, 0, &append);
    launch_attention(home, n, &args);
}

/* Whole slots, keys and then values. */
static void move_slots(b2_ops *ops, const b2_block_cache *cache, const b2_slot_move *moves, size_t n,
                       size_t n_positions) {
    b2_gpu_home *home = b2_gpu_home_of(ops);
    (void)n_positions;
    if (2 * n > B2_GPU_LIST_LEN) {
        b2_ops_fail(ops, BLIP2_LIMIT, "more moves of slots at once than the GPU's list holds");
        return;
    }
    for (size_t i = 0; i < n; i++)
        home->slots[i] =
            (b2_slot){(unsigned)b2_min(moves[i].from, UINT32_MAX), (unsigned)b2_min(moves[i].to, UINT32_MAX)};
    b2_move_args args = {.cache = cache->keys,
                         .spare = home->spare,
                         .moves = b2_gpu_send_list(home, home->slots, n * sizeof *home->slots),
                         .n_moves = (int)n,
                         .n_heads = (int)cache->n_heads,
                         .head_values = (int)(cache->head_len * cache->capacity)};
    b2_gpu_launch(home, B2_KERNEL_move_slots, (b2_grid){cache->n_heads, 1, 1}, 0, &args);
    args.cache = cache->values;
    b2_gpu_launch(home, B2_KERNEL_move_slots, (b2_grid){cache->n_heads, 1, 1}, 0, &args);
}

/* ---- logits ---------------------------------------------------------------------------------------------------- */

static b2_choice *choice_address(const b2_gpu_home *home) {
    return (b2_choice *)(home->own + B2_GPU_LIST_LEN * sizeof(b2_slot));
}

static void launch_choose(b2_gpu_home *home, const float *x, size_t n, size_t wanted) {
    const b2_choose_args args = {.x = x, .choice = choice_address(home), .n = (int)n, .wanted = (int)wanted};
    b2_gpu_launch(home, B2_KERNEL_choose, (b2_grid){1, 1, 1}, 0, &args);
}

/* What there is to know of a row; false: the home has failed. */
static bool choose(b2_gpu_home *home, const float *x, size_t n, size_t wanted, b2_choice *choice) {
    launch_choose(home, x, n, wanted);
    return b2_gpu_fetch_bytes(home, (uintptr_t)choice_address(home), sizeof *choice, choice);
}

static bool argmax(b2_ops *ops, const float *x, size_t n, size_t *index) {
    b2_gpu_home *home = b2_gpu_home_of(ops);
    *index = 0;
    if (!choose(home, x, n, 0, &home->choice) || home->choice.index < 0) return false;
    home->chosen = x;
    home->chosen_len = n;
    *index = (size_t)home->choice.index;
    return true;
}

static float max(b2_ops *ops, const float *x, size_t n) {
    b2_choice choice;
    return choose(b2_gpu_home_of(ops), x, n, 0, &choice) ? choice.max : NAN;
}

static float log_probability(b2_ops *ops, const float *x, size_t n, size_t index) {
    b2_gpu_home *home = b2_gpu_home_of(ops);
    const b2_choice *known = &home->choice;
    if (home->chosen == x && home->chosen_len == n && (size_t)known->index == index)
        return (known->max - known->max) - known->log_sum; /* the largest value is the one in question */
    b2_choice choice;
    return choose(home, x, n, index, &choice) ? (choice.value - choice.max) - choice.log_sum : NAN;
}

static void log_softmax(b2_ops *ops, const float *x, size_t n, float *y) {
    b2_gpu_home *home = b2_gpu_home_of(ops);
    launch_choose(home, x, n, 0);
    const b2_log_softmax_args args = {.x = x, .choice = choice_address(home), .y = y, .n = (int)n};
    b2_gpu_launch(home, B2_KERNEL_log_softmax, (b2_grid){n_blocks(n, ROW_THREADS), 1, 1}, 0, &args);
}

static const b2_verbs table = {
    .name = "cuda",
    .free = b2_gpu_free_home,
    .plan = plan,
    .reserve = b2_gpu_reserve,
    .release = b2_gpu_release,
    .upload = b2_gpu_upload,
    .send = b2_gpu_send,
    .fetch = b2_gpu_fetch,
    .copy_rows = copy_rows,
    .add_rows = add_rows,
    .cut_patches = cut_patches,
    .gather_rows = gather_rows,
    .layernorm = layernorm,
    .linear = linear,
    .attend = attend,
    .attend_cached = attend_cached,
    .move_slots = move_slots,
    .argmax = argmax,
    .max = max,
    .log_probability = log_probability,
    .log_softmax = log_softmax,
};

const b2_verbs *b2_gpu_table(void) { return &table; }
