/* kernels_gemm.cu: rows to integers, and integers times an int8 matrix. Same bits as src/kernels/ref.
 *
 * For each group of 128 inputs the sum S of products is exact; y = fma((float)S, s d, y) walks over the groups in
 * order, one chain per output: nothing here is ever summed in another order.
 *
 * The file's layout is used as it is. A chunk is 16 bytes: a quad of 4 inputs of 4 outputs. */
#include "gpu/lang.h"

enum { GROUP = 128, QUADS = GROUP / 4 };

/* ---- rows to integers: a warp a group, a lane 4 numbers --------------------------------------------------------- */

KERNEL(256, quantise, b2_quantise_args) {
    const int lane = tid() & 31, unit = bid_x() * 8 + tid() / 32, n_groups = a.n_padded / GROUP;
    const int row = unit / n_groups, group = unit % n_groups, k = group * GROUP + 4 * lane;
    if (row >= a.n_rows) return;
    float v[4];
    u32 m = 0;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        v[i] = k + i < a.n ? a.x[(u64)row * a.n + k + i] : 0.0f;
        const u32 magnitude = bits_of(v[i]) & 0x7FFFFFFFu;
        m = magnitude > m ? magnitude : m;
    }
#pragma unroll
    for (int by = 16; by > 0; by /= 2) {
        const u32 other = shfl_xor(m, by);
        m = other > m ? other : m;
    }
    const bool is_silent = m < (u32)(127 - 100) << 23, is_broken = m >= 0x7F800000u;
    const float limit = a.lo ? 16256.0f : 127.0f, inverse = div_rn(limit, float_of(m));
    u32 hi = 0, lo = 0;
    if (!is_silent && !is_broken) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float r = rint_rn(mul_rn(v[i], inverse));
            r = r < -limit ? -limit : r;
            const int t = (int)(r > limit ? limit : r), h = a.lo ? (t + 64) >> 7 : t;
            hi |= (u32)(h & 255) << 8 * i;
            lo |= (u32)((t - 128 * h) & 255) << 8 * i;
        }
    }
    const u64 at = (u64)row * a.n_padded + k;
    *(u32 *)(a.hi + at) = hi;
    if (a.lo) *(u32 *)(a.lo + at) = lo;
    if (lane == 0)
        a.scale[(u64)row * n_groups + group] = is_silent   ? 0.0f
                                               : is_broken ? float_of(0x7FC00000u)
                                                           : div_rn(float_of(m), limit);
}

/* ---- many rows: a block makes 64 outputs of 64 rows, each of its 4 warps 32 of 32 ------------------------------------
 * mma's rows are outputs, its columns rows of x. Inputs are taken in another order than they lie, the same on both
 * sides (a sum of integers does not mind): lane t of four owns quads 4t .. 4t+3 and 16+4t .. 16+4t+3, so that it reads
 * 16 bytes at a time and a chunk serves as it is. Chunks are stored at places xor'ed so that the eight lanes that read
 * together meet eight different banks.
 * Two stages: while one group is multiplied the next one arrives. */

enum { TILE = 64, TILE_THREADS = 128, A_BYTES = TILE * GROUP, B_BYTES = TILE * GROUP };

/* Where chunk (quad, four outputs of the tile's 16 fours) lies in the stage; and 16 inputs of a row. */
DEV int place_of_weights(int quad, int four) { return (quad * 16 + (four ^ (quad >> 2 & 3) << 1 ^ (quad & 1) << 2)) * 16; }
DEV int place_of_inputs(int row, int part) { return row * GROUP + (part ^ (row & 1) << 2) * 16; }

