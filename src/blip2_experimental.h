/* blip2_experimental.h: what may change or go in any version: scores of texts that are given, what could have been said
 * at each step, pictures as a flow, logits. Part of blip2.h, which says what holds for all of it. */
#ifndef BLIP2_EXPERIMENTAL_H
#define BLIP2_EXPERIMENTAL_H

#ifndef BLIP2_H
#error "include blip2.h"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Settings by the name under which numbers were published or are computed: greedy, hf-beam5, lavis-caption, lavis-vqa,
 * coco, nocaps (sources: blip2_preset.c). Members are those of blip2_decoding and blip2_request of the same names:
 *
 *      blip2_preset preset = {.struct_bytes = sizeof preset};
 *      if (!blip2_preset_find("coco", &preset)) goto failed;
 *      options.max_new_tokens = preset.max_new_tokens;     before the session is created
 *      options.max_results = preset.num_beams;
 *      decoding.num_beams = preset.num_beams;              and so on
 *      request.prompt = preset.prompt; */
typedef struct blip2_preset {
    size_t struct_bytes;
    const char *name;
    size_t max_new_tokens, num_beams, min_new_tokens;
    double length_penalty;
    const char *beam_search, *rules_see, *prompt; /* NULL: as without the preset; prompt: of captions */
    bool is_short;
} blip2_preset;

/* What they point to lives as long as the program. False, nothing changed: no such name; no more of them. */
BLIP2_API bool blip2_preset_find(const char *name, blip2_preset *preset);
BLIP2_API bool blip2_preset_at(size_t index, blip2_preset *preset);

/* How likely the model holds texts that are given: captions for a picture, answers to a question. After an encode:
 *
 *      const char *const colors[] = {"red", "green", "yellow"};
 *      blip2_texts *texts = NULL;
 *      if (blip2_texts_create(model, colors, 3, 1, &texts, &err) != BLIP2_OK) goto failed;
 *      blip2_request about = {.question = "what color is the object?"};
 *      if (blip2_session_score(session, &about, 1, texts, &err) != BLIP2_OK) goto failed;
 *      for (size_t i = 0; i < 3; i++) {
 *          blip2_score score = {.struct_bytes = sizeof score};
 *          blip2_texts_score(texts, 0, i, &score);
 *          printf("%s %.4f\n", colors[i], score.probability);
 *      }
 *      blip2_texts_free(&texts);
 *
 * A text that continues a prompt gets a space before it, unless one is there; the stop token ends each. */
typedef struct blip2_texts blip2_texts; /* texts as ids, and their scores; belongs to one thread at a time */

enum { BLIP2_MAX_TEXTS = 65536 };

/* Copies texts[n_texts], UTF-8; max_requests: of one score. On success *out is the caller's and may outlive the model.
 * Errors: ARGUMENT (not UTF-8, numbers out of range), LIMIT, MEMORY. */
BLIP2_API blip2_status blip2_texts_create(const blip2_model *model, const char *const *texts, size_t n_texts,
                                          size_t max_requests, blip2_texts **out, blip2_error *err);
BLIP2_API void blip2_texts_free(blip2_texts **texts);

/* Of the longest, the stop token counted: a session must have been created for as many max_new_tokens. */
BLIP2_API size_t blip2_texts_max_tokens(const blip2_texts *texts);

/* Scores all texts for each request (<= max_requests): the prompt is read once, then as many texts advance side by side
 * as max_requests * max_results of the session have room for. What generate left is gone.
 * Errors: ARGUMENT, LIMIT (a text longer than max_new_tokens), CANCELLED, DEVICE. */
BLIP2_API blip2_status blip2_session_score_sized(blip2_session *session, const blip2_request *requests,
                                                 size_t request_bytes, size_t n_requests, blip2_texts *texts,
                                                 blip2_error *err);
static inline blip2_status blip2_session_score(blip2_session *session, const blip2_request *requests, size_t n_requests,
                                               blip2_texts *texts, blip2_error *err) {
    return blip2_session_score_sized(session, requests, sizeof *requests, n_requests, texts, err);
}

