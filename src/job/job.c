/* job.c: a job from its first check to its last sentence; job.h names the parts. Everything below b2_job_run()
 * returns a status; the exit code is chosen in one place. */
#include "job/job.h"

#include "base/cpu.h"
#include "console/environment.h"
#include "console/open_model.h"
#include "console/say.h"
#include "console/signals.h"
#include "job/ending.h"
#include "job/flow.h"
#include "job/sizes.h"
#include "job/targets.h"
#include "job/thumbnail.h"
#include "job/worker.h"
#include "lists/list_source.h"
#include "record/json.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How many times its places a worker may be ahead of a text that does not end; what is done waits in memory. */
enum { TIMES_AHEAD = 16 };

typedef struct job {
    const b2_inputs *inputs;
    const b2_job_options *options;
    blip2_model *model;
    blip2_model_info info;
    blip2_answers *answers;
    b2_words words;
    b2_style style;
    b2_list_source source;
    b2_flow flow; /* instead of it, where the options say so */
    b2_plan plan;
    b2_queue queue;
    b2_sink sink;
    b2_work work;
    b2_gpu_notice gpu_notice;
    b2_sizes_task task;
    b2_sizes sizes;
    size_t n_workers; /* of them those that there are */
    b2_worker *workers[B2_MAX_WORKERS];
} job;

static bool is_stream(const job *j) { return b2_flow_is_wanted(j->options); }
/* Pictures of the whole list; of a stream those that came. */
static size_t count_list(const job *j) { return is_stream(j) ? j->plan.n_mine : j->inputs->n; }
static b2_source *source_of(job *j) { return is_stream(j) ? &j->flow.source : &j->source.source; }

/* ---- before the first picture ---------------------------------------------------------------------------------- */

static const char *plural(size_t n) { return n == 1 ? "" : "s"; }

static void say_size(const job *j, const blip2_session_options *options) {
    const uint64_t own_bytes = b2_sizes_own_bytes(&j->task, options, j->sizes.n_workers);
    if (own_bytes == 0) return;
    char of[32] = "", workers[64] = "";
    const bool is_part = j->plan.n_todo < j->plan.n_mine;
    if (is_part) snprintf(of, sizeof of, " of %zu", j->plan.n_mine);
    if (j->sizes.n_workers > 1) snprintf(workers, sizeof workers, "%zu workers of ", j->sizes.n_workers);
    b2_say("%zu%s picture%s%s in batches of %zu, %s%zu thread%s; %.0f MB of own memory beside the mapped %.2f GB",
           j->plan.n_todo, of, plural(is_part ? j->plan.n_mine : j->plan.n_todo),
           is_part ? " (the others are done)" : "", j->queue.batch_size, workers, options->n_threads,
           plural(options->n_threads), (double)own_bytes * 1e-6, (double)j->info.file_bytes * 1e-9);
}

static void say_setup(const job *j) {
    const blip2_session *session = b2_worker_session(j->workers[0]);
    b2_say("%s, %s matrices, %.2f GB; kernels %s (f32: %s), %zu thread%s, batches of %zu",
           j->info.name[0] != '\0' ? j->info.name : "model", j->info.dtype, (double)j->info.file_bytes * 1e-9,
           blip2_session_isa(session), blip2_session_isa_f32(session), blip2_session_threads(session),
           plural(blip2_session_threads(session)), j->queue.batch_size);
}

static void say_device(const job *j) {
    blip2_device device = {.struct_bytes = sizeof device};
    char line[B2_GPU_LINE_BYTES];
    blip2_session_device(b2_worker_session(j->workers[0]), &device);
    if (device.n_layers == 0) return;
    b2_gpu_write_line(&device, &j->info, line);
    b2_say("GPU: %s", line);
}