template <int PLANES> DEV void load_stage(const b2_gemm_args &a, i8 *stage, int first_out, int first_row, int group) {
    const int n_padded = (a.n_out + a.panel - 1) / a.panel * a.panel;
    for (int i = tid(); i < A_BYTES / 16; i += TILE_THREADS) { /* neighbours read what is neighboured in the file */
        const int quad = a.panel == 16 ? i % 128 / 4 : i / 16, four = a.panel == 16 ? i / 128 * 4 + i % 4 : i % 16;
        const int n = first_out + 4 * four;
        const bool is_there = n < n_padded;
        const u64 panel = is_there ? n / a.panel : 0, in_panel = is_there ? n % a.panel : 0;
        copy16(stage + place_of_weights(quad, four),
               a.w + ((panel * (u64)(a.k_padded / 4) + group * QUADS + quad) * a.panel + in_panel) * 4, is_there);
    }
#pragma unroll
    for (int plane = 0; plane < PLANES; plane++)
        for (int i = tid(); i < TILE * 8; i += TILE_THREADS) {
            const int row = i / 8, part = i % 8;
            const bool is_there = first_row + row < a.n_rows;
            copy16(stage + A_BYTES + plane * B_BYTES + place_of_inputs(row, part),
                   (plane ? a.lo : a.hi) + (u64)(is_there ? first_row + row : 0) * a.k_padded + group * GROUP + part * 16,
                   is_there);
        }
    copy_commit();
}

/* The sums of one group: sum[plane][x][j][i], 32 of them a lane, flat so that they stay in registers. */
template <int PLANES> DEV void multiply_group(const i8 *stage, int four, int row, int r, int t, int (*sum)[4]) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        u32x4 w[4];
#pragma unroll
        for (int i = 0; i < 4; i++) w[i] = load16(stage + place_of_weights(half * 16 + t * 4 + i, four));
#pragma unroll
        for (int e = 0; e < PLANES * 4; e++) { /* plane e / 4, eight rows e % 4 */
            const i8 *inputs = stage + A_BYTES + e / 4 * B_BYTES;
            const u32x4 x = load16(inputs + place_of_inputs(row + 8 * (e % 4) + r, half * 4 + t));
            int *c = sum[e / 4 * 8 + e % 4];
            mma_16x8x32(c, w[0].x, w[0].y, w[1].x, w[1].y, x.x, x.y);
            mma_16x8x32(c, w[2].x, w[2].y, w[3].x, w[3].y, x.z, x.w);
            c = sum[e / 4 * 8 + 4 + e % 4];
            mma_16x8x32(c, w[0].z, w[0].w, w[1].z, w[1].w, x.x, x.y);
            mma_16x8x32(c, w[2].z, w[2].w, w[3].z, w[3].w, x.z, x.w);
        }
    }
}

/* y += S s d. Accumulators begin at the bits of 1.5 * 2^23, so those of a finished one are the float 1.5 * 2^23 + S
 * (|S| < 2^22); two planes: fma rounds 128 H + L once, as the definition's conversion does. */
enum { FLOAT_BITS = 0x4B400000 };
template <int PLANES>
DEV void add_group(const b2_gemm_args &a, int n, int row, int group, int (*sum)[4], float (*y)[4]) {
    const int n_groups = a.k_padded / GROUP, n_padded = (a.n_out + a.panel - 1) / a.panel * a.panel;
    float d[4], s[8];
    const u16 *scales = a.d + ((u64)(n / a.panel) * n_groups + group) * a.panel + n % a.panel;
#pragma unroll
    for (int i = 0; i < 4; i++) d[i] = n < n_padded ? bf16(scales[i]) : 0.0f;
#pragma unroll
    for (int i = 0; i < 8; i++) { /* the lane's rows: 8 (i / 2) + i % 2 */
        const int at = row + i / 2 * 8 + i % 2;
        s[i] = at < a.n_rows ? a.scale[(u64)at * n_groups + group] : 0.0f;
    }
#pragma unroll
    for (int e = 0; e < 32; e++) {
        const int j = e / 4, i = e % 4; /* j: outputs 2 (j / 4) + i / 2, rows 8 (j % 4) + i % 2 */
        float S = sub_rn(float_of((u32)sum[j][i]), 12582912.0f);
        if (PLANES == 2) S = fma_rn(128.0f, S, sub_rn(float_of((u32)sum[j + PLANES * 8 - 8][i]), 12582912.0f));
        y[j][i] = fma_rn(S, mul_rn(s[j % 4 * 2 + i % 2], d[j / 4 * 2 + i / 2]), y[j][i]);
    }
}

