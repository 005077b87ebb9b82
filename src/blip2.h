/* blip2.h: image captions and visual questions with BLIP-2, on the CPU.
 *
 * The only header a program includes. Two handles:
 *   blip2_model    one converted file, mapped read-only; immutable, shared by any number of sessions and threads
 *   blip2_session  everything that changes: activations, key/value cache, thread count; one thread of control at a time
 *
 *   blip2_model *model = NULL;  blip2_session *session = NULL;  blip2_image *image = NULL;  blip2_error err;
 *   blip2_model_open("blip2.gguf", NULL, &model, &err);
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

#ifdef __cplusplus
}
#endif
#endif
