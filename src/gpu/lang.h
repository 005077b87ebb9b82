/* lang.h: the few words beyond C that the kernels are written in. Two readings of each: one PTX instruction, for a
 * CUDA compiler (clang or nvcc; no header of CUDA is needed), and plain C++ (tests/gpu/emu.h, named by B2_EMULATE),
 * where each thread is a fiber and the tests run everywhere.
 *
 * A kernel runs as a grid of blocks of threads; a block's threads share memory (SHARED) and meet at sync_block; 32 of
 * them are a warp, whose lanes exchange registers (shfl_*) and multiply small matrices together (mma_*).
 *
 * Float words round once (_rn): no compiler fuses what is not written as fma_rn. */
#ifndef B2_GPU_LANG_H
#define B2_GPU_LANG_H

#include "gpu/args.h"

typedef signed char i8;
typedef unsigned short u16;
typedef unsigned u32;
typedef unsigned long long u64;

struct u32x4 {
    u32 x, y, z, w;
};

#ifdef B2_EMULATE
#include B2_EMULATE
#else

#ifdef __clang__
#define __global__ __attribute__((global))
#define __device__ __attribute__((device))
#define __shared__ __attribute__((shared))
#define __launch_bounds__(...) __attribute__((launch_bounds(__VA_ARGS__)))
#endif
#define ARCH __CUDA_ARCH__
#define DEV static __device__ inline __attribute__((always_inline))
#define SHARED static __shared__ __attribute__((aligned(16)))
/* Memory whose size the launch decides, beside the kernel's SHARED arrays. */
#define SHARED_BY_LAUNCH(type, name) extern __shared__ __attribute__((aligned(16))) type name[]
/* KERNEL(threads of a block, name, type of its argument) { ... a ... } */
#define KERNEL(threads, name, type) extern "C" __global__ __launch_bounds__(threads, 1) void name(const type a)
#define REGISTER(name, reg)                                                                                            \
    DEV int name() {                                                                                                   \
        int v;                                                                                                         \
        asm("mov.u32 %0, " reg ";" : "=r"(v));                                                                         \
        return v;                                                                                                      \
    }
REGISTER(tid, "%%tid.x")
REGISTER(bid_x, "%%ctaid.x")
REGISTER(bid_y, "%%ctaid.y")
REGISTER(bid_z, "%%ctaid.z")

DEV void sync_block() { asm volatile("bar.sync 0;" ::: "memory"); }

/* ---- numbers ---- */
DEV u32 bits_of(float x) {
    u32 v;
    asm("mov.b32 %0, %1;" : "=r"(v) : "f"(x));
    return v;
}
DEV float float_of(u32 x) {
    float v;
    asm("mov.b32 %0, %1;" : "=f"(v) : "r"(x));
    return v;
}
DEV float fma_rn(float a, float b, float c) {
    float v;
    asm("fma.rn.f32 %0, %1, %2, %3;" : "=f"(v) : "f"(a), "f"(b), "f"(c));
    return v;
}
#define TWO_TO_ONE(name, op)                                                                                           \
    DEV float name(float a, float b) {                                                                                 \
        float v;                                                                                                       \
        asm(op " %0, %1, %2;" : "=f"(v) : "f"(a), "f"(b));                                                             \
        return v;                                                                                                      \
    }
TWO_TO_ONE(add_rn, "add.rn.f32")
TWO_TO_ONE(sub_rn, "sub.rn.f32")
TWO_TO_ONE(mul_rn, "mul.rn.f32")
TWO_TO_ONE(div_rn, "div.rn.f32")
#define ONE_TO_ONE(name, op)                                                                                           \
    DEV float name(float a) {                                                                                          \
        float v;                                                                                                       \
        asm(op " %0, %1;" : "=f"(v) : "f"(a));                                                                         \
        return v;                                                                                                      \
    }
ONE_TO_ONE(rint_rn, "cvt.rni.f32.f32")
ONE_TO_ONE(sqrt_rn, "sqrt.rn.f32")
/* c + the four products of the signed bytes of a and b */
DEV int dp4a(u32 a, u32 b, int c) {
    int v;
    asm("dp4a.s32.s32 %0, %1, %2, %3;" : "=r"(v) : "r"(a), "r"(b), "r"(c));
    return v;
}

/* ---- lanes of a warp: all 32 must come ---- */
DEV u32 shfl_xor(u32 x, int mask) {
    u32 v;
    asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 0x1f, 0xffffffff;" : "=r"(v) : "r"(x), "r"(mask));
    return v;
}

