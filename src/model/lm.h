/* lm.h: the seam between language models and generation. Whoever implements prefill, step and the moves between
 * slots for another architecture gets every way of generating. homes: one workspace for each home, of which
 * n_sequences slots of the cache hold a sequence each. Nothing here fails; b2_ops_status says whether a home has. */
#ifndef B2_LM_H
#define B2_LM_H

#include "model/sequence.h"
#include "model/workspace.h"

/* Reads soft tokens and prompt of each sequence into its slot; logits row i is then what follows the last prompt id of
 * sequence i. Sets n_past and sources. Of sequences with the same soft tokens those are read once, into the slot of the
 * first, which must keep them as long as one of the others goes on. n <= n_requests; slots differ. */
void b2_lm_prefill(const b2_weights *w, b2_workspace *homes, b2_sequence *sequences, size_t n);

/* Feeds ids[i] to sequence i; logits row i is what follows it. n_past grows by one. Any slots that differ. */
void b2_lm_step(const b2_weights *w, b2_workspace *homes, b2_sequence *sequences, const int32_t *ids, size_t n);

/* Where the logits of the last prefill or step are: row i in logits[i * n_vocab], to be read by verbs of this
 * workspace's ops. */
b2_workspace *b2_lm_head(const b2_weights *w, b2_workspace *homes);

/* The first n_positions of slot `from`, copied to slot `to`: a hypothesis that goes on in two ways. */
void b2_lm_copy_cache(const b2_weights *w, b2_workspace *homes, size_t from, size_t to, size_t n_positions);

/* All at once, slot i takes what slot sources[i] holds, i < n <= n_sequences: its first n_positions. A source may be
 * named several times (then it is copied) or never (then it is lost). */
void b2_lm_permute_cache(const b2_weights *w, b2_workspace *homes, const size_t *sources, size_t n, size_t n_positions);

#endif
