/* reach.h: does a fuzzer get where it is meant to get? It says so with fuzz_reached(); `make fuzz` runs the seeds alone
 * first, with FUZZ_SEEDS_ONLY set, and a fuzzer that none of its seeds brought there fails. */
#ifndef B2_FUZZ_REACH_H
#define B2_FUZZ_REACH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool fuzz_has_reached;

static inline void fuzz_reached(void) { fuzz_has_reached = true; }

__attribute__((destructor)) static void fuzz_check_reached(void) {
    if (getenv("FUZZ_SEEDS_ONLY") != NULL && !fuzz_has_reached) _exit(70);
}

/* Aborts, and so reports the input, where a promise is broken. */
static inline void fuzz_require(bool promise) {
    if (!promise) abort();
}

/* /dev/shm/blip2_fuzz_PID<ending>: a name of this process alone. */
static inline void fuzz_name(char *path, size_t size, const char *ending) {
    snprintf(path, size, "/dev/shm/blip2_fuzz_%ld%s", (long)getpid(), ending);
}

static inline void fuzz_write_file(const char *path, const void *bytes, size_t n) {
    FILE *file = fopen(path, "wb");
    fuzz_require(file != NULL && fwrite(bytes, 1, n, file) == n && fclose(file) == 0);
}

#endif
