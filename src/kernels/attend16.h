/* attend16.h: TEMPLATE. Attention in vectors of sixteen, a few queries at a time. Like rows16.h it is the arithmetic
 * of body.h: each score and each output is one chain of fma, whichever queries are worked on beside it.
 *
 *   scores  [queries][keys]: lanes are keys, the chain runs over d      tile: ATTEND_ROWS queries x ATTEND_VECTORS
 *   softmax                : each row over the keys it sees
 *   out     [queries][d]   : lanes are d, the chain runs over keys      tile: the same
 *
 * Needs of the set, before it is included: its vec16 header, with ATTEND_ROWS and ATTEND_VECTORS, the tile that fits
 * its registers, and v16_chain. */
#ifndef B2_ATTEND16_H
#define B2_ATTEND16_H

#if !defined(B2_VEC16)
#error "a template: include the set's vec16 header before it"
#endif

#include "kernels/rows16.h"

INLINE void v16_chain(v16 *sum, v16 x, v16 y); /* sum = fma(x, y, sum) */

enum { QUERY_BLOCK = 2 * ATTEND_ROWS };
_Static_assert((int)QUERY_BLOCK <= (int)B2_ATTENTION_ROWS, "scratch holds the scores of QUERY_BLOCK queries");

/* scores[i][j] = (chain over d of fma(query[i][d], keys[d][j])) * scale for n_rows queries and 16 n_vectors keys */
INLINE void score_tile(const b2_attention *a, const float *query, const float *keys, float *scores, const int n_rows,
                       const int n_vectors) {
    const size_t head_len = a->head_len, stride = a->key_stride;
    v16 chain[ATTEND_ROWS][ATTEND_VECTORS];
    UNROLL
    for (int i = 0; i < n_rows; i++) {
        UNROLL
        for (int v = 0; v < n_vectors; v++) chain[i][v] = v16_set(0.0f);
    }
    for (size_t d = 0; d < head_len; d++, keys += stride) {
        v16 key[ATTEND_VECTORS];
        UNROLL
        for (int v = 0; v < n_vectors; v++) key[v] = v16_load(keys + 16 * v);
        UNROLL
        for (int i = 0; i < n_rows; i++) {
            const v16 q = v16_set(query[(size_t)i * head_len + d]);
            UNROLL
            for (int v = 0; v < n_vectors; v++) v16_chain(&chain[i][v], q, key[v]);
        }
    }
    UNROLL
    for (int i = 0; i < n_rows; i++) {
        UNROLL
        for (int v = 0; v < n_vectors; v++)
            v16_store(scores + (size_t)i * stride + 16 * v, v16_mul(chain[i][v], v16_set(a->score_scale)));
    }
}

/* out[i][0 .. 16 (n_vectors - 1) + last) = chain over keys first .. end - 1 of fma(weights[i][j], values[j][d]), from
 * zero or going on from what out holds */
INLINE void mix_tile(const b2_attention *a, const float *weights, const float *values, size_t first, size_t end,
                     float *out, const int n_rows, const int n_vectors, size_t last) {
    v16 chain[ATTEND_ROWS][ATTEND_VECTORS];
    UNROLL
    for (int i = 0; i < n_rows; i++) {
        UNROLL
        for (int v = 0; v < n_vectors; v++)
            chain[i][v] = first == 0
                              ? v16_set(0.0f)
                              : v16_load_first(out + (size_t)i * a->out_stride + 16 * v, v + 1 < n_vectors ? 16 : last);
    }
    values += first * a->value_stride;
    for (size_t j = first; j < end; j++, values += a->value_stride) {
        v16 value[ATTEND_VECTORS];
        UNROLL
        for (int v = 0; v < n_vectors; v++)
            value[v] = v + 1 < n_vectors ? v16_load(values + 16 * v) : v16_load_first(values + 16 * v, last);
        UNROLL
        for (int i = 0; i < n_rows; i++) {
            const v16 e = v16_set(weights[(size_t)i * a->key_stride + j]);
            UNROLL
            for (int v = 0; v < n_vectors; v++) v16_chain(&chain[i][v], e, value[v]);
        }
    }
    UNROLL
    for (int i = 0; i < n_rows; i++) {
        UNROLL
        for (int v = 0; v < n_vectors; v++)
            v16_store_first(out + (size_t)i * a->out_stride + 16 * v, chain[i][v], v + 1 < n_vectors ? 16 : last);
    }
}

/* ---- all keys, all d: tiles side by side, the last one narrower ------------------------------------------------ */

INLINE void score_rows(const b2_attention *a, size_t first_row, size_t n_vectors, const int n_rows) {
    const float *query = a->query + first_row * a->head_len;
    float *scores = a->scores + first_row * a->key_stride;
    size_t v = 0;
    for (; v + ATTEND_VECTORS <= n_vectors; v += ATTEND_VECTORS)
        score_tile(a, query, a->keys + 16 * v, scores + 16 * v, n_rows, ATTEND_VECTORS);
    for (; v < n_vectors; v++) score_tile(a, query, a->keys + 16 * v, scores + 16 * v, n_rows, 1);
}

