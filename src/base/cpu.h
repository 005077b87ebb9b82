/* cpu.h: what this machine can do: instruction sets (CPU and operating system both willing), cores, memory. */
#ifndef B2_CPU_H
#define B2_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum b2_cpu_feature {
    B2_CPU_FMA = 1u << 0,        /* x86: AVX2 code below needs it too */
    B2_CPU_AVX2 = 1u << 1,       /* AVX2 + FMA + F16C */
    B2_CPU_AVXVNNI = 1u << 2,    /* the 256-bit VNNI of laptops since 2021 */
    B2_CPU_AVX512VNNI = 1u << 3, /* AVX-512 F, BW, DQ, VL and VNNI */
    B2_CPU_NEON = 1u << 4,
    B2_CPU_DOTPROD = 1u << 5,
    B2_CPU_I8MM = 1u << 6,
    B2_CPU_SSE41 = 1u << 7, /* SSSE3 and SSE4.1 */
    B2_CPU_AVX = 1u << 8,
    B2_CPU_AVX512 = 1u << 9, /* AVX-512 F, BW, DQ, VL */
    B2_CPU_AMX = 1u << 10    /* AMX-TILE and AMX-INT8, beside AVX512VNNI; to be permitted before the first use */
} b2_cpu_feature;

/* A set of b2_cpu_feature bits. */
unsigned b2_cpu_features(void);

/* What the CPU calls itself and how many this machine has, as tests/bench/compare.py writes it: "AMD EPYC family 26 model
 * 2, 2 CPUs"; where the system does not tell, the number alone. */
void b2_cpu_describe(char *text, size_t capacity);

/* Asks the kernel to let this process use AMX's tiles: true if it does. Without it the first tile instruction is a
 * SIGILL. From then on the process (its threads and forked children too) needs larger signal stacks: sigaltstack with
 * less than sysconf(_SC_MINSIGSTKSZ) fails. So it is asked for only when a set that needs it is chosen. */
bool b2_cpu_permit_amx(void);

/* Physical cores among the CPUs that this process may run on, capped by the cgroup's CPU quota; at least 1. */
int b2_cpu_physical_cores(void);

/* n threads, but no more than the cgroup's CPU quota; at least 1. */
int b2_cpu_cap(int n);

typedef struct b2_memory_state {
    uint64_t available_bytes; /* what can be had without swapping; the smaller of the machine's and the cgroup's */
    bool limited_by_cgroup;
} b2_memory_state;

/* available_bytes is 0 if unknown. */
b2_memory_state b2_memory_available(void);

/* Peak resident memory of this process, and today, without file mappings (0 if unknown). */
typedef struct b2_memory_peak {
    uint64_t resident_bytes, anonymous_bytes;
} b2_memory_peak;
b2_memory_peak b2_memory_of_process(void);

/* How often this process has waited for a page of a mapped file that had to be read from disk (which may bring
 * megabytes of neighbours), and what was read from disk for it in all. */
typedef struct b2_disk_reads {
    uint64_t n_pages, bytes;
} b2_disk_reads;
b2_disk_reads b2_disk_reads_of_process(void);

#endif