static blip2_status create_workers(job *j, blip2_error *err) {
    const b2_sizes *sizes = &j->sizes;
    blip2_session_options options;
    B2_TRY(b2_worker_session_options(&j->work, sizes->batch, sizes->n_threads, &options, err));
    b2_warn_when_paging(j->model, &options, sizes->n_workers);
    if (j->options->locks_model) b2_lock_model(j->model);
    if (j->plan.n_mine > 1 && !j->options->is_quiet) say_size(j, &options);
    for (size_t k = 0; k < sizes->n_workers; k++) {
        j->n_workers = k + 1;
        B2_TRY(b2_worker_create(&j->work, sizes->n_threads, &j->workers[k], err));
        b2_gpu_say_reason(&j->gpu_notice, b2_worker_session(j->workers[k]));
    }
    return BLIP2_OK;
}

static blip2_status start_reader(job *j, blip2_error *err) {
    const b2_spec *spec = &j->options->spec;
    blip2_image_options images = b2_spec_image_options(spec, spec->wants_thumbnails ? B2_THUMBNAIL_SIDE : 0);
    images.keep_hidden |= j->plan.keeps_hidden;
    const b2_reader_options options = {.n_ahead = b2_sizes_read_ahead(&j->sizes),
                                       .n_threads = (int)j->n_workers,
                                       .images = images,
                                       .is_stopping = b2_queue_is_stopping,
                                       .context = &j->queue};
    b2_list_source_select(&j->source, j->plan.todo, j->plan.n_todo);
    j->work.reader = b2_reader_start(j->model, source_of(j), &options);
    if (j->work.reader != NULL) return BLIP2_OK;
    return b2_fail(err, BLIP2_MEMORY, "no memory for a batch of %zu pictures", j->queue.batch_size);
}

/* Without what lies in them it is another list than the next run's, or another shard's. */
static blip2_status check_folders(const job *j, blip2_error *err) {
    const size_t n = j->inputs->folders.passed.n_unlisted;
    const bool is_named = j->plan.keeps == B2_KEEPS_JOURNAL || j->plan.keeps == B2_KEEPS_SHARD;
    if (n == 0 || !(is_named || j->options->shard.n > 0)) return BLIP2_OK;
    return b2_fail(err, BLIP2_IO,
                   "%zu folder%s could not be listed, and %s would be of another list when %s can: leave %s out with "
                   "--exclude",
                   n, b2_plural(n),
                   is_named ? j->plan.final_path != NULL ? j->plan.final_path : j->plan.part_path : "this shard",
                   n == 1 ? "it" : "they", n == 1 ? "it" : "them");
}

static blip2_status check_targets(job *j, blip2_error *err) {
    const b2_job_options *o = j->options;
    B2_TRY(b2_plan_name(o, &j->plan, err));
    B2_TRY(check_folders(j, err));
    const b2_roles roles = {.output = o->output_path,
                            .report = o->report_path,
                            .shard_path = j->plan.keeps == B2_KEEPS_SHARD ? j->plan.final_path : NULL,
                            .journal = j->plan.part_path,
                            .state = j->plan.state_path,
                            .sidecar = &o->sidecar,
                            .inputs = j->inputs,
                            .gives_list_back = j->inputs->has_csv && j->inputs->n_lists == 1 && o->spec.has_format &&
                                               o->spec.format == B2_FORMAT_CSV,
                            .answers = o->answers_path,
                            .words = o->spec.word_files,
                            .n_words = o->spec.n_word_files};
    return b2_targets_check(&roles, err);
}

/* What the model makes of the lines of --answers. */
static blip2_status read_answers(job *j, blip2_error *err) {
    const b2_line_list *lines = &j->options->answers;
    B2_TRY(blip2_answers_create(j->model, lines->lines, lines->n, &j->answers, err));
    j->work.answers = j->answers;
    return BLIP2_OK;
}

