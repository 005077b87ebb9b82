/* blip2_session.h: the inside of the session handle, for the files that work with one: blip2.c, blip2_flow.c,
 * blip2_generate.c, blip2_result.c, blip2_score.c. */
#ifndef B2_BLIP2_SESSION_H
#define B2_BLIP2_SESSION_H

#include "base/prefetch.h"
#include "blip2.h"
#include "blip2_model.h"
#include "generate/run.h"

/* One place of a flow (blip2_flow.c). */
typedef enum b2_place_state { B2_PLACE_FREE, B2_PLACE_TAKEN, B2_PLACE_GOING } b2_place_state;
typedef struct b2_place {
    b2_place_state state;   /* taken: has a picture; going: its texts are being written */
    bool has_rows;          /* at least one of them still is */
    blip2_timings timings;  /* of the pictures that it began with */
    b2_decode_report until; /* what the flow had decoded before */
    int64_t device_ns;      /* and waited for the device */
} b2_place;

struct blip2_session {
    const blip2_model *model;
    b2_capacity capacity;
    b2_ops *cpu;
    b2_device_share device;           /* what it has of the model's device, if anything */
    b2_workspace homes[B2_MAX_HOMES]; /* the CPU's, and the device's (a copy of device.workspace) */
    const b2_weights *weights;        /* the model's own, or as spread over CPU and device */
    char device_reason[BLIP2_ERROR_BYTES];
    b2_runner runner;
    b2_prefetch *prefetch; /* pages of the file come in, in order of execution, while the first images are seen */
    const blip2_answers *answer_list; /* of the call under way; NULL: any */
    size_t n_seen, n_requests;        /* of the last encode, generate */
    blip2_timings timings;

    /* of each request: */
    b2_decode_request *requests; /* [max_requests] */
    b2_decode_request *retries;  /* [max_requests] those of them that are decoded a second time */
    size_t *numbers;             /* [max_requests] which request is decoded at a place */
    int32_t *prompt_ids;         /* [max_requests][n_prompt_tokens] */
    char *prompts;               /* [max_requests][prompt_bytes] */

    /* of each result: request i has those from i * max_results on; n_sequences in all */
    size_t max_results;
    b2_generation *generations;
    int32_t *tokens;              /* [n_sequences][n_new_tokens] */
    float *logprobs, *logits;     /* [n_sequences][n_new_tokens], [n_sequences][n_vocab] or NULL */
    float *processed;             /* [n_sequences][n_new_tokens] */
    b2_alternative *alternatives; /* [n_sequences][n_new_tokens][max_alternatives] */
    size_t max_alternatives;
    char *texts;              /* [n_sequences][text_bytes] */
    const char **answers;     /* [n_sequences] into texts, white space skipped */
    bool *is_echo;            /* [n_sequences] */
    size_t *n_told;           /* [n_sequences] ids that on_token has heard of */
    bool *is_ended_by_caller; /* [n_sequences] and what it said to the last one */
    size_t prompt_bytes, text_bytes;
    b2_place *places;         /* [max_images] */
    size_t *beginning;        /* [max_requests] requests that begin together */
    bool is_ordered_by_score; /* of the last generate: beams */
    bool has_processed;
    size_t n_alternatives;
    char *piece; /* text of one id */
};

/* Texts and ids of n requests into s->requests, checked; the results of the last generate are gone. Errors: ARGUMENT,
 * LIMIT, as those of generate. */
blip2_status b2_session_read_requests(blip2_session *s, const blip2_request *requests, size_t request_bytes, size_t n,
                                      blip2_error *err);

/* Request i of an array whose members are request_bytes apart. */
blip2_request b2_request_at(const blip2_request *requests, size_t request_bytes, size_t i);

/* One of them, as number i. */
blip2_status b2_session_read_request(blip2_session *s, const blip2_request *request, size_t i, blip2_error *err);

/* The texts of request i, whose ids are complete. */
void b2_session_finish(blip2_session *s, const blip2_request *request, size_t i);

/* How ids are chosen: what its options point to. It does not move. */
typedef struct b2_choosing {
    blip2_session *session;
    blip2_decoding decoding;
    b2_logits_rules rules;
    b2_sampling sampling;
    b2_beam_options beams;
    b2_decode_options options;
    bool retries; /* what came back empty is generated again */
} b2_choosing;

/* decoding may be NULL. Errors: ARGUMENT, as those of generate. */
blip2_status b2_session_choose(blip2_session *s, const blip2_decoding *decoding, b2_choosing *choosing,
                               blip2_error *err);

/* BLIP2_ARGUMENT for an image of another model; i: its number in the sentence. */
blip2_status b2_session_check_image(const blip2_session *s, const blip2_image *image, size_t i, blip2_error *err);

/* images[n], n <= B2_VISION_BATCH: pixels -> image tokens -> soft tokens, from image `first` of the session on. Adds to
 * the timings. Between b2_session_enter and leave. */
void b2_session_see(blip2_session *s, blip2_image *const *images, size_t first, size_t n);

/* How long the session has waited for its device so far. */
int64_t b2_session_device_ns(const blip2_session *s);

/* Around work with the language model: the homes are this thread's; what it took goes into the timings. before: what
 * enter returned. Errors: CANCELLED, DEVICE. */
int64_t b2_session_enter(blip2_session *s);
blip2_status b2_session_leave(blip2_session *s, int64_t before, const b2_decode_report *report, blip2_error *err);

/* True when the device has failed since the call began: then everything goes on at the CPU, which is to begin again. */
bool b2_session_drop_device(blip2_session *s);

#endif
