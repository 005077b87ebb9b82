/* cpu.c: what the machine is and has: from cpuid or the auxiliary vector, /proc, /sys, the cgroup or sysctl. Containers
 * are given less than the machine has, so the cgroup has the last word. */
#define _GNU_SOURCE      /* sched_getaffinity, CPU_SET */
#define _DARWIN_C_SOURCE /* sysctlbyname */
#include "base/cpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#if defined(__x86_64__)

#include <cpuid.h>

/* Which register sets the operating system saves: bits 1-2 SSE and AVX, 5-7 AVX-512 (Intel SDM, XCR0). */
static uint64_t read_xcr0(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

#if defined(__linux__)

#include <sys/syscall.h>

/* arch_prctl(2): what the kernel supports, and the request; XFEATURE 18 is the tiles' data (Linux 5.16). */
enum { GET_XCOMP_SUPP = 0x1021, REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18 };

static bool kernel_knows_amx(void) {
    uint64_t supported = 0;
    return syscall(SYS_arch_prctl, GET_XCOMP_SUPP, &supported) == 0 && ((supported >> XTILEDATA) & 1) != 0;
}

bool b2_cpu_permit_amx(void) { return syscall(SYS_arch_prctl, REQ_XCOMP_PERM, XTILEDATA) == 0; }

#else

static bool kernel_knows_amx(void) { return false; }
bool b2_cpu_permit_amx(void) { return false; }

#endif

unsigned b2_cpu_features(void) {
    unsigned a, b, c, d, features = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
    const bool osxsave = (c >> 27) & 1, avx = (c >> 28) & 1, fma = (c >> 12) & 1, f16c = (c >> 29) & 1;
    if (((c >> 9) & 1) && ((c >> 19) & 1)) features |= B2_CPU_SSE41;
    if (!osxsave || !avx) return features;
    const uint64_t xcr0 = read_xcr0();
    const bool saves_avx = (xcr0 & 0x6) == 0x6, saves_avx512 = (xcr0 & 0xE6) == 0xE6;
    if (!saves_avx) return features;
    features |= B2_CPU_AVX;
    if (fma) features |= B2_CPU_FMA;
    unsigned a7, b7, c7, d7;
    if (!__get_cpuid_count(7, 0, &a7, &b7, &c7, &d7)) return features;
    const unsigned max_subleaf = a7;
    if (((b7 >> 5) & 1) && fma && f16c) features |= B2_CPU_AVX2;
    const bool avx512 = ((b7 >> 16) & 1) && ((b7 >> 17) & 1) && ((b7 >> 30) & 1) && ((b7 >> 31) & 1); /* F DQ BW VL */
    if (avx512 && saves_avx512 && (features & B2_CPU_AVX2)) features |= B2_CPU_AVX512;
    if (((c7 >> 11) & 1) && (features & B2_CPU_AVX512)) features |= B2_CPU_AVX512VNNI;
    const bool saves_tiles = (xcr0 & 0x60000) == 0x60000, amx = ((d7 >> 24) & 1) && ((d7 >> 25) & 1); /* TILE, INT8 */
    if (amx && saves_tiles && (features & B2_CPU_AVX512VNNI) && kernel_knows_amx()) features |= B2_CPU_AMX;
    if (max_subleaf >= 1 && __get_cpuid_count(7, 1, &a7, &b7, &c7, &d7) && ((a7 >> 4) & 1) && (features & B2_CPU_AVX2))
        features |= B2_CPU_AVXVNNI;
    return features;
}

#elif defined(__aarch64__) && defined(__linux__)

#include <sys/auxv.h>

unsigned b2_cpu_features(void) {
    unsigned features = B2_CPU_NEON;                                   /* every aarch64 has it */
    if (getauxval(AT_HWCAP) & (1ul << 20)) features |= B2_CPU_DOTPROD; /* HWCAP_ASIMDDP */
    if (getauxval(AT_HWCAP2) & (1ul << 13)) features |= B2_CPU_I8MM;   /* HWCAP2_I8MM */
    return features;
}

#elif defined(__aarch64__) && defined(__APPLE__)

#include <sys/sysctl.h>

static bool has_feature(const char *name) {
    int value = 0;
    size_t n_bytes = sizeof value;
    return sysctlbyname(name, &value, &n_bytes, NULL, 0) == 0 && value != 0;
}

unsigned b2_cpu_features(void) {
    unsigned features = B2_CPU_NEON;
    if (has_feature("hw.optional.arm.FEAT_DotProd")) features |= B2_CPU_DOTPROD;
    if (has_feature("hw.optional.arm.FEAT_I8MM")) features |= B2_CPU_I8MM;
    return features;
}

#else

unsigned b2_cpu_features(void) { return 0; }

#endif

#if !defined(__x86_64__)
bool b2_cpu_permit_amx(void) { return false; }
#endif

/* The first line of a small file of /proc or /sys; false when there is none. */
static bool read_line(const char *path, char *line, int capacity) {
    FILE *file = fopen(path, "r");
    if (file == NULL) return false;
    const bool ok = fgets(line, capacity, file) != NULL;
    fclose(file);
    return ok;
}

/* The value in bytes of a "Name:  123 kB" line. */
static uint64_t read_kilobytes(const char *path, const char *name) {
    FILE *file = fopen(path, "r");
    if (file == NULL) return 0;
    char line[256];
    uint64_t bytes = 0;
    const size_t len = strlen(name);
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, name, len) == 0 && line[len] == ':') {
            bytes = strtoull(line + len + 1, NULL, 10) * 1024;
            break;
        }
    fclose(file);
    return bytes;
}

