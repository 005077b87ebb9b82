#include "cli/plan.h"

#include "cli/common.h"
#include "cli/files.h"
#include "cli/targets.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- names -------------------------------------------------------------------------------------------------------------- */

/* A device or pipe takes records as they come; it can be no journal's neighbour. */
static bool is_stream(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
}

static bool choose_paths(const b2_job_options *o, b2_plan *plan) {
    const char *output = o->output_path;
    plan->is_shard = o->shard.n > 0 && output != NULL;
    plan->streams = output != NULL ? is_stream(output) : !o->sidecar.is_wanted;
    const char *kept = output != NULL && !plan->streams ? output : o->report_path;
    if (plan->is_shard && !plan->streams) plan->final_path = b2_shard_path(output, &o->shard);
    else if (output != NULL && !plan->streams) plan->final_path = strdup(output);
    if (kept == NULL) return true;
    const char *beside = plan->final_path != NULL ? plan->final_path : kept;
    plan->part_path = malloc(strlen(beside) + sizeof ".part");
    if (plan->part_path != NULL) sprintf(plan->part_path, "%s.part", beside);
    return plan->part_path != NULL;
}

/* ---- the header: which job a journal belongs to ----------------------------------------------------------------------------- */

static json_t *hash_string(uint64_t hash) {
    char text[17];
    snprintf(text, sizeof text, "%016" PRIx64, hash);
    return json_string(text);
}

/* Where the rows of a table are, for merge; "": nowhere (stdin), or a name that JSON cannot hold. */
static void put_list(json_t *header, const b2_inputs *inputs) {
    if (!inputs->has_csv && inputs->lines == NULL) return;
    char *path = strcmp(inputs->list_path, "-") != 0 ? b2_path_absolute(inputs->list_path) : strdup("");
    json_t *name = json_string(path != NULL ? path : inputs->list_path);
    json_object_set_new(header, inputs->has_csv ? "csv" : "jsonl", name != NULL ? name : json_string(""));
    free(path);
    if (inputs->column != NULL) json_object_set_new(header, "column", json_string(inputs->column));
    if (inputs->base_folder != NULL) json_object_set_new(header, "base_dir", json_string(inputs->base_folder));
}

static json_t *make_header(const b2_inputs *inputs, const b2_job_options *o, uint64_t model_hash) {
    json_t *header = json_object(), *shard = json_array();
    json_object_set_new(header, "blip2_journal", json_integer(1));
    json_object_set_new(header, "count", json_integer((json_int_t)inputs->n));
    json_object_set_new(header, "list", hash_string(b2_inputs_hash(inputs)));
    json_array_append_new(shard, json_integer((json_int_t)o->shard.i));
    json_array_append_new(shard, json_integer(o->shard.n > 0 ? (json_int_t)o->shard.n : 1));
    json_object_set_new(header, "shard", shard);
    json_object_set_new(header, "model", hash_string(model_hash));
    json_object_set_new(header, "options", b2_spec_to_json(&o->spec));
    put_list(header, inputs);
    return header;
}

static char *show(const json_t *value) {
    char *text = value != NULL ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    return text != NULL ? text : strdup("not given");
}

/* The first option of which both headers say different things. */
static const char *find_other_option(const json_t *a, const json_t *b) {
    const json_t *sides[2] = {a, b};
    for (int side = 0; side < 2; side++) {
        const char *key;
        json_t *value;
        json_object_foreach((json_t *)(uintptr_t)sides[side], key, value) {
            if (!json_equal(value, json_object_get(sides[1 - side], key))) return key;
        }
    }
    return NULL;
}

