/* opt.h: OPT as lm.h's model; the contracts of these functions stand there. Only lm.c includes this. */
#ifndef B2_OPT_H
#define B2_OPT_H

#include "model/sequence.h"
#include "model/workspace.h"

void b2_opt_prefill(const b2_weights *w, b2_workspace *homes, b2_sequence *sequences, size_t n);
void b2_opt_step(const b2_weights *w, b2_workspace *homes, b2_sequence *sequences, const int32_t *ids, size_t n);

/* The first n_positions of slots of the cache change places in every block, as b2_ops_move_slots does it. */
void b2_opt_move_slots(const b2_weights *w, b2_workspace *homes, const b2_slot_move *moves, size_t n,
                       size_t n_positions);

#endif
