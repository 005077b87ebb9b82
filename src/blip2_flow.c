/* blip2_flow.c: pictures one after another: the next ones take the places of those that are done, so that one long text
 * does not hold the places of a whole batch.
 *
 *   take    next() puts pictures into free places, one by one
 *   begin   those taken, a few at a time: pixels -> soft tokens -> prompts read, the first id of each text
 *   step    one more id for each text; a place whose texts have all ended is finished(), and free
 *
 * No memory beyond that of encode and generate: between two steps nothing lives in the text's buffers, so the ViT,
 * which shares their memory, may run; and soft tokens are read once, when their texts begin, so the first few serve
 * all.
 *
 * Beams, several samples, given texts and --retry-empty go in rounds, as encode and generate or score do them: their
 * rows fork from one prompt while no others are in flight (b2_decoder_fork), and what is kept of them counts from the
 * round's beginning. */
#include "abi.h"
#include "base/size.h"
#include "blip2_session.h"
#include "kernels/cpu/cpu_home.h"

#include <string.h>

typedef struct flow {
    blip2_session *session;
    blip2_flow all; /* what the caller wants */
    const b2_decode_options *options;
    size_t n_free, n_taken, n_going; /* places */
    bool is_inside;                  /* between enter and leave */
    b2_decode_report report;         /* of everything so far */
} flow;

static bool is_going(const flow *f) { return f->n_going > 0; }

static void enter(flow *f) {
    if (!f->is_inside) b2_session_enter(f->session);
    f->is_inside = true;
}

static void leave(flow *f) {
    if (f->is_inside) b2_cpu_home_leave(f->session->cpu);
    f->is_inside = false;
}

static void set_state(flow *f, size_t place, b2_place_state state) {
    size_t *const counts[] = {
        [B2_PLACE_FREE] = &f->n_free, [B2_PLACE_TAKEN] = &f->n_taken, [B2_PLACE_GOING] = &f->n_going};
    b2_place *p = &f->session->places[place];
    --*counts[p->state];
    ++*counts[state];
    p->state = state;
}

static blip2_request request_at(const flow *f, size_t i) {
    return b2_request_at(f->all.requests, f->all.request_bytes, i);
}

/* ---- take -------------------------------------------------------------------------------------------------------- */

static blip2_status take_one(flow *f, size_t place, bool *has_picture, blip2_error *err) {
    blip2_session *s = f->session;
    const blip2_flow_wait wait = is_going(f) ? BLIP2_FLOW_NOW : f->n_taken > 0 ? BLIP2_FLOW_SOON : BLIP2_FLOW_LONG;
    *has_picture = false;
    if (wait == BLIP2_FLOW_LONG) leave(f);
    B2_TRY(f->all.next(f->all.context, place, wait, has_picture, err));
    if (!*has_picture) return BLIP2_OK;
    B2_TRY(b2_session_check_image(s, f->all.images[place], place, err));
    for (size_t i = place * f->all.n_each; i < (place + 1) * f->all.n_each; i++) {
        const blip2_request request = request_at(f, i);
        B2_TRY(b2_session_read_request(s, &request, i, err));
        memset(s->n_told + i * s->max_results, 0, s->max_results * sizeof *s->n_told);
    }
    set_state(f, place, B2_PLACE_TAKEN);
    return BLIP2_OK;
}

/* How many places are worth a pass of the ViT: a quarter of them may stand empty. */
static size_t worth_a_pass(const flow *f) {
    return b2_max(1, b2_min(f->session->homes[B2_HOME_CPU].vision.n_images, f->all.n_places / 4));
}

/* As many as begin together. */
static blip2_status take(flow *f, blip2_error *err) {
    const size_t most = f->session->homes[B2_HOME_CPU].vision.n_images;
    bool has_picture = f->n_taken > 0 || !is_going(f) || f->n_free >= worth_a_pass(f);
    for (size_t place = 0; has_picture && f->n_taken < most && place < f->all.n_places; place++)
        if (f->session->places[place].state == B2_PLACE_FREE) B2_TRY(take_one(f, place, &has_picture, err));
    return BLIP2_OK;
}