/* out[row][n .. n + 3], as far as there are outputs */
DEV void write_four(const b2_gemm_args &a, int n, int row, float p[4]) {
    float *out = a.out + (u64)row * a.n_out + n;
    if (n >= a.n_out || row >= a.n_rows) return;
    const int n_left = a.n_out - n;
#pragma unroll
    for (int i = 0; i < 4; i++)
        if (i < n_left) p[i] = finish(a.bias ? add_rn(p[i], a.bias[n + i]) : p[i], a.epilogue, out + i);
    if (a.n_out % 4 == 0) {
        const u32x4 v = {bits_of(p[0]), bits_of(p[1]), bits_of(p[2]), bits_of(p[3])};
        store16(out, v);
        return;
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
        if (i < n_left) out[i] = p[i];
}

template <int PLANES> DEV void gemm_many(const b2_gemm_args &a, i8 *stages) {
    const int lane = tid() & 31, warp = tid() / 32, r = lane / 4, t = lane % 4, n_groups = a.k_padded / GROUP;
    const int first_out = bid_x() * TILE, first_row = bid_y() * TILE, STAGE = A_BYTES + PLANES * B_BYTES;
    const int four = warp % 2 * 8 + r, row = warp / 2 * 32; /* in the tile: the lane's outputs, the warp's first row */
    const int n = first_out + 4 * four, lane_row = first_row + row + 2 * t;
    float y[8][4];
#pragma unroll
    for (int e = 0; e < 32; e++) y[e / 4][e % 4] = 0.0f;
    load_stage<PLANES>(a, stages, first_out, first_row, 0);
    for (int group = 0; group < n_groups; group++) {
        if (group + 1 < n_groups) {
            load_stage<PLANES>(a, stages + (group + 1) % 2 * STAGE, first_out, first_row, group + 1);
            copy_wait<1>();
        } else
            copy_wait<0>();
        sync_block();
        int sum[PLANES * 8][4];
#pragma unroll
        for (int e = 0; e < PLANES * 32; e++) sum[e / 4][e % 4] = FLOAT_BITS;
        multiply_group<PLANES>(stages + group % 2 * STAGE, four, row, r, t, sum);
        add_group<PLANES>(a, n, lane_row, group, sum, y);
        sync_block(); /* the stage just read is the next to be filled */
    }
#pragma unroll
    for (int i = 0; i < 8; i++) {
        const int j = i / 2, odd = i % 2;
        float p[4] = {y[j][odd], y[j][2 + odd], y[4 + j][odd], y[4 + j][2 + odd]};
        write_four(a, n, lane_row + 8 * j + odd, p);
    }
}

KERNEL(TILE_THREADS, gemm_many_1, b2_gemm_args) {
    SHARED i8 stages[2 * (A_BYTES + B_BYTES)];
    gemm_many<1>(a, stages);
}
KERNEL(TILE_THREADS, gemm_many_2, b2_gemm_args) {
    SHARED i8 stages[2 * (A_BYTES + 2 * B_BYTES)]; /* 48 KB: what a block gets without asking */
    gemm_many<2>(a, stages);
}

/* ---- few rows: bound by the reading of the weights, which each block reads once for all its rows -------------------
 * A block makes 16 outputs. Its 8 warps share the groups of a pass and leave the sums in shared memory; then one thread
 * for each row and output walks its chain over them. */

enum { PASS = 32 /* groups */, FEW_THREADS = 256 };

/* One group by one warp: lane l reads quads l/4, 8 + l/4, .. of outputs 4 (l%4) .., for all rows. */
template <int PLANES, int ROWS>
DEV void sum_group(const b2_gemm_args &a, const i8 *w, int first_row, int group, int *sums) {
    const int lane = tid() & 31;
    u32x4 q[4];
#pragma unroll
    for (int i = 0; i < 4; i++) q[i] = load16_const(w + (u64)(group * QUADS + 8 * i + lane / 4) * a.panel * 4);
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        const int row = first_row + r < a.n_rows ? first_row + r : a.n_rows - 1;
        const u64 at = (u64)row * a.k_padded + group * GROUP + lane / 4 * 4;
        int h0 = 0, h1 = 0, h2 = 0, h3 = 0;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const u32 x = *(const u32 *)(a.hi + at + 32 * i);
            h0 = dp4a(q[i].x, x, h0), h1 = dp4a(q[i].y, x, h1), h2 = dp4a(q[i].z, x, h2), h3 = dp4a(q[i].w, x, h3);
        }
        if (PLANES == 2) {
            h0 *= 128, h1 *= 128, h2 *= 128, h3 *= 128;
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const u32 x = *(const u32 *)(a.lo + at + 32 * i);
                h0 = dp4a(q[i].x, x, h0), h1 = dp4a(q[i].y, x, h1), h2 = dp4a(q[i].z, x, h2), h3 = dp4a(q[i].w, x, h3);
            }
        }
        /* Eight lanes hold parts of the same four outputs: twice each keeps half of what it has, then the rest adds. */
        const bool upper = lane & 16, middle = lane & 8;
        const int u0 = (upper ? h2 : h0) + (int)shfl_xor((u32)(upper ? h0 : h2), 16);
        const int u1 = (upper ? h3 : h1) + (int)shfl_xor((u32)(upper ? h1 : h3), 16);
        int v = (middle ? u1 : u0) + (int)shfl_xor((u32)(middle ? u0 : u1), 8);
        v += (int)shfl_xor((u32)v, 4);
        if (!(lane & 4)) sums[r * 16 + lane % 4 * 4 + (upper ? 2 : 0) + (middle ? 1 : 0)] = v;
    }
}

