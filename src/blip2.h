/* blip2.h: image captions and visual questions with BLIP-2, on the CPU.
 *
 * The only header a program includes (it brings blip2_experimental.h). Two handles:
 *   blip2_model    one converted file, mapped read-only; immutable, shared by any number of sessions and threads
 *   blip2_session  everything that changes: activations, key/value cache, thread count
 *
 * A caption (tests/tools/check_install.sh compiles and runs these lines):
 *
 *     blip2_model *model = NULL;
 *     blip2_session *session = NULL;
 *     blip2_image *image = NULL;
 *     blip2_error err;
 *     if (blip2_model_open(argv[1], &model, &err) != BLIP2_OK) goto failed;
 *     if (blip2_session_create(model, NULL, &session, &err) != BLIP2_OK) goto failed;
 *     if (blip2_image_load(model, argv[2], NULL, &image, &err) != BLIP2_OK) goto failed;
 *     if (blip2_session_encode(session, &image, 1, &err) != BLIP2_OK) goto failed;
 *     blip2_request request = {.image = 0}; // no prompt, no question: a caption
 *     if (blip2_session_generate(session, &request, 1, NULL, &err) != BLIP2_OK) goto failed;
 *     blip2_result result = {.struct_bytes = sizeof result};
 *     blip2_session_result(session, 0, 0, &result);
 *     puts(result.text);
 *
 * ERRORS. Every call that can fail returns a blip2_status and fills *err (which may be NULL) with one sentence. The
 * library never prints, never exits, never reads the environment.
 *
 * SIZES. Structs grow from version to version, always at their end, and begin with their size in bytes: a program built
 * with an older, shorter struct gets defaults for what it does not know, and nothing is written beyond its end. The
 * _default functions set the size of options; for structs that the library fills, set it yourself:
 * blip2_memory memory = {.struct_bytes = sizeof memory}; (blip2_request comes in arrays: its size is an argument.)
 *
 * THREADS. A model and an image may be used by any number of threads at once, and blip2_image_* may load in parallel. A
 * session belongs to one thread at a time; several sessions may run at once, on one model too. Callbacks come on the
 * thread that called. A session owns threads of its own: they do not survive fork(), so create sessions in the child;
 * a model opened before fork() may be used in both.
 *
 * MAPPED FILES. The model is used where it is mapped. If somebody truncates the file, or its disk or network goes away,
 * the system sends SIGBUS; a program that must survive that catches it (the blip2 program says so and exits). */
#ifndef BLIP2_H
#define BLIP2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define BLIP2_API __attribute__((visibility("default")))
#else
#define BLIP2_API
#endif

#define BLIP2_VERSION "0.2.0"
#define BLIP2_ABI_VERSION 1 /* of libblip2.so.1: changes when a program has to be compiled again */

/* Of the library that runs, which may be newer than this header. */
BLIP2_API const char *blip2_version(void);
BLIP2_API int blip2_abi_version(void);

/* ---- errors ------------------------------------------------------------------------------------------------ */

/* The numbers are pinned: they never change their meaning. */
typedef enum blip2_status {
    BLIP2_OK = 0,
    BLIP2_IO = 1,            /* a file cannot be opened, read, written, synced or renamed */
    BLIP2_FORMAT = 2,        /* bytes that are not what their file type demands */
    BLIP2_OTHER_VERSION = 3, /* a well-formed file of another version or architecture */
    BLIP2_CHECKSUM = 4,      /* bytes that changed since they were written */
    BLIP2_SHAPE = 5,         /* a tensor is missing, superfluous or misshaped */
    BLIP2_UNSUPPORTED = 6,   /* valid, but beyond what this program or machine can do */
    BLIP2_ARGUMENT = 7,      /* the caller wants something impossible */
    BLIP2_LIMIT = 8,         /* a bound on sizes was exceeded */
    BLIP2_MEMORY = 9,        /* no memory */
    BLIP2_CANCELLED = 10,    /* the caller's cancel callback said so */
    BLIP2_NO_SPACE = 11,     /* the disk is full, or a quota or file size limit is reached */
    BLIP2_DEVICE = 12        /* a compute device failed */
} blip2_status;

/* "OK", "IO", "FORMAT", ...; "UNKNOWN" for other numbers. Lives as long as the program. */
BLIP2_API const char *blip2_status_name(blip2_status status);

