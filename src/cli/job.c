/* job.c: the batch job from its first check to its last sentence; job.h names the parts. */
#include "cli/job.h"

#include "base/cpu.h"
#include "cli/common.h"
#include "cli/files.h"
#include "cli/targets.h"
#include "cli/thumbnail.h"
#include "cli/worker.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_SEQUENCES = 256 /* of one session */, MAX_WORKERS = 256, THREADS_A_WORKER = 8 };

typedef struct job {
    const b2_inputs *inputs;
    const b2_job_options *options;
    blip2_model *model;
    b2_words words;
    b2_style style;
    b2_plan plan;
    b2_sink sink;
    b2_work work;
    size_t n_workers;
    b2_worker *workers[MAX_WORKERS];
} job;

/* ---- sizes --------------------------------------------------------------------------------------------------------------- */

static size_t choose_batch(const b2_job_options *o, size_t n_todo) {
    size_t batch = o->batch > 0 ? o->batch : n_todo > 1 ? 8 : 1;
    if (batch > n_todo) batch = n_todo > 0 ? n_todo : 1;
    if (batch * o->spec.n_asks > MAX_SEQUENCES) batch = MAX_SEQUENCES / o->spec.n_asks;
    return batch;
}

/* A few threads a session keep more cores busy than one session with many: its narrow products and its decoding do not cut
 * into more than about 8 parts. No more workers than batches. */
static size_t choose_workers(const job *j, int n_threads) {
    const size_t n_batches = (j->plan.n_todo + j->work.batch - 1) / j->work.batch;
    size_t n = j->options->n_workers > 0 ? j->options->n_workers : n_threads >= 2 * THREADS_A_WORKER ? (size_t)n_threads / THREADS_A_WORKER : 1;
    if (n > n_batches) n = n_batches;
    if (n > MAX_WORKERS) n = MAX_WORKERS;
    return n > 0 ? n : 1;
}

/* ---- before the first picture ------------------------------------------------------------------------------------------------ */

/* Beside the sessions: the list with its journal's index, and the pictures that are ready or being read. */
static uint64_t measure_rest(const job *j, const blip2_model_info *info) {
    const uint64_t picture = 3 * (uint64_t)info->image_size * info->image_size * sizeof(float), n_ahead = 2 * j->work.batch * j->n_workers;
    return b2_inputs_bytes(j->inputs) + j->inputs->n * (sizeof *j->plan.todo + sizeof *j->plan.places) + n_ahead * picture;
}

/* Said beforehand: what the job will take. */
static void say_size(const job *j, const blip2_session_options *options) {
    blip2_model_info info = {.struct_bytes = sizeof info};
    blip2_memory memory = {.struct_bytes = sizeof memory};
    blip2_model_describe(j->model, &info);
    if (blip2_session_measure(j->model, options, &memory, NULL) != BLIP2_OK) return;
    char done[64] = "", workers[64] = "";
    if (j->plan.n_todo < j->plan.n_mine) snprintf(done, sizeof done, " of %zu (the others are done)", j->plan.n_mine);
    if (j->n_workers > 1) snprintf(workers, sizeof workers, "%zu workers of ", j->n_workers);
    const uint64_t own_bytes = memory.total * j->n_workers + measure_rest(j, &info);
    b2_say("%zu%s pictures in batches of %zu, %s%d threads; %.0f MB of own memory beside the mapped %.2f GB", j->plan.n_todo, done, j->work.batch,
           workers, options->n_threads, (double)own_bytes * 1e-6, (double)info.file_bytes * 1e-9);
}

static void say_setup(const job *j) {
    blip2_model_info info = {.struct_bytes = sizeof info};
    blip2_model_describe(j->model, &info);
    const blip2_session *session = b2_worker_session(j->workers[0]);
    b2_say("%s, %s matrices, %.2f GB; kernels %s (f32: %s), %d threads, batches of %zu", info.name[0] != '\0' ? info.name : "model", info.dtype,
           (double)info.file_bytes * 1e-9, blip2_session_isa(session), blip2_session_isa_f32(session), blip2_session_threads(session),
           j->work.batch);
}

