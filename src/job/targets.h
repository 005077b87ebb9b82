/* targets.h: what a command is about to write must not be what somebody still needs: a slip of the keyboard would cost
 * a picture, a list or a model. Every command that writes asks here, before any work. */
#ifndef B2_TARGETS_H
#define B2_TARGETS_H

#include "job/shard.h"
#include "job/sidecar.h"

/* What a command writes and what it reads; whatever it has not is NULL or 0. */
typedef struct b2_roles {
    const char *output, *report;       /* as the user named them; NULL or "-": stdout, or none */
    const char *shard_path, *journal;  /* the shard's file, and OUT.part (plan.h); */
    const char *state;                 /* and OUT.blip2 (state.h) */
    const b2_sidecar_options *sidecar; /* used where is_wanted */
    const b2_inputs *inputs;           /* the pictures and their list */
    bool gives_list_back;              /* the output is the list with columns added, so it may take its place */
    const char *answers;               /* the file of --answers, or of score's texts */
    const char *const *words;          /* "[NAME=]FILE" */
    size_t n_words;
    const char *const *shards; /* that merge reads */
    size_t n_shards;
} b2_roles;

/* Looks at every output before any work. The files are compared, not their names; and a file that is a model, a
 * picture, a journal or a state by its first bytes is kept whether or not the command reads it.
 * Errors: BLIP2_ARGUMENT (a file that is needed, the same output twice), BLIP2_IO (a folder; cannot be written),
 * BLIP2_MEMORY. */
blip2_status b2_targets_check(const b2_roles *roles, blip2_error *err);

/* Is this file the list itself? */
bool b2_targets_is_list(const b2_inputs *inputs, const char *path);

#endif