/* 0 when the journal belongs to this job. */
static int compare_headers(const b2_journal *j, const json_t *mine) {
    const char *keys[] = {"count", "list", "shard", "model"};
    const char *const what[] = {"a list of another length", "another list of pictures", "another shard", "another model"};
    for (size_t i = 0; i < 4; i++) {
        if (json_equal(json_object_get(j->header, keys[i]), json_object_get(mine, keys[i]))) continue;
        b2_say("%s belongs to %s: resume with what it was begun with, or delete it to begin anew", j->path, what[i]);
        return B2_EXIT_USAGE;
    }
    const json_t *theirs = json_object_get(j->header, "options"), *ours = json_object_get(mine, "options");
    const char *key = find_other_option(theirs, ours);
    if (key == NULL) return B2_EXIT_OK;
    char *was = show(json_object_get(theirs, key)), *is = show(json_object_get(ours, key));
    b2_say("%s was begun with %s %s, now it is %s: resume with the options it was begun with, or delete it to begin anew", j->path, key,
           was != NULL ? was : "?", is != NULL ? is : "?");
    free(was);
    free(is);
    return B2_EXIT_USAGE;
}

/* ---- the journal --------------------------------------------------------------------------------------------------------------- */

/* Killed before its first line was whole: as good as none. */
static bool has_no_header(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) return false;
    int c;
    while ((c = getc(file)) != EOF && c != '\n') continue;
    fclose(file);
    return c == EOF;
}

static int continue_journal(const b2_inputs *inputs, const json_t *header, b2_plan *plan) {
    blip2_error err;
    size_t n_twice = 0;
    if (b2_journal_open(plan->part_path, true, &plan->journal, &err) != BLIP2_OK) return b2_fail_with(&err, B2_EXIT_FILES);
    const int code = compare_headers(&plan->journal, header);
    if (code != B2_EXIT_OK) return code;
    if (b2_journal_scan(&plan->journal, 0, plan->places, inputs->n, &n_twice, &err) != BLIP2_OK) return b2_fail_with(&err, B2_EXIT_FILES);
    if (plan->journal.n_torn > 0) b2_say("%s: its last %zu bytes are no whole records and were cut off; their pictures are done again", plan->part_path, plan->journal.n_torn);
    return B2_EXIT_OK;
}

/* An output without a journal beside it: done, if it is this job's. Only a shard's file says which job it is of. */
static int accept_finished(const b2_inputs *inputs, const json_t *header, b2_plan *plan) {
    blip2_error err;
    if (!plan->is_shard && b2_targets_is_list(inputs, plan->final_path)) {
        b2_say("%s is the list itself and has no %s to go on from: without --resume the job begins", plan->final_path, plan->part_path);
        return B2_EXIT_USAGE;
    }
    plan->is_finished = true;
    if (!plan->is_shard) return B2_EXIT_OK;
    b2_journal done;
    if (b2_journal_open(plan->final_path, false, &done, &err) != BLIP2_OK) return b2_fail_with(&err, B2_EXIT_FILES);
    const int code = compare_headers(&done, header);
    b2_journal_close(&done);
    return code;
}

/* The journal of this job that is there, or a finished shard whose failures are tried again; *code 0: neither is in the way. */
static bool find_earlier(const b2_inputs *inputs, const b2_job_options *o, const json_t *header, b2_plan *plan, int *code) {
    const bool is_done = plan->final_path != NULL && access(plan->final_path, F_OK) == 0;
    bool exists = access(plan->part_path, F_OK) == 0;
    *code = B2_EXIT_OK;
    if (exists && (plan->streams || has_no_header(plan->part_path))) exists = unlink(plan->part_path) != 0;
    if (!exists && o->is_resumed && is_done) {
        *code = accept_finished(inputs, header, plan);
        if (*code != B2_EXIT_OK || !(o->retries_failed && plan->is_shard)) return true;
        plan->is_finished = false;
        exists = rename(plan->final_path, plan->part_path) == 0;
    }
    if (exists && !o->is_resumed) {
        b2_say("%s holds the records of a run that did not end: --resume continues it; delete it to begin anew", plan->part_path);
        *code = B2_EXIT_FILES;
    } else if (exists) {
        plan->is_continued = true;
        *code = continue_journal(inputs, header, plan);
    }
    return exists;
}