enum { BLIP2_ERROR_BYTES = 512 };

/* One sentence: what, where, expected, got. UTF-8, NUL-terminated, never longer than the array. */
typedef struct blip2_error {
    blip2_status status;
    char message[BLIP2_ERROR_BYTES];
} blip2_error;

/* ---- the model: one converted file -------------------------------------------------------------------------- */

typedef struct blip2_model blip2_model;

/* Maps a file made by `blip2 convert` and checks everything that a run will rely on, except the tensors' checksums
 * (blip2_model_verify does those). Reads only the header: instant, whatever the file's size.
 * On success *out is the caller's, to be closed after all sessions on it; on failure *out is NULL.
 * Errors: IO, FORMAT, OTHER_VERSION, CHECKSUM (header), SHAPE, UNSUPPORTED, LIMIT, MEMORY. */
BLIP2_API blip2_status blip2_model_open(const char *path, blip2_model **out, blip2_error *err);

/* Closes and sets *model to NULL; NULL is fine. */
BLIP2_API void blip2_model_close(blip2_model **model);

/* done and total in bytes; called about once per tensor. */
typedef void blip2_progress_fn(void *context, uint64_t done_bytes, uint64_t total_bytes);

/* Reads the whole file and compares every checksum. Errors: CHECKSUM, naming the first tensor that differs. */
BLIP2_API blip2_status blip2_model_verify(const blip2_model *model, blip2_progress_fn *progress, void *context,
                                          blip2_error *err);

/* Strings live as long as the model; absent ones are "". */
typedef struct blip2_model_info {
    size_t struct_bytes;
    const char *name, *source, *revision;
    const char *dtype; /* of the matrices: "i8", "f16", "f32" */
    uint64_t file_bytes, n_parameters;
    uint32_t n_tensors, image_size, patch_size, n_queries, n_vocab, max_positions;
    uint32_t vision_blocks, vision_width, vision_heads, vision_ff;
    uint32_t qformer_blocks, qformer_width, qformer_heads, qformer_ff, cross_frequency;
    uint32_t text_blocks, text_width, text_heads, text_ff;
    float vision_eps, qformer_eps, text_eps;
    int32_t bos_id, stop_id;
    uint64_t content_hash; /* equal for files of equal content, whatever their name */
    /* where its file_bytes are mapped: a SIGBUS there means that the file was truncated or its disk is gone */
    const void *file_data;
} blip2_model_info;

BLIP2_API void blip2_model_describe(const blip2_model *model, blip2_model_info *info);

/* One tensor of the file, index < n_tensors, in order of execution; false beyond the end. */
typedef struct blip2_tensor_info {
    size_t struct_bytes;
    char name[72];
    const char *dtype;
    uint32_t n_dims, activation_planes; /* planes: 0 for tensors that are not int8 matrices */
    uint64_t shape[4];                  /* fastest dimension first */
    uint64_t size_bytes;
} blip2_tensor_info;

BLIP2_API bool blip2_model_tensor(const blip2_model *model, size_t index, blip2_tensor_info *info);

/* ---- images -------------------------------------------------------------------------------------------------- */

/* Here a picture is what a file or an array of pixels holds; an image is what the model sees of it: RGB, resized as
 * Pillow does, normalised for one model. Immutable; any number of sessions may look at it at once. */
typedef struct blip2_image blip2_image;

typedef struct blip2_image_options {
    size_t struct_bytes;
    bool apply_exif;       /* default true: turn the picture as its EXIF orientation says (transformers does not) */
    size_t max_pixels;     /* default 268435456 (2^28): larger pictures are refused before memory is taken for them */
    size_t thumbnail_side; /* default 0: none; else a small copy is kept whose longer side has at most so many pixels */
    size_t max_side;       /* default 131072 (2^17): the same limit for the longer side */
    bool read_truncated;   /* default false; true: of a cut or damaged file show what is there, the rest black */
    bool keep_hidden;      /* default false; true: drop transparency, so that pixels show the colours it hides */
    uint8_t background[3]; /* default white, as transformers 5: what transparent pixels show; red, green, blue */
} blip2_image_options;

BLIP2_API void blip2_image_options_init(blip2_image_options *options, size_t struct_bytes);
static inline void blip2_image_options_default(blip2_image_options *options) {
    blip2_image_options_init(options, sizeof *options);
}

