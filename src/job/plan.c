/* plan.c: what a job finds on the disk when it starts decides what it has to do:
 *
 *   OUT.part  OUT   without --resume         with --resume
 *   no        any   begins                   OUT there: its state (or the shard's file) says whose it is: finished, or
 *                                            the list grew and OUT's rows are taken over; not there: begins
 *   yes       any   refuses: two runs would  continues, if the journal is this job's
 *                   mix in one file */
#include "job/plan.h"

#include "base/path.h"
#include "base/target.h"
#include "console/say.h"
#include "job/grown.h"
#include "job/targets.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MIN_RECORD_BYTES = 16 }; /* of a line: a stream's records are numbered without gaps */

/* ---- names ----------------------------------------------------------------------------------------------------- */

/* The name of the file that will be replaced, links followed, so that two names of one file have one journal. NULL: a
 * device or pipe, which takes records as they come; no journal can lie beside it. */
static blip2_status find_file(const char *name, char **path, blip2_error *err) {
    b2_target target;
    *path = NULL;
    blip2_status status = name != NULL ? b2_target_find(name, &target, err) : BLIP2_OK;
    if (status != BLIP2_OK || name == NULL) return status;
    if (target.kind == B2_TARGET_FILE && (*path = strdup(target.path)) == NULL)
        status = b2_fail(err, BLIP2_MEMORY, "no memory for a file name");
    b2_target_free(&target);
    return status;
}

static b2_keeps choose_what_to_keep(const b2_job_options *o, const char *output) {
    if (o->output_path != NULL ? output == NULL : !o->sidecar.is_wanted) return B2_KEEPS_STREAM;
    if (output != NULL) return o->shard.n > 0 ? B2_KEEPS_SHARD : B2_KEEPS_JOURNAL;
    return o->report_path != NULL ? B2_KEEPS_JOURNAL : B2_KEEPS_NOTHING;
}

