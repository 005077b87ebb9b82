/* blip2.h: image captions and visual questions with BLIP-2, on the CPU.
 *
 * The only header a program includes. Two handles:
 *   blip2_model    one converted file, mapped read-only; immutable, shared by any number of sessions and threads
 *   blip2_session  everything that changes: activations, key/value cache, thread count; one thread of control at a time
 *
 *   blip2_model *model = NULL;  blip2_session *session = NULL;  blip2_image *image = NULL;  blip2_error err;
 *   blip2_model_open("blip2.gguf", &model, &err);
 *   blip2_session_create(model, NULL, &session, &err);
 *   blip2_image_load(model, "dog.jpg", NULL, &image, &err);
 *   blip2_session_see(session, &image, 1, &err);
 *   blip2_request request = {.image = 0};                 // no prompt: a caption
 *   blip2_result result;
 *   blip2_session_say(session, &request, 1, &result, &err);
 *   puts(result.text);
 *
 * Every call that can fail returns a blip2_status and fills *err (which may be NULL) with one sentence.
 * The library never prints, never exits, never reads the environment. */
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

#define BLIP2_VERSION "0.1.0"

/* ---- errors ------------------------------------------------------------------------------------------------ */

/* The numbers are pinned: they never change their meaning. */
typedef enum blip2_status {
    BLIP2_OK = 0,
    BLIP2_IO = 1,          /* a file cannot be opened, read, written, synced or renamed */
    BLIP2_FORMAT = 2,      /* bytes that are not what their file type demands */
    BLIP2_VERSION_SKEW = 3,/* a well-formed file of another version or architecture */
    BLIP2_CHECKSUM = 4,    /* bytes that changed since they were written */
    BLIP2_SHAPE = 5,       /* a tensor is missing, superfluous or misshaped */
    BLIP2_UNSUPPORTED = 6, /* valid, but beyond what this program or machine can do */
    BLIP2_ARGUMENT = 7,    /* the caller asked for something impossible */
    BLIP2_LIMIT = 8,       /* a bound on sizes was exceeded */
    BLIP2_MEMORY = 9,      /* no memory */
    BLIP2_CANCELLED = 10   /* the caller's cancel callback said so */
} blip2_status;

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
 * Errors: IO, FORMAT, VERSION_SKEW, CHECKSUM (header), SHAPE, UNSUPPORTED, LIMIT, MEMORY. */
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
    size_t struct_bytes; /* sizeof(blip2_model_info), set by the caller */
    const char *name, *source, *revision, *license;
    const char *dtype;   /* of the matrices: "i8", "f16", "f32" */
    uint64_t file_bytes, n_parameters;
    uint32_t n_tensors, image_size, patch_size, n_queries, n_vocab, max_positions;
    uint32_t vision_blocks, vision_width, vision_heads, vision_ff;
    uint32_t qformer_blocks, qformer_width, qformer_heads, qformer_ff, cross_frequency;
    uint32_t text_blocks, text_width, text_heads, text_ff;
    float vision_eps, qformer_eps, text_eps;
    int32_t bos_id, stop_id;
    uint64_t content_hash; /* equal for files of equal content, whatever their name */
} blip2_model_info;

BLIP2_API void blip2_model_describe(const blip2_model *model, blip2_model_info *info);

/* One tensor of the file, index < n_tensors, in order of execution; false beyond the end. */
typedef struct blip2_tensor_info {
    size_t struct_bytes;
    char name[72];
    const char *dtype;
    uint32_t n_dims, activation_planes; /* planes: 0 for tensors that are no int8 matrix */
    uint64_t shape[4];                  /* fastest dimension first */
    uint64_t size_bytes;
} blip2_tensor_info;

BLIP2_API bool blip2_model_tensor(const blip2_model *model, uint32_t index, blip2_tensor_info *info);

/* ---- images -------------------------------------------------------------------------------------------------- */

/* A picture made ready for one model: RGB, resized as Pillow does, normalised. Immutable; any number of sessions may
 * see it at once. */
typedef struct blip2_image blip2_image;

typedef struct blip2_image_options {
    size_t struct_bytes;
    bool apply_exif;   /* default true: turn the picture as its EXIF orientation says (transformers does not) */
    size_t max_pixels; /* default 268435456 (2^28): larger pictures are refused before memory is taken for them */
    size_t thumbnail_side; /* default 0: none; else a small copy is kept whose longer side has at most so many pixels */
} blip2_image_options;

BLIP2_API void blip2_image_options_default(blip2_image_options *options);

/* options may be NULL. On success *out is the caller's; it may outlive the model. Errors: IO, FORMAT, UNSUPPORTED,
 * LIMIT, MEMORY. */
BLIP2_API blip2_status blip2_image_load(const blip2_model *model, const char *path, const blip2_image_options *options,
                                        blip2_image **out, blip2_error *err);
/* The same from bytes in memory; name stands for the path in error sentences. */
BLIP2_API blip2_status blip2_image_load_memory(const blip2_model *model, const uint8_t *bytes, size_t n_bytes,
                                               const char *name, const blip2_image_options *options,
                                               blip2_image **out, blip2_error *err);
BLIP2_API void blip2_image_free(blip2_image **image);

/* True when EXIF said that the picture had to be turned, and it was. */
BLIP2_API bool blip2_image_rotated(const blip2_image *image);