/* What the ending of a file's name promises: the short name of a type of pictures, "WebP"; NULL: no picture. *is_read:
 * this build reads that type. */
BLIP2_API const char *blip2_image_kind_of_name(const char *path, bool *is_read);

/* A picture file of any kind that this build reads. options may be NULL. On success *out is the caller's; it may
 * outlive the model. Errors: IO, FORMAT, UNSUPPORTED, LIMIT, MEMORY. */
BLIP2_API blip2_status blip2_image_load(const blip2_model *model, const char *path, const blip2_image_options *options,
                                        blip2_image **out, blip2_error *err);
/* The same from the file's bytes in memory; name stands for the path in error sentences. */
BLIP2_API blip2_status blip2_image_load_memory(const blip2_model *model, const uint8_t *bytes, size_t n_bytes,
                                               const char *name, const blip2_image_options *options, blip2_image **out,
                                               blip2_error *err);
/* Pixels that somebody else decoded: rgb[height] rows, row_bytes apart (at least 3 * width), of width times R, G, B.
 * Errors: ARGUMENT, LIMIT, MEMORY. */
BLIP2_API blip2_status blip2_image_from_rgb(const blip2_model *model, const uint8_t *rgb, size_t width, size_t height,
                                            size_t row_bytes, const blip2_image_options *options, blip2_image **out,
                                            blip2_error *err);
BLIP2_API void blip2_image_free(blip2_image **image);

/* True when EXIF said that the picture had to be turned, and it was. */
BLIP2_API bool blip2_image_was_rotated(const blip2_image *image);

/* What the picture holds and the model cannot see, "16-bit grey: ..."; NULL: nothing. It lives as long as the
 * library. */
BLIP2_API const char *blip2_image_hint(const blip2_image *image);

/* The pixels as the model sees them: [3][image_size][image_size], planes R, G, B. */
BLIP2_API const float *blip2_image_pixels(const blip2_image *image);

/* The small copy that thumbnail_side wants, RGB, [*height][*width][3]; it lives as long as the image. NULL without. */
BLIP2_API const uint8_t *blip2_image_thumbnail(const blip2_image *image, size_t *width, size_t *height);

/* ---- sessions ------------------------------------------------------------------------------------------------- */

typedef struct blip2_session blip2_session;

enum { BLIP2_MAX_BATCH = 256 }; /* images or requests of one call */

typedef struct blip2_session_options {
    size_t struct_bytes;
    size_t n_threads;         /* default 0: one per physical core that this process may use */
    const char *isa;          /* default NULL: the fastest; else scalar, blas, avx2, avxvnni, avx512vnni, ... */
    size_t max_images;        /* images of one encode; 1 to BLIP2_MAX_BATCH, default 1 */
    size_t max_requests;      /* requests of one generate; 1 to BLIP2_MAX_BATCH, default 1 */
    size_t max_prompt_tokens; /* of one prompt, the leading </s> included; default 64 */
    size_t max_new_tokens;    /* default 20 */
    bool (*is_cancelled)(void *context); /* called between layers and tokens; NULL: never */
    void *cancel_context;
    bool keeps_logits;  /* EXPERIMENTAL: see blip2_session_logits; default false */
    int gpu_layers;     /* on a CUDA device; BLIP2_GPU_AUTO: as many as fit; default 0: the CPU alone */
    int gpu_device;     /* which one, from 0; default 0 */
    int gpu_timeout_s;  /* how long it may be silent before it counts as lost; default 60 */
    size_t max_results; /* of one request, written side by side: beams or samples; 1 to BLIP2_MAX_RESULTS, default 1 */
    size_t max_alternatives; /* EXPERIMENTAL: of one step; 0 to BLIP2_MAX_ALTERNATIVES, default 0 */
} blip2_session_options;

enum { BLIP2_GPU_AUTO = -1, BLIP2_MAX_RESULTS = 64, BLIP2_MAX_ALTERNATIVES = 64 };

BLIP2_API void blip2_session_options_init(blip2_session_options *options, size_t struct_bytes);
static inline void blip2_session_options_default(blip2_session_options *options) {
    blip2_session_options_init(options, sizeof *options);
}

/* What a session with these options will reserve, beside the mapped file, in bytes. */
typedef struct blip2_memory {
    size_t struct_bytes;
    size_t activations, cache, logits, scratch, total;
} blip2_memory;