INLINE void mix_rows(const b2_attention *a, size_t first_row, size_t first_key, size_t end_key, float *out,
                     const int n_rows) {
    const float *weights = a->scores + first_row * a->key_stride;
    size_t d = 0;
    for (; d + 16 * ATTEND_VECTORS <= a->head_len + 15; d += 16 * ATTEND_VECTORS) {
        const size_t left = a->head_len - d - 16 * (ATTEND_VECTORS - 1);
        mix_tile(a, weights, a->values + d, first_key, end_key, out + d, n_rows, ATTEND_VECTORS, left < 16 ? left : 16);
    }
    for (; d < a->head_len; d += 16) {
        const size_t left = a->head_len - d;
        mix_tile(a, weights, a->values + d, first_key, end_key, out + d, n_rows, 1, left < 16 ? left : 16);
    }
}

/* Functions of their own, so that each tile has the registers to itself. */
static void score_many(const b2_attention *a, size_t row, size_t n_vectors) {
    score_rows(a, row, n_vectors, ATTEND_ROWS);
}
static void score_one(const b2_attention *a, size_t row, size_t n_vectors) { score_rows(a, row, n_vectors, 1); }
static void mix_many(const b2_attention *a, size_t row, size_t end_key, float *out) {
    mix_rows(a, row, 0, end_key, out, ATTEND_ROWS);
}
static void mix_one(const b2_attention *a, size_t row, size_t first_key, size_t end_key, float *out) {
    mix_rows(a, row, first_key, end_key, out, 1);
}

/* scores -> e_j in place; returns 1 / sum */
static float softmax_weights16(float *scores, size_t n) {
    const v16 max = v16_set(max_row16(scores, n));
    v16 lanes = v16_set(0.0f);
    size_t j = 0;
    for (; j + 16 <= n; j += 16) {
        const v16 e = v16_exp(v16_sub(v16_load(scores + j), max));
        v16_store(scores + j, e);
        lanes = v16_add(lanes, e);
    }
    const v16 e = v16_exp(v16_sub(v16_load_first(scores + j, n - j), max));
    v16_store_first(scores + j, e, n - j);
    return 1.0f / v16_fold_sum(v16_first(v16_add(lanes, e), lanes, n - j));
}

static void scale_row(float *x, size_t n, float factor) {
    size_t d = 0;
    for (; d + 16 <= n; d += 16) v16_store(x + d, v16_mul(v16_load(x + d), v16_set(factor)));
    v16_store_first(x + d, v16_mul(v16_load_first(x + d, n - d), v16_set(factor)), n - d);
}

/* Queries first .. first + n - 1, n <= QUERY_BLOCK. */
static void attend_block(const b2_attention *a, size_t first, size_t n) {
    const size_t n_vectors = (visible_keys(a, first + n - 1) + 15) / 16;
    for (size_t i = 0; i < n; i++)
        for (size_t d = 0; d < a->head_len; d++)
            a->query[i * a->head_len + d] = a->queries[(first + i) * a->q_stride + d] * a->query_scale;
    size_t row = 0;
    for (; row + ATTEND_ROWS <= n; row += ATTEND_ROWS) score_many(a, row, n_vectors);
    for (; row < n; row++) score_one(a, row, n_vectors);

    float inverse[QUERY_BLOCK];
    for (size_t i = 0; i < n; i++)
        inverse[i] = softmax_weights16(a->scores + i * a->key_stride, visible_keys(a, first + i));

    float *out = a->out + first * a->out_stride;
    for (row = 0; row + ATTEND_ROWS <= n; row += ATTEND_ROWS) {
        const size_t n_common = visible_keys(a, first + row); /* of the rows of the tile the first sees fewest */
        mix_many(a, row, n_common, out + row * a->out_stride);
        for (size_t i = row; i < row + ATTEND_ROWS; i++)
            if (visible_keys(a, first + i) > n_common)
                mix_one(a, i, n_common, visible_keys(a, first + i), out + i * a->out_stride);
    }
    for (; row < n; row++) mix_one(a, row, 0, visible_keys(a, first + row), out + row * a->out_stride);
    for (size_t i = 0; i < n; i++) scale_row(out + i * a->out_stride, a->head_len, inverse[i]);
}

static void attend16(const b2_attention *a) {
    for (size_t first = 0; first < a->n_queries; first += QUERY_BLOCK)
        attend_block(a, first, a->n_queries - first < QUERY_BLOCK ? a->n_queries - first : QUERY_BLOCK);
}

/* Every function of rows16.h and attend16.h, as the start of a set's table; gather_row and the rest are body.h's. */
static inline void fill_vectors(b2_isa *isa) {
    fill_plain(isa);
    isa->attend = attend16;
    isa->quantise_row = quantise_row16;
    isa->layernorm_row = layernorm_row16;
    isa->finish_row = finish_row16;
    isa->dot_f32 = dot_f32_row16;
    isa->dot_f16 = dot_f16_row16;
    isa->widen_f16 = widen_f16_row16;
    isa->max = max_row16;
    isa->sum_exp = sum_exp_row16;
    isa->gemm_f32 = gemm_f32_rows16;
}

#endif