/* Everything that can be known to fail fails here, before any work is done. */
static blip2_status prepare(job *j, blip2_error *err) {
    const b2_job_options *o = j->options;
    const b2_spec *spec = &o->spec;
    if (o->sidecar.is_wanted) B2_TRY(b2_sidecar_check(&o->sidecar, j->inputs, err));
    B2_TRY(b2_spec_load_words(spec, &j->words, err));
    B2_TRY(check_targets(j, err));
    const size_t n = is_stream(j) ? B2_LENGTH_UNKNOWN : j->inputs->n;
    j->style = b2_spec_style(spec, j->inputs, &j->words, n, o->output_path);
    j->source = b2_list_source_of(j->inputs);
    b2_flow_open(&j->flow, j->inputs, o, &j->plan);
    B2_TRY(b2_plan_make(j->inputs, source_of(j), o, &j->style, j->info.content_hash, &j->plan, err));
    if (j->plan.start == B2_START_FINISHED) return BLIP2_OK;
    const size_t n_todo = is_stream(j) ? B2_LENGTH_UNKNOWN : j->plan.n_todo;
    j->work = (b2_work){.spec = spec,
                        .tells_hints = o->is_verbose,
                        .isa = o->isa,
                        .gpu = o->gpu,
                        .notice = &j->gpu_notice,
                        .model = j->model,
                        .queue = &j->queue,
                        .sink = &j->sink};
    if (n_todo > 0 && o->answers.n > 0) B2_TRY(read_answers(j, err));
    j->task = (b2_sizes_task){&j->work, o, &j->info, j->inputs, n_todo};
    j->sizes = b2_sizes_choose(&j->task);
    const size_t window = TIMES_AHEAD * j->sizes.batch * j->sizes.n_workers;
    b2_queue_init(&j->queue, n_todo, j->sizes.batch, window, o->time_limit_seconds);
    B2_TRY(b2_sink_open(&j->sink, j->inputs, o, &j->plan, &j->style, &j->queue, err));
    j->sink.pages.file_bytes = j->info.file_bytes;
    if (n_todo == 0) return BLIP2_OK;
    B2_TRY(create_workers(j, err));
    B2_TRY(start_reader(j, err));
    if (o->is_verbose) {
        say_setup(j);
        say_device(j);
    }
    return BLIP2_OK;
}

/* ---- the work -------------------------------------------------------------------------------------------------- */

static void *worker_main(void *context) {
    b2_worker_run(context);
    return NULL;
}

/* The first worker is this thread. One that cannot be started leaves its batches to the others. */
static blip2_status run_workers(job *j, blip2_error *err) {
    pthread_t threads[B2_MAX_WORKERS];
    size_t n_started = 1;
    while (n_started < j->n_workers &&
           pthread_create(&threads[n_started], NULL, worker_main, j->workers[n_started]) == 0)
        n_started++;
    if (j->n_workers > 0) b2_worker_run(j->workers[0]);
    for (size_t k = 1; k < n_started; k++) pthread_join(threads[k], NULL);
    *err = j->queue.why;
    if (err->status == BLIP2_OK && j->sink.turn < j->queue.n_items) return b2_fail(err, BLIP2_CANCELLED, "stopped");
    return err->status;
}

/* ---- after the last -------------------------------------------------------------------------------------------- */

static blip2_status finish(job *j, blip2_error *err) {
    if (j->plan.keeps == B2_KEEPS_STREAM) B2_TRY(b2_output_commit(&j->sink.stream, err));
    if (j->plan.journal.fd < 0) return BLIP2_OK;
    const b2_ending ending = {.plan = &j->plan,
                              .inputs = j->inputs,
                              .style = &j->style,
                              .n = count_list(j),
                              .is_stream = is_stream(j),
                              .keeps_state = !is_stream(j) || b2_flow_is_named(j->options),
                              .report_path = j->options->report_path};
    return b2_ending_write(&ending, err);
}

