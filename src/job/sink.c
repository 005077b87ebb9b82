/* sink.c: one lock for writing, so that a journal's lines and a stream's records come in the order of the list; records
 * that come early wait in a ring. */
#include "job/sink.h"

#include "console/say.h"
#include "console/signals.h"
#include "record/writer.h"

#include <stdlib.h>
#include <string.h>

blip2_status b2_sink_open(b2_sink *s, const b2_inputs *inputs, const b2_job_options *options, b2_plan *plan,
                          const b2_style *style, b2_queue *queue, blip2_error *err) {
    *s = (b2_sink){.inputs = inputs, .options = options, .plan = plan, .style = style, .queue = queue};
    pthread_mutex_init(&s->lock, NULL);
    s->early = calloc(queue->window, sizeof *s->early);
    s->is_early = calloc(queue->window, sizeof *s->is_early);
    if (s->early == NULL || s->is_early == NULL)
        return b2_fail(err, BLIP2_MEMORY, "no memory for %zu records", queue->window);
    if (plan->keeps != B2_KEEPS_STREAM) return BLIP2_OK;
    B2_TRY(b2_output_open(&s->stream, options->output_path, err));
    return b2_record_write_header(style, s->stream.file) ? BLIP2_OK : b2_output_fail(&s->stream, err);
}

/* ---- one record ------------------------------------------------------------------------------------------------ */

/* A sidecar that cannot be written is the picture's error; a full disk is the job's. A picture that failed has none:
 * blank lines would replace a good one, or stand for a finished one. */
static blip2_status write_sidecar(b2_sink *s, b2_record *record, blip2_error *err) {
    if (!s->options->sidecar.is_wanted || b2_record_get_status(record) == B2_RECORD_ERROR) return BLIP2_OK;
    if (!s->has_swept) b2_sidecar_sweep(&s->options->sidecar, s->inputs, record);
    s->has_swept =
        true; /* sidecars come in the order of the list: a job that was killed left no more than its next one */
    const blip2_status status = b2_sidecar_write(&s->options->sidecar, s->inputs, record, err);
    if (status == BLIP2_OK || status == BLIP2_MEMORY || status == BLIP2_NO_SPACE || status == BLIP2_CANCELLED)
        return status;
    record->error = strdup(err->message);
    return record->error != NULL ? BLIP2_OK : b2_fail(err, BLIP2_MEMORY, "no memory for a record");
}

static void say_hint(b2_sink *s, const b2_record *record) {
    b2_progress_clear(&s->progress);
    b2_say("%s: %s", record->path, record->hint);
}

/* Where the output has no place for an error, stderr has. */
static void say_failure(b2_sink *s, const b2_record *record) {
    const b2_format format = s->style->format;
    const bool is_seen = s->options->spec.has_format && (format == B2_FORMAT_JSONL || format == B2_FORMAT_CSV),
               has_output = s->plan->keeps == B2_KEEPS_STREAM || s->plan->final_path != NULL;
    if (is_seen && has_output) {
        if (s->n_failed == 1) s->first_reason = strdup(b2_record_why(record));
        return;
    }
    b2_progress_clear(&s->progress);
    b2_say("%s%s%s", record->error == NULL ? record->path : "", record->error == NULL ? ": " : "",
           b2_record_why(record));
}

/* A signal breaks a write to a pipe that is full: the pipe itself did not fail. */
static blip2_status write_to_stream(b2_sink *s, const b2_record *record, blip2_error *err) {
    if (b2_record_write(s->style, record, s->stream.file)) return BLIP2_OK;
    b2_output_fail(&s->stream, err);
    return b2_signals_pending(NULL) ? b2_fail(err, BLIP2_CANCELLED, "interrupted") : err->status;
}

static blip2_status write_record(b2_sink *s, b2_record *record, blip2_error *err) {
    B2_TRY(write_sidecar(s, record, err));
    if (s->plan->keeps == B2_KEEPS_STREAM) B2_TRY(write_to_stream(s, record, err));
    if (s->plan->journal.fd >= 0) B2_TRY(b2_journal_append(&s->plan->journal, record, err));
    const bool is_failed = b2_record_get_status(record) == B2_RECORD_ERROR;
    if (b2_record_has_answers(record)) b2_warn_when_pages_return(&s->pages, s->options->locks_model);
    s->n_done++;
    s->n_failed += is_failed;
    if (record->hint != NULL) say_hint(s, record);
    if (is_failed) say_failure(s, record);
    return BLIP2_OK;
}

/* Writes what has its turn, as far as it goes. The lock is held. */
static bool write_records(b2_sink *s) {
    for (size_t at; s->is_early[at = s->turn % s->queue->window]; s->turn++) {
        blip2_error err;
        const blip2_status status = write_record(s, &s->early[at], &err);
        b2_record_free(&s->early[at]);
        s->is_early[at] = false;
        if (status == BLIP2_OK) continue;
        b2_queue_stop(s->queue, status == BLIP2_CANCELLED ? NULL : &err);
        return false;
    }
    b2_progress_update(&s->progress, s->n_done, s->n_failed);
    return true;
}

bool b2_sink_take(b2_sink *s, size_t number, b2_record *record) {
    pthread_mutex_lock(&s->lock);
    s->early[number % s->queue->window] = *record;
    s->is_early[number % s->queue->window] = true;
    *record = (b2_record){0};
    const bool goes_on = write_records(s) && !b2_queue_was_stopped(s->queue);
    b2_queue_wrote(s->queue, s->turn);
    pthread_mutex_unlock(&s->lock);
    return goes_on;
}

void b2_sink_close(b2_sink *s) {
    if (s->options == NULL) return;
    if (s->plan->keeps == B2_KEEPS_STREAM) b2_output_abandon(&s->stream);
    for (size_t i = 0; s->is_early != NULL && i < s->queue->window; i++)
        if (s->is_early[i]) b2_record_free(&s->early[i]);
    free(s->early);
    free(s->is_early);
    free(s->first_reason);
    pthread_mutex_destroy(&s->lock);
}