template <int PLANES, int ROWS> DEV void gemm_few(const b2_gemm_args &a, int *sums) {
    const int n_groups = a.k_padded / GROUP, first_out = bid_x() * 16, first_row = bid_y() * ROWS, lane = tid() & 31;
    const u64 panel = first_out / a.panel;
    const i8 *w = a.w + panel * a.k_padded * a.panel + first_out % a.panel * 4 + lane % 4 * 16;
    const int row = first_row + tid() / 16, n = first_out + tid() % 16;
    const bool walks = tid() < ROWS * 16 && row < a.n_rows;
    const u16 *d = a.d + panel * n_groups * a.panel + first_out % a.panel + tid() % 16;
    float y = 0.0f;
    for (int first = 0; first < n_groups; first += PASS) {
        const int end = first + PASS < n_groups ? first + PASS : n_groups;
        for (int group = first + tid() / 32; group < end; group += FEW_THREADS / 32)
            sum_group<PLANES, ROWS>(a, w, first_row, group, sums + (group - first) * ROWS * 16);
        sync_block();
        for (int group = first; walks && group < end; group++)
            y = fma_rn((float)sums[(group - first) * ROWS * 16 + tid()],
                       mul_rn(a.scale[(u64)row * n_groups + group], bf16(d[(u64)group * a.panel])), y);
        sync_block(); /* the next pass writes where this one read */
    }
    if (!walks || n >= a.n_out) return;
    float *out = a.out + (u64)row * a.n_out + n;
    *out = finish(a.bias ? add_rn(y, a.bias[n]) : y, a.epilogue, out);
}

#define GEMM_FEW(planes, rows)                                                                                         \
    KERNEL(FEW_THREADS, gemm_few_##planes##_##rows, b2_gemm_args) {                                                    \
        SHARED int sums[PASS * rows * 16];                                                                             \
        gemm_few<planes, rows>(a, sums);                                                                               \
    }
GEMM_FEW(1, 1)
GEMM_FEW(1, 2)
GEMM_FEW(1, 4)
GEMM_FEW(1, 8)
GEMM_FEW(2, 1)
GEMM_FEW(2, 2)
GEMM_FEW(2, 4)
GEMM_FEW(2, 8)