/* The pixels as the model sees them: [3][image_size][image_size], planes R, G, B. */
BLIP2_API const float *blip2_image_pixels(const blip2_image *image);

/* The small copy that thumbnail_side asked for, RGB, [*height][*width][3]; it lives as long as the image. NULL without. */
BLIP2_API const uint8_t *blip2_image_thumbnail(const blip2_image *image, size_t *width, size_t *height);

/* ---- sessions ------------------------------------------------------------------------------------------------- */

typedef struct blip2_session blip2_session;

typedef struct blip2_session_options {
    size_t struct_bytes;
    int n_threads;            /* default 0: one per physical core that this process may use */
    const char *isa;          /* default NULL: the fastest; else scalar, blas, avx2, avxvnni, avx512vnni, ... */
    size_t max_images;        /* images of one blip2_session_see; 1 to 256, default 1 */
    size_t max_requests;      /* requests of one blip2_session_say; 1 to 256, default 1 */
    size_t max_prompt_tokens; /* of one prompt, the leading </s> included; default 64 */
    size_t max_new_tokens;    /* default 20 */
    bool (*is_cancelled)(void *context); /* asked between layers and tokens; NULL: never */
    void *cancel_context;
} blip2_session_options;

BLIP2_API void blip2_session_options_default(blip2_session_options *options);

/* What a session with these options will reserve, beside the mapped file, in bytes. */
typedef struct blip2_memory {
    size_t struct_bytes;
    size_t activations, cache, logits, scratch, total;
} blip2_memory;

BLIP2_API blip2_status blip2_session_measure(const blip2_model *model, const blip2_session_options *options,
                                             blip2_memory *memory, blip2_error *err);

/* Reserves all memory that the session will ever use. options may be NULL. On success *out is the caller's, to be freed
 * before the model is closed. Errors: ARGUMENT (unknown isa, sizes out of range), LIMIT (more positions than the model
 * has), MEMORY. */
BLIP2_API blip2_status blip2_session_create(const blip2_model *model, const blip2_session_options *options,
                                            blip2_session **out, blip2_error *err);
BLIP2_API void blip2_session_free(blip2_session **session);

/* Looks at n_images images (<= max_images); they replace those seen before. Errors: ARGUMENT, CANCELLED. */
BLIP2_API blip2_status blip2_session_see(blip2_session *session, blip2_image *const *images, size_t n_images,
                                         blip2_error *err);

/* What to say about one of the images seen. At most one of prompt and question is set; neither: a caption. */
typedef struct blip2_request {
    size_t image;         /* index into the images of the last blip2_session_see */
    const char *prompt;   /* raw text that the answer continues, never altered; UTF-8 */
    const char *question; /* is wrapped as the model was trained: "Question: ... Answer:" */
} blip2_request;

typedef enum blip2_outcome {
    BLIP2_OUTCOME_OK = 0,
    BLIP2_OUTCOME_TRUNCATED = 1, /* max_new_tokens reached before the stop token */
    BLIP2_OUTCOME_ECHO = 2,      /* the answer begins with the question */
    BLIP2_OUTCOME_EMPTY = 3,     /* nothing but white space */
    BLIP2_OUTCOME_ERROR = 4      /* the numbers were not finite */
} blip2_outcome;

/* Points into the session; valid until its next see, say or free. */
typedef struct blip2_result {
    const char *text;            /* white space at both ends removed; UTF-8 */
    blip2_outcome outcome;
    size_t n_tokens;
    const int32_t *tokens;       /* generated ids, the stop id included when it was met */
    const float *token_logprobs; /* log-softmax of the raw logits, [n_tokens] */
    double logprob;              /* their sum */
    const char *prompt;          /* the text that the model read, after wrapping; "" for a caption */
} blip2_result;

/* Generates for n_requests requests at once (<= max_requests), greedily; results[i] belongs to requests[i] and does not
 * depend on the others. Errors: ARGUMENT (no such image, prompt not UTF-8), LIMIT (prompt longer than
 * max_prompt_tokens), CANCELLED. */
BLIP2_API blip2_status blip2_session_say(blip2_session *session, const blip2_request *requests, size_t n_requests,
                                         blip2_result *results, blip2_error *err);

/* How many ids a request's prompt has, to size a session. 0 when the prompt is not UTF-8. */
BLIP2_API size_t blip2_prompt_tokens(const blip2_model *model, const blip2_request *request);

/* Nanoseconds of the last see and say. */
typedef struct blip2_timings {
    size_t struct_bytes;
    int64_t vision_ns, qformer_ns, prefill_ns, decode_ns;
    size_t n_decode_steps;
} blip2_timings;

BLIP2_API void blip2_session_timings(const blip2_session *session, blip2_timings *timings);

/* The kernels in use: of int8 products, of f32 products. Live as long as the program. */
BLIP2_API const char *blip2_session_isa(const blip2_session *session);
BLIP2_API const char *blip2_session_isa_f32(const blip2_session *session);
BLIP2_API int blip2_session_threads(const blip2_session *session);

/* The instruction sets that this build has and this CPU runs, fastest first; returns their number. */
BLIP2_API size_t blip2_isa_list(const char **names, size_t capacity);

#ifdef __cplusplus
}
#endif
#endif