/* Totals for the job, including earlier runs if there is a journal. */
static void count_records(const job *j, size_t *n_failed, size_t *n_skipped) {
    *n_failed = j->sink.n_failed;
    *n_skipped = j->plan.n_skipped;
    if (j->plan.places == NULL) return;
    *n_failed = *n_skipped = 0;
    for (size_t i = 0; i < j->plan.n_places; i++) {
        *n_failed += j->plan.places[i].is_failed;
        *n_skipped += j->plan.places[i].is_skipped;
    }
}

/* Where nothing came out, the terminal says why, once: all reasons stand in the output. NULL: something came out, or it
 * was said already. */
static const char *find_reason(const job *j, size_t n_failed) {
    const bool is_on_terminal = j->plan.n_mine == 1 && j->options->output_path == NULL;
    return n_failed == j->plan.n_mine && !is_on_terminal ? j->sink.first_reason : NULL;
}

static bool is_json_wanted(const job *j) {
    return j->options->spec.has_format && j->options->spec.format == B2_FORMAT_JSONL;
}

/* The end of the summary: members that are there only when there is something to say. */
static void print_passed_json(const job *j, const char *first_reason) {
    const b2_passed *passed = &j->inputs->folders.passed;
    for (size_t i = 0; i < passed->n_kinds; i++)
        fprintf(stderr, "%s\"%s\":%zu", i == 0 ? ",\"passed_over\":{" : ",", passed->kinds[i].name, passed->kinds[i].n);
    if (passed->n_kinds > 0) fputc('}', stderr);
    if (passed->n_unlisted > 0) fprintf(stderr, ",\"unlisted_folders\":%zu", passed->n_unlisted);
    if (j->source.n_other_form > 0) fprintf(stderr, ",\"other_unicode_form\":%zu", j->source.n_other_form);
    if (first_reason != NULL) fputs(",\"first_error\":", stderr);
    if (first_reason != NULL) b2_json_write_string(first_reason, stderr);
    fputs("}\n", stderr);
}

/* What is not as the user may think, also about a single picture. */
static void say_passed(const job *j) {
    const b2_passed *passed = &j->inputs->folders.passed;
    const size_t n_other = j->source.n_other_form;
    char text[256];
    b2_passed_print(passed, text, sizeof text);
    if (text[0] != '\0') b2_say("passed over in folders: %s", text);
    if (passed->n_unlisted > 0)
        b2_say("%zu folder%s could not be listed", passed->n_unlisted, b2_plural(passed->n_unlisted));
    if (n_other > 0)
        b2_say("%zu path%s found in the other Unicode form (NFC, NFD) of what the list says", n_other,
               n_other == 1 ? " was" : "s were");
}

/* Blank lines that were dropped. */
static size_t n_blank(const job *j) { return j->inputs->n_blank + j->flow.paths.n_blank; }

static void say_summary(const job *j, size_t n_failed, size_t n_skipped) {
    const double seconds = b2_progress_seconds(&j->sink.progress),
                 rate = seconds > 0 ? (double)j->sink.n_done / seconds : 0;
    const double waited =
        j->work.reader != NULL ? (double)b2_reader_waited_ns(j->work.reader) * 1e-9 / (double)j->n_workers : 0;
    const double peak_gb = (double)b2_memory_of_process().resident_bytes * 1e-9;
    const size_t n_before = j->plan.n_mine - j->plan.n_todo - j->plan.n_skipped;
    const size_t n_good = j->plan.n_mine - n_failed - n_skipped;
    if (is_json_wanted(j)) {
        fprintf(
            stderr,
            "{\"v\":1,\"summary\":true,\"pictures\":%zu,\"done\":%zu,\"failed\":%zu,\"skipped\":%zu,\"done_before\":%zu,\"blank_lines\":%zu,"
            "\"seconds\":%.3f,\"pictures_per_second\":%.3f,\"waited_seconds\":%.3f,\"peak_rss_bytes\":%.0f",
            j->plan.n_mine, n_good, n_failed, n_skipped, n_before, n_blank(j), seconds, rate, waited, peak_gb * 1e9);
        print_passed_json(j, find_reason(j, n_failed));
        return;
    }
    char more[160] = "";
    size_t len = 0;
    if (n_skipped > 0) len += (size_t)snprintf(more, sizeof more, ", %zu skipped", n_skipped);
    if (n_before > 0) len += (size_t)snprintf(more + len, sizeof more - len, ", %zu of them before", n_before);
    if (n_blank(j) > 0)
        snprintf(more + len, sizeof more - len, "; %zu blank line%s dropped", n_blank(j), n_blank(j) > 1 ? "s" : "");
    b2_say("%zu pictures: %zu done, %zu failed%s; %.2f pictures/s, waited %.1f s for pictures, peak memory %.2f GB",
           j->plan.n_mine, n_good, n_failed, more, rate, waited, peak_gb);
}

