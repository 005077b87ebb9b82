/* fake_cuda.cpp: libcuda.so.1 as far as src/gpu calls it, on the CPU. The kernels are those of src/gpu, compiled as
 * C++ (emu.h). Settings, all in the environment:
 *
 *   FAKE_CUDA_VRAM     bytes of device memory (1 GiB)         FAKE_CUDA_CC       compute capability (80)
 *   FAKE_CUDA_DRIVER   driver version (12040)                 FAKE_CUDA_DEVICES  how many (1)
 *   FAKE_CUDA_FAIL     n[:code]: call n fails (2: memory); after a code that breaks a context every later call fails
 *   FAKE_CUDA_HANG     n: from call n on, no event ever comes
 *   FAKE_CUDA_ORDER    sum of 1 the last thread first, 2 warps run ahead alone, 4 copies into shared memory arrive at
 *                      once, 8 work is done when it is queued instead of when somebody waits for it
 *   FAKE_CUDA_PROTECT  1: device memory cannot be touched but by kernels and copies
 *   FAKE_CUDA_DUMP     a folder that gets each launch: argument and memory before, memory after (for ptx_run.py)
 *   FAKE_CUDA_COUNT    a file that gets the number of calls at the end       FAKE_CUDA_TRACE  1: names every call
 *
 * Stricter than a GPU: an allocation ends at a page that nobody may touch and begins as NaN; by default nothing that
 * is queued happens before it is waited for. */
#include "gpu/lang.h"

#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <stdint.h>
#include <sys/mman.h>
#include <vector>

void emu_run(const Kernel *kernel, const int grid[3], size_t shared_bytes, const void *args, int order);

enum { OK, INVALID = 1, NO_MEMORY = 2, NOT_READY = 600, PAGE = 4096 };
typedef int Result;
typedef uintptr_t Address;

static long setting(const char *name, long otherwise) {
    const char *text = getenv(name);
    return text ? strtol(text, NULL, 0) : otherwise;
}

/* ---- queues ------------------------------------------------------------------------------------------------------- */

struct Stream;
struct Event {
    Stream *stream; /* NULL: never recorded */
    uint64_t at;    /* done once the stream has done so many */
    bool was_asked;
};
struct Stream {
    std::deque<std::function<void()>> queue;
    uint64_t n_done;
};
static std::mutex mutex;
/* Behind references, so that a leak checker finds at the end what a failing driver was not given back. */
static std::map<Address, size_t> &memory = *new std::map<Address, size_t>; /* start -> bytes of whole pages */
static std::set<void *> &pinned = *new std::set<void *>;
static std::set<Event *> &events = *new std::set<Event *>;
static size_t used;
static std::vector<Stream *> &streams = *new std::vector<Stream *>;
static long n_calls, broken; /* the context is lost: every call says so */

static void protect(int how) {
    if (!setting("FAKE_CUDA_PROTECT", 0)) return;
    for (auto &m : memory) mprotect((void *)m.first, m.second, how);
}
static void run_until(Stream *s, uint64_t n) {
    while (s->n_done < n && !s->queue.empty()) {
        const std::function<void()> next = s->queue.front();
        s->queue.pop_front();
        next();
        s->n_done++;
    }
}
static Result add(void *stream, std::function<void()> work) {
    Stream *s = (Stream *)stream;
    s->queue.push_back([work] {
        protect(PROT_READ | PROT_WRITE);
        work();
        protect(PROT_NONE);
    });
    if (setting("FAKE_CUDA_ORDER", 0) & 8) run_until(s, s->n_done + s->queue.size());
    return OK;
}

/* ---- every call begins here ------------------------------------------------------------------------------------------ */

