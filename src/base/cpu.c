#define _GNU_SOURCE /* sched_getaffinity, CPU_SET */
#include "base/cpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__x86_64__)

#include <cpuid.h>

/* Which register sets the operating system saves: bits 1-2 SSE and AVX, 5-7 AVX-512 (Intel SDM, XCR0). */
static uint64_t read_xcr0(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

unsigned b2_cpu_features(void) {
    unsigned a, b, c, d, features = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
    const bool osxsave = (c >> 27) & 1, avx = (c >> 28) & 1, fma = (c >> 12) & 1, f16c = (c >> 29) & 1;
    if (!osxsave || !avx) return 0;
    const uint64_t xcr0 = read_xcr0();
    const bool saves_avx = (xcr0 & 0x6) == 0x6, saves_avx512 = (xcr0 & 0xE6) == 0xE6;
    if (!saves_avx) return 0;
    if (fma) features |= B2_CPU_FMA;
    unsigned a7, b7, c7, d7;
    if (!__get_cpuid_count(7, 0, &a7, &b7, &c7, &d7)) return features;
    const unsigned max_subleaf = a7;
    if (((b7 >> 5) & 1) && fma && f16c) features |= B2_CPU_AVX2;
    const bool avx512 = ((b7 >> 16) & 1) && ((b7 >> 17) & 1) && ((b7 >> 30) & 1) && ((b7 >> 31) & 1); /* F DQ BW VL */
    if (avx512 && ((c7 >> 11) & 1) && saves_avx512 && (features & B2_CPU_AVX2)) features |= B2_CPU_AVX512VNNI;
    if (max_subleaf >= 1 && __get_cpuid_count(7, 1, &a7, &b7, &c7, &d7) && ((a7 >> 4) & 1) && (features & B2_CPU_AVX2))
        features |= B2_CPU_AVXVNNI;
    return features;
}

#elif defined(__aarch64__) && defined(__linux__)

#include <sys/auxv.h>

unsigned b2_cpu_features(void) {
    unsigned features = B2_CPU_NEON;                                     /* every aarch64 has it */
    if (getauxval(AT_HWCAP) & (1ul << 20)) features |= B2_CPU_DOTPROD;  /* HWCAP_ASIMDDP */
    if (getauxval(AT_HWCAP2) & (1ul << 13)) features |= B2_CPU_I8MM;    /* HWCAP2_I8MM */
    return features;
}

#else

unsigned b2_cpu_features(void) { return 0; }

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

/* The folder of this process's cgroup (v2). False where there is none. */
static bool cgroup_folder(char *folder, size_t capacity) {
    FILE *file = fopen("/proc/self/cgroup", "r");
    if (file == NULL) return false;
    char line[512];
    bool found = false;
    while (!found && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, "0::", 3) == 0) {
            line[strcspn(line, "\n")] = '\0';
            found = snprintf(folder, capacity, "/sys/fs/cgroup%s", line + 3) < (int)capacity;
        }
    fclose(file);
    return found;
}

/* Calls visit for the cgroup and each of its ancestors: a limit set above counts below. */
static void visit_cgroups(const char *file_name, void (*visit)(const char *line, void *context), void *context) {
    char folder[512], path[768], line[128];
    if (!cgroup_folder(folder, sizeof folder)) return;
    while (strlen(folder) >= strlen("/sys/fs/cgroup")) {
        snprintf(path, sizeof path, "%s/%s", folder, file_name);
        if (read_line(path, line, sizeof line)) visit(line, context);
        char *slash = strrchr(folder, '/');
        if (slash == NULL) return;
        *slash = '\0';
    }
}

/* cpu.max: "quota period", or "max period". */
static void visit_cpu_max(const char *line, void *context) {
    int *cap = context;
    char *end;
    const long quota = strtol(line, &end, 10);
    const long period = strtol(end, NULL, 10);
    if (end == line || quota <= 0 || period <= 0) return;
    const long cores = quota / period > 0 ? quota / period : 1;
    if (cores < *cap) *cap = (int)cores;
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

int b2_cpu_physical_cores(void) {
    cpu_set_t set;
    int n = 0, cap = 1 << 20;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
            if (CPU_ISSET((size_t)cpu, &set) && is_first_of_core(cpu, &set)) n++;
    } else {
        n = (int)sysconf(_SC_NPROCESSORS_ONLN);
    }
    visit_cgroups("cpu.max", visit_cpu_max, &cap);
    if (n > cap) n = cap;
    return n > 0 ? n : 1;
}

static void visit_memory_max(const char *line, void *context) {
    uint64_t *limit = context;
    char *end;
    const unsigned long long value = strtoull(line, &end, 10);
    if (end != line && value < *limit) *limit = value;
}

/* A page of the file that is read counts against the cgroup, so its limit is compared as it is: what is used already
 * is mostly page cache, which gives way. */
b2_memory_state b2_memory_available(void) {
    b2_memory_state state = {.available_bytes = read_kilobytes("/proc/meminfo", "MemAvailable")};
    uint64_t limit = UINT64_MAX;
    visit_cgroups("memory.max", visit_memory_max, &limit);
    char line[64];
    if (limit == UINT64_MAX && read_line("/sys/fs/cgroup/memory/memory.limit_in_bytes", line, sizeof line))
        visit_memory_max(line, &limit); /* cgroup v1 */
    if (state.available_bytes == 0 || limit < state.available_bytes) {
        state.limited_by_cgroup = limit != UINT64_MAX;
        if (limit != UINT64_MAX) state.available_bytes = limit;
    }
    return state;
}

#else

int b2_cpu_physical_cores(void) {
    const long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}

b2_memory_state b2_memory_available(void) { return (b2_memory_state){0}; }

#endif

b2_memory_peak b2_memory_of_process(void) {
    return (b2_memory_peak){.resident_bytes = read_kilobytes("/proc/self/status", "VmHWM"),
                            .anonymous_bytes = read_kilobytes("/proc/self/status", "RssAnon")};
}
