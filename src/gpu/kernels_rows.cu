/* kernels_rows.cu: everything that is no product of matrices: norms, attention, rows, logits. Same bits as
 * src/kernels/ref.
 *
 * Row sums have the definition's 16 lanes: element i belongs to lane i mod 16, in ascending order; then lane j takes in
 * lane j + 8, j + 4, j + 2, j + 1. Sixteen threads are those lanes; the others of the block fetch and write. */
#include "gpu/lang.h"

/* The 16 lanes of each half of a warp, summed up in the definition's order: right in lane 0 of each half. All 32 lanes
 * must come. */
DEV float fold_sum(float lane_sum) {
    const int lane = tid() & 15;
#pragma unroll
    for (int by = 8; by > 0; by /= 2) {
        const float other = float_of(shfl_xor(bits_of(lane_sum), by));
        if (lane < by) lane_sum = add_rn(lane_sum, other);
    }
    return lane_sum;
}

/* ---- layer normalisation: a block a row ------------------------------------------------------------------------- */

enum { NORM_THREADS = 128, STAGED = 4096 /* of a row are kept in shared memory; what is beyond is read again */ };

KERNEL(NORM_THREADS, layernorm, b2_layernorm_args) {
    SHARED float staged[STAGED], result[2];
    const float *x = a.x + (u64)bid_x() * a.n;
    float *y = a.y + (u64)bid_x() * a.n;
    for (int i = tid(); i < a.n && i < STAGED; i += NORM_THREADS) staged[i] = x[i];
    sync_block();
    if (tid() < 32) { /* both halves of the warp do the same: all lanes must be there for the shuffles */
        float sum = 0.0f;
        for (int i = tid() % 16; i < a.n; i += 16) sum = add_rn(sum, i < STAGED ? staged[i] : x[i]);
        sum = fold_sum(sum);
        if (tid() == 0) result[0] = div_rn(sum, (float)a.n);
    }
    sync_block();
    const float mean = result[0];
    if (tid() < 32) {
        float sum = 0.0f;
        for (int i = tid() % 16; i < a.n; i += 16) {
            const float d = sub_rn(i < STAGED ? staged[i] : x[i], mean);
            sum = fma_rn(d, d, sum);
        }
        sum = fold_sum(sum);
        if (tid() == 0) result[1] = div_rn(1.0f, sqrt_rn(add_rn(div_rn(sum, (float)a.n), a.eps)));
    }
    sync_block();
    const float inverse = result[1];
    for (int i = tid(); i < a.n; i += NORM_THREADS)
        y[i] = fma_rn(mul_rn(sub_rn(i < STAGED ? staged[i] : x[i], mean), inverse), a.gamma[i], a.beta[i]);
}

/* ---- attention --------------------------------------------------------------------------------------------------- */

/* 32 keys x 32 dimensions a block: read along rows, written along keys. */
KERNEL(256, transpose_keys, b2_transpose_args) {
    SHARED float tile[32][33];
    const int key0 = bid_x() * 32, n_tiles = (a.head_len + 31) / 32, head = bid_y() / n_tiles;
    const int d0 = bid_y() % n_tiles * 32, fast = tid() % 32, slow = tid() / 32;
    const float *rows = a.keys + bid_z() * a.batch_stride + (u64)head * a.head_len;
    float *out = a.out + ((u64)bid_z() * a.n_heads + head) * a.head_len * a.key_stride;
    for (int j = slow; j < 32; j += 8) {
        const bool is_there = key0 + j < a.n_keys && d0 + fast < a.head_len;
        tile[j][fast] = is_there ? rows[(u64)(key0 + j) * a.row_stride + d0 + fast] : 0.0f;
    }
    sync_block();
    for (int d = slow; d < 32; d += 8)
        if (d0 + d < a.head_len && key0 + fast < a.key_stride)
            out[(u64)(d0 + d) * a.key_stride + key0 + fast] = tile[fast][d];
}

/* A block is one new position of one item. */
KERNEL(256, append_cache, b2_append_args) {
    const b2_slot slot = a.slots[bid_y()];
    const int width = a.n_heads * a.head_len, position = (int)slot.n_past + bid_x();
    const float *k = a.qkv + ((u64)bid_y() * a.rows + bid_x()) * 3 * width + width, *v = k + width;
    const u64 at = (u64)slot.slot * width * a.capacity;
    for (int i = tid(); i < width; i += 256) {
        a.keys[at + (u64)i * a.capacity + position] = k[i];
        const int head = i / a.head_len, d = i % a.head_len;
        a.values[at + ((u64)head * a.capacity + position) * a.head_len + d] = v[i];
    }
}