/* While the sessions still have all they took. */
static void say_memory(void) {
    const b2_memory_peak memory = b2_memory_of_process();
    b2_say("own memory %.0f MB, with the mapped file %.2f GB resident", (double)memory.anonymous_bytes * 1e-6,
           (double)memory.resident_bytes * 1e-9);
}

/* What of the work is safe, and how to go on from it. A journal that helps nobody is removed. */
static void say_what_is_kept(job *j) {
    const b2_plan *plan = &j->plan;
    const b2_sidecar_options *sidecar = &j->options->sidecar;
    const size_t n_done = plan->n_mine - plan->n_todo + j->sink.n_done, n_good = n_done - j->sink.n_failed;
    const bool is_kept = plan->keeps == B2_KEEPS_JOURNAL || plan->keeps == B2_KEEPS_SHARD;
    const bool is_resumable = is_kept && (!is_stream(j) || b2_flow_is_named(j->options));
    size_t n_safe;
    const bool is_counted = b2_ending_count_safe(&j->plan, count_list(j), &n_safe);
    if (is_kept && plan->journal.fd >= 0 && !is_counted)
        b2_say("the records are in %s%s", plan->part_path,
               is_resumable ? "; the same command with --resume goes on from there" : ", as JSON lines");
    else if (is_resumable && n_safe > 0)
        b2_say("%zu record%s safe in %s; the same command with --resume goes on from there", n_safe,
               n_safe == 1 ? " is" : "s are", plan->part_path);
    else if (is_kept && n_safe > 0)
        b2_say("%zu record%s safe in %s, as JSON lines; what a pipe brought cannot be gone on with", n_safe,
               n_safe == 1 ? " is" : "s are", plan->part_path);
    else if (plan->journal.fd >= 0) unlink(plan->part_path);
    if (!is_resumable && sidecar->is_wanted && sidecar->existing == B2_EXISTING_SKIP && n_good > 0)
        b2_say("%zu picture%s; the same command goes on with the others", n_good,
               n_good == 1 ? " has its sidecar" : "s have their sidecars");
}

static void say_stopped(const job *j) {
    const b2_plan *plan = &j->plan;
    const char *why = b2_signals_exit_code() != B2_EXIT_OK ? "interrupted" : "the time limit came";
    if (is_stream(j) && plan->n_mine == 0) b2_say("%s before anything was done", why);
    else if (is_stream(j)) b2_say("%s after %zu pictures", why, plan->n_mine);
    else b2_say("%s after %zu of %zu pictures", why, plan->n_mine - plan->n_todo + j->sink.n_done, plan->n_mine);
}

