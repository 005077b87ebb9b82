/* emu.cpp: runs a block's threads as fibers (emu.h). */
#include "gpu/lang.h"

#include <sys/mman.h>

Emu emu;
Kernel *emu_kernels;
extern "C" char __start_b2_shared[], __stop_b2_shared[];

void emu_die(const char *what) {
    fprintf(stderr, "fake GPU: %s (thread %d of block %d,%d,%d)\n", what, emu.current, emu.x, emu.y, emu.z);
    abort();
}

/* ---- switching: what a call must keep, and the stack ------------------------------------------------------------- */
#ifdef __x86_64__
__asm__(".text\nemu_switch:\n push %rbp\n push %rbx\n push %r12\n push %r13\n push %r14\n push %r15\n"
        " mov %rsp, (%rdi)\n mov %rsi, %rsp\n"
        " pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbx\n pop %rbp\n ret\n");
extern "C" void emu_switch(void **from, void *to);

static void fiber_main() {
    emu.run(emu.args);
    me()->word = ENDED;
    emu_switch(&me()->stack_pointer, emu.home);
}
static void *new_fiber(char *stack) {
    void **top = (void **)(stack + EMU_STACK_BYTES) - 1;
    *--top = (void *)fiber_main; /* the return address: stack aligned as after a call */
    return top - 6;
}
#else
#include <ucontext.h>
static ucontext_t contexts[EMU_THREADS + 1];
static void emu_switch(void **from, void *to) {
    ucontext_t *here = emu.home == to ? &contexts[emu.current] : &contexts[EMU_THREADS];
    *from = here;
    swapcontext(here, (ucontext_t *)to);
}
static void fiber_main() {
    emu.run(emu.args);
    me()->word = ENDED;
    setcontext(&contexts[EMU_THREADS]);
}
static void *new_fiber(char *stack) {
    ucontext_t *c = &contexts[emu.current];
    getcontext(c);
    c->uc_stack.ss_sp = stack, c->uc_stack.ss_size = EMU_STACK_BYTES, c->uc_link = NULL;
    makecontext(c, fiber_main, 0);
    emu.home = &contexts[EMU_THREADS];
    return c;
}
#endif

void emu_wait(int word, int line) {
    Fiber *f = me();
    f->word = word, f->line = line;
    emu_switch(&f->stack_pointer, emu.home);
}

void emu_finish_copies(int n_left) {
    Fiber *f = me();
    int n = 0;
    for (int i = 0; i < f->n_copies; i++) {
        const Copy c = f->copies[i];
        if (c.group >= f->group - n_left) f->copies[n++] = c;
        else if (c.from == NULL) memset(c.to, 0, 16);
        else memcpy(c.to, c.from, 16);
    }
    f->n_copies = n;
}

/* ---- what a warp does together ------------------------------------------------------------------------------------ */

/* c[16][8] += a[16][32] b[8][32]^T; PTX's layout of m16n8k32, as lang.h has it */
static void multiply(Fiber *w) {
    i8 a[16][32], b[8][32];
    for (int l = 0; l < 32; l++) {
        const int row = l / 4, k = l % 4 * 4;
        memcpy(&a[row][k], &w[l].in[0], 4), memcpy(&a[row + 8][k], &w[l].in[1], 4);
        memcpy(&a[row][k + 16], &w[l].in[2], 4), memcpy(&a[row + 8][k + 16], &w[l].in[3], 4);
        memcpy(&b[row][k], &w[l].in[4], 4), memcpy(&b[row][k + 16], &w[l].in[5], 4);
    }
    for (int l = 0; l < 32; l++)
        for (int i = 0; i < 4; i++) {
            const i8 *x = a[l / 4 + i / 2 * 8], *y = b[l % 4 * 2 + i % 2];
            int sum = (int)w[l].in[6 + i];
            for (int k = 0; k < 32; k++) sum += x[k] * y[k];
            w[l].out[i] = (u32)sum;
        }
}