static int open_journal(const b2_inputs *inputs, const b2_job_options *o, const json_t *header, b2_plan *plan) {
    blip2_error err;
    int code;
    plan->places = calloc(inputs->n, sizeof *plan->places);
    if (plan->places == NULL) return B2_EXIT_MEMORY;
    if (find_earlier(inputs, o, header, plan, &code)) return code;
    if (b2_journal_create(plan->part_path, header, &plan->journal, &err) != BLIP2_OK) return b2_fail_with(&err, B2_EXIT_FILES);
    plan->is_new = true;
    return B2_EXIT_OK;
}

/* ---- what is to be done --------------------------------------------------------------------------------------------------------- */

static bool is_to_do(const b2_job_options *o, const b2_plan *plan, size_t i) {
    if (plan->places == NULL || plan->places[i].offset == 0) return true;
    return o->retries_failed && plan->places[i].is_failed;
}

/* A picture that has its sidecar is done, whoever wrote it. A job that is continued noted those when it began: what has one
 * since has it from the run that was killed, between the sidecar and the journal, and is done again. */
static bool has_sidecar(const b2_inputs *inputs, const b2_job_options *o, const b2_plan *plan, size_t i) {
    if (!o->sidecar.is_wanted || o->sidecar.existing != B2_EXISTING_SKIP || plan->is_continued) return false;
    char *path = b2_sidecar_path(&o->sidecar, inputs, inputs->paths[i]);
    const bool exists = path != NULL && access(path, F_OK) == 0;
    free(path);
    return exists;
}

static int note_skipped(const b2_inputs *inputs, b2_plan *plan, size_t i) {
    blip2_error err;
    b2_record record = {.index = i, .path = inputs->paths[i], .is_skipped = true};
    plan->n_skipped++;
    if (plan->journal.fd < 0 || b2_journal_append(&plan->journal, &record, &err) == BLIP2_OK) return B2_EXIT_OK;
    return b2_fail_with(&err, B2_EXIT_FILES);
}

static int list_pictures(const b2_inputs *inputs, const b2_job_options *o, b2_plan *plan) {
    const size_t n = o->shard.n > 0 ? o->shard.n : 1;
    int code = B2_EXIT_OK;
    plan->todo = malloc((inputs->n + 1) * sizeof *plan->todo);
    if (plan->todo == NULL) return B2_EXIT_MEMORY;
    for (size_t i = o->shard.i; i < inputs->n && code == B2_EXIT_OK; i += n, plan->n_mine++) {
        if (!is_to_do(o, plan, i)) continue;
        if (has_sidecar(inputs, o, plan, i)) code = note_skipped(inputs, plan, i);
        else plan->todo[plan->n_todo++] = i;
    }
    return code;
}

int b2_plan_make(const b2_inputs *inputs, const b2_job_options *o, uint64_t model_hash, b2_plan *plan) {
    *plan = (b2_plan){.journal = {.fd = -1}};
    json_t *header = make_header(inputs, o, model_hash);
    int code = choose_paths(o, plan) && header != NULL ? B2_EXIT_OK : B2_EXIT_MEMORY;
    if (code == B2_EXIT_OK && plan->part_path != NULL) code = open_journal(inputs, o, header, plan);
    if (code == B2_EXIT_OK && !plan->is_finished) code = list_pictures(inputs, o, plan);
    if (code == B2_EXIT_MEMORY) b2_say("no memory for a list of %zu pictures", inputs->n);
    json_decref(header);
    return code;
}

void b2_plan_free(b2_plan *plan) {
    b2_journal_close(&plan->journal);
    free(plan->todo);
    free(plan->final_path);
    free(plan->part_path);
    free(plan->places);
    *plan = (b2_plan){.journal = {.fd = -1}};
}
