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
    B2_CPU_I8MM = 1u << 6
} b2_cpu_feature;

/* A set of b2_cpu_feature bits. */
unsigned b2_cpu_features(void);

/* Physical cores among the CPUs that this process may run on, capped by the cgroup's CPU quota; at least 1. */
int b2_cpu_physical_cores(void);

typedef struct b2_memory_state {
    uint64_t available_bytes; /* what can be had without swapping; the smaller of the machine's and the cgroup's */
    bool limited_by_cgroup;
} b2_memory_state;

/* Zero bytes when the system does not tell. */
b2_memory_state b2_memory_available(void);

/* Peak resident memory of this process, and peak without file mappings (0 when the system does not tell). */
typedef struct b2_memory_peak {
    uint64_t resident_bytes, anonymous_bytes;
} b2_memory_peak;
b2_memory_peak b2_memory_of_process(void);

#endif
