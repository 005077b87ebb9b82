/* finish.c: from journals to the output: record after record in the order of the list, wherever each lies. */
#include "cli/job.h"

#include "cli/common.h"
#include "cli/output.h"

static blip2_status write_records(const b2_shelf *shelf, const b2_style *style, b2_output *output, blip2_error *err) {
    if (!b2_record_write_header(style, output->file)) return b2_output_fail(output, err);
    for (size_t i = 0; i < shelf->n; i++) {
        const b2_place *place = &shelf->places[i];
        if (place->offset == 0) continue;
        if (b2_signals_pending(NULL)) return b2_fail(err, BLIP2_CANCELLED, "interrupted"); /* a million records take a while */
        b2_record record;
        B2_TRY(b2_journal_read(&shelf->journals[place->journal], place->offset, &record, err));
        blip2_status status = BLIP2_OK;
        const bool lacks_answers = record.error == NULL && !record.is_skipped && record.n_answers != style->n_asks;
        if (lacks_answers) status = b2_fail(err, BLIP2_FORMAT, "%s: record %zu has %zu answers, expected %zu", shelf->journals[place->journal].path, i, record.n_answers, style->n_asks);
        else if (!b2_record_write(style, &record, output->file)) status = b2_output_fail(output, err);
        b2_record_free(&record);
        B2_TRY(status);
    }
    return BLIP2_OK;
}

blip2_status b2_write_output(const b2_shelf *shelf, const b2_style *style, const char *path, blip2_error *err) {
    b2_output output;
    B2_TRY(b2_output_open(&output, path, err));
    const blip2_status status = write_records(shelf, style, &output, err);
    if (status == BLIP2_OK) return b2_output_commit(&output, err);
    b2_output_abandon(&output);
    return status;
}