#if defined(__linux__)

#include <sched.h>

/* Whether a line of /proc/self/cgroup, "7:cpu,cpuacct:/a/b", names the controller; v2 has the one line "0::/a/b". */
static bool names_controller(const char *line, const char *controller) {
    const char *at = strchr(line, ':'), *end = at != NULL ? strchr(at + 1, ':') : NULL;
    const size_t len = strlen(controller);
    if (end == NULL) return false;
    if (len == 0) return end == at + 1;
    while (at < end) {
        const char *word = at + 1;
        if (strncmp(word, controller, len) == 0 && (word[len] == ',' || word + len == end)) return true;
        at = word + strcspn(word, ",:");
    }
    return false;
}

/* The folder of this process's cgroup: of a controller (v1), or of all (v2, controller ""). False where there is
 * none. */
static bool cgroup_folder(const char *controller, char *folder, size_t capacity) {
    FILE *file = fopen("/proc/self/cgroup", "r");
    if (file == NULL) return false;
    char line[512];
    bool found = false;
    while (!found && fgets(line, sizeof line, file) != NULL) {
        if (!names_controller(line, controller)) continue;
        line[strcspn(line, "\n")] = '\0';
        const char *path = strchr(strchr(line, ':') + 1, ':') + 1, *slash = controller[0] != '\0' ? "/" : "";
        found = snprintf(folder, capacity, "/sys/fs/cgroup%s%s%s", slash, controller, path) < (int)capacity;
    }
    fclose(file);
    return found;
}

/* Calls visit for the cgroup's folder and each one above: a limit set above counts below. */
static void visit_cgroups(const char *controller, void (*visit)(const char *folder, void *context), void *context) {
    char folder[512];
    if (!cgroup_folder(controller, folder, sizeof folder)) return;
    while (strlen(folder) >= strlen("/sys/fs/cgroup")) {
        visit(folder, context);
        char *slash = strrchr(folder, '/');
        if (slash == NULL) return;
        *slash = '\0';
    }
}

/* The number at the start of a file; false where there is none ("max"). */
static bool read_number_below(const char *folder, const char *name, uint64_t *value) {
    char path[768], line[128], *end;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (!read_line(path, line, sizeof line) || line[0] == '-') return false;
    *value = strtoull(line, &end, 10);
    return end != line;
}

/* v2: cpu.max is "quota period" or "max period"; v1: two files, the quota -1 without a limit. */
static void visit_cpu_limit(const char *folder, void *context) {
    int *cap = context;
    char path[768], line[128], *end = line;
    uint64_t quota = 0, period = 0;
    snprintf(path, sizeof path, "%s/cpu.max", folder);
    if (read_line(path, line, sizeof line)) {
        quota = strtoull(line, &end, 10);
        period = end != line ? strtoull(end, NULL, 10) : 0;
    } else if (!read_number_below(folder, "cpu.cfs_quota_us", &quota) ||
               !read_number_below(folder, "cpu.cfs_period_us", &period)) {
        return;
    }
    if (quota == 0 || period == 0) return;
    const uint64_t cores = quota / period > 0 ? quota / period : 1;
    if (cores < (uint64_t)*cap) *cap = (int)cores;
}