/* ---- begin and step ---------------------------------------------------------------------------------------------- */

static void count(const flow *f, b2_place *place) {
    place->until = f->report;
    place->timings.vision_ns = f->session->timings.vision_ns;
    place->timings.qformer_ns = f->session->timings.qformer_ns;
}

/* The pictures in places that are taken, as many as the ViT sees at once. */
static blip2_status begin(flow *f, blip2_error *err) {
    blip2_session *s = f->session;
    const b2_hparams *h = &s->model->weights.h;
    const size_t most = s->homes[B2_HOME_CPU].vision.n_images, n_each = f->all.n_each;
    const int64_t device_before = b2_session_device_ns(s);
    blip2_image *images[B2_VISION_BATCH];
    size_t places[B2_VISION_BATCH], n = 0, n_requests = 0;
    for (size_t place = 0; place < f->all.n_places && n < most; place++) {
        if (s->places[place].state != B2_PLACE_TAKEN) continue;
        for (size_t i = place * n_each; i < (place + 1) * n_each; i++) {
            s->requests[i].sequence.soft_tokens =
                s->homes[B2_HOME_CPU].soft_tokens + n * h->qformer.n_queries * h->opt.width;
            s->beginning[n_requests++] = i;
        }
        images[n] = f->all.images[place];
        places[n++] = place;
    }
    s->timings = (blip2_timings){0};
    b2_session_see(s, images, 0, n);
    B2_TRY(b2_workspace_status(s->homes, err));
    for (size_t k = 0; k < n; k++) count(f, &s->places[places[k]]);
    b2_decode_begin(&s->runner, f->options, s->requests, s->beginning, n_requests, &f->report);
    B2_TRY(b2_workspace_status(s->homes, err));
    for (size_t k = 0; k < n; k++) {
        b2_place *p = &s->places[places[k]];
        p->timings.prefill_ns = f->report.prefill_ns - p->until.prefill_ns;
        p->device_ns = device_before;
        set_state(f, places[k], B2_PLACE_GOING);
    }
    return BLIP2_OK;
}

static blip2_status advance(flow *f, blip2_error *err) {
    blip2_session *s = f->session;
    enter(f);
    if (f->n_taken > 0) return begin(f, err);
    b2_decode_step(&s->runner, f->options, s->requests, &f->report);
    return b2_workspace_status(s->homes, err);
}

/* A device has failed: what is under way is begun again. */
static void begin_again(flow *f) {
    b2_decoder_reset(&f->session->runner.chooser.decoder);
    for (size_t place = 0; place < f->all.n_places; place++)
        if (f->session->places[place].state == B2_PLACE_GOING) set_state(f, place, B2_PLACE_TAKEN);
}

/* ---- finish ------------------------------------------------------------------------------------------------------ */

static blip2_status finish_place(flow *f, size_t place, blip2_error *err) {
    blip2_session *s = f->session;
    b2_place *p = &s->places[place];
    for (size_t i = place * f->all.n_each; i < (place + 1) * f->all.n_each; i++) {
        const blip2_request request = request_at(f, i);
        b2_session_finish(s, &request, i);
    }
    s->timings = p->timings;
    s->timings.decode_ns = f->report.decode_ns - p->until.decode_ns;
    s->timings.n_decode_steps = f->report.n_steps - p->until.n_steps;
    s->timings.device_ns = b2_session_device_ns(s) - p->device_ns;
    s->n_requests = f->all.n_places * f->all.n_each;
    const blip2_status status = f->all.finished(f->all.context, place, err);
    s->n_requests = 0;
    set_state(f, place, B2_PLACE_FREE);
    return status;
}