static void write_count() {
    FILE *f = fopen(getenv("FAKE_CUDA_COUNT"), "w");
    if (f == NULL) return;
    fprintf(f, "%ld\n", n_calls);
    fclose(f);
}
static Result enter(const char *name) {
    if (n_calls++ == 0 && getenv("FAKE_CUDA_COUNT")) atexit(write_count);
    if (setting("FAKE_CUDA_TRACE", 0)) fprintf(stderr, "fake GPU %ld: %s\n", n_calls, name);
    if (broken) return (Result)broken;
    const char *fail = getenv("FAKE_CUDA_FAIL"), *code = fail ? strchr(fail, ':') : NULL;
    if (fail == NULL || strtol(fail, NULL, 10) != n_calls) return OK;
    const int result = code ? atoi(code + 1) : NO_MEMORY;
    if (result >= 700 || result == 214) broken = result;
    return result;
}
/* For tests in one process: as if it had just been loaded. Returns the number of calls since the last time. */
extern "C" __attribute__((visibility("default"))) long fake_cuda_reset() {
    const std::lock_guard<std::mutex> lock(mutex);
    const long n = n_calls;
    n_calls = broken = 0;
    for (void *p : pinned) free(p);
    for (Event *e : events) delete e;
    pinned.clear();
    events.clear();
    for (auto &m : memory) munmap((void *)m.first, m.second + PAGE);
    memory.clear();
    for (Stream *s : streams) delete s;
    streams.clear();
    used = 0;
    return n;
}
/* Bytes of device memory and pinned allocations that nobody has given back. */
extern "C" __attribute__((visibility("default"))) size_t fake_cuda_held() {
    const std::lock_guard<std::mutex> lock(mutex);
    return used + pinned.size();
}

#define API(name, ...) extern "C" __attribute__((visibility("default"))) Result name(__VA_ARGS__)
#define ENTER                                                                                                          \
    const std::lock_guard<std::mutex> lock(mutex);                                                                     \
    do {                                                                                                               \
        const Result entered = enter(__func__);                                                                        \
        if (entered != OK) return entered;                                                                             \
    } while (0)

API(cuInit, unsigned) {
    ENTER;
    return setting("FAKE_CUDA_DEVICES", 1) > 0 ? OK : 100;
}
API(cuDriverGetVersion, int *version) {
    ENTER;
    *version = (int)setting("FAKE_CUDA_DRIVER", 12040);
    return OK;
}
API(cuDeviceGetCount, int *n) {
    ENTER;
    *n = (int)setting("FAKE_CUDA_DEVICES", 1);
    return OK;
}
API(cuDeviceGet, int *device, int i) {
    ENTER;
    *device = i;
    return i < setting("FAKE_CUDA_DEVICES", 1) ? OK : 101;
}
API(cuDeviceGetName, char *name, int n, int device) {
    ENTER;
    snprintf(name, (size_t)n, "fake GPU %d", device);
    return OK;
}
API(cuDeviceGetAttribute, int *value, int attribute, int) {
    ENTER;
    const int cc = (int)setting("FAKE_CUDA_CC", 80);
    *value = attribute == 75 ? cc / 10 : attribute == 76 ? cc % 10 : 0;
    return OK;
}
API(cuDevicePrimaryCtxRetain, void **context, int) {
    ENTER;
    *context = &mutex;
    return OK;
}
API(cuDevicePrimaryCtxRelease_v2, int) {
    ENTER;
    return OK;
}
API(cuCtxSetCurrent, void *) {
    ENTER;
    return OK;
}

/* ---- memory -------------------------------------------------------------------------------------------------------- */