/* A block is one head of one item and QUERIES of its queries:
 *   scores  a thread a key, QUERIES chains over d      e, 1 / sum   half a warp a query      out  a thread a d, chains
 * over keys. Shared memory, as the launch gives it: scores [QUERIES][key_stride], queries [QUERIES][d, to fours],
 * 1 / sums. The chains take four steps at a time where there are four, so that shared memory is read 16 bytes wide. */
enum { ATTEND_THREADS = 128 };

template <int QUERIES> struct attention {
    float *score, *query, *inverse;
    const unsigned *source; /* of the first n_past keys; 0: all keys are in the slot */
    int n_queries, first_visible, n_keys, n_past, head, head_stride;
};

/* The slot where key j is, when that is not the item's own. */
template <int QUERIES> DEV bool is_elsewhere(const attention<QUERIES> &b, int j) { return b.source && j < b.n_past; }

template <int QUERIES>
DEV const float *key_at(const b2_attend_args &a, const attention<QUERIES> &b, const float *keys, int j) {
    return (is_elsewhere(b, j) ? a.keys + ((u64)b.source[j] * a.n_heads + b.head) * a.head_len * a.key_stride : keys) + j;
}

template <int QUERIES>
DEV const float *value_at(const b2_attend_args &a, const attention<QUERIES> &b, const float *values, int j) {
    return (is_elsewhere(b, j) ? a.values + b.source[j] * a.value_batch + b.head * a.value_head : values) +
           (u64)j * a.value_stride;
}

/* Keys that query q of the block sees. */
template <int QUERIES> DEV int visible(const attention<QUERIES> &b, int q) {
    return b.first_visible + q < b.n_keys ? b.first_visible + q : b.n_keys;
}

template <int QUERIES> DEV void score_keys(const b2_attend_args &a, const attention<QUERIES> &b, const float *keys) {
    const int n = visible(b, QUERIES - 1);
    for (int j = tid(); j < n; j += ATTEND_THREADS) {
        float chain[QUERIES];
#pragma unroll
        for (int q = 0; q < QUERIES; q++) chain[q] = 0.0f;
        const float *const first = key_at(a, b, keys, j);
        int d = 0;
        for (; d + 4 <= a.head_len; d += 4) {
            const float *key = first + (u64)d * a.key_stride;
            const float k0 = key[0], k1 = key[a.key_stride], k2 = key[2 * (u64)a.key_stride], k3 = key[3 * (u64)a.key_stride];
#pragma unroll
            for (int q = 0; q < QUERIES; q++) {
                const u32x4 x = load16(b.query + q * b.head_stride + d);
                chain[q] = fma_rn(float_of(x.x), k0, chain[q]);
                chain[q] = fma_rn(float_of(x.y), k1, chain[q]);
                chain[q] = fma_rn(float_of(x.z), k2, chain[q]);
                chain[q] = fma_rn(float_of(x.w), k3, chain[q]);
            }
        }
        for (; d < a.head_len; d++) {
            const float key = first[(u64)d * a.key_stride];
#pragma unroll
            for (int q = 0; q < QUERIES; q++) chain[q] = fma_rn(b.query[q * b.head_stride + d], key, chain[q]);
        }
#pragma unroll
        for (int q = 0; q < QUERIES; q++) b.score[q * a.key_stride + j] = mul_rn(chain[q], a.score_scale);
    }
}

/* scores -> e in place, 1 / sum; NaN wins the maximum */
template <int QUERIES> DEV void soften(const b2_attend_args &a, const attention<QUERIES> &b) {
    const int lane = tid() & 15;
    for (int pair = tid() / 32; pair < (QUERIES + 1) / 2; pair += ATTEND_THREADS / 32) {
        const int q = 2 * pair + (tid() >> 4 & 1), row = q < QUERIES ? q : 0, n = q < QUERIES ? visible(b, q) : 0;
        float *score = b.score + row * a.key_stride, max = float_of(0xFF800000u), sum = 0.0f;
        for (int j = lane; j < n; j += 16) {
            const float s = score[j];
            max = s > max || s != s ? s : max;
        }
#pragma unroll
        for (int by = 8; by > 0; by /= 2) {
            const float other = float_of(shfl_xor(bits_of(max), by));
            max = other > max || other != other ? other : max;
        }
        for (int j = lane; j < n; j += 16) sum = add_rn(sum, score[j] = exp_f32(sub_rn(score[j], max)));
        sum = fold_sum(sum);
        if (lane == 0 && q < QUERIES) b.inverse[q] = div_rn(1.0f, sum);
    }
}

