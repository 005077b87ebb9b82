/* cpu_home.c: the table of the CPU, its memory and its scratch. Rows are in rows.c, products in linear.c, attention
 * and the cache in attention.c. */
#include "kernels/cpu/cpu_home.h"

#include "kernels/cpu/cpu_verbs.h"

#include <stdlib.h>

/* ---- memory ---------------------------------------------------------------------------------------------------- */

/* Scratch of one thread: what a product needs (a kernel's block, a tile of results, a strip of widened weights) or
 * what attention needs (transposed keys, values of a cache, scores, queries), whichever is larger; never
 * both at once. */
static size_t thread_scratch_bytes(const b2_ops_limits *limits) {
    const size_t strip_values = limits->has_f16 ? B2_GEMM_STRIP * limits->max_inputs : 0;
    const size_t linear =
        B2_GEMM_SCRATCH_BYTES + sizeof(float) * B2_GEMM_ROWS * B2_GEMM_STRIP + sizeof(float) * strip_values;
    const size_t keys = b2_round_up(limits->max_keys, 16);
    const size_t attention = sizeof(float) * (2 * keys * limits->max_head_len + B2_ATTENTION_ROWS * keys +
                                              B2_ATTENTION_ROWS * b2_round_up(limits->max_head_len, 16) + 16);
    return b2_round_up(b2_max(linear, attention), B2_ARENA_ALIGN_BYTES);
}

static void plan(b2_ops *ops, const b2_ops_limits *limits, b2_arena *arena) {
    b2_cpu *cpu = b2_cpu_of(ops);
    const size_t tail_values = b2_size_multiply(limits->max_items * B2_TILE_ROWS, limits->max_inputs);
    cpu->thread_scratch_bytes = thread_scratch_bytes(limits);
    cpu->plane_hi = b2_arena_take(arena, limits->max_linear_values, sizeof *cpu->plane_hi);
    cpu->plane_lo = b2_arena_take(arena, limits->max_linear_values, sizeof *cpu->plane_lo);
    cpu->plane_scale = b2_arena_take(arena, limits->max_linear_values / B2_GROUP_LEN, sizeof *cpu->plane_scale);
    cpu->plane_sum = b2_arena_take(arena, limits->max_linear_values / B2_GROUP_LEN, sizeof *cpu->plane_sum);
    cpu->tail = b2_arena_take(arena, tail_values, sizeof *cpu->tail);
    cpu->thread_scratch = b2_arena_take(arena, (size_t)cpu->n_threads, cpu->thread_scratch_bytes);
}

static blip2_status reserve(b2_ops *ops, b2_arena *arena, blip2_error *err) {
    (void)ops;
    return b2_arena_reserve(arena, err);
}

static void release(b2_ops *ops, b2_arena *arena) {
    (void)ops;
    b2_arena_free(arena);
}

static const void *upload(b2_ops *ops, const void *host, size_t n_bytes, b2_arena *arena) {
    (void)ops, (void)n_bytes, (void)arena;
    return host;
}

static void copy(b2_ops *ops, const float *x, size_t n, float *y) {
    (void)ops;
    memcpy(y, x, n * sizeof *y);
}

/* ---- the home -------------------------------------------------------------------------------------------------- */

static void free_home(b2_ops *ops) {
    b2_team_free(b2_cpu_of(ops)->team);
    free(ops);
}

static const b2_verbs cpu_verbs = {
    .name = "cpu",
    .is_host = true,
    .free = free_home,
    .plan = plan,
    .reserve = reserve,
    .release = release,
    .upload = upload,
    .send = copy,
    .fetch = copy,
    .copy_rows = b2_cpu_copy_rows,
    .add_rows = b2_cpu_add_rows,
    .cut_patches = b2_cpu_cut_patches,
    .gather_rows = b2_cpu_gather_rows,
    .layernorm = b2_cpu_layernorm,
    .linear = b2_cpu_linear,
    .attend = b2_cpu_attend,
    .attend_cached = b2_cpu_attend_cached,
    .move_slots = b2_cpu_move_slots,
    .argmax = b2_cpu_argmax,
    .max = b2_cpu_max,
    .log_probability = b2_cpu_log_probability,
    .log_softmax = b2_cpu_log_softmax,
};

blip2_status b2_cpu_home_plan(const char *isa, int n_threads, b2_ops **ops, blip2_error *err) {
    *ops = NULL;
    b2_cpu *cpu = calloc(1, sizeof *cpu);
    if (cpu == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for the CPU's tables");
    cpu->ops.verbs = &cpu_verbs;
    cpu->n_threads = b2_team_clamp(n_threads);
    const blip2_status status = b2_isa_select(isa, &cpu->isa, err);
    if (status == BLIP2_OK) *ops = &cpu->ops;
    else free_home(&cpu->ops);
    return status;
}

blip2_status b2_cpu_home_create(const char *isa, int n_threads, b2_ops **ops, blip2_error *err) {
    B2_TRY(b2_cpu_home_plan(isa, n_threads, ops, err));
    b2_cpu *cpu = b2_cpu_of(*ops);
    if ((cpu->team = b2_team_create(cpu->n_threads)) != NULL) return BLIP2_OK;
    free_home(*ops);
    *ops = NULL;
    return b2_fail(err, BLIP2_MEMORY, "no memory for %d threads, or the system gives no more", n_threads);
}

void b2_cpu_home_enter(b2_ops *ops) { b2_team_enter(b2_cpu_of(ops)->team); }
void b2_cpu_home_leave(b2_ops *ops) { b2_team_leave(b2_cpu_of(ops)->team); }

const b2_isa *b2_cpu_home_isa(const b2_ops *ops) { return &((const b2_cpu *)(const void *)ops)->isa; }

int b2_cpu_home_threads(const b2_ops *ops) { return ((const b2_cpu *)(const void *)ops)->n_threads; }