/* The places of which no text is being written any more. */
static blip2_status finish(flow *f, blip2_error *err) {
    blip2_session *s = f->session;
    const b2_decoder *d = &s->runner.chooser.decoder;
    for (size_t place = 0; place < f->all.n_places; place++) s->places[place].has_rows = false;
    for (size_t row = 0; row < d->n_rows; row++)
        if (!d->has_ended[row]) s->places[d->owners[row] / f->all.n_each].has_rows = true;
    for (size_t place = 0; place < f->all.n_places; place++)
        if (s->places[place].state == B2_PLACE_GOING && !s->places[place].has_rows) B2_TRY(finish_place(f, place, err));
    return BLIP2_OK;
}

static blip2_status run_one_by_one(flow *f, blip2_error *err) {
    blip2_session *s = f->session;
    for (;;) {
        B2_TRY(take(f, err));
        if (f->n_taken == 0 && !is_going(f)) return BLIP2_OK;
        const blip2_status status = advance(f, err);
        if (b2_session_drop_device(s)) begin_again(f);
        else if (status != BLIP2_OK) return status;
        else B2_TRY(finish(f, err));
    }
}

/* ---- rounds ------------------------------------------------------------------------------------------------------ */

static blip2_status say(flow *f, size_t n, const blip2_decoding *decoding, blip2_error *err) {
    const size_t n_requests = n * f->all.n_each;
    if (f->all.texts != NULL)
        return blip2_session_score_sized(f->session, f->all.requests, f->all.request_bytes, n_requests, f->all.texts,
                                         err);
    return blip2_session_generate_sized(f->session, f->all.requests, f->all.request_bytes, n_requests, decoding, err);
}

static blip2_status run_rounds(flow *f, const blip2_decoding *decoding, blip2_error *err) {
    for (;;) {
        size_t n = 0;
        for (bool has_picture = true; has_picture && n < f->all.n_places; n += has_picture) {
            has_picture = false;
            B2_TRY(f->all.next(f->all.context, n, n == 0 ? BLIP2_FLOW_LONG : BLIP2_FLOW_SOON, &has_picture, err));
        }
        if (n == 0) return BLIP2_OK;
        B2_TRY(blip2_session_encode(f->session, f->all.images, n, err));
        B2_TRY(say(f, n, decoding, err));
        for (size_t place = 0; place < n; place++) B2_TRY(f->all.finished(f->all.context, place, err));
    }
}

/* ---- the door ---------------------------------------------------------------------------------------------------- */

static blip2_status check(const blip2_session *s, const blip2_flow *all, blip2_error *err) {
    if (all->n_places < 1 || all->n_places > s->capacity.n_images)
        return b2_fail(err, BLIP2_ARGUMENT, "%zu places: expected 1 to %zu (max_images)", all->n_places,
                       s->capacity.n_images);
    if (all->n_each > s->capacity.n_requests / all->n_places)
        return b2_fail(err, BLIP2_ARGUMENT,
                       "%zu requests about each of %zu images: the session was created for %zu in all", all->n_each,
                       all->n_places, s->capacity.n_requests);
    return BLIP2_OK;
}

blip2_status blip2_session_flow(blip2_session *s, const blip2_flow *caller, const blip2_decoding *decoding,
                                blip2_error *err) {
    flow f = {.session = s, .all = {.struct_bytes = sizeof f.all}};
    b2_choosing choosing;
    b2_struct_in(&f.all, sizeof f.all, caller);
    f.all.n_each = b2_max(f.all.n_each, 1);
    s->n_seen = s->n_requests = 0;
    B2_TRY(check(s, &f.all, err));
    if (f.all.texts != NULL) return run_rounds(&f, NULL, err);
    B2_TRY(b2_session_choose(s, decoding, &choosing, err));
    f.options = &choosing.options;
    if (choosing.retries || f.options->n_hypotheses > 1 || f.options->n_new_tokens == 0)
        return run_rounds(&f, decoding, err);
    f.n_free = f.all.n_places;
    for (size_t place = 0; place < f.n_free; place++) s->places[place] = (b2_place){.state = B2_PLACE_FREE};
    s->n_seen = f.all.n_places;
    b2_decoder_reset(&s->runner.chooser.decoder);
    const blip2_status status = run_one_by_one(&f, err);
    leave(&f);
    s->n_seen = s->n_requests = 0;
    return status;
}