/* Does all pictures and puts the output together. *n_failed: pictures of the whole job that failed. */
static blip2_status run(job *j, size_t *n_failed, blip2_error *err) {
    size_t n_skipped;
    b2_progress_start(&j->sink.progress, "pictures", j->plan.n_todo,
                      j->options->is_quiet || (!is_stream(j) && j->plan.n_mine <= 1));
    blip2_status status = run_workers(j, err);
    b2_progress_clear(&j->sink.progress);
    if (is_stream(j)) b2_flow_count(&j->flow, &j->plan, &j->sink.n_done);
    if (status == BLIP2_OK && is_stream(j) && j->plan.n_mine == 0)
        status = b2_fail(err, BLIP2_IO, "%s: no pictures found", j->options->is_pipe ? "stdin" : j->options->tars[0]);
    if (status == BLIP2_OK) status = finish(j, err);
    if (status == BLIP2_CANCELLED) say_stopped(j);
    else if (status != BLIP2_OK) b2_say("%s", err->message);
    if (status != BLIP2_OK) say_what_is_kept(j);
    if (status != BLIP2_OK) return status;
    count_records(j, n_failed, &n_skipped);
    const bool has_summary = j->plan.n_mine > 1 && !j->options->is_quiet;
    const char *reason = find_reason(j, *n_failed);
    if (reason != NULL && !(has_summary && is_json_wanted(j)))
        b2_say("%s%s", j->plan.n_mine > 1 ? "every picture failed, the first: " : "", reason);
    if (has_summary) say_summary(j, *n_failed, n_skipped);
    if (!j->options->is_quiet && !(is_json_wanted(j) && j->plan.n_mine > 1)) say_passed(j);
    if (j->options->is_verbose) say_memory();
    *n_failed += j->inputs->folders.passed.n_unlisted; /* whatever lies in them failed, too */
    return BLIP2_OK;
}

/* The one place where a status becomes the exit code. */
static int exit_code_of(blip2_status status, size_t n_failed) {
    const int signal_code = b2_signals_exit_code();
    switch (status) {
    case BLIP2_OK: return n_failed > 0 ? B2_EXIT_SOME_FAILED : B2_EXIT_OK;
    case BLIP2_CANCELLED: return signal_code != B2_EXIT_OK ? signal_code : B2_EXIT_RESUMABLE;
    case BLIP2_MEMORY: return B2_EXIT_MEMORY;
    case BLIP2_ARGUMENT: return B2_EXIT_USAGE;
    default: return B2_EXIT_FILES;
    }
}

static void free_job(job *j) {
    for (size_t k = 0; k < j->n_workers; k++) b2_worker_free(j->workers[k]);
    b2_sink_close(&j->sink);
    b2_flow_close(&j->flow);
    if (j->queue.batch_size > 0) b2_queue_free(&j->queue);
    b2_plan_free(&j->plan);
    blip2_answers_free(&j->answers);
    b2_words_free(&j->words);
    b2_close_model(&j->model);
    free(j);
}

int b2_job_run(const b2_inputs *inputs, const b2_job_options *options) {
    job *j = calloc(1, sizeof *j);
    blip2_error err;
    size_t n_failed = 0;
    if (j == NULL) {
        b2_say("no memory for a job");
        return B2_EXIT_MEMORY;
    }
    *j = (job){.inputs = inputs,
               .options = options,
               .info = {.struct_bytes = sizeof j->info},
               .plan = {.journal = {.fd = -1}}};
    const int code = b2_open_model(options->model_path, &j->model);
    if (code != B2_EXIT_OK) {
        free_job(j);
        return code;
    }
    blip2_model_describe(j->model, &j->info);
    blip2_status status = prepare(j, &err);
    if (status != BLIP2_OK) {
        b2_say("%s", err.message);
        b2_plan_undo(&j->plan);
    } else if (j->plan.start == B2_START_FINISHED) {
        n_failed = j->plan.n_failed;
        status = b2_ending_accept(&j->plan, options->keeps_no_state, &err);
    } else {
        status = run(j, &n_failed, &err);
    }
    if (!b2_reader_stop(j->work.reader)) /* it hangs in a picture and still looks at the list: nothing can be freed */
        b2_leave_at_once(exit_code_of(status, n_failed));
    free_job(j);
    return exit_code_of(status, n_failed);
}