static void meet(Fiber *w) {
    for (int l = 1; l < 32; l++)
        if (w[l].word != w->word || w[l].line != w->line) {
            emu.current = (int)(w - emu.fibers) + l;
            emu_die("the lanes of a warp meet at different places");
        }
    if (w->word == AT_MMA) multiply(w);
    else
        for (int l = 0; l < 32; l++) w[l].out[0] = w[l ^ (int)w[l].in[1]].in[0];
    for (int l = 0; l < 32; l++) w[l].word = RUNS;
}

/* Lets the lanes of a warp run that can. False when none could. */
static bool run_warp(int first, int *n_left) {
    Fiber *w = &emu.fibers[first];
    bool has_moved = false, meets = false;
    for (int k = 0; k < 32; k++) {
        const int l = emu.order & 1 ? 31 - k : k;
        if (w[l].word != RUNS) continue;
        emu.current = first + l;
        has_moved = true;
        emu_switch(&emu.home, w[l].stack_pointer);
        *n_left -= w[l].word == ENDED;
    }
    for (int l = 0; l < 32; l++) meets |= w[l].word == AT_SHUFFLE || w[l].word == AT_MMA;
    if (meets) meet(w);
    return has_moved || meets;
}

/* Everybody who is left waits at a barrier: on they go, if it is the same one. */
static void open_barrier() {
    const Fiber *first = NULL;
    for (int i = 0; i < emu.n_threads; i++) {
        Fiber *f = &emu.fibers[i];
        emu.current = i;
        if (f->word == ENDED) continue;
        if (f->word != AT_BARRIER) emu_die("a barrier that some threads do not reach");
        if (first == NULL) first = f;
        if (f->line != first->line || f->barriers != first->barriers) emu_die("threads wait at different barriers");
    }
    const int n = first == NULL ? 0 : first->barriers + 1;
    for (int i = 0; i < emu.n_threads; i++)
        if (emu.fibers[i].word == AT_BARRIER) emu.fibers[i].word = RUNS, emu.fibers[i].barriers = n;
}

/* Orders that must not change a bit: 1 the last thread first; 2 a warp runs alone until it waits for the others. */
static void run_block(char *stacks) {
    memset(__start_b2_shared, 0xFF, (size_t)(__stop_b2_shared - __start_b2_shared));
    for (int i = 0; i < emu.n_threads; i++) {
        emu.current = i;
        Fiber *f = &emu.fibers[i];
        f->word = RUNS, f->n_copies = f->group = f->barriers = 0;
        f->stack_pointer = new_fiber(stacks + (size_t)i * EMU_STACK_BYTES);
    }
    for (int n_left = emu.n_threads; n_left > 0;) {
        bool has_moved = false;
        for (int k = 0; k < emu.n_threads; k += 32) {
            const int w = emu.order & 1 ? emu.n_threads - 32 - k : k;
            while (run_warp(w, &n_left)) {
                has_moved = true;
                if (!(emu.order & 2)) break;
            }
        }
        if (!has_moved && n_left > 0) open_barrier();
    }
}

/* The whole grid, block after block. launch_shared ends at a guard page. */
void emu_run(const Kernel *kernel, const int grid[3], size_t shared_bytes, const void *args, int order) {
    enum { PAGE = 4096, MOST = 48 * 1024 };
    static char *stacks, *shared;
    if (stacks == NULL) {
        stacks = (char *)mmap(0, (size_t)EMU_THREADS * EMU_STACK_BYTES, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        shared = (char *)mmap(0, MOST + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (stacks == MAP_FAILED || shared == MAP_FAILED || mprotect(shared + MOST, PAGE, PROT_NONE) != 0)
            emu_die("no memory for the emulator");
    }
    emu.n_threads = kernel->threads, emu.order = order, emu.run = kernel->run, emu.args = args;
    emu.launch_shared = shared + MOST - (shared_bytes + 15) / 16 * 16;
    for (emu.z = 0; emu.z < grid[2]; emu.z++)
        for (emu.y = 0; emu.y < grid[1]; emu.y++)
            for (emu.x = 0; emu.x < grid[0]; emu.x++) {
                memset(shared, 0xFF, MOST);
                run_block(stacks);
            }
}