/* options may be NULL. Errors: ARGUMENT, LIMIT, as those of create; MEMORY. */
BLIP2_API blip2_status blip2_session_measure(const blip2_model *model, const blip2_session_options *options,
                                             blip2_memory *memory, blip2_error *err);

/* Layers on a CUDA device: the same results to the bit. They are counted along one line: the ViT's blocks, the
 * Q-Former, the LM head, the text's blocks from the last one down; a device takes the first ones of it. The first
 * session of a model opens the device and decides how many; sessions share them. No device, no room, or a device that
 * fails half-way is not an error: the work is done on the CPU (again, where it had begun), and `reason` says why. */
typedef struct blip2_device {
    size_t struct_bytes;
    char name[64];                        /* "": none was wanted or none can be used */
    int capability;                       /* 75 is 7.5 */
    int driver;                           /* 12040: CUDA 12.4 is the newest that it knows */
    size_t n_layers, n_layers_all;        /* there, and how long the line is */
    uint64_t total_bytes, free_bytes;     /* of its memory; free: when it was opened */
    uint64_t weight_bytes, session_bytes; /* taken there: for all sessions, and for this one */
    char reason[BLIP2_ERROR_BYTES]; /* one sentence: why fewer layers than wanted are there; "": as many as wanted */
} blip2_device;

BLIP2_API void blip2_session_device(const blip2_session *session, blip2_device *device);

/* What a session with these options would put there, without doing it. No device: see reason. options may be NULL.
 * Errors: ARGUMENT, LIMIT, as those of create. */
BLIP2_API blip2_status blip2_session_measure_device(const blip2_model *model, const blip2_session_options *options,
                                                    blip2_device *device, blip2_error *err);

/* Reserves all memory that the session will ever use. options may be NULL. On success *out is the caller's, to be freed
 * before the model is closed. Errors: ARGUMENT (unknown isa, sizes out of range), LIMIT (more positions than the model
 * has), MEMORY. */
BLIP2_API blip2_status blip2_session_create(const blip2_model *model, const blip2_session_options *options,
                                            blip2_session **out, blip2_error *err);
BLIP2_API void blip2_session_free(blip2_session **session);

/* Looks at n_images images (<= max_images); they replace those seen before. Errors: ARGUMENT, CANCELLED, DEVICE. */
BLIP2_API blip2_status blip2_session_encode(blip2_session *session, blip2_image *const *images, size_t n_images,
                                            blip2_error *err);

/* A question about the same image, and what it was answered with. */
typedef struct blip2_turn {
    const char *question, *answer;
} blip2_turn;

/* What to say about one of the images seen. At most one of prompt and question is set; neither: a caption. All zero is
 * a request for a caption of the first image. */
typedef struct blip2_request {
    size_t image;         /* index into the images of the last blip2_session_encode */
    const char *prompt;   /* raw text that the answer continues, never altered; UTF-8 */
    const char *question; /* is wrapped as the model was trained: "Question: ... Answer:" */

    /* Sampling: draws depend on the seed and these two numbers, whatever else is in the call: say, which picture of a
     * list and which prompt about it. */
    uint64_t picture_number, prompt_number;

    bool is_short; /* wraps the question as LAVIS does for benchmarks: "Question: ... Short answer:" */

    const blip2_turn
        *turns;     /* earlier ones, [n_turns], are read before the question, as in LAVIS's examples: "Question: */
    size_t n_turns; /* ... Answer: ... . Question: ... Answer:"; those with a blank answer are left out */
} blip2_request;

/* A list of answers, one of which each result is to be: as ids, in both spellings, with and without a space before.
 * Immutable, shared by any number of sessions and threads. About 50 bytes an answer and 8 for each of its ids. */
typedef struct blip2_answers blip2_answers;

enum { BLIP2_MAX_ANSWERS = 1 << 20 };

/* Copies answers[n], UTF-8; two that are equal are one; "" is the empty answer. On success *out is the caller's and may
 * outlive the model. Errors: ARGUMENT (not UTF-8, holds the stop token, n out of range), MEMORY. */
BLIP2_API blip2_status blip2_answers_create(const blip2_model *model, const char *const *answers, size_t n,
                                            blip2_answers **out, blip2_error *err);
BLIP2_API void blip2_answers_free(blip2_answers **answers);