static int create_workers(job *j) {
    const int from_user = b2_choose_threads(j->options->n_threads), n_threads = from_user > 0 ? from_user : b2_cpu_physical_cores();
    j->n_workers = choose_workers(j, n_threads);
    const int each = n_threads / (int)j->n_workers > 0 ? n_threads / (int)j->n_workers : 1;
    blip2_session_options options;
    if (!b2_worker_session_options(&j->work, each, &options)) return B2_EXIT_USAGE;
    b2_warn_when_paging(j->model, &options, j->n_workers);
    if (j->plan.n_mine > 1 && !j->options->is_quiet) say_size(j, &options);
    for (size_t k = 0; k < j->n_workers; k++) {
        const int code = b2_worker_create(&j->work, each, &j->workers[k]);
        if (code != B2_EXIT_OK) return code;
    }
    return B2_EXIT_OK;
}

static int start_reader(job *j) {
    const b2_reader_options options = {.n_ahead = 2 * j->work.batch * j->n_workers, .n_threads = (int)j->n_workers, .apply_exif = j->options->spec.apply_exif,
                                       .thumbnail_side = j->options->spec.wants_thumbnails ? B2_THUMBNAIL_SIDE : 0,
                                       .is_stopping = b2_sink_is_stopping, .context = &j->sink};
    j->work.reader = b2_reader_start(j->model, j->inputs, j->plan.todo, j->plan.n_todo, &options);
    if (j->work.reader != NULL) return B2_EXIT_OK;
    b2_say("no memory for a batch of %zu pictures", j->work.batch);
    return B2_EXIT_MEMORY;
}

static int prepare_list(job *j) {
    blip2_error err;
    blip2_model_info info = {.struct_bytes = sizeof info};
    const b2_job_options *o = j->options;
    if (o->sidecar.is_wanted && b2_sidecar_check(&o->sidecar, j->inputs, &err) != BLIP2_OK) return b2_fail_with(&err, B2_EXIT_FILES);
    if (b2_spec_load_words(&o->spec, &j->words, &err) != BLIP2_OK) return b2_fail_with(&err, B2_EXIT_FILES);
    if (b2_targets_check(j->inputs, o, &err) != BLIP2_OK) return b2_fail_with(&err, B2_EXIT_FILES);
    blip2_model_describe(j->model, &info);
    return b2_plan_make(j->inputs, o, info.content_hash, &j->plan);
}

/* Everything that can be known to fail fails here, before any work is done. */
static int prepare(job *j) {
    blip2_error err;
    const b2_spec *spec = &j->options->spec;
    j->style = (b2_style){.format = spec->format, .only_text = j->inputs->n == 1 && !spec->has_format, .asks = spec->asks, .n_asks = spec->n_asks,
                          .inputs = j->inputs, .match_mode = spec->match_mode, .output_path = j->options->output_path};
    int code = b2_open_model(j->options->model_path, &j->model);
    if (code == B2_EXIT_OK) code = prepare_list(j);
    if (code != B2_EXIT_OK || j->plan.is_finished) return code;
    if (j->words.n_categories > 0) j->style.words = &j->words;
    const size_t batch = choose_batch(j->options, j->plan.n_todo);
    j->work = (b2_work){.inputs = j->inputs, .options = j->options, .plan = &j->plan, .model = j->model, .sink = &j->sink, .batch = batch};
    if (b2_sink_open(&j->sink, j->inputs, j->options, &j->plan, &j->style, batch, &err) != BLIP2_OK) return b2_fail_with(&err, B2_EXIT_FILES);
    if (j->plan.n_todo == 0) return B2_EXIT_OK;
    code = create_workers(j);
    if (code == B2_EXIT_OK) code = start_reader(j);
    if (code == B2_EXIT_OK && j->options->is_verbose) say_setup(j);
    return code;
}

/* ---- the work ------------------------------------------------------------------------------------------------------------------ */

static void *worker_main(void *context) {
    b2_worker_run(context);
    return NULL;
}

/* The first worker is this thread. One that cannot be started leaves its batches to the others. */
static void run_workers(job *j) {
    pthread_t threads[MAX_WORKERS];
    size_t n_started = 1;
    while (n_started < j->n_workers && pthread_create(&threads[n_started], NULL, worker_main, j->workers[n_started]) == 0) n_started++;
    if (j->n_workers > 0) b2_worker_run(j->workers[0]);
    for (size_t k = 1; k < n_started; k++) pthread_join(threads[k], NULL);
}