API(cuMemGetInfo_v2, size_t *n_free, size_t *n_all) {
    ENTER;
    *n_all = (size_t)setting("FAKE_CUDA_VRAM", 1L << 30);
    *n_free = *n_all - used;
    return OK;
}
API(cuMemAlloc_v2, Address *p, size_t n) {
    ENTER;
    const size_t size = (n + 63) / 64 * 64, pages = (size + PAGE - 1) / PAGE * PAGE;
    if (used + pages > (size_t)setting("FAKE_CUDA_VRAM", 1L << 30)) return NO_MEMORY;
    char *m = (char *)mmap(NULL, pages + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m == MAP_FAILED || mprotect(m + pages, PAGE, PROT_NONE) != 0) return NO_MEMORY;
    memset(m, 0xFF, pages);
    used += pages;
    *p = (Address)(m + pages - size);
    memory[(Address)m] = pages;
    protect(PROT_NONE);
    return OK;
}
API(cuMemFree_v2, Address p) {
    ENTER;
    const Address m = p / PAGE * PAGE;
    if (!memory.count(m)) return INVALID;
    for (Stream *s : streams) run_until(s, UINT64_MAX); /* as the driver does: nothing may use it any more */
    used -= memory[m];
    munmap((void *)m, memory[m] + PAGE);
    memory.erase(m);
    return OK;
}
API(cuMemHostAlloc, void **p, size_t n, unsigned) {
    ENTER;
    *p = malloc(n);
    if (*p != NULL) pinned.insert(*p);
    return *p ? OK : NO_MEMORY;
}
API(cuMemFreeHost, void *p) {
    ENTER;
    for (Stream *s : streams) run_until(s, UINT64_MAX);
    pinned.erase(p);
    free(p);
    return OK;
}
API(cuMemcpyHtoDAsync_v2, Address to, const void *from, size_t n, void *stream) {
    ENTER;
    return add(stream, [=] { memcpy((void *)to, from, n); });
}
API(cuMemcpyDtoHAsync_v2, void *to, Address from, size_t n, void *stream) {
    ENTER;
    return add(stream, [=] { memcpy(to, (const void *)from, n); });
}
API(cuMemsetD8Async, Address to, unsigned char value, size_t n, void *stream) {
    ENTER;
    return add(stream, [=] { memset((void *)to, value, n); });
}

/* ---- streams and events ---------------------------------------------------------------------------------------------- */

API(cuStreamCreate, void **stream, unsigned) {
    ENTER;
    streams.push_back(new Stream());
    *stream = streams.back();
    return OK;
}
API(cuStreamDestroy_v2, void *stream) {
    ENTER;
    run_until((Stream *)stream, UINT64_MAX);
    return OK; /* events may still name it: left to fake_cuda_reset */
}
API(cuEventCreate, void **event, unsigned) {
    ENTER;
    Event *e = new Event();
    events.insert(e);
    *event = e;
    return OK;
}
API(cuEventDestroy_v2, void *event) {
    ENTER;
    events.erase((Event *)event);
    delete (Event *)event;
    return OK;
}
API(cuEventRecord, void *event, void *stream) {
    ENTER;
    Stream *s = (Stream *)stream;
    *(Event *)event = Event{s, s->n_done + s->queue.size(), false};
    return OK;
}
API(cuStreamWaitEvent, void *stream, void *event, unsigned) {
    ENTER;
    const Event e = *(Event *)event;
    if (e.stream != NULL && e.stream != stream) add(stream, [e] { run_until(e.stream, e.at); });
    return OK;
}
/* The first look finds that it is not ready; only looks that find it ready are counted as calls. */
API(cuEventQuery, void *event) {
    const std::lock_guard<std::mutex> lock(mutex);
    Event *e = (Event *)event;
    if (broken) return (Result)broken;
    const long hang = setting("FAKE_CUDA_HANG", 0);
    if (hang > 0 && n_calls >= hang) return NOT_READY;
    if (e->stream != NULL && e->stream->n_done < e->at && !e->was_asked) {
        e->was_asked = true;
        return NOT_READY;
    }
    const Result entered = enter(__func__);
    if (entered == OK && e->stream != NULL) run_until(e->stream, e->at);
    return entered;
}

/* ---- kernels --------------------------------------------------------------------------------------------------------- */

