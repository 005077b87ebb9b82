/* ops.c: each verb goes to the table of its home, unless the home has failed. */
#include "kernels/ops.h"

#include "base/size.h"
#include "kernels/verbs.h"

#include <math.h>

/* ---- the home itself ------------------------------------------------------------------------------------------ */

static bool has_failed(const b2_ops *ops) { return ops->error.status != BLIP2_OK; }

static bool is_cancelled(b2_ops *ops) {
    if (!ops->was_cancelled && ops->is_cancelled != NULL) ops->was_cancelled = ops->is_cancelled(ops->cancel_context);
    return ops->was_cancelled;
}

void b2_ops_free(b2_ops *ops) {
    if (ops != NULL) ops->verbs->free(ops);
}

void b2_ops_watch(b2_ops *ops, bool (*asked)(void *context), void *context) {
    ops->is_cancelled = asked;
    ops->cancel_context = context;
}

void b2_ops_fail(b2_ops *ops, blip2_status status, const char *sentence) {
    if (!has_failed(ops)) b2_fail(&ops->error, status, "%s", sentence);
}

void b2_ops_begin(b2_ops *ops) { ops->was_cancelled = false; }

bool b2_ops_is_stopped(b2_ops *ops) { return has_failed(ops) || is_cancelled(ops); }

blip2_status b2_ops_status(b2_ops *ops, blip2_error *err) {
    if (has_failed(ops)) return b2_fail(err, ops->error.status, "%s", ops->error.message);
    return is_cancelled(ops) ? b2_fail(err, BLIP2_CANCELLED, "cancelled") : BLIP2_OK;
}

/* ---- memory --------------------------------------------------------------------------------------------------- */

void b2_ops_plan(b2_ops *ops, const b2_ops_limits *limits, b2_arena *arena) { ops->verbs->plan(ops, limits, arena); }

blip2_status b2_ops_reserve(b2_ops *ops, b2_arena *arena, blip2_error *err) {
    return ops->verbs->reserve(ops, arena, err);
}

void b2_ops_release(b2_ops *ops, b2_arena *arena) { ops->verbs->release(ops, arena); }

static const void *upload(b2_ops *ops, const void *host, size_t n_bytes, b2_arena *arena) {
    return host == NULL || has_failed(ops) ? host : ops->verbs->upload(ops, host, n_bytes, arena);
}

void b2_ops_upload_floats(b2_ops *ops, const float **x, size_t n, b2_arena *arena) {
    *x = upload(ops, *x, n * sizeof **x, arena);
}

void b2_ops_upload_matrix(b2_ops *ops, b2_matrix *w, b2_arena *arena) {
    const bool is_int8 = w->dtype == B2_DTYPE_I8;
    const size_t n_rows = is_int8 ? b2_round_up(w->n_out, w->panel) : w->n_out, n_values = n_rows * w->n_in_padded;
    const size_t value_bytes = is_int8 ? 1 : w->dtype == B2_DTYPE_F16 ? 2 : 4;
    w->values = upload(ops, w->values, n_values * value_bytes, arena);
    if (is_int8) w->scales = upload(ops, w->scales, n_values / w->group * sizeof *w->scales, arena);
    w->bias = upload(ops, w->bias, w->n_out * sizeof *w->bias, arena);
}

void b2_ops_move(b2_ops *from, const float *x, size_t n, b2_ops *to, float *y) {
    if (x == y || has_failed(from) || has_failed(to)) return;
    if (from->verbs->is_host) to->verbs->send(to, x, n, y);
    else from->verbs->fetch(from, x, n, y);
}

void b2_ops_fetch(b2_ops *ops, const float *x, size_t n, float *host) {
    if (!has_failed(ops)) ops->verbs->fetch(ops, x, n, host);
}

/* ---- rows ----------------------------------------------------------------------------------------------------- */

void b2_ops_copy_rows(b2_ops *ops, const float *x, size_t x_stride, size_t n_rows, size_t width, float *y) {
    if (!has_failed(ops)) ops->verbs->copy_rows(ops, x, x_stride, n_rows, width, y);
}

void b2_ops_add_rows(b2_ops *ops, const float *x, const float *table, const size_t *rows, size_t n_rows, size_t width,
                     float *y) {
    if (!has_failed(ops)) ops->verbs->add_rows(ops, x, table, rows, n_rows, width, y);
}

void b2_ops_cut_patches(b2_ops *ops, const float *pixels, size_t size, size_t patch, float *patches) {
    if (!has_failed(ops)) ops->verbs->cut_patches(ops, pixels, size, patch, patches);
}

void b2_ops_gather_rows(b2_ops *ops, const b2_matrix *w, const int32_t *ids, size_t n, float *out) {
    if (!has_failed(ops)) ops->verbs->gather_rows(ops, w, ids, n, out);
}

void b2_ops_layernorm(b2_ops *ops, const b2_norm *norm, const float *x, size_t n_rows, float *y) {
    if (!has_failed(ops)) ops->verbs->layernorm(ops, norm, x, n_rows, y);
}

/* ---- products and attention ----------------------------------------------------------------------------------- */

void b2_ops_linear(b2_ops *ops, const b2_matrix *w, const float *x, size_t n_items, size_t rows_per_item,
                   b2_epilogue epilogue, float *out) {
    if (!has_failed(ops)) ops->verbs->linear(ops, w, x, n_items, rows_per_item, epilogue, out);
}

void b2_ops_attend(b2_ops *ops, size_t n_batch, size_t n_heads, size_t head_len, b2_head_rows queries, size_t n_queries,
                   b2_head_rows keys, b2_head_rows values, size_t n_keys, float *out) {
    if (!has_failed(ops))
        ops->verbs->attend(ops, n_batch, n_heads, head_len, queries, n_queries, keys, values, n_keys, out);
}

void b2_ops_attend_cached(b2_ops *ops, const b2_block_cache *cache, const float *qkv, const b2_cache_places *at,
                          size_t rows, float *out) {
    if (!has_failed(ops)) ops->verbs->attend_cached(ops, cache, qkv, at, rows, out);
}

void b2_ops_move_slots(b2_ops *ops, const b2_block_cache *cache, const b2_slot_move *moves, size_t n,
                       size_t n_positions) {
    if (!has_failed(ops)) ops->verbs->move_slots(ops, cache, moves, n, n_positions);
}

/* ---- logits --------------------------------------------------------------------------------------------------- */

bool b2_ops_argmax(b2_ops *ops, const float *x, size_t n, size_t *index) {
    return !has_failed(ops) && ops->verbs->argmax(ops, x, n, index);
}

float b2_ops_max(b2_ops *ops, const float *x, size_t n) { return has_failed(ops) ? NAN : ops->verbs->max(ops, x, n); }

float b2_ops_log_probability(b2_ops *ops, const float *x, size_t n, size_t index) {
    return has_failed(ops) ? NAN : ops->verbs->log_probability(ops, x, n, index);
}

void b2_ops_log_softmax(b2_ops *ops, const float *x, size_t n, float *y) {
    if (!has_failed(ops)) ops->verbs->log_softmax(ops, x, n, y);
}