/* ---- after the last ----------------------------------------------------------------------------------------------------------------- */

/* The journal was written by this program, but it lies on a disk that others can reach. */
static blip2_status check_complete(const b2_plan *plan, size_t n, blip2_error *err) {
    size_t n_there = 0;
    for (size_t i = 0; i < n; i++) n_there += plan->places[i].offset != 0;
    if (n_there == plan->n_mine && plan->journal.n_torn == 0) return BLIP2_OK;
    return b2_fail(err, BLIP2_FORMAT, "%s: was changed while the job ran: %zu bytes behind byte %" PRIu64 " are no records; --resume does those pictures again",
                   plan->part_path, plan->journal.n_torn, plan->journal.n_bytes);
}

/* The journal becomes the output: built anew in the order of the list, so that a job interrupted or not, in batches or not,
 * ends in the same bytes. A shard's journal stays one, under its own name. */
static blip2_status finish(job *j, blip2_error *err) {
    b2_plan *plan = &j->plan;
    if (plan->streams) B2_TRY(b2_output_commit(&j->sink.stream, err));
    if (plan->journal.fd < 0) return BLIP2_OK;
    size_t n_twice = 0;
    plan->journal.n_bytes = plan->journal.n_header;
    plan->journal.n_torn = 0;
    memset(plan->places, 0, j->inputs->n * sizeof *plan->places);
    B2_TRY(b2_journal_scan(&plan->journal, 0, plan->places, j->inputs->n, &n_twice, err));
    B2_TRY(check_complete(plan, j->inputs->n, err));
    B2_TRY(b2_journal_sync(&plan->journal, err));
    if (plan->is_shard) {
        if (rename(plan->part_path, plan->final_path) != 0) return b2_fail(err, BLIP2_IO, "%s: cannot be written: %s", plan->final_path, strerror(errno));
        b2_sync_folder(plan->final_path);
        return BLIP2_OK;
    }
    const b2_shelf shelf = {&plan->journal, 1, plan->places, j->inputs->n};
    if (plan->final_path != NULL) B2_TRY(b2_write_output(&shelf, &j->style, plan->final_path, err));
    if (j->options->report_path != NULL) B2_TRY(b2_write_report(&shelf, &j->style, j->options->report_path, err));
    unlink(plan->part_path);
    return BLIP2_OK;
}

/* Of the whole job, runs before this one included, where a journal knows them. */
static void count_records(const job *j, size_t *n_failed, size_t *n_skipped) {
    *n_failed = j->sink.n_failed;
    *n_skipped = j->plan.n_skipped;
    if (j->plan.places == NULL) return;
    *n_failed = *n_skipped = 0;
    for (size_t i = 0; i < j->inputs->n; i++) {
        *n_failed += j->plan.places[i].is_failed;
        *n_skipped += j->plan.places[i].is_skipped;
    }
}

static void say_summary(const job *j, size_t n_failed, size_t n_skipped) {
    const double seconds = b2_progress_seconds(&j->sink.progress), rate = seconds > 0 ? (double)j->sink.n_done / seconds : 0;
    const double waited = j->work.reader != NULL ? (double)b2_reader_waited_ns(j->work.reader) * 1e-9 / (double)j->n_workers : 0;
    const double peak_gb = (double)b2_memory_of_process().resident_bytes * 1e-9;
    const size_t n_before = j->plan.n_mine - j->plan.n_todo - j->plan.n_skipped;
    const size_t n_good = j->plan.n_mine - n_failed - n_skipped;
    if (j->options->spec.has_format && j->options->spec.format == B2_FORMAT_JSONL) {
        fprintf(stderr, "{\"v\":1,\"summary\":true,\"pictures\":%zu,\"done\":%zu,\"failed\":%zu,\"skipped\":%zu,\"done_before\":%zu,\"blank_lines\":%zu,"
                        "\"seconds\":%.3f,\"pictures_per_second\":%.3f,\"waited_seconds\":%.3f,\"peak_rss_bytes\":%.0f}\n",
                j->plan.n_mine, n_good, n_failed, n_skipped, n_before, j->inputs->n_blank, seconds, rate, waited, peak_gb * 1e9);
        return;
    }
    char more[160] = "";
    size_t len = 0;
    if (n_skipped > 0) len += (size_t)snprintf(more, sizeof more, ", %zu skipped", n_skipped);
    if (n_before > 0) len += (size_t)snprintf(more + len, sizeof more - len, ", %zu of them before", n_before);
    if (j->inputs->n_blank > 0) snprintf(more + len, sizeof more - len, "; %zu blank line%s dropped", j->inputs->n_blank, j->inputs->n_blank > 1 ? "s" : "");
    b2_say("%zu pictures: %zu done, %zu failed%s; %.2f pictures/s, waited %.1f s for pictures, peak memory %.2f GB", j->plan.n_mine, n_good, n_failed, more,
           rate, waited, peak_gb);
}