/* The two refusals that users meet: PTX newer than the driver (222), a target newer than the device (209). */
API(cuModuleLoadDataEx, void **module, const void *image, unsigned, int *, void **) {
    ENTER;
    const char *version = strstr((const char *)image, ".version "), *target = strstr((const char *)image, ".target sm_");
    if (version == NULL || target == NULL) return 218;
    const int ptx = atoi(version + 9) * 10 + atoi(strchr(version + 9, '.') + 1);
    const int driver = (int)setting("FAKE_CUDA_DRIVER", 12040);
    const int known = driver >= 13000   ? 90 + driver % 1000 / 10
                      : driver >= 12000 ? 80 + driver % 1000 / 10
                      : driver >= 11000 ? 70 + driver % 1000 / 10
                                        : 65;
    if (ptx > known) return 222;
    if (atoi(target + 11) > setting("FAKE_CUDA_CC", 80)) return 209;
    *module = &emu_kernels;
    return OK;
}
API(cuModuleUnload, void *) {
    ENTER;
    return OK;
}
API(cuModuleGetFunction, void **function, void *, const char *name) {
    ENTER;
    for (Kernel *k = emu_kernels; k != NULL; k = k->next)
        if (strcmp(k->name, name) == 0) {
            *function = k;
            return OK;
        }
    return 500;
}
/* Text line, argument, then for each piece of memory its address, its size and its bytes; after the run once more. */
static void dump_memory(FILE *f) {
    for (auto &m : memory) {
        const uint64_t head[2] = {m.first, m.second};
        fwrite(head, sizeof head, 1, f);
        fwrite((const void *)m.first, m.second, 1, f);
    }
}
static FILE *dump_begin(const Kernel *k, const int grid[3], unsigned shared_bytes, const char *args) {
    static int n;
    const char *folder = getenv("FAKE_CUDA_DUMP");
    char path[512];
    if (folder == NULL) return NULL;
    snprintf(path, sizeof path, "%s/%05d.launch", folder, n++);
    FILE *f = fopen(path, "wb");
    if (f == NULL) emu_die("a dump cannot be written");
    fprintf(f, "%s %d %d %d %d %u %zu %zu\n", k->name, grid[0], grid[1], grid[2], k->threads, shared_bytes, k->args_bytes,
            memory.size());
    fwrite(args, k->args_bytes, 1, f);
    dump_memory(f);
    return f;
}

API(cuLaunchKernel, void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
    unsigned shared_bytes, void *stream, void **args, void **) {
    ENTER;
    const Kernel *kernel = (const Kernel *)function;
    if ((int)bx != kernel->threads || by != 1 || bz != 1 || gx == 0 || gy == 0 || gz == 0 || gx > INT32_MAX ||
        gy > 65535 || gz > 65535 || shared_bytes > 48 * 1024)
        return INVALID;
    const std::vector<char> copy((const char *)args[0], (const char *)args[0] + kernel->args_bytes);
    const int order = (int)setting("FAKE_CUDA_ORDER", 0);
    return add(stream, [=] {
        const int grid[3] = {(int)gx, (int)gy, (int)gz};
        std::vector<char> aligned(copy);
        FILE *dump = dump_begin(kernel, grid, shared_bytes, aligned.data());
        emu_run(kernel, grid, shared_bytes, aligned.data(), order);
        if (dump == NULL) return;
        dump_memory(dump);
        fclose(dump);
    });
}

API(cuGetErrorString, int code, const char **text) {
    static const struct {
        int code;
        const char *text;
    } known[] = {{2, "out of memory"},
                 {34, "CUDA driver is a stub library"},
                 {100, "no CUDA-capable device is detected"},
                 {209, "no kernel image is available for execution on the device"},
                 {218, "a PTX JIT compilation failed"},
                 {222, "the provided PTX was compiled with an unsupported toolchain."},
                 {700, "an illegal memory access was encountered"},
                 {719, "unspecified launch failure"},
                 {999, "unknown error"}};
    for (auto &k : known)
        if (k.code == code) {
            *text = k.text;
            return OK;
        }
    return INVALID;
}
