/* ending.c: see ending.h. */
#include "job/ending.h"

#include "base/file.h"
#include "console/output.h"
#include "console/say.h"
#include "job/report.h"
#include "job/targets.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static blip2_status find_records(b2_plan *plan, size_t n, blip2_error *err) {
    size_t n_twice = 0;
    B2_TRY(b2_plan_make_places(plan, n, err));
    return b2_journal_scan(&plan->journal, 0, plan->places, n, &n_twice, err);
}

static size_t count_records(const b2_plan *plan) {
    size_t n = 0;
    for (size_t i = 0; i < plan->n_places; i++) n += plan->places[i].offset != 0;
    return n;
}

bool b2_ending_count_safe(b2_plan *plan, size_t n, size_t *n_safe) {
    *n_safe = 0;
    if (plan->journal.fd < 0 || find_records(plan, n, NULL) != BLIP2_OK) return false;
    *n_safe = count_records(plan);
    return true;
}

blip2_status b2_ending_accept(const b2_plan *plan, bool keeps_no_state, blip2_error *err) {
    b2_say("%s is there already: nothing to do (delete it to do it again)", plan->final_path);
    return keeps_no_state ? b2_output_forget(plan->final_path, err) : BLIP2_OK;
}

/* This program wrote the journal, but others can write to the same disk. */
static blip2_status check_complete(const b2_plan *plan, blip2_error *err) {
    if (count_records(plan) == plan->n_mine && plan->journal.n_torn == 0) return BLIP2_OK;
    return b2_fail(err, BLIP2_FORMAT,
                   "%s: was changed while the job ran: its last %zu bytes (from byte %" PRIu64
                   ") are not complete records; --resume does those pictures again",
                   plan->part_path, plan->journal.n_torn, plan->journal.n_bytes);
}

static blip2_status name_shard(const b2_plan *plan, blip2_error *err) {
    if (rename(plan->part_path, plan->final_path) != 0)
        return b2_fail_write(err, plan->final_path, "cannot be written");
    b2_sync_folder(plan->final_path);
    return BLIP2_OK;
}

/* After the output and before the journal goes: killed in between, a job that is continued builds both again. */
static blip2_status write_state(const b2_ending *e, blip2_error *err) {
    const b2_plan *plan = e->plan;
    uint64_t *hashes = e->is_stream ? NULL : b2_state_hash_rows(e->inputs, plan->final_path);
    if (hashes == NULL && !e->is_stream) return b2_fail(err, BLIP2_MEMORY, "no memory for the state of the output");
    b2_header header = plan->journal.header;
    header.is_growing = false;
    const blip2_status status = b2_state_write(plan->final_path, &header, hashes, plan->places, e->n, err);
    free(hashes);
    return status;
}

blip2_status b2_ending_write(const b2_ending *e, blip2_error *err) {
    b2_plan *plan = e->plan;
    B2_TRY(find_records(plan, e->n, err));
    B2_TRY(check_complete(plan, err));
    B2_TRY(b2_journal_sync(&plan->journal, err));
    if (plan->keeps == B2_KEEPS_SHARD) return name_shard(plan, err);
    const b2_record_set set = {&plan->journal, 1, plan->places, e->n, true};
    /* the output comes last: it may replace the list, and then --resume would find another list than the journal's */
    if (e->report_path != NULL) B2_TRY(b2_report_write(&set, e->style, e->report_path, err));
    const bool is_list = plan->final_path != NULL && b2_targets_is_list(e->inputs, plan->final_path);
    if (plan->final_path != NULL) B2_TRY(b2_assemble_output(&set, e->style, plan->final_path, err));
    if (plan->state_path != NULL && e->keeps_state && !is_list) B2_TRY(write_state(e, err));
    if (unlink(plan->part_path) != 0) b2_say("%s: cannot be removed: %s", plan->part_path, strerror(errno));
    return BLIP2_OK;
}
