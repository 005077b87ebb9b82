/* run.h: from prompts to ids, however they are chosen: the best id or a drawn one (here), or beams (beam.h). */
#ifndef B2_RUN_H
#define B2_RUN_H

#include "generate/beam.h"

typedef struct b2_decode_report {
    int64_t prefill_ns, decode_ns;
    size_t n_steps;
} b2_decode_report;

typedef struct b2_runner {
    b2_chooser chooser;
    b2_beams beams;
    b2_sequence *sequences; /* [capacity of the decoder] those that begin */
} b2_runner;

/* n_new_tokens: at most so many of a text; n_beams: of a request; n_alternatives: of a step. What it points to must
 * outlive it. Errors: MEMORY. */
blip2_status b2_runner_create(const b2_weights *weights, b2_workspace *homes, size_t n_new_tokens, size_t n_beams,
                              size_t n_alternatives, b2_runner *runner, blip2_error *err);
void b2_runner_free(b2_runner *runner);

/* Writes the texts of n requests (n * n_hypotheses <= the decoder's capacity) to their ends. When a home is stopped it
 * returns early, with texts unfinished. */
void b2_decode_run(b2_runner *runner, const b2_decode_options *options, b2_decode_request *requests, size_t n,
                   b2_decode_report *report);

/* The same bit by bit, for texts that begin at different times, each by itself (n_hypotheses 1, no beams). The decoder
 * has been reset before the first. What it takes is added to the report. When a home is stopped no id is taken. */

/* Reads the prompts of requests[which[i]], i < n, and takes the first id of each. They become owners which[i] of the
 * decoder's rows; as many slots are free. */
void b2_decode_begin(b2_runner *runner, const b2_decode_options *options, b2_decode_request *requests,
                     const size_t *which, size_t n, b2_decode_report *report);
/* One more id for each that has begun and not ended. */
void b2_decode_step(b2_runner *runner, const b2_decode_options *options, b2_decode_request *requests,
                    b2_decode_report *report);

#endif
