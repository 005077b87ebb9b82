/* profile.h: what makes a GGUF file one of ours (quant/FORMAT.md): the keys that must be there and what they may say.
 * Nothing after this checks again. */
#ifndef B2_PROFILE_H
#define B2_PROFILE_H

#include "checkpoint/gguf_reader.h"
#include "quant/hparams.h"

/* Architecture, format version, alignment: of a file whose keys are parsed. Errors: FORMAT, OTHER_VERSION. */
blip2_status b2_profile_check_kind(const b2_gguf *gguf, blip2_error *err);

/* The rest, of a file whose tensors are parsed too: compares the header's hash, fills *hparams and the tensors' planes.
 * Errors: FORMAT, CHECKSUM, UNSUPPORTED, MEMORY. */
blip2_status b2_profile_read(b2_gguf *gguf, b2_hparams *hparams, blip2_error *err);

#endif
