/* fail.c: loaded before libc (LD_PRELOAD), lets things fail in a program that is otherwise as it ships:
 *   FAIL_MALLOC=n               the n-th allocation is refused; with FAIL_ALL=1 each one after it, too
 *   FAIL_CALL=name FAIL_N=n FAIL_ERRNO=e   the n-th system call of that name fails, wherever it is made
 *   FAIL_CALL=name FAIL_EINTR=k the first of each k is interrupted
 *   FAIL_SIGNAL=s FAIL_N=n      the signal comes with the n-th allocation
 *   FAIL_COUNT=file             a line for each name: how many there were
 * Counting begins when the program ignores SIGPIPE: what loads before main is not ours, nor is what a dlopen() does
 * (constructors of C++ end the process where memory is refused). System calls are caught by a
 * filter of the kernel (seccomp) that sends SIGSYS for all of one number but those made at one address: ours. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t),
    *__libc_memalign(size_t, size_t);

/* ---- settings and counts --------------------------------------------------------------------------------------- */

static const struct name {
    const char *name;
    int number[2]; /* one libc makes it by either */
} names[] = {
    {"read", {SYS_read, -1}},
    {"write", {SYS_write, -1}},
    {"pread", {SYS_pread64, -1}},
    {"pwrite", {SYS_pwrite64, -1}},
    {"open", {SYS_openat, -1}},
    {"close", {SYS_close, -1}},
    {"fstat", {SYS_newfstatat, SYS_fstat}},
    {"fsync", {SYS_fsync, -1}},
    {"ftruncate", {SYS_ftruncate, -1}},
    {"flock", {SYS_flock, -1}},
    {"lseek", {SYS_lseek, -1}},
    {"mmap", {SYS_mmap, -1}},
    {"getdents", {SYS_getdents64, -1}},
#ifdef SYS_rename
    {"rename", {SYS_rename, SYS_renameat}},
    {"link", {SYS_link, SYS_linkat}},
    {"unlink", {SYS_unlink, SYS_unlinkat}},
    {"mkdir", {SYS_mkdir, SYS_mkdirat}},
#else
    {"rename", {SYS_renameat, SYS_renameat2}},
    {"link", {SYS_linkat, -1}},
    {"unlink", {SYS_unlinkat, -1}},
    {"mkdir", {SYS_mkdirat, -1}},
#endif
};
enum { N_NAMES = sizeof names / sizeof names[0] };

static atomic_long n_allocations, n_calls;
static atomic_bool is_on;
static long refused, refuses_all, wanted, interrupts, signal_wanted;
static int error_wanted;
static _Thread_local __attribute__((tls_model("initial-exec"))) bool is_loading;

static long number(const char *name) {
    const char *text = getenv(name);
    return text != NULL ? atol(text) : 0;
}

/* ---- memory ---------------------------------------------------------------------------------------------------- */

static bool is_refused(void) {
    if (!is_on || is_loading) return false;
    const long n = ++n_allocations;
    if (signal_wanted != 0 && n == wanted) raise((int)signal_wanted);
    if (n != refused && !(refuses_all && refused > 0 && n > refused)) return false;
    errno = ENOMEM;
    return true;
}

void *malloc(size_t n) { return is_refused() ? NULL : __libc_malloc(n); }
void *calloc(size_t n, size_t size) { return is_refused() ? NULL : __libc_calloc(n, size); }
void *realloc(void *p, size_t n) { return is_refused() ? NULL : __libc_realloc(p, n); }
void *aligned_alloc(size_t a, size_t n) { return is_refused() ? NULL : __libc_memalign(a, n); }
int posix_memalign(void **p, size_t a, size_t n) {
    void *found = is_refused() ? NULL : __libc_memalign(a, n);
    if (found == NULL) return ENOMEM;
    *p = found;
    return 0;
}

/* ---- system calls ---------------------------------------------------------------------------------------------- */

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
__asm__(
    ".text\nfail_call:\n mov %rdi,%rax\n mov %rsi,%rdi\n mov %rdx,%rsi\n mov %rcx,%rdx\n mov %r8,%r10\n mov %r9,%r8\n"
    " mov 8(%rsp),%r9\n syscall\nfail_call_end:\n ret\n");
