/* unroll.h: what register tiles need from the compiler. */
#ifndef B2_UNROLL_H
#define B2_UNROLL_H

/* In front of a loop of constant length: it disappears before arrays are given registers. Without it both compilers
 * keep a tile of accumulators in memory. */
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define INLINE static inline __attribute__((always_inline))

#endif
