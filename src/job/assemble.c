/* assemble.c: the output is always built from journals, so that a job has the same bytes whether it was interrupted,
 * cut into shards, or neither. */
#include "job/assemble.h"

#include "console/signals.h"
#include "console/output.h"
#include "record/writer.h"

blip2_status b2_record_set_each(const b2_record_set *set, b2_record_fn *fn, void *context, blip2_error *err) {
    for (size_t i = 0; i < set->n; i++) {
        const b2_record_location *place = &set->places[i];
        b2_record record;
        if (place->offset == 0) continue;
        if (b2_signals_pending(NULL)) return b2_fail(err, BLIP2_CANCELLED, "interrupted");
        B2_TRY(b2_journal_read(&set->journals[place->journal], place->offset, &record, err));
        const blip2_status status = fn(context, &record, err);
        b2_record_free(&record);
        B2_TRY(status);
    }
    return BLIP2_OK;
}

typedef struct assembly {
    const b2_record_set *set;
    const b2_style *style;
    b2_output output;
} assembly;

/* As many numbers as there are choices: a journal's bytes are anybody's. */
static bool has_shares(const b2_record *record, size_t n) {
    for (size_t i = 0; i < record->n_answers; i++)
        if (record->answers[i].shares != NULL && record->answers[i].n_shares != n) return false;
    return true;
}

static blip2_status write_record(void *context, const b2_record *record, blip2_error *err) {
    assembly *a = context;
    if (a->style->has_scores && record->taken == NULL)
        return b2_fail(err, BLIP2_FORMAT, "%s: record %zu has no scores",
                       a->set->journals[a->set->places[record->index].journal].path, record->index);
    if (record->taken != NULL && !a->set->may_take)
        return b2_fail(err, BLIP2_FORMAT, "%s: record %zu is a row of an earlier output, which no shard has",
                       a->set->journals[a->set->places[record->index].journal].path, record->index);
    if (b2_record_has_answers(record) && record->n_answers != b2_style_answers(a->style))
        return b2_fail(err, BLIP2_FORMAT, "%s: record %zu has %zu answers, expected %zu",
                       a->set->journals[a->set->places[record->index].journal].path, record->index, record->n_answers,
                       b2_style_answers(a->style));
    if (!has_shares(record, b2_choices_count(a->style->choices)))
        return b2_fail(err, BLIP2_FORMAT, "%s: record %zu: not a probability for each choice",
                       a->set->journals[a->set->places[record->index].journal].path, record->index);
    return b2_record_write(a->style, record, a->output.file) ? BLIP2_OK : b2_output_fail(&a->output, err);
}

blip2_status b2_assemble_output(const b2_record_set *set, const b2_style *style, const char *path, blip2_error *err) {
    assembly a = {.set = set, .style = style};
    B2_TRY(b2_output_open(&a.output, path, err));
    blip2_status status = b2_record_write_header(style, a.output.file) ? BLIP2_OK : b2_output_fail(&a.output, err);
    if (status == BLIP2_OK) status = b2_record_set_each(set, write_record, &a, err);
    if (status == BLIP2_OK) return b2_output_commit(&a.output, err);
    b2_output_abandon(&a.output);
    return status;
}