template <int QUERIES>
DEV void mix_values(const b2_attend_args &a, const attention<QUERIES> &b, const float *values, float *out) {
    const int n_common = visible(b, 0), n = visible(b, QUERIES - 1);
    for (int d = tid(); d < a.head_len; d += ATTEND_THREADS) {
        float chain[QUERIES];
#pragma unroll
        for (int q = 0; q < QUERIES; q++) chain[q] = 0.0f;
        int j = 0;
        for (; j + 4 <= n_common; j += 4) {
            const float v0 = value_at(a, b, values, j)[d], v1 = value_at(a, b, values, j + 1)[d];
            const float v2 = value_at(a, b, values, j + 2)[d], v3 = value_at(a, b, values, j + 3)[d];
#pragma unroll
            for (int q = 0; q < QUERIES; q++) {
                const u32x4 e = load16(b.score + q * a.key_stride + j);
                chain[q] = fma_rn(float_of(e.x), v0, chain[q]);
                chain[q] = fma_rn(float_of(e.y), v1, chain[q]);
                chain[q] = fma_rn(float_of(e.z), v2, chain[q]);
                chain[q] = fma_rn(float_of(e.w), v3, chain[q]);
            }
        }
        for (; j < n; j++) {
            const float value = value_at(a, b, values, j)[d];
#pragma unroll
            for (int q = 0; q < QUERIES; q++)
                if (j < visible(b, q)) chain[q] = fma_rn(b.score[q * a.key_stride + j], value, chain[q]);
        }
#pragma unroll
        for (int q = 0; q < QUERIES; q++)
            if (q < b.n_queries) out[(u64)q * a.n_heads * a.head_len + d] = mul_rn(chain[q], b.inverse[q]);
    }
}

template <int QUERIES> DEV void attend(const b2_attend_args &a, float *memory) {
    const int head = bid_x(), first = bid_y() * QUERIES, item = bid_z(), left = a.n_queries - first;
    const int slot = a.slots ? (int)a.slots[item].slot : item, n_past = a.slots ? (int)a.slots[item].n_past : 0;
    const int width = a.n_heads * a.head_len;
    attention<QUERIES> b;
    b.head_stride = (a.head_len + 3) / 4 * 4;
    b.score = memory;
    b.query = memory + QUERIES * a.key_stride;
    b.inverse = b.query + QUERIES * b.head_stride;
    b.n_queries = left < QUERIES ? left : QUERIES;
    b.n_keys = a.slots ? n_past + a.n_queries : a.n_keys;
    b.first_visible = a.slots ? n_past + first + 1 : b.n_keys;
    b.source = a.sources ? a.sources + (u64)item * a.source_stride : 0;
    b.n_past = n_past;
    b.head = head;
    const float *queries = a.queries + item * a.q_batch + (u64)first * a.q_stride + (u64)head * a.head_len;
    for (int i = tid(); i < QUERIES * a.head_len; i += ATTEND_THREADS) {
        const int q = i / a.head_len, d = i % a.head_len;
        b.query[q * b.head_stride + d] = q < left ? mul_rn(queries[(u64)q * a.q_stride + d], a.query_scale) : 0.0f;
    }
    sync_block();
    score_keys(a, b, a.keys + ((u64)slot * a.n_heads + head) * a.head_len * a.key_stride);
    sync_block();
    soften(a, b);
    sync_block();
    mix_values(a, b, a.values + slot * a.value_batch + head * a.value_head,
               a.out + ((u64)item * a.n_queries + first) * width + (u64)head * a.head_len);
}

#define ATTEND(queries)                                                                                                \
    KERNEL(ATTEND_THREADS, attend_##queries, b2_attend_args) {                                                         \
        SHARED_BY_LAUNCH(float, memory);                                                                               \
        attend<queries>(a, memory);                                                                                    \
    }
