/* lm.c: which language model; and how slots of its cache change places without a second cache. */
#include "model/lm.h"

#include "model/opt.h"

#include <string.h>

void b2_lm_prefill(const b2_weights *w, b2_workspace *homes, b2_sequence *sequences, size_t n) {
    switch (w->h.arch) {
    case B2_ARCH_BLIP2_OPT: b2_opt_prefill(w, homes, sequences, n); return;
    case B2_N_ARCHS: return;
    }
}

void b2_lm_step(const b2_weights *w, b2_workspace *homes, b2_sequence *sequences, const int32_t *ids, size_t n) {
    switch (w->h.arch) {
    case B2_ARCH_BLIP2_OPT: b2_opt_step(w, homes, sequences, ids, n); return;
    case B2_N_ARCHS: return;
    }
}

b2_workspace *b2_lm_head(const b2_weights *w, b2_workspace *homes) { return &homes[b2_home(w, B2_STAGE_HEAD, 0)]; }

/* ---- the cache ------------------------------------------------------------------------------------------------- */

static void move_slots(const b2_weights *w, b2_workspace *homes, const b2_slot_move *moves, size_t n,
                       size_t n_positions) {
    switch (w->h.arch) {
    case B2_ARCH_BLIP2_OPT: b2_opt_move_slots(w, homes, moves, n, n_positions); return;
    case B2_N_ARCHS: return;
    }
}

void b2_lm_copy_cache(const b2_weights *w, b2_workspace *homes, size_t from, size_t to, size_t n_positions) {
    const b2_slot_move move = {.from = from, .to = to};
    if (from != to) move_slots(w, homes, &move, 1, n_positions);
}

/* Puts the moves in an order in which no slot is overwritten while another still wants what it holds. from[i] == i:
 * slot i has what it should. Returns their number, at most 3 for every 2 slots. */
static size_t order_moves(size_t *from, size_t *n_readers, size_t n, b2_slot_move *moves) {
    size_t n_moves = 0;
    memset(n_readers, 0, n * sizeof *n_readers);
    for (size_t i = 0; i < n; i++)
        if (from[i] != i) n_readers[from[i]]++;
    /* Chains, from the end that nobody reads: each move may free the slot that it read. */
    for (size_t i = 0; i < n; i++)
        for (size_t to = i, source; from[to] != to && n_readers[to] == 0; to = source) {
            source = from[to];
            moves[n_moves++] = (b2_slot_move){.from = source, .to = to};
            n_readers[source]--;
            from[to] = to;
        }
    /* What is left are circles: one slot of each steps aside. */
    for (size_t i = 0; i < n; i++) {
        if (from[i] == i) continue;
        size_t to = i;
        moves[n_moves++] = (b2_slot_move){.from = i, .to = B2_SPARE_SLOT};
        while (from[to] != i) {
            const size_t source = from[to];
            moves[n_moves++] = (b2_slot_move){.from = source, .to = to};
            from[to] = to;
            to = source;
        }
        moves[n_moves++] = (b2_slot_move){.from = B2_SPARE_SLOT, .to = to};
        from[to] = to;
    }
    return n_moves;
}

void b2_lm_permute_cache(const b2_weights *w, b2_workspace *homes, const size_t *sources, size_t n,
                         size_t n_positions) {
    b2_text_lists *lists = &homes[B2_HOME_CPU].lists;
    memcpy(lists->slots, sources, n * sizeof *sources);
    const size_t n_moves = order_moves(lists->slots, lists->n_past, n, lists->moves);
    if (n_moves > 0) move_slots(w, homes, lists->moves, n_moves, n_positions);
}