#define ARGUMENT(uc, i) ((uc)->uc_mcontext.gregs[(const int[]){REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8, REG_R9}[i]])
#define RESULT(uc) ((uc)->uc_mcontext.gregs[REG_RAX])
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
__asm__(
    ".text\nfail_call:\n mov x8,x0\n mov x0,x1\n mov x1,x2\n mov x2,x3\n mov x3,x4\n mov x4,x5\n mov x5,x6\n svc 0\n"
    "fail_call_end:\n ret\n");
#define ARGUMENT(uc, i) ((uc)->uc_mcontext.regs[i])
#define RESULT(uc) ((uc)->uc_mcontext.regs[0])
#else
#error "fail.c: which registers carry a system call here?"
#endif
__attribute__((visibility("hidden"))) long fail_call(long n, long a, long b, long c, long d, long e, long f);
__attribute__((visibility("hidden"))) extern const char fail_call_end[];

static void on_call(int signal_number, siginfo_t *info, void *context) {
    (void)signal_number;
    ucontext_t *uc = context;
    const int before = errno;
    const bool counts = is_on && !is_loading;
    const long n = counts ? ++n_calls : 0, call = info->si_syscall;
    const bool fails = counts && (interrupts ? n % interrupts == 1 : n == wanted);
    /* Whatever close() answers, the descriptor is gone. */
    if (!fails || call == SYS_close)
        RESULT(uc) = fail_call(call, (long)ARGUMENT(uc, 0), (long)ARGUMENT(uc, 1), (long)ARGUMENT(uc, 2),
                               (long)ARGUMENT(uc, 3), (long)ARGUMENT(uc, 4), (long)ARGUMENT(uc, 5));
    if (fails) RESULT(uc) = -(interrupts ? EINTR : error_wanted);
    errno = before;
}

/* What is written to stderr tells what happened, and never fails. */
static bool catch_calls(const int *wanted_numbers) {
    const uint64_t here = (uint64_t)(uintptr_t)fail_call_end;
    const struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 0, 11),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 0, 2),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, STDERR_FILENO, 7, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)wanted_numbers[0], 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)wanted_numbers[1], 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, instruction_pointer)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)here, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, instruction_pointer) + 4),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(here >> 32), 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
    };
    struct sock_fprog program = {.len = sizeof rules / sizeof rules[0], .filter = (struct sock_filter *)rules};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* ---- libraries that are loaded while it runs ------------------------------------------------------------------- */

void *dlopen(const char *file, int mode) {
    void *(*next)(const char *, int) = (void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen");
    is_loading = true;
    void *library = next(file, mode);
    is_loading = false;
    return library;
}

/* ---- the moment at which it begins ------------------------------------------------------------------------------- */

static int (*next_sigaction(void))(int, const struct sigaction *, struct sigaction *) {
    return (int (*)(int, const struct sigaction *, struct sigaction *))dlsym(RTLD_NEXT, "sigaction");
}

static void begin(void) {
    const char *call = getenv("FAIL_CALL");
    refused = number("FAIL_MALLOC"), refuses_all = number("FAIL_ALL"), wanted = number("FAIL_N");
    interrupts = number("FAIL_EINTR"), signal_wanted = number("FAIL_SIGNAL"), error_wanted = (int)number("FAIL_ERRNO");
    for (int i = 0; call != NULL && i < N_NAMES; i++) {
        if (strcmp(call, names[i].name) != 0) continue;
        struct sigaction action = {.sa_sigaction = on_call, .sa_flags = SA_SIGINFO | SA_NODEFER};
        if (next_sigaction()(SIGSYS, &action, NULL) == 0 && catch_calls(names[i].number)) break;
        fprintf(stderr, "fail.so: no filter for system calls here\n");
        _exit(77);
    }
    is_on = true;
}

int sigaction(int signal_number, const struct sigaction *action, struct sigaction *before) {
    const int result = next_sigaction()(signal_number, action, before);
    if (signal_number == SIGPIPE && !is_on) begin();
    return result;
}

static __attribute__((destructor)) void say_count(void) {
    const char *path = getenv("FAIL_COUNT");
    if (!is_on) return;
    is_on = false;
    FILE *file = path != NULL ? fopen(path, "w") : NULL;
    if (file == NULL) return;
    fprintf(file, "%ld %ld\n", (long)n_allocations, (long)n_calls);
    fclose(file);
}