static blip2_status name_journal(const b2_job_options *o, const char *report, b2_plan *plan, blip2_error *err) {
    const char *beside = plan->final_path != NULL ? plan->final_path : report;
    if (beside == NULL && o->report_path != NULL)
        return b2_fail(err, BLIP2_ARGUMENT, "--report %s: expected a file, because its records are kept beside it",
                       o->report_path);
    if (beside == NULL) return BLIP2_OK;
    plan->part_path = malloc(strlen(beside) + sizeof ".part");
    if (plan->part_path == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for a file name");
    sprintf(plan->part_path, "%s.part", beside);
    return BLIP2_OK;
}

blip2_status b2_plan_name(const b2_job_options *o, b2_plan *plan, blip2_error *err) {
    char *output = NULL, *report = NULL;
    *plan = (b2_plan){.journal = {.fd = -1}};
    blip2_status status = find_file(o->output_path, &output, err);
    if (status == BLIP2_OK) status = find_file(o->report_path, &report, err);
    plan->keeps = choose_what_to_keep(o, output);
    if (status == BLIP2_OK && plan->keeps == B2_KEEPS_STREAM && o->is_resumed)
        status =
            b2_fail(err, BLIP2_ARGUMENT, "--resume -o %s: expected a file, what went to a pipe cannot be continued",
                    o->output_path != NULL ? o->output_path : "-");
    if (status == BLIP2_OK && plan->keeps == B2_KEEPS_SHARD) {
        plan->final_path = b2_shard_path(output, &o->shard);
        if (plan->final_path == NULL) status = b2_fail(err, BLIP2_MEMORY, "no memory for a file name");
    } else if (plan->keeps == B2_KEEPS_JOURNAL) {
        plan->final_path = output;
        if (output != NULL && !o->keeps_no_state && (plan->state_path = b2_state_path(output)) == NULL)
            status = b2_fail(err, BLIP2_MEMORY, "no memory for a file name");
        output = NULL;
    }
    if (status == BLIP2_OK) status = name_journal(o, report, plan, err);
    free(output);
    free(report);
    return status;
}

/* ---- the journal ----------------------------------------------------------------------------------------------- */

/* "" for a list that merge cannot find by its name: stdin, or bytes that JSON cannot hold. NULL: no memory. */
static json_t *name_lists(const b2_inputs *inputs) {
    json_t *lists = json_array();
    for (size_t k = 0; k < inputs->n_lists; k++) {
        const b2_list_part *list = &inputs->lists[k];
        errno = 0;
        char *path = strcmp(list->path, "-") != 0 ? b2_path_absolute(list->path) : NULL;
        if (path == NULL && errno == ENOMEM) {
            json_decref(lists);
            return NULL;
        }
        json_t *name = json_string(path != NULL ? path : "");
        json_array_append_new(lists,
                              json_pack("[o,I]", name != NULL ? name : json_string(""), (json_int_t)list->first));
        free(path);
    }
    return lists;
}

static b2_header make_header(const b2_inputs *inputs, const b2_source *source, const b2_job_options *o,
                             uint64_t model_hash, b2_plan *plan) {
    const bool is_table = inputs->has_csv || inputs->lines != NULL;
    plan->lists = inputs->n_lists > 0 ? name_lists(inputs) : NULL;
    const char *list = json_string_value(json_array_get(json_array_get(plan->lists, 0), 0));
    const bool is_stream = source->n == B2_LENGTH_UNKNOWN;
    return (b2_header){.count = is_stream ? 0 : source->n,
                       .is_stream = is_stream,
                       .list_hash = source->hash,
                       .model_hash = model_hash,
                       .shard = {o->shard.i, o->shard.n > 0 ? o->shard.n : 1},
                       .spec = o->spec,
                       .csv = inputs->has_csv ? list : NULL,
                       .jsonl = inputs->lines != NULL ? list : NULL,
                       .column = is_table ? inputs->column : NULL,
                       .base_folder = inputs->base_folder,
                       .lists = !is_table || inputs->n_lists > 1 ? plan->lists : NULL,
                       .no_header = inputs->csv.no_header};
}

/* A job of 0.1.0 goes on with the background that it had, unless the user names one. */
static blip2_status check_same_job(const b2_journal *j, const b2_header *mine, b2_plan *plan, blip2_error *err) {
    char difference[300];
    b2_header now = *mine;
    if (!j->header.spec.has_background && !now.spec.has_background) now.spec.keeps_hidden = plan->keeps_hidden = true;
    if (b2_header_is_same_job(&j->header, &now, true, difference, sizeof difference)) return BLIP2_OK;
    return b2_fail(err, BLIP2_ARGUMENT,
                   "%s: belongs to a different job: %s; resume it as it was begun, or delete it to start over", j->path,
                   difference);
}

blip2_status b2_plan_make_places(b2_plan *plan, size_t n, blip2_error *err) {
    free(plan->places);
    plan->places = calloc(n + 1, sizeof *plan->places);
    plan->n_places = plan->places != NULL ? n : 0;
    return plan->places != NULL ? BLIP2_OK : b2_fail(err, BLIP2_MEMORY, "no memory for a list of %zu pictures", n);
}

/* Journals of 0.1.0 do not say that all sidecars were noted: they were, when the first picture was done. */
static bool has_answers(const b2_plan *plan) {
    for (size_t i = 0; i < plan->n_places; i++)
        if (plan->places[i].offset != 0 && !plan->places[i].is_skipped) return true;
    return false;
}

static blip2_status continue_journal(const b2_header *header, b2_plan *plan, blip2_error *err) {
    size_t n_twice = 0;
    plan->start = B2_START_CONTINUED;
    B2_TRY(check_same_job(&plan->journal, header, plan, err));
    struct stat st;
    if (header->is_stream && fstat(plan->journal.fd, &st) == 0)
        B2_TRY(b2_plan_make_places(plan, (size_t)st.st_size / MIN_RECORD_BYTES, err));
    B2_TRY(b2_journal_scan(&plan->journal, 0, plan->places, plan->n_places, &n_twice, err));
    plan->was_noted = header->is_stream || plan->journal.is_noted || has_answers(plan);
    if (plan->journal.n_torn > 0)
        b2_say("%s: its last %zu bytes are not complete records and were cut off; their pictures are done again",
               plan->part_path, plan->journal.n_torn);
    if (plan->journal.n_damaged > 0)
        b2_say("%s: %zu damaged line%s passed over; what is missing is done again", plan->part_path,
               plan->journal.n_damaged, plan->journal.n_damaged == 1 ? " is" : "s are");
    return BLIP2_OK;
}

static size_t count_failed(const b2_plan *plan) {
    size_t n = 0;
    for (size_t i = 0; i < plan->n_places; i++) n += plan->places[i].is_failed;
    return n;
}

static blip2_status accept_shard(const b2_header *header, b2_plan *plan, blip2_error *err) {
    b2_journal done;
    size_t n_twice = 0;
    plan->start = B2_START_FINISHED;
    B2_TRY(b2_journal_open(plan->final_path, &done, err));
    blip2_status status = check_same_job(&done, header, plan, err);
    if (status == BLIP2_OK) status = b2_journal_scan(&done, 0, plan->places, plan->n_places, &n_twice, err);
    plan->n_failed = count_failed(plan);
    b2_journal_close(&done);
    return status;
}

/* ---- a finished output ----------------------------------------------------------------------------------------- */

static bool is_same_list(const b2_header *a, const b2_header *b) {
    return a->count == b->count && a->list_hash == b->list_hash && a->is_stream == b->is_stream;
}

static blip2_status read_state(const b2_inputs *inputs, b2_plan *plan, blip2_error *err) {
    char *path = b2_state_path(plan->final_path);
    const bool exists = path != NULL && access(path, F_OK) == 0;
    blip2_status status = BLIP2_OK;
    if (path == NULL) status = b2_fail(err, BLIP2_MEMORY, "no memory for a file name");
    else if (b2_targets_is_list(inputs, plan->final_path))
        status = b2_fail(err, BLIP2_ARGUMENT,
                         "%s: is the list itself, and there is no %s to go on from: start without --resume",
                         plan->final_path, plan->part_path);
    else if (!exists)
        status = b2_fail(err, BLIP2_ARGUMENT,
                         "%s: is there, without %s nothing says which job it is of: start without --resume to do it "
                         "anew, or choose another output",
                         plan->final_path, path);
    else status = b2_state_read(path, &plan->earlier, err);
    free(path);
    return status;
}

/* The output exists and no journal does: this job is finished, or it goes on with a longer list. */
static blip2_status accept_output(const b2_inputs *inputs, const b2_job_options *o, b2_header *header, b2_plan *plan,
                                  blip2_error *err) {
    const b2_header *earlier = &plan->earlier.header;
    char difference[300];
    B2_TRY(read_state(inputs, plan, err));
    const bool is_same = is_same_list(earlier, header);
    if (!b2_header_is_same_work(earlier, header, difference, sizeof difference))
        return b2_fail(err, BLIP2_ARGUMENT,
                       "%s: belongs to a different job: %s; choose another output, or start without --resume to do all "
                       "anew",
                       plan->final_path, difference);
    plan->n_failed = plan->earlier.n_failed;
    if (is_same && !(o->retries_failed && plan->n_failed > 0)) return plan->start = B2_START_FINISHED, BLIP2_OK;
    if (header->is_stream || earlier->is_stream)
        return b2_fail(err, BLIP2_ARGUMENT,
                       "%s: is finished, and a list of tar files %s: choose another output, or start without --resume",
                       plan->final_path, is_same ? "is tried again only as a whole" : "does not grow");
    if (o->spec.scored != 0)
        return b2_fail(err, BLIP2_ARGUMENT,
                       "%s: is finished, of another list, and scores are not taken over: start without --resume to do "
                       "all anew",
                       plan->final_path);
    if (o->report_path != NULL)
        return b2_fail(
            err, BLIP2_ARGUMENT,
            "%s: is finished, and has no thumbnails for --report of %s: start without --resume to do all anew",
            plan->final_path, is_same ? "all pictures" : "the list as it is now");
    header->is_growing = true;
    return BLIP2_OK;
}

static bool has_state(const b2_plan *plan) {
    char *path = b2_state_path(plan->final_path);
    const bool exists = path != NULL && access(path, F_OK) == 0 && access(plan->final_path, F_OK) == 0;
    free(path);
    return exists;
}

static bool has_all(const b2_plan *plan) {
    size_t n = 0;
    for (size_t i = 0; i < plan->n_places; i++) n += plan->places[i].offset != 0;
    return n == plan->n_places;
}

/* The rows go into the journal, which is complete in itself then: whatever becomes of OUT, they are safe. A run that
 * was killed meanwhile has some of them. */
static blip2_status take_over(const b2_inputs *inputs, const b2_job_options *o, const b2_style *style,
                              const b2_header *header, b2_plan *plan, blip2_error *err) {
    if (!plan->journal.header.is_growing) return BLIP2_OK;
    if (plan->start == B2_START_CONTINUED) {
        if (has_all(plan) || !has_state(plan)) return BLIP2_OK; /* the output was being built: all rows are here */
        B2_TRY(read_state(inputs, plan, err));
    }
    const b2_grown grown = {.inputs = inputs,
                            .style = style,
                            .output_path = plan->final_path,
                            .state = &plan->earlier,
                            .is_same_list = is_same_list(&plan->earlier.header, header),
                            .retries_failed = o->retries_failed};
    return b2_grown_take(&grown, &plan->journal, plan->places, err);
}

/* ---- the journal, opened --------------------------------------------------------------------------------------- */

/* A finished shard becomes a journal again; never over another journal, hence no rename. */
static bool reopen_shard(const b2_plan *plan) {
    return link(plan->final_path, plan->part_path) == 0
               ? unlink(plan->final_path) == 0
               : errno != EEXIST && rename(plan->final_path, plan->part_path) == 0;
}

static blip2_status begin_journal(const b2_job_options *o, const b2_header *header, b2_plan *plan, blip2_error *err) {
    struct stat st;
    bool was_there = false;
    const char *like = plan->final_path != NULL ? plan->final_path : o->report_path;
    const unsigned mode =
        stat(like, &st) == 0 ? st.st_mode & 0666 : 0666; /* the records are as private as the output */
    B2_TRY(b2_journal_begin(plan->part_path, mode, header, &was_there, &plan->journal, err));
    if (!was_there) return BLIP2_OK;
    if (plan->keeps == B2_KEEPS_STREAM) return b2_journal_restart(&plan->journal, header, err);
    plan->start = B2_START_CONTINUED; /* whatever fails now, the file stays */
    if (o->is_resumed) return continue_journal(header, plan, err);
    return b2_fail(err, BLIP2_IO,
                   "%s: an unfinished run left it: --resume continues that run; delete the file to start over",
                   plan->part_path);
}

static blip2_status open_journal(const b2_inputs *inputs, const b2_job_options *o, const b2_style *style,
                                 b2_header *header, b2_plan *plan, blip2_error *err) {
    const bool is_done = plan->final_path != NULL && access(plan->final_path, F_OK) == 0,
               has_part = access(plan->part_path, F_OK) == 0;
    B2_TRY(b2_plan_make_places(plan, header->count, err));
    if (!has_part && o->is_resumed && is_done && plan->keeps == B2_KEEPS_SHARD) {
        B2_TRY(accept_shard(header, plan, err));
        if (!o->retries_failed) return BLIP2_OK;
        plan->start = B2_START_CONTINUED;
        if (!reopen_shard(plan)) return b2_fail_write(err, plan->part_path, "cannot be written");
    } else if (!has_part && o->is_resumed && is_done) {
        B2_TRY(accept_output(inputs, o, header, plan, err));
        if (plan->start == B2_START_FINISHED) return BLIP2_OK;
    }
    B2_TRY(begin_journal(o, header, plan, err));
    return take_over(inputs, o, style, header, plan, err);
}

void b2_plan_undo(b2_plan *plan) {
    if (plan->start == B2_START_BEGUN && plan->journal.fd >= 0) unlink(plan->part_path);
}

/* ---- what is to be done ---------------------------------------------------------------------------------------- */

bool b2_plan_is_done(const b2_plan *plan, const b2_job_options *o, size_t i) {
    if (i >= plan->n_places || plan->places[i].offset == 0) return false;
    return !(o->retries_failed && plan->places[i].is_failed);
}

bool b2_plan_has_sidecar(const b2_plan *plan, const b2_job_options *o, const b2_inputs *inputs, size_t i,
                         const char *name) {
    if (!o->sidecar.is_wanted || o->sidecar.existing != B2_EXISTING_SKIP || plan->was_noted || name[0] == '\0')
        return false;
    char *path = b2_sidecar_path(&o->sidecar, inputs, i, name);
    const bool exists = path != NULL && b2_sidecar_is_there(path);
    free(path);
    return exists;
}

static blip2_status list_pictures(const b2_inputs *inputs, const b2_job_options *o, b2_plan *plan, blip2_error *err) {
    const size_t step = o->shard.n > 0 ? o->shard.n : 1;
    plan->todo = malloc((inputs->n + 1) * sizeof *plan->todo);
    if (plan->todo == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for a list of %zu pictures", inputs->n);
    for (size_t i = o->shard.i; i < inputs->n; i += step) {
        plan->n_mine++;
        if (b2_plan_is_done(plan, o, i)) continue;
        if (b2_plan_has_sidecar(plan, o, inputs, i, inputs->paths[i])) {
            const b2_record skipped = {.index = i, .path = inputs->paths[i], .is_skipped = true};
            plan->n_skipped++;
            if (plan->journal.fd >= 0) B2_TRY(b2_journal_append(&plan->journal, &skipped, err));
        } else {
            plan->todo[plan->n_todo++] = i;
        }
    }
    const bool is_noting = o->sidecar.is_wanted && o->sidecar.existing == B2_EXISTING_SKIP && !plan->was_noted;
    return is_noting && plan->journal.fd >= 0 ? b2_journal_note(&plan->journal, err) : BLIP2_OK;
}

blip2_status b2_plan_make(const b2_inputs *inputs, const b2_source *source, const b2_job_options *o,
                          const b2_style *style, uint64_t model_hash, b2_plan *plan, blip2_error *err) {
    b2_header header = make_header(inputs, source, o, model_hash, plan);
    if (inputs->n_lists > 0 && plan->lists == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for a file name");
    if (plan->part_path != NULL) B2_TRY(open_journal(inputs, o, style, &header, plan, err));
    const bool is_done = plan->start == B2_START_FINISHED || header.is_stream;
    return is_done ? BLIP2_OK : list_pictures(inputs, o, plan, err);
}

void b2_plan_free(b2_plan *plan) {
    b2_journal_close(&plan->journal);
    free(plan->todo);
    free(plan->final_path);
    free(plan->part_path);
    free(plan->state_path);
    b2_state_free(&plan->earlier);
    json_decref(plan->lists);
    free(plan->places);
    *plan = (b2_plan){.journal = {.fd = -1}};
}