/* While the sessions still have all they took. */
static void say_memory(void) {
    const b2_memory_peak memory = b2_memory_of_process();
    b2_say("own memory %.0f MB, with the mapped file %.2f GB resident", (double)memory.anonymous_bytes * 1e-6,
           (double)memory.resident_bytes * 1e-9);
}

static int end_early(const job *j, const blip2_error *err) {
    const bool is_stopped = err->status == BLIP2_OK || err->status == BLIP2_CANCELLED, keeps = j->plan.journal.fd >= 0 && !j->plan.streams;
    const size_t n_before = j->plan.n_mine - j->plan.n_todo, n_safe = n_before + j->sink.n_done;
    const int signal_code = b2_signals_exit_code();
    if (!is_stopped) b2_say("%s", err->message);
    else b2_say("%s after %zu of %zu pictures", signal_code != B2_EXIT_OK ? "interrupted" : "the time limit came", n_safe, j->plan.n_mine);
    if (j->plan.journal.fd >= 0 && !(keeps && n_safe > 0)) unlink(j->plan.part_path); /* nothing to go on from */
    if (keeps && n_safe > 0) b2_say("%zu records are safe in %s; the same command with --resume goes on from there", n_safe, j->plan.part_path);
    const b2_sidecar_options *sidecar = &j->options->sidecar;
    if (!keeps && sidecar->is_wanted && sidecar->existing == B2_EXISTING_SKIP && n_safe > j->sink.n_failed)
        b2_say("%zu pictures have their sidecars; the same command goes on with the others", n_safe - j->sink.n_failed);
    if (is_stopped) return signal_code != B2_EXIT_OK ? signal_code : B2_EXIT_RESUMABLE;
    return err->status == BLIP2_MEMORY ? B2_EXIT_MEMORY : B2_EXIT_FILES;
}

static int run_list(job *j) {
    blip2_error err;
    b2_progress_start(&j->sink.progress, "pictures", j->plan.n_todo, j->options->is_quiet || j->plan.n_mine <= 1);
    run_workers(j);
    b2_progress_clear(&j->sink.progress);
    if (j->sink.error.status != BLIP2_OK || j->sink.turn < j->sink.n_batches) return end_early(j, &j->sink.error);
    if (finish(j, &err) != BLIP2_OK) return end_early(j, &err);
    size_t n_failed, n_skipped;
    count_records(j, &n_failed, &n_skipped);
    if (j->plan.n_mine > 1 && !j->options->is_quiet) say_summary(j, n_failed, n_skipped);
    if (j->options->is_verbose) say_memory();
    return n_failed > 0 ? B2_EXIT_SOME_FAILED : B2_EXIT_OK;
}

int b2_job_run(const b2_inputs *inputs, const b2_job_options *options) {
    job *j = calloc(1, sizeof *j);
    if (j == NULL) return B2_EXIT_MEMORY;
    j->inputs = inputs;
    j->options = options;
    j->plan.journal.fd = -1;
    int code = prepare(j);
    if (code == B2_EXIT_OK && j->plan.is_finished) b2_say("%s is there already: nothing to do (delete it to do it again)", j->plan.final_path);
    else if (code == B2_EXIT_OK) code = run_list(j);
    else if (j->plan.is_new) unlink(j->plan.part_path); /* nothing was done */
    if (!b2_reader_stop(j->work.reader)) _exit(code); /* it hangs in a picture and still looks at the list: nothing can be freed */
    for (size_t k = 0; k < j->n_workers; k++) b2_worker_free(j->workers[k]);
    b2_sink_close(&j->sink);
    b2_plan_free(&j->plan);
    b2_words_free(&j->words);
    blip2_model_close(&j->model);
    free(j);
    return code;
}
