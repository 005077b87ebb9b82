/* names.h: which tensors of a Hugging Face checkpoint make which tensor of ours (quant/parts.def).
 *
 * Some of ours are several of theirs, one under the other: OPT's q, k, v are one matrix here. */
#ifndef B2_NAMES_H
#define B2_NAMES_H

#include "convert/merge.h"
#include "quant/tensors.h"

enum { B2_STORED_MAX = 3, B2_NAMES_BYTES = 160 };

/* Before the names of an adapter's tensors (adapter.h), which stand in the same list. */
#define B2_ADAPTER_PREFIX "adapter:"

/* One stem of the file with what it is made of, shapes checked. */
typedef struct b2_stem {
    b2_tensor_spec spec;
    size_t n_stored; /* stored tensors, each of spec.n_out / n_stored rows */
    const b2_stored_tensor *weight[B2_STORED_MAX];
    const b2_stored_tensor *bias[B2_STORED_MAX]; /* NULL for TABLE and EMBED */
    b2_merge weight_merge[B2_STORED_MAX], bias_merge[B2_STORED_MAX];
} b2_stem;

typedef struct b2_stems {
    b2_stem *items; /* in the file's order */
    size_t n;
} b2_stems;

/* A tensor by the name that transformers gives it today, with `prefix` before; older and later vintages of the name are
 * tried, too. NULL: there is none. */
const b2_stored_tensor *b2_names_find(const b2_tensor_source *source, const char *prefix, const char *name);

/* The module of the i-th stored tensor of a stem: its name without ".weight". */
void b2_names_module(const b2_tensor_spec *spec, size_t i, char module[B2_NAMES_BYTES]);

/* Rows of the token embedding: config.json's vocab_size is not always right. Errors: BLIP2_SHAPE. */
blip2_status b2_names_count_vocab(const b2_tensor_source *source, uint32_t *n_vocab, blip2_error *err);

/* Finds everything that a model with these numbers needs and sees to it that nothing else is there, but for
 * position_ids and an LM head that equals the token embedding. Whole tensors of an adapter go before the checkpoint's.
 * Matrices of int8 are bound together with their scales (SCB), as bitsandbytes saves them. The caller frees *out.
 * head_is_tied: without a stored LM head the token embedding serves.
 * Errors: BLIP2_SHAPE (a tensor is missing, misshaped, of another type or of no use), BLIP2_IO, BLIP2_MEMORY. */
blip2_status b2_names_bind(b2_tensor_source *source, const b2_hparams *h, bool head_is_tied, b2_stems *out,
                           blip2_error *err);
void b2_stems_free(b2_stems *stems);

#endif