ATTEND(1)
ATTEND(4)
ATTEND(16)

/* A head of the cache a block (keys, values: one launch each). */
KERNEL(256, move_slots, b2_move_args) {
    for (int m = 0; m < a.n_moves; m++) {
        const b2_slot move = a.moves[m];
        const u64 head = (u64)bid_x() * a.head_values, slot = (u64)a.n_heads * a.head_values;
        const float *from = (move.slot == ~0u ? a.spare : a.cache + move.slot * slot) + head;
        float *to = (move.n_past == ~0u ? a.spare : a.cache + move.n_past * slot) + head;
        for (int i = tid(); i < a.head_values; i += 256) to[i] = from[i]; /* each thread moves its own floats only */
    }
}

/* ---- rows: a thread a number -------------------------------------------------------------------------------------- */

enum { ROW_THREADS = 256 };

KERNEL(ROW_THREADS, copy_or_add_rows, b2_rows_args) {
    const u64 i = (u64)bid_x() * ROW_THREADS + tid();
    const u64 r = i / a.width, d = i % a.width;
    if (r >= (u64)a.n_rows) return;
    const float x = a.x[r * a.x_stride + d];
    a.y[i] = a.table ? add_rn(x, a.table[(u64)(a.rows ? a.rows[r] : r) * a.width + d]) : x;
}

KERNEL(ROW_THREADS, gather_rows, b2_gather_args) {
    const u64 i = (u64)bid_x() * ROW_THREADS + tid();
    const u64 r = i / a.n_in, k = i % a.n_in;
    if (r >= (u64)a.n_rows) return;
    const u64 id = a.ids[r], panel = id / a.panel, in_panel = id % a.panel;
    const i8 q = a.w[((panel * (a.k_padded / 4) + k / 4) * a.panel + in_panel) * 4 + k % 4];
    a.out[i] = mul_rn((float)q, bf16(a.d[(panel * (a.k_padded / 128) + k / 128) * a.panel + in_panel]));
}

/* ---- logits: one block for the row -------------------------------------------------------------------------------- */

enum { CHOOSE_THREADS = 256, PIECE = 4096 };

/* The largest value, the lowest index on a tie. */
DEV bool is_better(float x, int i, float best, int best_i) { return x > best || (x == best && i < best_i); }

KERNEL(CHOOSE_THREADS, choose, b2_choose_args) {
    SHARED float piece[PIECE], best[CHOOSE_THREADS];
    SHARED int where[CHOOSE_THREADS], nan[CHOOSE_THREADS];
    const int t = tid(), first = t < a.n ? t : 0;
    float max = a.x[first];
    int at = first, odd = 0;
    for (int i = t; i < a.n; i += CHOOSE_THREADS) {
        const float x = a.x[i];
        odd |= x != x;
        if (x > max) max = x, at = i;
    }
    best[t] = max, where[t] = at, nan[t] = odd;
    for (int by = CHOOSE_THREADS / 2; by > 0; by /= 2) {
        sync_block();
        if (t >= by) continue;
        nan[t] |= nan[t + by];
        if (is_better(best[t + by], where[t + by], best[t], where[t])) best[t] = best[t + by], where[t] = where[t + by];
    }
    sync_block();
    max = nan[0] ? float_of(0x7FC00000u) : best[0];
    float sum = 0.0f;
    for (int from = 0; from < a.n; from += PIECE) {
        const int n = a.n - from < PIECE ? a.n - from : PIECE;
        for (int i = t; i < n; i += CHOOSE_THREADS) piece[i] = exp_f32(sub_rn(a.x[from + i], max));
        sync_block();
        for (int i = t; t < 16 && i < n; i += 16) sum = add_rn(sum, piece[i]);
        sync_block();
    }
    if (t >= 32) return;
    sum = fold_sum(sum);
    if (t > 0) return;
    a.choice->index = nan[0] ? -1 : where[0];
    a.choice->max = max;
    a.choice->log_sum = log_f32(sum);
    a.choice->value = a.x[a.wanted];
}

KERNEL(ROW_THREADS, log_softmax, b2_log_softmax_args) {
    const int i = bid_x() * ROW_THREADS + tid();
    if (i < a.n) a.y[i] = sub_rn(sub_rn(a.x[i], a.choice->max), a.choice->log_sum);
}
