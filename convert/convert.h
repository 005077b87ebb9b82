/* convert.h: a Hugging Face checkpoint -> a model file. The whole converter in one call. */
#ifndef B2_CONVERT_H
#define B2_CONVERT_H

#include "base/status.h"
#include "quant/dtype.h"

typedef struct b2_convert_options {
    const char *source;     /* a folder, an entry of the Hugging Face cache, or org/name in it (source.h) */
    const char *adapter;    /* a LoRA to merge: its folder or org/name; NULL: the one that lies in the source, if any */
    bool without_adapter;   /* do not merge what lies in the source */
    const char *cache_root; /* .../huggingface/hub; NULL: no cache */
    const char *output;     /* the file to write */
    b2_dtype type;          /* of matrices: I8 (the default), F16 or F32 */
    int vision_planes;      /* activation planes of the ViT's blocks: 1, 2, or 0 (the default): by their LayerNorms */
    int n_threads;          /* at least 1, the default */

    void *context; /* handed to the callbacks, all of which may be NULL and run on the caller's thread */
    /* After each piece: bytes of the checkpoint dealt with, of how many, and in which tensor of the file. */
    void (*progress)(void *context, uint64_t done_bytes, uint64_t total_bytes, const char *tensor);
    /* Something the user should know, in one sentence. */
    void (*notice)(void *context, const char *sentence);
    /* How much a matrix lost: relative root mean square error, and largest error by largest magnitude. Costs time. */
    void (*fidelity)(void *context, const char *tensor, double relative_rmse, double relative_max);
    /* The name of the unfinished file as soon as there is one; NULL when there is none any more: what a program that is
     * ended at once has to remove. */
    void (*growing)(void *context, const char *temp_path);
    /* Asked before each piece; true ends with BLIP2_CANCELLED. */
    bool (*is_cancelled)(void *context);

    bool *output_failed; /* set when BLIP2_IO or BLIP2_NO_SPACE is about the file to write; may be NULL */
} b2_convert_options;

b2_convert_options b2_convert_options_default(void);

/* Writes options->output, or leaves everything as it was. The bytes depend on checkpoint, type and planes only, not on
 * threads. Errors: any but BLIP2_OTHER_VERSION. */
blip2_status b2_convert(const b2_convert_options *options, blip2_error *err);

#endif
