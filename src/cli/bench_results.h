/* bench_results.h: what blip2 bench measured, as a line of a CSV file, and beside the lines of such a file from other
 * machines or other days (tests/bench/results has one file a machine; tests/bench/compare.py appends to it). */
#ifndef B2_BENCH_RESULTS_H
#define B2_BENCH_RESULTS_H

#include "cli/bench_count.h"

#include <stdbool.h>

/* The figures of one line; 0: not known. */
typedef struct b2_bench_figures {
    double vision_s, qformer_s, prefill_s, ms_token, caption_s; /* of one caption of 20 tokens at batch 1 */
    double dot_gops, read_gbs;                                  /* the probes beside them */
} b2_bench_figures;

typedef struct b2_bench_results b2_bench_results;

/* The medians of a file's lines, for each machine, engine and number of threads. Errors: IO, FORMAT (no such file, no
 * column machine, engine, threads or caption_s), LIMIT, MEMORY. */
blip2_status b2_bench_results_load(const char *path, b2_bench_results **results, blip2_error *err);
void b2_bench_results_free(b2_bench_results *results);

/* A table, or a JSON line for each entry: its figures, its shares of its own probes, and there / here of each time.
 * stages: of this model at batch 1. */
void b2_bench_results_print(const b2_bench_results *results, const b2_bench_figures *here, const b2_bench_work *stages,
                            bool is_jsonl);

/* Sorts the values; 0 for none. */
double b2_median(double *values, size_t n);

/* The header and one line of such a file. */
void b2_bench_print_csv(const char *engine, size_t n_threads, const b2_bench_figures *here);

#endif
