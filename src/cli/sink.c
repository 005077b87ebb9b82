#include "cli/sink.h"

#include "base/clock.h"
#include "cli/common.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

blip2_status b2_sink_open(b2_sink *s, const b2_inputs *inputs, const b2_job_options *options, b2_plan *plan, const b2_style *style, size_t batch,
                          blip2_error *err) {
    *s = (b2_sink){.inputs = inputs, .options = options, .plan = plan, .style = style, .batch = batch};
    s->n_batches = (plan->n_todo + batch - 1) / batch;
    if (options->time_limit_seconds > 0) s->deadline_ns = b2_clock_ns() + (int64_t)(options->time_limit_seconds * 1e9);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    if (!plan->streams) return BLIP2_OK;
    B2_TRY(b2_output_open(&s->stream, options->output_path, err));
    return b2_record_write_header(style, s->stream.file) ? BLIP2_OK : b2_output_fail(&s->stream, err);
}

bool b2_sink_is_stopping(void *context) {
    b2_sink *s = context;
    if (b2_signals_pending(NULL)) return true;
    if (s->deadline_ns != 0 && b2_clock_ns() > s->deadline_ns) return true;
    pthread_mutex_lock(&s->lock);
    const bool is_stopping = s->is_stopping;
    pthread_mutex_unlock(&s->lock);
    return is_stopping;
}

void b2_sink_stop(b2_sink *s, const blip2_error *why) {
    pthread_mutex_lock(&s->lock);
    if (!s->is_stopping && why != NULL) s->error = *why;
    s->is_stopping = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

bool b2_sink_next(b2_sink *s, size_t *batch, size_t *first, size_t *n) {
    if (b2_sink_is_stopping(s)) {
        b2_sink_stop(s, NULL);
        return false;
    }
    pthread_mutex_lock(&s->lock);
    *batch = s->next_batch;
    const bool has_next = *batch < s->n_batches;
    if (has_next) s->next_batch++;
    pthread_mutex_unlock(&s->lock);
    *first = *batch * s->batch;
    const size_t left = has_next ? s->plan->n_todo - *first : 0;
    *n = left < s->batch ? left : s->batch;
    return has_next;
}

/* ---- one record ---------------------------------------------------------------------------------------------------------- */

/* A sidecar that cannot be written is the picture's error; a full disk is the job's. */
static blip2_status write_sidecar(b2_sink *s, b2_record *record, blip2_error *err) {
    if (!s->options->sidecar.is_wanted || record->error != NULL) return BLIP2_OK;
    const blip2_status status = b2_sidecar_write(&s->options->sidecar, s->inputs, record, err);
    if (status == BLIP2_OK) return BLIP2_OK;
    if (status != BLIP2_IO || errno == ENOSPC || errno == EDQUOT || errno == EIO) return status;
    record->error = strdup(err->message);
    return record->error != NULL ? BLIP2_OK : b2_fail(err, BLIP2_MEMORY, "no memory for a record");
}

/* Where the output has no place for an error, stderr has. */
static void say_failure(b2_sink *s, const b2_record *record) {
    const b2_format format = s->style->format;
    const bool is_seen = s->options->spec.has_format && (format == B2_FORMAT_JSONL || format == B2_FORMAT_CSV);
    if (is_seen && (s->plan->streams || s->plan->final_path != NULL)) return;
    b2_progress_clear(&s->progress);
    b2_say("%s%s%s", record->error == NULL ? record->path : "", record->error == NULL ? ": " : "", b2_record_why(record));
}

static blip2_status write_record(b2_sink *s, b2_record *record, blip2_error *err) {
    B2_TRY(write_sidecar(s, record, err));
    if (s->plan->streams && !b2_record_write(s->style, record, s->stream.file)) return b2_output_fail(&s->stream, err);
    if (s->plan->journal.fd >= 0) B2_TRY(b2_journal_append(&s->plan->journal, record, err));
    const bool is_failed = strcmp(b2_record_status(record), "error") == 0;
    s->n_done++;
    s->n_failed += is_failed;
    if (is_failed) say_failure(s, record);
    return BLIP2_OK;
}

bool b2_sink_take(b2_sink *s, size_t batch, b2_record *records, size_t n) {
    blip2_error err = {.status = BLIP2_OK};
    pthread_mutex_lock(&s->lock);
    while (s->turn != batch && !s->is_stopping) pthread_cond_wait(&s->changed, &s->lock);
    bool taken = !s->is_stopping;
    for (size_t i = 0; taken && i < n; i++)
        if (write_record(s, &records[i], &err) != BLIP2_OK) taken = false;
    if (taken) {
        s->turn++;
        b2_progress_update(&s->progress, s->n_done, s->n_failed);
    } else if (err.status != BLIP2_OK) {
        s->is_stopping = true;
        /* A signal breaks a write to a pipe that is full: that is no failure of the pipe. */
        if (!(s->plan->streams && b2_signals_pending(NULL))) s->error = err;
    }
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return taken;
}

void b2_sink_close(b2_sink *s) {
    if (s->options == NULL) return;
    if (s->plan->streams) b2_output_abandon(&s->stream);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
}
