/* sizes.c: see sizes.h. None of them changes what is written, only how fast and in how much memory. */
#include "job/sizes.h"

#include "base/cpu.h"
#include "base/parallel.h"
#include "console/environment.h"
#include "job/journal.h"

enum { THREADS_A_WORKER = 8, LEAST_BATCH = 8, MOST_BATCH = 32, MOST_OWN_BYTES = 1500000000 };

static size_t read_ahead(size_t batch, size_t n_workers) {
    return 2 * (batch < LEAST_BATCH ? batch : LEAST_BATCH) * n_workers;
}

size_t b2_sizes_read_ahead(const b2_sizes *s) { return read_ahead(s->batch, s->n_workers); }

/* Beside the sessions: the list with its journal's index, and pictures. */
static uint64_t measure_rest(const b2_sizes_task *t, size_t batch, size_t n_workers) {
    const uint64_t picture = 3 * (uint64_t)t->info->image_size * t->info->image_size * sizeof(float);
    return b2_inputs_bytes(t->inputs) + t->inputs->n * (sizeof(size_t) + sizeof(b2_record_location)) +
           (read_ahead(batch, n_workers) + batch * n_workers) * picture;
}

uint64_t b2_sizes_own_bytes(const b2_sizes_task *t, const blip2_session_options *options, size_t n_workers) {
    blip2_memory memory = {.struct_bytes = sizeof memory};
    if (blip2_session_measure(t->work->model, options, &memory, NULL) != BLIP2_OK) return 0;
    return memory.total * n_workers + measure_rest(t, options->max_images, n_workers);
}

static size_t min(size_t a, size_t b) { return a < b ? a : b; }

/* A few threads a session keep more cores busy than one session with many: its narrow products and its decoding do not
 * cut into more than about 8 parts. */
static size_t wish_workers(const b2_sizes_task *t, int n_threads) {
    if (t->options->n_workers > 0) return min(t->options->n_workers, B2_MAX_WORKERS);
    return n_threads >= 2 * THREADS_A_WORKER ? min((size_t)n_threads / THREADS_A_WORKER, B2_MAX_WORKERS) : 1;
}

/* The more pictures, the fewer times the weights are read: as many as a modest share of the memory holds, and as leave
 * each worker some. A GPU's memory is another matter. */
static size_t default_batch(const b2_sizes_task *t, size_t n_workers) {
    const uint64_t quarter = b2_memory_available().available_bytes / 4,
                   most = quarter > 0 && quarter < MOST_OWN_BYTES ? quarter : MOST_OWN_BYTES;
    size_t batch = LEAST_BATCH;
    for (size_t more = 2 * batch; more <= MOST_BATCH; more *= 2) {
        blip2_session_options options;
        if (n_workers > 1 && more > t->n_todo / n_workers) break;
        if (b2_worker_session_options(t->work, more, 1, &options, NULL) != BLIP2_OK || options.gpu_layers != 0) break;
        const uint64_t own_bytes = b2_sizes_own_bytes(t, &options, n_workers);
        if (own_bytes == 0 || own_bytes > most) break;
        batch = more;
    }
    return batch;
}

static size_t choose_batch(const b2_sizes_task *t, size_t n_workers) {
    const b2_job_options *o = t->options;
    const size_t batch = o->batch > 0    ? o->batch
                         : t->n_todo > 1 ? default_batch(t, n_workers)
                                         : 1,
                 most = min(t->n_todo, BLIP2_MAX_BATCH / o->spec.n_asks);
    return most == 0 ? 1 : min(batch, most);
}

b2_sizes b2_sizes_choose(const b2_sizes_task *t) {
    const int from_user = b2_environment_threads(t->options->n_threads),
              n_threads = from_user > 0 ? from_user : b2_default_threads();
    const size_t n_wanted = wish_workers(t, n_threads), batch = choose_batch(t, n_wanted),
                 n_batches = t->n_todo / batch + (t->n_todo % batch > 0), n = min(n_wanted, n_batches);
    const int each = n > 0 ? n_threads / (int)n : n_threads;
    return (b2_sizes){.batch = batch, .n_workers = n > 0 ? n : 1, .n_threads = each > 0 ? each : 1};
}
