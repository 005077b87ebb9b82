/* flow.c: a source that passes over what is done. */
#include "job/flow.h"

#include <string.h>

bool b2_flow_is_named(const b2_job_options *o) {
    for (size_t i = 0; i < o->n_tars; i++)
        if (strcmp(o->tars[i], "-") == 0) return false;
    return !o->is_pipe;
}

static blip2_status next(b2_source *source, b2_item *item, bool *has_item, blip2_error *err) {
    b2_flow *s = (b2_flow *)source;
    for (;;) {
        B2_TRY(s->inner->next(s->inner, item, has_item, err));
        if (!*has_item) return BLIP2_OK;
        s->n_seen++;
        if (!b2_plan_is_done(s->plan, s->options, item->index)) break;
        s->n_before++;
        b2_item_free(item);
    }
    item->is_skipped =
        item->error.status == BLIP2_OK && b2_plan_has_sidecar(s->plan, s->options, s->inputs, 0, item->name);
    s->n_skipped += item->is_skipped;
    return BLIP2_OK;
}

void b2_flow_open(b2_flow *s, const b2_inputs *inputs, const b2_job_options *o, const b2_plan *plan) {
    *s = (b2_flow){.inputs = inputs, .options = o, .plan = plan};
    s->paths = b2_path_stream_of(inputs, o->is_nul ? B2_LIST_NUL : B2_LIST_LINES);
    s->tars = b2_tar_source_of((const char *const *)o->tars, o->n_tars, o->max_bytes);
    s->inner = o->is_pipe ? &s->paths.source : &s->tars.source;
    s->source = (b2_source){.n = B2_LENGTH_UNKNOWN, .hash = s->inner->hash, .next = next};
}

void b2_flow_count(const b2_flow *s, b2_plan *plan, size_t *n_done) {
    const size_t n_skipped = s->n_skipped < *n_done ? s->n_skipped : *n_done;
    plan->n_mine = s->n_before + *n_done;
    plan->n_skipped = n_skipped;
    plan->n_todo = *n_done -= n_skipped;
}

void b2_flow_close(b2_flow *s) {
    b2_path_stream_close(&s->paths);
    b2_tar_source_close(&s->tars);
}
