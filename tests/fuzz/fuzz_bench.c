/* fuzz_bench.c: any bytes as the results of other machines that blip2 bench --compare reads. */
#include "cli/bench_results.h"
#include "reach.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const b2_bench_figures here = {0.1, 0.1, 0.1, 3, 1, 100, 10};
    static const b2_bench_work stages[B2_N_STAGES] = {{1e9, 1e9}, {1e9, 1e9}, {1e9, 1e9}, {1e9, 1e9}};
    char path[64];
    fuzz_name(path, sizeof path, ".csv");
    fuzz_write_file(path, data, size);
    b2_bench_results *results = NULL;
    blip2_error err = {.message = ""};
    if (b2_bench_results_load(path, &results, &err) == BLIP2_OK) {
        b2_bench_results_print(results, &here, stages, size % 2 == 0);
        b2_bench_results_free(results);
        fuzz_reached();
    } else fuzz_require(err.message[0] != '\0');
    unlink(path);
    return 0;
}
