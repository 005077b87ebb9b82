/* open_model.h: finding the model file that a command works with. */
#ifndef B2_OPEN_MODEL_H
#define B2_OPEN_MODEL_H

#include "base/cpu.h"
#include "blip2.h"

/* Opens the model file: path if given, else $BLIP2_MODEL, else the only *.gguf of the working folder. Returns 0 and
 * *model, which the caller closes with b2_close_model; or says what is wrong (with the places looked at) and returns
 * the exit code. */
int b2_open_model(const char *path, blip2_model **model);

/* blip2_model_close, and SIGBUS is no longer the model's. NULL is fine. */
void b2_close_model(blip2_model **model);

/* Warns when the file and what n_sessions sessions need do not fit into the memory that is available. */
void b2_warn_when_paging(const blip2_model *model, const blip2_session_options *options, size_t n_sessions);

/* Keeps the file in memory where the system permits it and has room; else a sentence says why not. */
void b2_lock_model(const blip2_model *model);

/* Warns, once, when much of the file had to be read again since the first call: others need the memory. */
typedef struct b2_page_watch {
    uint64_t file_bytes;
    bool has_begun, has_warned;
    b2_disk_reads before;
} b2_page_watch;
void b2_warn_when_pages_return(b2_page_watch *watch, bool is_locked);

#endif