/* Of the longest, the stop token counted: a session must have been created for as many max_new_tokens. */
BLIP2_API size_t blip2_answers_max_tokens(const blip2_answers *answers);

/* How ids are chosen; the same for all requests of a call. */
typedef struct blip2_decoding {
    size_t struct_bytes;
    size_t max_new_tokens; /* default 0: the session's max_new_tokens; else at most that */

    /* EXPERIMENTAL: called after each id of each result. text: what the result says so far, white space kept; the last
     * character is U+FFFD while its bytes are incomplete. False ends this result here. NULL: never called. */
    bool (*on_token)(void *context, size_t request, size_t rank, int32_t id, const char *text);
    void *token_context;

    /* Rules that change the scores of the next id, named, ordered and defined as in transformers 5.24; 0, NULL: none.
     * They look at the ids that rules_see says. Lists are texts, as generation_config.json has them. */
    double repetition_penalty; /* above 1: an id that was there comes again less often */
    size_t no_repeat_ngram_size;
    size_t min_length; /* ids of image and prompt counted */
    size_t min_new_tokens;
    size_t forced_eos_token_id;                   /* the last of max_new_tokens */
    const char *bad_words_ids;                    /* "[[12,34],[56]]" */
    const char *suppress_tokens;                  /* "[12,34]" */
    const char *begin_suppress_tokens;            /* "[12,34]" */
    const char *sequence_bias;                    /* "[[[12,34],-2.0],[[56],1.5]]" */
    const char *exponential_decay_length_penalty; /* "[10,1.5]": from 10 tokens on by this factor with each */

    /* Several results of a request, at most max_results of the session side by side. Beams: the best ones, by score.
     * Samples (num_beams 1, do_sample): one after the other. on_token hears of samples, never of beams. */
    size_t num_beams;            /* default 1 */
    size_t num_return_sequences; /* default 1; at most num_beams, unless samples are drawn */
    double length_penalty;       /* default 1: a beam's score is its sum / length^this */
    const char *early_stopping;  /* default NULL, "false": when no beam can improve, as its length is now; "true": when
                                  * num_beams have ended; "never": when none can, at any length */
    const char *beam_search;     /* default NULL, "current": transformers 4.50 and newer; "classic": 4.36 to 4.49;
                                  * "lavis": before 4.36, what LAVIS computed its published numbers with */

    /* Drawing ids, by name, order and definition as in transformers 5.24; what is at its default changes nothing,
     * except top_k. Ids depend on the seed and the request's two numbers, not on batch, threads or machine. */
    bool do_sample;        /* default false: the most probable id, or beam */
    double temperature;    /* default 1 */
    size_t top_k;          /* default 50; 0: all */
    double top_p;          /* default 1 */
    double min_p;          /* default 0 */
    double typical_p;      /* default 1 */
    double epsilon_cutoff; /* default 0 */
    double eta_cutoff;     /* default 0 */
    uint64_t seed;         /* default 0 */

    const char *rules_see; /* default NULL, "all": image, prompt and answer, as transformers 4.47 and newer; "answer":
                            * 4.38 to 4.46; "lavis": </s> and the answer, before, as LAVIS's numbers were made */
    size_t alternatives;   /* EXPERIMENTAL: so many ids of each step are kept; default 0, at most max_alternatives */
    bool output_scores;    /* default false; true: results have processed_logprobs */
    bool retry_empty; /* default false; true: an empty result is generated again with min_new_tokens 1 (of beams all of
                       * the request's), and told to on_token again; nothing where min_new_tokens is set */

    /* Each result is one of these, whole, whatever is chosen and how; default NULL: any text. max_new_tokens is that of
     * the longest then, and nothing else may say where a text ends (min_length, min_new_tokens, forced_eos_token_id,
     * retry_empty). An answer that other rules forbid on its way ends as BLIP2_ENDED_NOT_FINITE. */
    const blip2_answers *answers;
} blip2_decoding;

BLIP2_API void blip2_decoding_init(blip2_decoding *decoding, size_t struct_bytes);
static inline void blip2_decoding_default(blip2_decoding *decoding) { blip2_decoding_init(decoding, sizeof *decoding); }

/* What generate would say about a decoding for this model. Errors: ARGUMENT (a list that cannot be read, an id that the
 * model does not have). */
