/* emu.h: the words of src/gpu/lang.h in plain C++, so that the kernels' own source runs where there is no GPU. A
 * block's threads are fibers of one thread of the system; at sync_block everybody waits, at a shuffle or mma the lanes
 * of a warp wait for each other and the last one computes for all 32.
 *
 * Stricter than a GPU: lanes that meet at different places of the source, or not all of them, end the program with a
 * sentence; so does a barrier that some threads do not reach, and 16 bytes at an odd address. Shared memory begins as
 * NaN in each block; what copy16 fetches arrives only at copy_wait (or at once: FAKE_CUDA_ORDER, fake_cuda.cpp). */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARCH 800
#define DEV static inline
#define SHARED static __attribute__((section("b2_shared"), aligned(16)))
#define SHARED_BY_LAUNCH(type, name) type *name = (type *)emu.launch_shared

enum { EMU_THREADS = 256, EMU_STACK_BYTES = 32 * 1024, EMU_COPIES = 64 };
enum Word { RUNS, AT_BARRIER, AT_SHUFFLE, AT_MMA, ENDED };

struct Copy {
    void *to;
    const void *from; /* NULL: zeros */
    int group;
};
struct Fiber {
    void *stack_pointer;
    int word, line, barriers; /* where it waits; how many barriers it has passed */
    u32 in[10], out[4];
    Copy copies[EMU_COPIES];
    int n_copies, group; /* the group that new copies belong to */
};
struct Emu {
    int n_threads, x, y, z, current, order;
    void *home;
    void (*run)(const void *args);
    const void *args;
    char *launch_shared;
    Fiber fibers[EMU_THREADS];
};
extern Emu emu;

static inline Fiber *me() { return &emu.fibers[emu.current]; }
void emu_die(const char *what);
void emu_wait(int word, int line);
void emu_finish_copies(int n_left); /* all groups of this thread but the newest n_left */

/* Kernels by name. */
struct Kernel {
    const char *name;
    int threads;
    size_t args_bytes;
    void (*run)(const void *args);
    Kernel *next;
};
extern Kernel *emu_kernels;
struct Registration {
    Kernel kernel;
    Registration(const char *name, int threads, size_t bytes, void (*run)(const void *)) {
        kernel = Kernel{name, threads, bytes, run, emu_kernels};
        emu_kernels = &kernel;
    }
};
#define KERNEL(threads, name, type)                                                                                    \
    static void name(const type a);                                                                                    \
    static Registration registration_##name(#name, threads, sizeof(type),                                              \
                                            [](const void *args) { name(*(const type *)args); });                      \
    static void name(const type a)

DEV int tid() { return emu.current; }
DEV int bid_x() { return emu.x; }
DEV int bid_y() { return emu.y; }
DEV int bid_z() { return emu.z; }
#define sync_block() emu_wait(AT_BARRIER, __LINE__)

DEV u32 bits_of(float x) {
    u32 v;
    memcpy(&v, &x, 4);
    return v;
}
DEV float float_of(u32 x) {
    float v;
    memcpy(&v, &x, 4);
    return v;
}
DEV float fma_rn(float a, float b, float c) { return fmaf(a, b, c); }
DEV float add_rn(float a, float b) { return a + b; }
DEV float sub_rn(float a, float b) { return a - b; }
DEV float mul_rn(float a, float b) { return a * b; }
DEV float div_rn(float a, float b) { return a / b; }
DEV float rint_rn(float a) { return rintf(a); }
DEV float sqrt_rn(float a) { return sqrtf(a); }
DEV int dp4a(u32 a, u32 b, int c) {
    for (int i = 0; i < 4; i++) c += (i8)(a >> 8 * i) * (i8)(b >> 8 * i);
    return c;
}

DEV u32 emu_shuffle(u32 x, int mask, int line) {
    me()->in[0] = x, me()->in[1] = (u32)mask;
    emu_wait(AT_SHUFFLE, line);
    return me()->out[0];
}
#define shfl_xor(x, mask) emu_shuffle(x, mask, __LINE__)

DEV u32x4 load16(const void *p) {
    u32x4 v;
    if ((size_t)p % 16 != 0) emu_die("load16 at an odd address");
    memcpy(&v, p, 16);
    return v;
}
DEV u32x4 load16_const(const void *p) { return load16(p); }
DEV void store16(void *p, u32x4 v) {
    if ((size_t)p % 16 != 0) emu_die("store16 at an odd address");
    memcpy(p, &v, 16);
}
DEV void copy16(void *to, const void *from, bool is_there) {
    Fiber *f = me();
    if (f->n_copies == EMU_COPIES) emu_die("too many copies on their way");
    if ((size_t)to % 16 != 0 || (size_t)from % 16 != 0) emu_die("copy16 at an odd address");
    f->copies[f->n_copies++] = Copy{to, is_there ? from : NULL, f->group};
    if (emu.order & 4) f->group++, emu_finish_copies(0), f->group--;
}
DEV void copy_commit() { me()->group++; }
template <int N> DEV void copy_wait() { emu_finish_copies(N); }

DEV void emu_mma(int c[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1, int line) {
    const u32 in[10] = {a0, a1, a2, a3, b0, b1, (u32)c[0], (u32)c[1], (u32)c[2], (u32)c[3]};
    memcpy(me()->in, in, sizeof in);
    emu_wait(AT_MMA, line);
    memcpy(c, me()->out, 16);
}
#define mma_16x8x32(c, a0, a1, a2, a3, b0, b1) emu_mma(c, a0, a1, a2, a3, b0, b1, __LINE__)