/* True when cpu is the first of its core among the CPUs of set. */
static bool is_first_of_core(int cpu, const cpu_set_t *set) {
    char path[128], line[256];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
    if (!read_line(path, line, sizeof line)) return true;
    for (char *s = line; *s != '\0' && *s != '\n';) { /* "0-1,4" */
        char *end;
        long first = strtol(s, &end, 10), last = first;
        if (end == s) return true;
        if (*end == '-') last = strtol(end + 1, &end, 10);
        for (long i = first; i <= last && i < cpu; i++)
            if (i >= 0 && i < CPU_SETSIZE && CPU_ISSET((size_t)i, set)) return false;
        s = *end == ',' ? end + 1 : end;
    }
    return true;
}

int b2_cpu_cap(int n) {
    visit_cgroups("", visit_cpu_limit, &n);
    visit_cgroups("cpu", visit_cpu_limit, &n);
    return n > 0 ? n : 1;
}

int b2_cpu_physical_cores(void) {
    cpu_set_t set;
    int n = 0;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
            if (CPU_ISSET((size_t)cpu, &set) && is_first_of_core(cpu, &set)) n++;
    } else {
        n = (int)sysconf(_SC_NPROCESSORS_ONLN);
    }
    return b2_cpu_cap(n);
}

static void visit_memory_limit(const char *folder, void *context) {
    uint64_t *limit = context, value;
    if (read_number_below(folder, "memory.max", &value) && value < *limit) *limit = value;
    if (read_number_below(folder, "memory.limit_in_bytes", &value) && value < *limit) *limit = value;
}

/* A page of the file that is read counts against the cgroup, so its limit is compared as it is: what is used already
 * is mostly page cache, which gives way. */
b2_memory_state b2_memory_available(void) {
    b2_memory_state state = {.available_bytes = read_kilobytes("/proc/meminfo", "MemAvailable")};
    uint64_t limit = UINT64_MAX;
    visit_cgroups("", visit_memory_limit, &limit);
    visit_cgroups("memory", visit_memory_limit, &limit);
    if (state.available_bytes == 0 || limit < state.available_bytes) {
        state.limited_by_cgroup = limit != UINT64_MAX;
        if (limit != UINT64_MAX) state.available_bytes = limit;
    }
    return state;
}

#else

int b2_cpu_cap(int n) { return n > 0 ? n : 1; }

int b2_cpu_physical_cores(void) {
    const long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}

b2_memory_state b2_memory_available(void) { return (b2_memory_state){0}; }

#endif

/* The value of a line "name : value" of /proc/cpuinfo; empty where there is none. */
static void read_cpuinfo(const char *name, char *value, size_t capacity) {
    FILE *file = fopen("/proc/cpuinfo", "r");
    char line[512];
    value[0] = '\0';
    while (file != NULL && value[0] == '\0' && fgets(line, sizeof line, file) != NULL) {
        const size_t len = strlen(name);
        const char *colon = strchr(line, ':');
        if (strncmp(line, name, len) != 0 || strchr(" \t:", line[len]) == NULL || colon == NULL) continue;
        if (line + len + strspn(line + len, " \t") != colon) continue; /* "model" is not "model name" */
        line[strcspn(line, "\n")] = '\0';
        snprintf(value, capacity, "%s", colon + 1 + strspn(colon + 1, " \t"));
    }
    if (file != NULL) fclose(file);
}

void b2_cpu_describe(char *text, size_t capacity) {
    char name[128], family[16], model[16];
    read_cpuinfo("model name", name, sizeof name);
    read_cpuinfo("cpu family", family, sizeof family);
    read_cpuinfo("model", model, sizeof model);
    const long n = sysconf(_SC_NPROCESSORS_ONLN);
    if (name[0] == '\0') snprintf(text, capacity, "%ld CPUs", n);
    else if (model[0] == '\0') snprintf(text, capacity, "%s, %ld CPUs", name, n);
    else snprintf(text, capacity, "%s family %s model %s, %ld CPUs", name, family, model, n);
}

b2_disk_reads b2_disk_reads_of_process(void) {
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) return (b2_disk_reads){0};
    return (b2_disk_reads){.n_pages = (uint64_t)usage.ru_majflt, .bytes = 512 * (uint64_t)usage.ru_inblock};
}

b2_memory_peak b2_memory_of_process(void) {
    return (b2_memory_peak){.resident_bytes = read_kilobytes("/proc/self/status", "VmHWM"),
                            .anonymous_bytes = read_kilobytes("/proc/self/status", "RssAnon")};
}