/* ---- 16 bytes at an address that is a multiple of 16 ---- */
DEV u32x4 load16(const void *p) {
    u32x4 v;
    asm volatile("ld.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p) : "memory");
    return v;
}
/* of global memory that nobody writes while the kernel runs */
DEV u32x4 load16_const(const void *p) {
    u32x4 v;
    asm("ld.global.nc.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p));
    return v;
}
DEV void store16(void *p, u32x4 v) {
    asm volatile("st.v4.u32 [%0], {%1,%2,%3,%4};" ::"l"(p), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}

/* copy16: 16 bytes from global to shared memory, or 16 zero bytes; there once copy_wait has waited for its group.
 * copy_commit closes a group; copy_wait<N> waits for all groups of this thread but the newest N. */
#if ARCH >= 800
DEV void copy16(void *shared, const void *global, bool is_there) {
    u32 to;
    asm("{ .reg .u64 t; cvta.to.shared.u64 t, %1; cvt.u32.u64 %0, t; }" : "=r"(to) : "l"(shared));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(is_there ? 16 : 0)
                 : "memory");
}
DEV void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N> DEV void copy_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }
#else
DEV void copy16(void *shared, const void *global, bool is_there) {
    u32x4 zero = {0, 0, 0, 0};
    store16(shared, is_there ? load16(global) : zero);
}
DEV void copy_commit() {}
template <int N> DEV void copy_wait() {}
#endif

/* c[16][8] += a[16][32] b[8][32]^T of signed bytes, spread over a warp: lane l holds, of row l/4 and row l/4 + 8 of a,
 * four bytes at 4 (l%4) (a0, a1) and at 16 + 4 (l%4) (a2, a3); of row l/4 of b the same two (b0, b1); of c columns
 * 2 (l%4) and + 1 of row l/4 (c[0], c[1]) and of row l/4 + 8. */
#if ARCH >= 800
DEV void mma_16x8x32(int c[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
                 : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
#else
#if ARCH >= 750
DEV void mma_8x8x16(int *c, u32 a, u32 b) {
    asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};"
                 : "+r"(c[0]), "+r"(c[1])
                 : "r"(a), "r"(b));
}
#else /* Pascal, Volta: no tensor cores for bytes; the lane collects the row of a and the two of b itself */
DEV u32 shfl_from(u32 x, int lane) {
    u32 v;
    asm volatile("shfl.sync.idx.b32 %0, %1, %2, 0x1f, 0xffffffff;" : "=r"(v) : "r"(x), "r"(lane));
    return v;
}
DEV void mma_8x8x16(int *c, u32 a, u32 b) {
    const int lane = tid() & 31;
#pragma unroll
    for (int t = 0; t < 4; t++) {
        const u32 row = shfl_from(a, (lane & ~3) + t);
        c[0] = dp4a(row, shfl_from(b, (lane & 3) * 8 + t), c[0]);
        c[1] = dp4a(row, shfl_from(b, (lane & 3) * 8 + 4 + t), c[1]);
    }
}
#endif
DEV void mma_16x8x32(int c[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
    mma_8x8x16(c, a0, b0);
    mma_8x8x16(c, a2, b1);
    mma_8x8x16(c + 2, a1, b0);
    mma_8x8x16(c + 2, a3, b1);
}
#endif
#endif

/* ---- the definition's functions of one number (src/kernels/body.h), word for word ---- */
DEV float bf16(u16 x) { return float_of((u32)x << 16); }

DEV float exp_f32(float x) {
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    const float magic = 12582912.0f, shifted = fma_rn(x, 1.44269504f, magic), n = sub_rn(shifted, magic);
    float r = fma_rn(n, -0.693145752f, x);
    r = fma_rn(n, -1.42860677e-6f, r);
    float p = 0.00138146942f;
    p = fma_rn(p, r, 0.00836869702f);
    p = fma_rn(p, r, 0.0416683853f);
    p = fma_rn(p, r, 0.166665211f);
    p = fma_rn(p, r, 0.49999994f);
    p = fma_rn(p, r, 1.0f);
    p = fma_rn(p, r, 1.0f);
    return mul_rn(p, float_of((bits_of(shifted) + 127u) << 23));
}

DEV float erf_f32(float x) {
    x = x < -3.95f ? -3.95f : x;
    x = x > 3.95f ? 3.95f : x;
    const float t = mul_rn(x, x);
    float p = 2.02624847e-06f, q = 3.78348486e-05f;
    p = fma_rn(p, t, 0.000284678565f);
    q = fma_rn(q, t, 0.00117051904f);
    p = fma_rn(p, t, 0.00380721595f);
    q = fma_rn(q, t, 0.0150531856f);
    p = fma_rn(p, t, 0.0528725684f);
    q = fma_rn(q, t, 0.114550069f);
    p = fma_rn(p, t, 0.191526651f);
    q = fma_rn(q, t, 0.503068745f);
    p = fma_rn(p, t, 1.12837911f);
    q = fma_rn(q, t, 1.0f);
    float y = div_rn(mul_rn(x, p), q);
    y = y > 1.0f ? 1.0f : y;
    return y < -1.0f ? -1.0f : y;
}

DEV float gelu_f32(float x) { return mul_rn(mul_rn(0.5f, x), add_rn(1.0f, erf_f32(mul_rn(x, 0.70710678f)))); }

/* x >= 1 */
DEV float log_f32(float x) {
    if (!(x < float_of(0x7F800000u))) return x;
    const u32 bits = bits_of(x), offset = bits - 0x3F3504F3u;
    const float e = (float)((int)offset >> 23), m = float_of(bits - (offset & 0xFF800000u));
    const float s = div_rn(sub_rn(m, 1.0f), add_rn(m, 1.0f)), u = mul_rn(s, s), twice = add_rn(s, s);
    float p = 0.149438947f;
    p = fma_rn(p, u, 0.199882075f);
    p = fma_rn(p, u, 0.333333969f);
    p = fma_rn(mul_rn(twice, u), p, twice);
    return fma_rn(e, 0.693147182f, p);
}

/* What becomes of product + bias on its way out: the order of isa.h's b2_epilogue. */
enum { STORE, ADD, RELU, GELU };
DEV float finish(float p, int epilogue, const float *out) {
    if (epilogue == ADD) return add_rn(*out, p);
    if (epilogue == RELU) return p <= 0.0f ? 0.0f : p;
    return epilogue == GELU ? gelu_f32(p) : p;
}

#endif