BLIP2_API blip2_status blip2_decoding_check(const blip2_model *model, const blip2_decoding *decoding, blip2_error *err);

/* Generates for n_requests requests at once (<= max_requests); what a request gets does not depend on the others.
 * decoding may be NULL. request_bytes: sizeof(blip2_request), the distance from one to the next.
 * Errors: ARGUMENT (no such image, prompt not UTF-8, a wrong decoding), LIMIT (prompt longer than max_prompt_tokens),
 * CANCELLED, DEVICE. */
BLIP2_API blip2_status blip2_session_generate_sized(blip2_session *session, const blip2_request *requests,
                                                    size_t request_bytes, size_t n_requests,
                                                    const blip2_decoding *decoding, blip2_error *err);
static inline blip2_status blip2_session_generate(blip2_session *session, const blip2_request *requests,
                                                  size_t n_requests, const blip2_decoding *decoding, blip2_error *err) {
    return blip2_session_generate_sized(session, requests, sizeof *requests, n_requests, decoding, err);
}

/* Why a result ended. */
typedef enum blip2_ending {
    BLIP2_ENDED_STOP = 0,      /* the model's stop token */
    BLIP2_ENDED_LENGTH = 1,    /* max_new_tokens reached before it */
    BLIP2_ENDED_CALLER = 2,    /* on_token returned false */
    BLIP2_ENDED_NOT_FINITE = 3 /* a logit was not a number, or rules left no beam or answer: what came before is kept */
} blip2_ending;

/* Points into the session; valid until its next encode, generate or free. */
typedef struct blip2_result {
    size_t struct_bytes;
    const char *text; /* white space at both ends removed; UTF-8 */
    blip2_ending ending;
    bool is_empty; /* nothing but white space */
    bool is_echo;  /* the answer begins with the question, compared without case, punctuation and spaces */
    size_t n_tokens;
    const int32_t *tokens;       /* generated ids, the stop id included when it was met */
    const float *token_logprobs; /* log-softmax of the raw logits, [n_tokens] */
    double logprob;              /* their sum */
    const char *prompt;          /* the text that the model read, after wrapping; "" for a caption */
    double score; /* what results are ordered by: with beams transformers' sequences_scores, else logprob */
    const float *processed_logprobs; /* [n_tokens] log-softmax of what rules and sampling leave of the logits, as
                                      * transformers' compute_transition_scores(normalize_logits=True); NaN where they
                                      * leave nothing; NULL without output_scores */
    double processed_logprob;        /* their sum; 0 without */
    bool is_retried;                 /* retry_empty: this is the second attempt */
} blip2_result;

/* How many results request (an index into those of the last generate) has; 0 without such a request. */
BLIP2_API size_t blip2_session_n_results(const blip2_session *session, size_t request);
/* One of them, best first, samples in the order in which they were drawn; false beyond the end. */
BLIP2_API bool blip2_session_result(const blip2_session *session, size_t request, size_t rank, blip2_result *result);

/* How many ids a request's prompt has, to size a session. 0 when the prompt is not UTF-8. */
BLIP2_API size_t blip2_prompt_tokens_sized(const blip2_model *model, const blip2_request *request,
                                           size_t request_bytes);
static inline size_t blip2_prompt_tokens(const blip2_model *model, const blip2_request *request) {
    return blip2_prompt_tokens_sized(model, request, sizeof *request);
}

/* Nanoseconds of the last encode and generate. */
typedef struct blip2_timings {
    size_t struct_bytes;
    int64_t vision_ns, qformer_ns, prefill_ns, decode_ns;
    size_t n_decode_steps;
    int64_t device_ns; /* of these, waiting for the device: a CUDA device's share of the work */
} blip2_timings;

BLIP2_API void blip2_session_timings(const blip2_session *session, blip2_timings *timings);

/* The kernels in use: of int8 products, of f32 products. Live as long as the program. */
BLIP2_API const char *blip2_session_isa(const blip2_session *session);
BLIP2_API const char *blip2_session_isa_f32(const blip2_session *session);
BLIP2_API size_t blip2_session_threads(const blip2_session *session);

/* The instruction sets that this build has and this CPU runs, fastest first; returns their number. */
BLIP2_API size_t blip2_isa_list(const char **names, size_t capacity);

#ifdef __cplusplus
}
#endif

#include "blip2_experimental.h"
#endif