/* Points into the texts; valid until they are scored again or freed. A number is NaN where a logit was. */
typedef struct blip2_score {
    size_t struct_bytes;
    size_t n_tokens;
    const int32_t *tokens;       /* of the text, the stop id last */
    const float *token_logprobs; /* of each after those before it: log-softmax of the raw logits */
    double logprob;              /* their sum: of the model saying this text and then nothing */
    double mean_logprob;         /* over n_tokens: of texts of different length */
    double text_logprob;         /* the sum without the stop id: of saying at least this text */
    double probability;          /* of this one if it is one of the texts: softmax of their logprob */
} blip2_score;

/* False beyond the requests or texts of the last score. */
BLIP2_API bool blip2_texts_score(const blip2_texts *texts, size_t request, size_t text, blip2_score *score);

/* One of the most probable ids at a step of a result: what the model could have said instead, whatever rules and
 * sampling say. Of beams: what could have followed at each place of this text. The id that came may be another one. */
typedef struct blip2_alternative {
    size_t struct_bytes;
    int32_t id;
    float logprob;    /* log-softmax of the raw logits */
    const char *text; /* of this id alone, white space kept, "" for </s>; valid until the next call of this function */
} blip2_alternative;

/* Number k of them, best first, at step < n_tokens; false beyond the end, and without alternatives of the decoding. */
BLIP2_API bool blip2_session_alternative(blip2_session *session, size_t request, size_t rank, size_t step, size_t k,
                                         blip2_alternative *alternative);

/* Many pictures, one after another: as soon as texts have ended, the next pictures take their places, so that one long
 * text holds up nobody. Each gets what encode and generate (or score) would give it.
 *
 * A place is an index of the caller's two arrays. next() is called for a place that is free: it puts a picture there
 * (the image, and n_each requests, whose member `image` is the place) and says so in *has_picture. The image stays
 * until finished() is called for the place: inside it, requests place * n_each and the following ones have their
 * results, and blip2_session_timings tells of the stages that they were in; they are gone when it returns. The order
 * is that in which texts end. An error of either ends the flow; what was under way is lost.
 *
 * Beams, samples side by side, given texts and retry_empty go in rounds: pictures are taken until all places have
 * one, and the next when all have ended. */
typedef enum blip2_flow_wait {
    BLIP2_FLOW_NOW,  /* others are being written: without a picture at hand, none */
    BLIP2_FLOW_SOON, /* others are about to begin: none, if it takes long */
    BLIP2_FLOW_LONG  /* nothing is under way: none means the end */
} blip2_flow_wait;

typedef struct blip2_flow {
    size_t struct_bytes;
    size_t n_places;            /* at most the session's max_images */
    size_t n_each;              /* default (0): 1; requests about each picture, n_places times at most max_requests */
    blip2_image *const *images; /* [n_places] */
    const blip2_request *requests; /* [n_places][n_each] */
    size_t request_bytes;          /* sizeof(blip2_request) */
    blip2_texts *texts;            /* NULL: texts are generated; else these are scored */
    blip2_status (*next)(void *context, size_t place, blip2_flow_wait wait, bool *has_picture, blip2_error *err);
    blip2_status (*finished)(void *context, size_t place, blip2_error *err);
    void *context;
} blip2_flow;

/* Ends when next() has none while nothing is under way. decoding may be NULL; on_token hears of requests by their
 * number in the array. Errors: ARGUMENT, LIMIT, as those of encode and generate; CANCELLED, DEVICE; those of next and
 * finished. */
BLIP2_API blip2_status blip2_session_flow(blip2_session *session, const blip2_flow *flow,
                                          const blip2_decoding *decoding, blip2_error *err);

/* The logits from which the last id of a result was chosen, [*n], n = n_vocab; valid until the next encode, generate or
 * free. NULL unless the session keeps_logits, beyond the end, of a result without an id, and with beams. */
BLIP2_API const float *blip2_session_logits(const blip2_session *session, size_t request, size_t rank, size_t *n);

#ifdef __cplusplus
}
#endif
#endif
